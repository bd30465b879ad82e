"""``chips.json`` says what a training takes from it."""

import pytest

from overfly.runtime.bundle.manifest import SceneSpec
from overfly.runtime.documents import write_document
from overfly.runtime.errors import DataError
from overfly.training.data.chips.record import (
    CHIPS_SCHEMA,
    ChipsOptions,
    ChipsRecord,
    LabelsRecord,
    chips_notes,
    find_chips_record,
    range_of_chips,
)

OPTIONS = ChipsOptions(
    stride_m=60.0, auto_range=False, nodata=None, gsd=None, test_fraction=0.2, val_fraction=0.0, seed=0, block=8
)
LABELS = LabelsRecord(
    path="/l.gpkg", sha256="0", layer="l", field="class", crs="EPSG:4326", min_cover=0.5, outside=None
)


def _record(*, value_range=None, labels=LABELS):
    return ChipsRecord(
        scene=SceneSpec(60.0, (4, 3, 2)),
        value_range=value_range,
        rasters=(),
        labels=labels,
        options=OPTIONS,
        counts={"a": {"train": 3, "test": 1}},
        dropped={},
        versions={},
    )


def test_a_record_is_found_in_its_folder(tmp_path):
    assert find_chips_record(tmp_path) is None
    write_document(tmp_path / "chips.json", _record(value_range=(0.0, 2047.0)), schema=CHIPS_SCHEMA)
    record = find_chips_record(tmp_path)
    assert record == _record(value_range=(0.0, 2047.0))
    assert record.n_scenes == 4


def test_a_damaged_record_is_named_with_the_remedy(tmp_path):
    (tmp_path / "chips.json").write_text("{}")
    with pytest.raises(DataError, match=r"chips\.json.*rename"):
        find_chips_record(tmp_path)


def test_the_range_is_that_of_the_rasters(tmp_path):
    record = _record(value_range=(0.0, 2047.0))
    assert range_of_chips(tmp_path, record, None) == (0.0, 2047.0)
    assert range_of_chips(tmp_path, record, (0.0, 2047.0)) == (0.0, 2047.0)
    assert range_of_chips(tmp_path, _record(), None) is None
    with pytest.raises(DataError, match=r"chips\.json.*0,2047.*1,2"):
        range_of_chips(tmp_path, record, (1.0, 2.0))
    with pytest.raises(DataError, match=r"chips\.json.*8-bit.*1,2"):
        range_of_chips(tmp_path, _record(), (1.0, 2.0))


def test_a_training_is_told_the_scene_and_of_a_missing_split(tmp_path):
    (note,) = chips_notes(tmp_path, _record(), is_divided=False)
    assert "60 m" in note
    assert "4,3,2" in note
    assert len(chips_notes(tmp_path, _record(labels=None), is_divided=False)) == 2
    assert len(chips_notes(tmp_path, _record(labels=None), is_divided=True)) == 1
    (tmp_path / "split.json").write_text("")
    assert len(chips_notes(tmp_path, _record(labels=None), is_divided=False)) == 1
