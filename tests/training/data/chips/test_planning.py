"""Names of scenes are unique, and every class can name a folder on every system."""

from pathlib import Path

import pytest

from overfly.runtime.errors import RasterError
from overfly.runtime.files.hashing import sha256_files
from overfly.runtime.raster.source import RasterSource
from overfly.training.data.chips.planning import ClassChoices, check_class_names, file_stems, plan_raster


def test_rasters_of_the_same_name_are_numbered():
    paths = [Path("a/x.tif"), Path("b/X.tif"), Path("c/y.tif"), Path(".z.tif")]
    assert file_stems(paths) == ["x-1", "X-2", "y", "z"]


@pytest.mark.parametrize("name", ["a/b", "a\\b", "con", "..", ".hidden", "a.", "a\tb", 'a"b', "x" * 201])
def test_a_class_that_can_name_no_folder_is_named(name):
    with pytest.raises(RasterError) as caught:
        check_class_names(["field", name])
    assert repr(name) in str(caught.value)


def test_classes_that_differ_only_in_case_are_named():
    with pytest.raises(RasterError, match=r"'Water' and 'water'"):
        check_class_names(["Water", "field", "water"])
    check_class_names(["Wald & Wiese", "été", "buildings (dense)"])


def test_a_plan_without_labels_has_all_windows(draw_raster, noise):
    path = draw_raster(noise())
    with RasterSource(path) as source:
        choices = ClassChoices(min_cover=0.5, outside=None)
        plan = plan_raster(source, "a", scene_m=20, stride_m=20, labels=None, choices=choices)
    assert plan.chosen.tolist() == [0, 1, 2, 3, 4, 5]
    assert set(plan.labels) == {"unlabeled"}
    assert (plan.record.width, plan.record.height, plan.record.crs) == (30, 20, "EPSG:32632")
    assert plan.record.sha256 == sha256_files([path])


def test_the_hash_of_several_files_covers_each(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text("1")
    before = sha256_files(files)
    files[1].write_text("2")
    assert sha256_files(files) != before
