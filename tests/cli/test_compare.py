"""``overfly compare``: a table or JSON of reports, and an error that names the report that can't be compared."""

import json
import shutil
from pathlib import Path

import pytest

GOLDEN_REPORT = Path(__file__).parent.parent / "benchmarks" / "golden" / "report.json"


@pytest.fixture
def reports(tmp_path):
    """Two folders, each with the same report."""
    folders = [tmp_path / name for name in ("laptop", "edge")]
    for folder in folders:
        folder.mkdir()
        shutil.copy(GOLDEN_REPORT, folder)
    return folders


def test_a_report_is_named_by_its_folder_or_its_file(overfly, reports):
    by_folder = overfly("compare", *reports, "--json")
    by_folder.assert_done()
    comparison = json.loads(by_folder.out)
    assert comparison["schema"] == "overfly.comparison/3"
    assert len(comparison["reports"]) == 2
    by_file = overfly("compare", *(folder / "report.json" for folder in reports), "--json")
    assert json.loads(by_file.out)["lines"] == comparison["lines"]


def test_the_table_shows_each_row_of_the_reports(overfly, reports, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = overfly("compare", *reports)
    result.assert_done()
    for name in ("PyTorch fp32", "OpenVINO int8"):
        assert name in result.out


def test_a_report_that_is_missing_or_alone_is_named(overfly, reports, tmp_path):
    overfly("compare", reports[0], tmp_path / "no").assert_failed(tmp_path / "no")
    assert overfly("compare", reports[0]).code == 1


def test_reports_of_two_bundles_are_not_compared(overfly, reports):
    path = reports[1] / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["bundles"][0]["manifest_sha256"] = "0" * 64
    path.write_text(json.dumps(report), encoding="utf-8")
    overfly("compare", *reports).assert_failed(reports[1])
