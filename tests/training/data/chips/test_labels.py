"""Labels are read in any CRS and with any axis order, and what can't be used is named."""

import json
import sys

import numpy as np
import pyogrio
import pytest
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.scale import project
from overfly.runtime.raster.source import RasterSource
from overfly.training.data.chips.labels import open_labels, read_labels

# Inside of the raster: its corner is at 500000, 5000000, and it is 60 m wide and 40 m high.
SQUARE = shapely.box(500_010, 4_999_970, 500_030, 4_999_990)


@pytest.fixture
def source(draw_raster, noise):
    with RasterSource(draw_raster(noise())) as opened:
        yield opened


def _moved(geometry, crs, source="EPSG:32632"):
    def move(points):
        return np.stack(project(CRS.from_string(source), CRS.from_string(crs), *points.T), axis=1)

    return shapely.transform(geometry, move)


# The axes of 4326, 31468 and 3035 have north first by definition, those of 32632 and 3857 east.
@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3857", "EPSG:31468", "EPSG:3035"])
@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a.gml", "a.fgb"])
def test_labels_come_right_from_every_crs_and_format(draw_labels, source, crs, name):
    if name == "a.geojson" and crs != "EPSG:4326":
        pytest.skip("GeoJSON is longitude and latitude")
    path = draw_labels([_moved(SQUARE, crs)], name, crs=crs, kind=["field"])
    labels = read_labels(open_labels(path, field="kind"), source)
    assert labels.names.tolist() == ["field"]
    assert shapely.hausdorff_distance(labels.geometries[0], SQUARE) < 0.05


def test_labels_come_right_in_a_raster_with_north_first_axes(draw_labels, draw_raster, noise):
    x, y = shapely.get_coordinates(_moved(shapely.Point(500_000, 5_000_000), "EPSG:31468"))[0]
    path = draw_raster(noise(), "north.tif", crs="EPSG:31468", transform=Affine(2, 0, x, 0, -2, y))
    with RasterSource(path) as source:
        labels = read_labels(open_labels(draw_labels([SQUARE], kind=["field"])), source)
    assert shapely.hausdorff_distance(labels.geometries[0], _moved(SQUARE, "EPSG:31468")) < 0.05


def test_a_long_edge_is_a_curve_in_another_crs(draw_labels, draw_raster, noise):
    # 60 km wide: a parallel of latitude bends by 100 m in UTM.
    path = draw_raster(noise(), "wide.tif", transform=Affine(2000, 0, 200_000, 0, -2000, 5_020_000))
    edge = 45.0
    with RasterSource(path) as source:
        labels = read_labels(
            open_labels(draw_labels([shapely.box(0, edge, 20, 60)], crs="EPSG:4326", kind=["a"])), source
        )
        middle = _moved(shapely.Point(230_000, 4_990_000), "EPSG:4326").x
        point = _moved(shapely.Point(middle, edge), "EPSG:32632", "EPSG:4326")
    assert labels.geometries[0].boundary.distance(point) < 1


def test_only_labels_at_the_raster_are_read(draw_labels, source):
    far = shapely.box(600_000, 5_000_000, 600_100, 5_000_100)
    assert read_labels(open_labels(draw_labels([far, SQUARE], kind=["a", "b"])), source).names.tolist() == ["b"]


def test_invalid_and_multi_part_geometries_are_mended_and_taken_apart(draw_labels, source):
    left, bottom, right, top = SQUARE.bounds
    bow_tie = shapely.Polygon([(left, bottom), (right, top), (right, bottom), (left, top)])
    two = shapely.MultiPolygon([shapely.box(left, bottom, left + 5, top), shapely.box(right - 5, bottom, right, top)])
    points = shapely.MultiPoint([(left, bottom), (right, top)])
    path = draw_labels([bow_tie, two, points, None], "a.gpkg", kind=["a", "b", "c", "d"])
    labels = read_labels(open_labels(path), source)
    areas = dict.fromkeys("abc", 0.0)
    for geometry, name in zip(labels.geometries, labels.names, strict=True):
        assert geometry.is_valid
        areas[name] += geometry.area
    assert areas == pytest.approx({"a": 200, "b": two.area, "c": 0})
    assert (labels.names == "c").sum() == 2


def test_features_without_a_class_are_counted(draw_labels, source):
    path = draw_labels([SQUARE] * 3, kind=np.array(["a", None, " "], object))
    labels = read_labels(open_labels(path), source)
    assert (labels.names.tolist(), labels.n_without_class) == (["a"], 2)


