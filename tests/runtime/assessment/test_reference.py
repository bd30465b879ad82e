import json

import numpy as np
import pyogrio
import pytest

from overfly.runtime.assessment.reference import read_labels, read_reference
from overfly.runtime.assessment.sample_files import write_sample
from overfly.runtime.errors import RasterError


@pytest.fixture
def csv(class_map, tmp_path):
    """A function that writes rows below a heading; ``KEY`` stands for the map's key."""

    def write(*rows, head="id,reference"):
        path = tmp_path / "labels.csv"
        path.write_text("\n".join((head, *rows)).replace("KEY", class_map.key) + "\n", encoding="utf-8-sig")
        return path

    return write


def test_labels_are_counted_by_the_class_on_the_map(class_map, csv):
    path = csv("KEY-0-0,water", "KEY-0-1,field", "KEY-6-10,forest", "KEY-6-11, field ", "KEY-19-0,field", "KEY-18-0,")
    found = read_reference(path, class_map)
    # Cells 0-0 and 0-1 are water on the map, 6-10 and 6-11 forest, 19-0 field.
    assert found.counts.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    assert found.n_blank == 1


def test_the_columns_may_be_among_others_in_any_order(class_map, csv):
    path = csv("9,water,KEY-0-0", "8,,KEY-0-1", ",,", head="fid,Reference,ID")
    assert read_labels(path) == [(f"{class_map.key}-0-0", "water"), (f"{class_map.key}-0-1", "")]


def test_semicolons_as_a_spreadsheet_writes_them(class_map, csv):
    path = csv("KEY-0-0;water", head="id;reference")
    assert read_labels(path) == [(f"{class_map.key}-0-0", "water")]


def test_geojson_with_missing_labels_and_numbers(tmp_path):
    path = tmp_path / "labels.geojson"
    rows = [{"id": "a", "reference": 7}, {"id": "b", "reference": None}]
    features = [{"type": "Feature", "geometry": None, "properties": row} for row in rows]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert read_labels(path) == [("a", "7"), ("b", "")]


def test_the_geopackage_itself_also_with_another_layer_before(class_map, tmp_path):
    write_sample(class_map.folder, 10, out=tmp_path / "sample")
    path = tmp_path / "sample" / "sample.gpkg"
    styles = [np.array(["style"], object)]
    pyogrio.raw.write(path, None, styles, ["name"], layer="a_style", geometry_type=None, append=True)
    labels = read_labels(path)
    assert len(labels) == 10
    assert {label for _, label in labels} == {""}
    with pytest.raises(RasterError, match="no label in its 10 cells"):
        read_reference(path, class_map)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (["KEY-0-0,lake"], "'lake' .*field, forest, water"),
        (["KEY-0-0,Water"], "did you mean 'water'"),
        (["00000000-0-0,water"], "another map"),
        (["00000000-0-0,"], "another map"),
        (["12,water"], "'12'"),
        (["KEY-20-0,field"], "KEY-20-0"),
        (["KEY-19-29,field"], "KEY-19-29"),
        (["KEY-0-0,water", "KEY-0-0,"], "twice"),
        (["KEY-0-0,"], "no label in its 1 cells"),
    ],
)
def test_what_does_not_fit_the_map_is_named(class_map, csv, rows, named):
    path = csv(*rows)
    with pytest.raises(RasterError, match=named.replace("KEY", class_map.key)) as caught:
        read_reference(path, class_map)
    assert str(path) in str(caught.value)


def test_a_file_without_the_columns(class_map, csv):
    with pytest.raises(RasterError, match="'id' and 'reference'"):
        read_reference(csv("KEY-0-0,water", head="id,label"), class_map)


@pytest.mark.parametrize("content", [None, b"nothing that GDAL knows"])
def test_a_file_that_can_not_be_read(tmp_path, content):
    path = tmp_path / "labels.gpkg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RasterError, match=r"labels\.gpkg"):
        read_labels(path)
