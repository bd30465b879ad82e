"""The files of a map say the same as its probabilities."""

import numpy as np
import pytest
import rasterio

from overfly.runtime.mapping.outputs.files import MapContent, write_outputs
from overfly.runtime.mapping.sums import NO_DATA, ONE


@pytest.mark.parametrize("n_classes", [3, 300])
def test_rasters_agree(place, tmp_path, n_classes):
    rng = np.random.default_rng(0)
    values = rng.integers(0, ONE, (5, 6, n_classes), np.uint16)
    values[0, 0] = NO_DATA
    classes = tuple(f"class {i}" for i in range(n_classes))
    content = MapContent(
        title="field",
        classes=classes,
        place=place,
        probabilities=values,
        areas=np.full((5, 6), 10_000.0),
        inside=None,
        min_probability=0.0,
        picture=np.zeros((10, 12, 3), np.uint8),
        cell_m=(100.0, 100.0),
    )
    stages = []
    figures, n_empty, names = write_outputs(tmp_path, content, lambda *stage: stages.append(stage))
    assert set(names) == {path.name for path in tmp_path.iterdir()}
    assert set(stages) == {(f"writing {name}", done, 1) for name in names for done in (0, 1)}
    assert n_empty == 1
    assert sum(row.cells for row in figures) == 29
    with rasterio.open(tmp_path / "probabilities.tif") as dataset:
        assert dataset.descriptions == classes
        assert dataset.nodata == NO_DATA
        probabilities = dataset.read()
    with rasterio.open(tmp_path / "class.tif") as dataset:
        indices, filled = dataset.read(1), dataset.read_masks(1) > 0
        assert dataset.transform == place.transform
    with rasterio.open(tmp_path / "confidence.tif") as dataset:
        confidence = dataset.read(1)
    assert filled.sum() == 29
    np.testing.assert_array_equal(indices[filled], probabilities.argmax(axis=0)[filled])
    np.testing.assert_array_equal(confidence, probabilities.max(axis=0))
