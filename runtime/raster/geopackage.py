"""Make GeoPackages in memory: their bytes are then written like every other file, and a full disk is noticed."""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from rasterio.crs import CRS

# GDAL 3.6, which is part of QGIS 3.22, warns of a later version.
_VERSION = "1.2"
_FIXED_TIME = "2000-01-01T00:00:00.000Z"


def geopackage(
    polygons: npt.NDArray[np.object_],
    columns: Mapping[str, npt.NDArray[Any]],
    *,
    layer: str,
    crs: CRS | None,
    spatial_index: bool = True,
) -> bytes:
    """Return a GeoPackage with one layer of polygons; the same content has the same bytes.

    Parameters
    ----------
    polygons
        shapely polygons, shape ``[N]``.
    columns
        The values of each column, shape ``[N]``, by its name; texts as objects.
    layer
        Name of the layer.
    crs
        Of the polygons; None if they have none.
    spatial_index
        False for a table that is to be edited: programs without GDAL's functions can't change one with an index.
    """
    content = io.BytesIO()
    with _fixed_time(), warnings.catch_warnings():
        # pyogrio would warn of what the user knows.
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.raw.write(
            content,
            shapely.to_wkb(polygons),
            list(columns.values()),
            list(columns),
            driver="GPKG",
            layer=layer,
            geometry_type="Polygon",
            crs=None if crs is None else crs.to_wkt(),
            dataset_options={"VERSION": _VERSION},
            layer_options={"SPATIAL_INDEX": "YES" if spatial_index else "NO"},
        )
    return content.getvalue()


@contextmanager
def _fixed_time() -> Iterator[None]:
    """Make GDAL write a fixed time instead of the present one."""
    name = "OGR_CURRENT_DATE"
    before: Any = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: _FIXED_TIME})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})
