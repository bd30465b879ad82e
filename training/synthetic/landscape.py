"""Drawn orthophotos with polygons of their classes, for `overfly demo --map`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
import rasterio
import shapely
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from overfly.runtime.raster.scale import longitude_latitude, project, transform_points
from overfly.runtime.reporter import Progress
from overfly.training.synthetic.canvas import REFERENCE_SIZE_PX
from overfly.training.synthetic.dataset import CLASSES, draw_sample

SCENE_M = 77.0
"""Side of a drawn scene on the ground, in meters."""

_SIZE = REFERENCE_SIZE_PX
_UTM = CRS.from_epsg(32632)
# At the central meridian of the projection, its scale is 0.9996.
_STEP = SCENE_M / _SIZE * 0.9996
# Scenes of one class lie together in patches of about this many.
_PATCH = 6


@dataclass(frozen=True, slots=True)
class Landscape:
    """A landscape of scenes side by side.

    Attributes
    ----------
    classes
        int64, shape ``[n_rows, n_columns]``: the index of each scene's class in `CLASSES`.
    northing
        Of its upper edge, in meters.
    first
        Number of the first scene of each class, so that landscapes have no scene in common.
    """

    classes: npt.NDArray[np.int64]
    northing: float
    first: int

    @property
    def transform(self) -> Affine:
        """From (column, row) of a pixel to meters."""
        return Affine(_STEP, 0, 500_000, 0, -_STEP, self.northing)


def make_landscape(n_rows: int, n_columns: int, *, northing: float, first: int, seed: int) -> Landscape:
    """Return a landscape in which each scene has the class of the nearest of some random places."""
    rng = np.random.default_rng(seed)
    n_places = max(len(CLASSES), n_rows * n_columns // _PATCH)
    places = rng.uniform(0, (n_rows, n_columns), (n_places, 2))
    of_place = rng.permutation(np.arange(n_places) % len(CLASSES))
    centers = np.indices((n_rows, n_columns)).transpose(1, 2, 0) + 0.5
    distances = np.hypot(*np.moveaxis(centers[:, :, None] - places, 3, 0))
    return Landscape(of_place[distances.argmin(axis=2)], northing, first)


def write_orthophoto(path: Path, landscape: Landscape, *, seed: int, progress: Progress | None = None) -> None:
    """Draw a landscape as a GeoTIFF.

    Parameters
    ----------
    path
        The file.
    landscape
        What to draw.
    seed
        Seed of the drawing.
    progress
        Called with (scenes drawn, all scenes).
    """
    n_rows, n_columns = landscape.classes.shape
    numbers = [landscape.first] * len(CLASSES)
    shape = {"height": n_rows * _SIZE, "width": n_columns * _SIZE, "count": 3, "dtype": "uint8"}
    place = {"crs": _UTM, "transform": landscape.transform}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, compress="deflate", tiled=True) as dataset:
        for done, ((row, column), label) in enumerate(np.ndenumerate(landscape.classes), start=1):
            scene = draw_sample(CLASSES[label], numbers[label], size=_SIZE, seed=seed)
            numbers[label] += 1
            window = Window(column * _SIZE, row * _SIZE, _SIZE, _SIZE)
            dataset.write(np.asarray(scene).transpose(2, 0, 1), window=window)
            if progress is not None:
                progress(done, landscape.classes.size)


def write_labels(path: Path, landscape: Landscape) -> None:
    """Write the outlines of each class as GeoJSON, in longitude and latitude."""
    polygons, names = [], []
    for label in np.unique(landscape.classes):
        rows, columns = np.nonzero(landscape.classes == label)
        polygons.append(shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1)))
        names.append(CLASSES[label])

    def to_degrees(cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        xs, ys = transform_points(landscape.transform, cells[:, 0] * _SIZE, cells[:, 1] * _SIZE)
        return np.stack(project(_UTM, longitude_latitude(), xs, ys), axis=1)

    outlines = shapely.transform(np.array(polygons, object), to_degrees)
    pyogrio.raw.write(
        path,
        shapely.to_wkb(outlines),
        [np.array(names, object)],
        ["class"],
        driver="GeoJSON",
        geometry_type="Unknown",
        crs="EPSG:4326",
    )
