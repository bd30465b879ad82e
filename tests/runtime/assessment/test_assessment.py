import numpy as np
import pytest
import rasterio

from overfly.runtime.assessment.assessment import assess
from overfly.runtime.errors import RasterError


def test_a_map_that_is_right_everywhere_but_in_four_cells(class_map, labeled):
    path = labeled({0: "water", 1: "water", 2: "forest", 3: ""})
    found = assess(class_map.folder, path)
    matrix = np.array(found.error_matrix)
    assert [one.name for one in found.classes] == ["field", "forest", "water"]
    assert (found.n_labeled, found.n_blank) == (59, 1)
    assert matrix.sum() == 59
    assert [one.n_map for one in found.classes] == matrix.sum(axis=1).tolist()
    assert [one.n_reference for one in found.classes] == matrix.sum(axis=0).tolist()
    weights = np.array([436, 140, 18]) / 594
    right = float(weights @ (np.diagonal(matrix) / matrix.sum(axis=1)))
    assert found.overall_accuracy.value == pytest.approx(right, rel=1e-4)
    water = weights @ (matrix[:, 2] / matrix.sum(axis=1)) * class_map.areas_m2.sum()
    assert found.classes[2].area_m2.value == pytest.approx(water, rel=1e-4)
    assert found.classes[2].area_m2.low < water < found.classes[2].area_m2.high
    assert sum(one.area_m2.value for one in found.classes) == pytest.approx(class_map.areas_m2.sum())
    assert any("1 of 60 cells have no label" in note for note in found.notes)


def test_a_map_without_any_error_says_how_many_may_be_unseen(class_map, labeled):
    found = assess(class_map.folder, labeled())
    assert found.overall_accuracy.value == pytest.approx(1)
    # Each class of the map agrees with itself, which does not mean that no cell can differ.
    note, about_producers = found.notes
    assert "'field', 'forest', 'water'" in note
    assert "is labeled 'field', 'forest', 'water'" in about_producers
    n_fewest = min(one.n_map for one in found.classes)
    assert f"up to {1 - 0.05 ** (1 / n_fewest):.0%}" in note


def test_a_label_that_the_map_shows_nowhere_gets_an_area(write_class_map, tmp_path):
    folder = write_class_map(tmp_path / "new", np.zeros((4, 5), np.uint8))
    path = write_labels(folder, tmp_path, {(0, 0): "forest", (0, 1): "field", (0, 2): "field", (0, 3): "field"})
    found = assess(folder, path)
    assert [one.name for one in found.classes] == ["field", "forest"]
    assert found.error_matrix == ((3, 1), (0, 0))
    assert found.classes[1].area_m2.value == pytest.approx(500, rel=2e-3)
    assert (found.classes[1].users_accuracy, found.classes[1].producers_accuracy.value) == (None, 0.0)


@pytest.mark.parametrize(
    ("labels", "named", "unknown"),
    [
        ({(0, 0): "field", (0, 1): "field"}, "no cell of 'forest' is labeled", "value"),
        ({(0, 0): "field", (0, 1): "field", (3, 0): "forest"}, "only one cell of 'forest' is labeled", "error"),
    ],
)
def test_a_class_with_few_labels_is_named(write_class_map, tmp_path, labels, named, unknown):
    indices = np.zeros((4, 5), np.uint8)
    indices[3] = 1
    folder = write_class_map(tmp_path / "new", indices)
    found = assess(folder, write_labels(folder, tmp_path, labels))
    assert any(named in note for note in found.notes)
    if unknown == "value":
        assert found.overall_accuracy is None
        assert found.classes[0].area_m2 is None
    else:
        assert found.overall_accuracy.value == pytest.approx(1)
        assert found.overall_accuracy.low is None
    assert found.classes[0].users_accuracy.standard_error == 0


def test_cells_of_very_different_areas_are_noted(write_class_map, tmp_path):
    folder = write_class_map(tmp_path / "new", np.zeros((2, 2), np.uint8))
    with rasterio.open(folder / "class.tif", "r+") as dataset:
        dataset.crs = "EPSG:4326"
        dataset.transform = rasterio.Affine(1, 0, 10, 0, -30, 60)
    path = write_labels(folder, tmp_path, {(0, 0): "field", (1, 0): "forest"})
    assert "1.36 times" in assess(folder, path).notes[-1]


def test_the_sample_of_another_map_is_rejected(class_map, labeled, write_class_map, tmp_path):
    path = labeled()
    other = write_class_map(tmp_path / "other", class_map.indices.clip(0).astype(np.uint8))
    with pytest.raises(RasterError, match=r"labels\.csv is a sample of another map.*other"):
        assess(other, path)


def write_labels(folder, tmp_path, labels):
    """Write a CSV file with the labels of cells, given by row and column."""
    from overfly.runtime.assessment.class_map import read_class_map

    key = read_class_map(folder).key
    path = tmp_path / "labels.csv"
    lines = [f"{key}-{row}-{column},{label}\n" for (row, column), label in labels.items()]
    path.write_text("id,reference\n" + "".join(lines))
    return path
