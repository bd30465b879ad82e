"""Rasters of noise, and what a map of them must be, computed window by window in the plainest way."""

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from overfly.runtime.mapping.job import MapJob, make_maps

SIZE = 8  # side of the images of the hand-made bundle in pixels
UTM = "EPSG:32632"
# Pixels of 2 m in the projection; at its central meridian the scale is 0.9996.
TRANSFORM = Affine(2, 0, 500_000, 0, -2, 5_000_000)
# The side of a window of `SIZE` pixels on the ground.
SCENE_M = SIZE * 2 / 0.9996


@pytest.fixture
def write_raster(tmp_path):
    """A function that writes pixels of shape [H, W, 3] as a GeoTIFF and returns its path."""

    def write(pixels, name="field.tif", *, crs=UTM, transform=TRANSFORM, mask=None, **choices):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        height, width, count = pixels.shape
        profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": count, "height": height, "width": width}
        with rasterio.open(path, "w", **profile, crs=crs, transform=transform, **choices) as dataset:
            dataset.write(pixels.transpose(2, 0, 1))
            if mask is not None:
                dataset.write_mask(mask)
        return path

    return write


@pytest.fixture
def raster(write_raster, pixels):
    """A raster of noise of 10 x 7 windows."""
    return write_raster(pixels(7 * SIZE, 10 * SIZE))


@pytest.fixture
def make_map(tmp_path, make_bundle):
    """A function that maps rasters with the hand-made bundle and returns the result."""
    bundle = []

    def make(*rasters, out=None, resume=False, overwrite=False, reporter=None, **choices):
        if not bundle:
            bundle.append(make_bundle())
        choices = {"scene_m": SCENE_M, "device": "CPU", "variant": "fp32"} | choices
        job = MapJob(bundle=bundle[0], rasters=rasters, out=out or tmp_path / "map", **choices)
        more = {} if reporter is None else {"reporter": reporter}
        return make_maps(job, resume=resume, overwrite=overwrite, **more)

    return make


@pytest.fixture
def expected_probabilities(expected_logits):
    """A function that returns the mean probabilities of each cell, [rows, columns, n_classes]: NaN without windows.

    Missing pixels must be filled already, and `classified` says which windows count.
    """

    def compute(pixels, per_side, classified):
        n_rows, n_columns = classified.shape
        stride = SIZE // per_side
        sums, counts = np.zeros((n_rows, n_columns, 4)), np.zeros((n_rows, n_columns, 1))
        for row, column in np.argwhere(classified):
            window = pixels[row * stride : row * stride + SIZE, column * stride : column * stride + SIZE]
            exponentials = np.exp(expected_logits(window[None])[0])
            cells = np.s_[row : row + per_side, column : column + per_side]
            sums[cells] += exponentials / exponentials.sum()
            counts[cells] += 1
        with np.errstate(invalid="ignore"):
            return sums / counts

    return compute
