"""``report.json``: written, read, and compared with its golden file."""

import json

import pytest

from overfly.benchmarks.results.records import REPORT_SCHEMA
from overfly.benchmarks.results.store import read_report, write_report_json
from overfly.runtime.documents import dump_document
from overfly.runtime.errors import DocumentError


def numbers(value):
    """Return JSON with its floats rounded: the last digits of a sum depend on numpy's version."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    return value


def test_the_json_is_the_golden_one(report, golden):
    # The samples are long, and every figure follows from them: the golden file has a few of each row. How many files a
    # stream takes depends on how far the threads have decoded ahead when its time is over. The rate does not, so the
    # golden file has the time for 100 files.
    content = json.loads(dump_document(report, schema=REPORT_SCHEMA))
    for measurements in (row["measurements"] for row in content["rows"] if row["measurements"] is not None):
        for key in ("latency_rounds_ms", "file_latency_rounds_ms"):
            measurements[key] = [samples[:5] for samples in measurements[key]]
        for sample in measurements["file_throughput_rounds"]:
            sample.update(n_images=100, seconds=100 * sample["seconds"] / sample["n_images"])
    text = json.dumps(numbers(content), indent=1) + "\n"
    assert json.loads(text) == json.loads(golden("report.json", text))


def test_it_comes_back_from_json_as_it_was(report, tmp_path):
    write_report_json(tmp_path, report)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json"}
    assert read_report(tmp_path) == report
    text = (tmp_path / "report.json").read_text()
    (tmp_path / "report.json").write_text(text.replace('"quick"', '"quack"'))
    with pytest.raises(DocumentError, match="quack"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text(text.replace(REPORT_SCHEMA, "overfly.report/1"))
    with pytest.raises(DocumentError, match=r"overfly\.report/1.*overfly\.report/7"):
        read_report(tmp_path)
