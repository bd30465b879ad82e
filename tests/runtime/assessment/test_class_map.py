import json

import numpy as np
import pytest
import rasterio

from overfly.runtime.assessment.class_map import EMPTY, read_class_map
from overfly.runtime.errors import DocumentError, RasterError


def test_cells_and_areas_of_the_classes(class_map):
    assert class_map.classes == ("field", "forest", "water")
    assert class_map.cells.tolist() == [436, 140, 18]
    assert class_map.indices.dtype == np.int32
    assert (class_map.indices == EMPTY).sum() == 6
    # A cell of 10 m in this part of UTM zone 17 has 100.0 to 100.1 m2 on the ellipsoid.
    assert class_map.areas_m2 == pytest.approx([43_600, 14_000, 1_800], rel=2e-3)
    assert (class_map.areas_m2 != [43_600, 14_000, 1_800]).all()
    assert class_map.weights.sum() == pytest.approx(1)
    assert class_map.area_ratio == pytest.approx(1, abs=1e-4)
    assert class_map.sha256.startswith(class_map.key)
    assert len(class_map.key) == 8


def test_without_a_crs_the_areas_are_those_of_the_map(write_class_map, tmp_path):
    indices = np.array([[0, 0, 1], [0, 255, 1]], np.uint8)
    read = read_class_map(write_class_map(tmp_path / "map", indices, crs=None))
    assert read.crs is None
    assert read.areas_m2.tolist() == [300.0, 200.0, 0.0]


def test_degrees_are_weighted_by_their_area(write_class_map, tmp_path):
    folder = write_class_map(tmp_path / "map", np.array([[0], [1]], np.uint8))
    with rasterio.open(folder / "class.tif", "r+") as dataset:
        dataset.crs = "EPSG:4326"
        dataset.transform = rasterio.Affine(1, 0, 10, 0, -30, 60)
    read = read_class_map(folder)
    # The area between two parallels of a sphere: sin(60) - sin(30) against sin(30) - sin(0).
    assert read.weights[:2] == pytest.approx([0.4226, 0.5774], abs=2e-3)
    assert read.area_ratio == pytest.approx(1.366, abs=0.01)


def test_a_folder_of_several_maps_names_them(write_class_map, tmp_path):
    for name in ("east", "west"):
        write_class_map(tmp_path / "maps" / name, np.zeros((2, 2), np.uint8))
    with pytest.raises(RasterError, match=r"east, west"):
        read_class_map(tmp_path / "maps")


def test_no_map(tmp_path):
    with pytest.raises(DocumentError, match=r"map\.json"):
        read_class_map(tmp_path)


def test_a_damaged_class_file(class_map_folder):
    (class_map_folder / "class.tif").write_bytes(b"no TIFF")
    with pytest.raises(RasterError, match=r"class\.tif"):
        read_class_map(class_map_folder)


@pytest.mark.parametrize(
    ("key", "value", "named"), [("n_columns", 31, "31 x 20"), ("classes", ["field", "forest"], "names 2")]
)
def test_a_class_file_that_does_not_fit_the_record(class_map_folder, key, value, named):
    path = class_map_folder / "map.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(RasterError, match=named):
        read_class_map(class_map_folder)


def test_a_map_without_any_class(write_class_map, tmp_path):
    folder = write_class_map(tmp_path / "map", np.full((3, 3), 255, np.uint8))
    with pytest.raises(RasterError, match=r"class\.tif"):
        read_class_map(folder)