def test_numbers_can_be_classes(draw_labels, source):
    path = draw_labels([SQUARE] * 2, label=np.array([7.0, np.nan]))
    labels = read_labels(open_labels(path), source)
    assert (labels.names.tolist(), labels.n_without_class) == (["7"], 1)


def test_the_column_is_the_only_text_or_has_a_usual_name(draw_labels):
    assert open_labels(draw_labels([SQUARE], "a.gpkg", size=[1], use=["x"])).field == "use"
    assert open_labels(draw_labels([SQUARE], "b.gpkg", note=["y"], Class=["x"])).field == "Class"
    path = draw_labels([SQUARE], "c.gpkg", note=["y"], use=["x"])
    assert open_labels(path, field="use").field == "use"
    for field in (None, "size"):
        with pytest.raises(RasterError, match=r"c\.gpkg has the columns note, use.*--label-field"):
            open_labels(path, field=field)


def test_a_file_with_several_layers_needs_a_choice(draw_labels):
    path = draw_labels([SQUARE], kind=["a"])
    wkb = shapely.to_wkb(np.array([SQUARE], object))
    pyogrio.raw.write(
        path, wkb, [np.array(["b"])], ["kind"], layer="more", crs="EPSG:32632", geometry_type="Polygon", append=True
    )
    assert open_labels(path, layer="more").layer == "more"
    for layer in (None, "other"):
        with pytest.raises(RasterError, match=r"labels\.gpkg has the layers labels, more.*--layer"):
            open_labels(path, layer=layer)


def test_lines_are_named(draw_labels, source):
    path = draw_labels([shapely.LineString([(500_000, 4_999_970), (500_010, 4_999_980)])], kind=["road"])
    with pytest.raises(RasterError, match=r"labels\.gpkg.*LineString"):
        read_labels(open_labels(path), source)


def test_a_raster_without_crs_takes_no_labels(draw_labels, draw_raster, noise):
    file = open_labels(draw_labels([SQUARE], kind=["a"]))
    with (
        RasterSource(draw_raster(noise(), "none.tif", crs=None), gsd=1) as source,
        pytest.raises(RasterError, match=r"none\.tif.*--grid"),
    ):
        read_labels(file, source)


def test_files_that_hold_no_labels_are_named(tmp_path):
    with pytest.raises(RasterError, match=r"a\.gpkg does not exist"):
        open_labels(tmp_path / "a.gpkg")
    (tmp_path / "b.gpkg").write_text("nothing")
    with pytest.raises(RasterError, match=r"b\.gpkg.*GeoPackage"):
        open_labels(tmp_path / "b.gpkg")
    (tmp_path / "c.csv").write_text("class\nfield\n")
    with pytest.raises(RasterError, match=r"c\.csv.*without geometries"):
        open_labels(tmp_path / "c.csv")


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_labels_without_crs_are_named(draw_labels):
    with pytest.raises(RasterError, match=r"labels\.gpkg has no coordinate reference system"):
        open_labels(draw_labels([SQUARE], crs=None, kind=["a"]))


def test_all_files_of_a_shapefile_are_its_files(draw_labels):
    names = {file.suffix for file in open_labels(draw_labels([SQUARE], "a.shp", kind=["a"])).files}
    assert {".shp", ".dbf", ".shx", ".prj"} <= names


def test_the_files_of_a_shapefile_are_in_the_same_order_on_every_system(draw_labels):
    path = draw_labels([SQUARE], "a.shp", kind=["a"])
    labels = open_labels(path)
    path.with_suffix(".shx").rename(path.with_suffix(".other")).rename(path.with_suffix(".SHX"))  # Wine needs both
    (path.parent / "ab.shp").touch()
    names = [file.name for file in labels.files]
    assert names[0] == "a.SHX"
    assert names == sorted(names)
    assert {"a.dbf", "a.shp"} < {*names}
    assert "ab.shp" not in names


@pytest.mark.skipif(sys.platform != "win32", reason="only Windows finds a file by its name in another case")
def test_a_shapefile_in_another_case_has_all_its_files(draw_labels):
    path = draw_labels([SQUARE], "a.shp", kind=["a"])
    assert open_labels(path.with_name("A.SHP")).files == open_labels(path).files


def test_geojson_with_a_z_coordinate_is_flat(tmp_path, source):
    ring = [[*point, 12.0] for point in shapely.get_coordinates(_moved(SQUARE, "EPSG:4326")).tolist()]
    feature = {"type": "Feature", "properties": {"kind": "a"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (tmp_path / "z.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    labels = read_labels(open_labels(tmp_path / "z.geojson"), source)
    assert not labels.geometries[0].has_z
    assert shapely.hausdorff_distance(labels.geometries[0], SQUARE) < 0.01
