"""The GeoTIFFs hold values, place, nodata, colors and overviews as rasterio reads them."""

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from overfly.runtime.mapping.outputs.geotiff import as_bands, cloud_optimized, geotiff


def test_values_and_metadata_come_back(place):
    values = np.arange(24, dtype=np.uint16).reshape(3, 4, 2)
    tags = {"maker": "test"}
    with geotiff(as_bands(values), place, nodata=9, descriptions=["a", "b"], scale=0.5, tags=tags) as memory:
        content = bytes(memory.getbuffer())
    with MemoryFile(content) as memory, memory.open() as dataset:
        np.testing.assert_array_equal(dataset.read().transpose(1, 2, 0), values)
        assert (dataset.crs, dataset.transform) == (place.crs, place.transform)
        assert dataset.descriptions == ("a", "b")
        assert dataset.scales == (0.5, 0.5)
        assert dataset.nodata == 9
        assert dataset.tags()["maker"] == "test"


@pytest.mark.parametrize("side", [4, 1200])
def test_a_class_raster_is_a_cog_with_colors_and_overviews_of_the_mode(place, tmp_path, side):
    rng = np.random.default_rng(0)
    values = np.where(rng.random((side, side)) < 0.8, 1, 2).astype(np.uint8)
    colors = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    with geotiff(values[None], place, nodata=255, descriptions=["class"], colors=colors) as memory:
        content = cloud_optimized(memory, resampling="MODE")
        assert cloud_optimized(memory, resampling="MODE") == content
    path = tmp_path / "class.tif"
    path.write_bytes(content)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), values)
        assert dataset.colormap(1)[2] == (7, 8, 9, 255)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        factors = dataset.overviews(1)
    assert bool(factors) == (side > 512)
    if factors:
        with rasterio.open(path, overview_level=0) as overview:
            small = overview.read(1)
        assert set(np.unique(small)) == {1, 2}
        assert (small == 1).mean() > 0.85  # the mode of four is the frequent value more often than each is
