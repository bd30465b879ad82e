"""Drawn rasters, small enough to check by hand."""

import numpy as np
import pytest
import rasterio
from affine import Affine

UTM = "EPSG:32632"


@pytest.fixture
def draw_raster(tmp_path):
    """A function that writes a GeoTIFF with the given values, shape [bands, H, W], and returns its path."""

    def draw(values, name="a.tif", *, crs=UTM, transform=None, mask=None, colormap=None, gcps=None, **choices):
        path = tmp_path / name
        count, height, width = values.shape
        where = {} if gcps else {"crs": crs, "transform": transform or Affine(2, 0, 500_000, 0, -2, 5_000_000)}
        profile = {"driver": "GTiff", "dtype": values.dtype, "count": count, "height": height, "width": width}
        with rasterio.open(path, "w", **profile, **where, **choices) as dataset:
            dataset.write(values)
            if gcps:
                dataset.gcps = gcps, crs
            if colormap:
                dataset.write_colormap(1, colormap)
            if mask is not None:
                dataset.write_mask(mask)
        return path

    return draw


@pytest.fixture
def noise():
    """A function that returns random values of shape [bands, H, W], 1 to 254 by default."""

    def values(bands=3, height=20, width=30, dtype=np.uint8, high=254):
        return np.random.default_rng(0).integers(1, high, (bands, height, width), dtype=dtype, endpoint=True)

    return values
