"""Read polygons of a vector file in the CRS of a raster."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.crs import CRS

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.scale import project

# The edges of a polygon are transformed in at least as many pieces.
_PIECES = 256


def read_polygons(path: Path, crs: CRS) -> list[shapely.Geometry]:
    """Return the polygons of a file's first layer.

    Parameters
    ----------
    path
        A GeoPackage, GeoJSON, Shapefile or another file that GDAL reads.
    crs
        The CRS to return them in.

    Raises
    ------
    RasterError
        If the file can't be read, has no CRS, or holds no polygon.
    """
    try:
        meta, _, wkb, _ = pyogrio.raw.read(path, columns=[])
    except (DataSourceError, DataLayerError) as error:
        raise RasterError(
            f"{path} can't be read as vector data ({error}): expected a file such as a GeoPackage"
        ) from error
    if meta["crs"] is None:
        raise RasterError(f"{path} has no coordinate reference system: assign one, for example in QGIS")
    own = CRS.from_user_input(meta["crs"])

    def moved(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack(project(own, crs, *points.T), axis=1)

    geometries = [shapely.make_valid(geometry) for geometry in shapely.from_wkb(wkb) if geometry is not None]
    polygons = [part for part in shapely.get_parts(geometries) if part.geom_type == "Polygon" and not part.is_empty]
    if not polygons:
        raise RasterError(f"{path} holds no polygon: expected at least one")
    return [
        shapely.transform(polygon, lambda points: np.stack(project(own, crs, *points.T), axis=1))
        for polygon in polygons
    ]
