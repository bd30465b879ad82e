import csv
import hashlib

import pytest

from overfly.runtime.assessment.areas_file import write_estimates
from overfly.runtime.assessment.assessment import assess
from overfly.runtime.errors import RasterError
from overfly.runtime.mapping.record import read_map_record


def rows_of(folder):
    with (folder / "areas.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_estimates_become_columns_and_the_rest_stays(class_map, labeled):
    folder = class_map.folder
    before = rows_of(folder)
    assessment = assess(folder, labeled({0: "water", 1: "forest"}))
    write_estimates(folder, assessment)
    rows = rows_of(folder)
    assert list(rows[0]) == [
        *before[0],
        *(f"estimated_area_m2{part}" for part in ("", "_low", "_high")),
        *(f"{name}_accuracy{part}" for name in ("users", "producers") for part in ("", "_low", "_high")),
    ]
    for row, old, one in zip(rows, before, assessment.classes, strict=True):
        assert row.items() >= old.items()
        assert float(row["estimated_area_m2"]) == pytest.approx(one.area_m2.value, abs=0.05)
        assert float(row["estimated_area_m2_low"]) == pytest.approx(one.area_m2.low, abs=0.05)
        assert float(row["users_accuracy_high"]) == pytest.approx(one.users_accuracy.high, abs=1e-6)
        assert float(row["producers_accuracy"]) == pytest.approx(one.producers_accuracy.value, abs=1e-6)


def test_a_second_assessment_replaces_the_columns(class_map, labeled):
    folder = class_map.folder
    write_estimates(folder, assess(folder, labeled({0: "water"})))
    first = (folder / "areas.csv").read_bytes()
    write_estimates(folder, assess(folder, labeled({4: "water"}, n_cells=30)))
    assert (folder / "areas.csv").read_bytes() != first
    write_estimates(folder, assess(folder, labeled({0: "water"})))
    assert (folder / "areas.csv").read_bytes() == first


def test_the_record_of_the_map_has_the_new_hash(class_map, labeled):
    folder = class_map.folder
    write_estimates(folder, assess(folder, labeled()))
    record = read_map_record(folder)
    content = (folder / "areas.csv").read_bytes()
    assert record.files["areas.csv"].sha256 == hashlib.sha256(content).hexdigest()
    assert record.files["areas.csv"].size_bytes == len(content)
    assert record.files["class.tif"] == class_map.record.files["class.tif"]


def test_what_is_unknown_is_empty(class_map, labeled):
    folder = class_map.folder
    path = labeled()
    lines = [line for line in path.read_text().splitlines(keepends=True) if "water" not in line]
    path.write_text("".join(lines))
    write_estimates(folder, assess(folder, path))
    assert [row["estimated_area_m2"] for row in rows_of(folder)] == ["", "", ""]
    assert [row["users_accuracy"] for row in rows_of(folder)] == ["1.000000", "1.000000", ""]


@pytest.mark.parametrize("content", [None, b"name,cells\nfield,3\n", b"\xff\xfe\x00", b""])
def test_areas_that_can_not_be_read(class_map, labeled, content):
    assessment = assess(class_map.folder, labeled())
    path = class_map.folder / "areas.csv"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RasterError, match=r"areas\.csv"):
        write_estimates(class_map.folder, assessment)
