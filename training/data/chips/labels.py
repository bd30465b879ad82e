"""Read labels, which are polygons or points in any CRS, into the coordinates of a raster."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import CRSError as LayerCRSError
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform_bounds
from shapely.errors import ShapelyError

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.scale import PROJECTION_ERRORS, project, transform_points
from overfly.runtime.raster.source import RasterSource

_VECTOR_ERRORS = (DataLayerError, DataSourceError, FeatureError, GeometryError, LayerCRSError)
# The column of the classes, where there are several columns of text.
_USUAL_NAMES = ("class", "label")
_TEXT_TYPES = {"object", "str", "string"}

_POINT, _POLYGON = shapely.GeometryType.POINT, shapely.GeometryType.POLYGON
_ACCEPTED = {_POINT, _POLYGON, shapely.GeometryType.MULTIPOINT, shapely.GeometryType.MULTIPOLYGON}
# Polygons are cut to the raster's surroundings, this part of its size wide.
_SURROUNDINGS = 0.1
# A straight edge is a curve in another CRS. It is transformed in pieces of this part of the raster's size: for a raster
# 10 km wide, the error is about a centimeter.
_PIECES = 64

Geometries = npt.NDArray[np.object_]
Names = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """A layer of vector data with a column of classes.

    Attributes
    ----------
    path
        The file.
    layer
        Name of the layer.
    field
        Name of the column.
    crs
        Of the geometries; x is east or longitude, and y is north or latitude, whatever its definition says.
    """

    path: Path
    layer: str
    field: str
    crs: CRS

    @property
    def files(self) -> list[Path]:
        """The file or, of a Shapefile, all its files."""
        if self.path.suffix.lower() != ".shp":
            return [self.path]
        return sorted(file for file in self.path.parent.iterdir() if file.stem == self.path.stem and file.is_file())


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of a raster, as single polygons and points in its coordinates.

    Attributes
    ----------
    geometries
        shapely geometries, shape ``[N]``.
    names
        The class of each, as text.
    n_without_class, n_without_place
        Number of features without a class, and of those without a geometry.
    """

    geometries: Geometries
    names: Names
    n_without_class: int
    n_without_place: int


def open_labels(path: Path, *, field: str | None = None, layer: str | None = None) -> LabelFile:
    """Find the layer, the column of the classes and the CRS of a file with labels.

    Parameters
    ----------
    path
        A GeoPackage, GeoJSON, Shapefile or another file that GDAL reads.
    field
        Name of the column; None takes the only one with text, or the one that is called class or label.
    layer
        Name of the layer; None takes the only one.

    Raises
    ------
    RasterError
        If the file can't be read, if its layer, column or CRS is missing, or if it is unclear which is meant.
    """
    if not path.exists():
        raise RasterError(f"{path} does not exist: expected labels such as a GeoPackage or GeoJSON")
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        layer = _choose_layer(path, layers, layer)
        info = pyogrio.read_info(path, layer=layer)
    except _VECTOR_ERRORS as error:
        raise _unreadable(path, error) from error
    if info["geometry_type"] is None:
        raise RasterError(f"{path} is a table without geometries, expected polygons or points: pass another file")
    try:
        crs = CRS.from_user_input(info["crs"]) if info["crs"] else None
    except CRSError as error:
        raise RasterError(f"{path} has an unknown CRS ({error}): assign another one, for example in QGIS") from error
    if crs is None:
        raise RasterError(f"{path} has no coordinate reference system: assign one, for example in QGIS")
    return LabelFile(path=path, layer=layer, field=_choose_field(path, info, field), crs=crs)


def read_labels(file: LabelFile, source: RasterSource) -> Labels:
    """Read the labels at a raster.

    Parameters
    ----------
    file
        What `open_labels` returned.
    source
        The raster.

    Raises
    ------
    RasterError
        If the raster has no CRS, or a label is neither a polygon nor a point.
    """
    if source.crs is None:
        raise RasterError(
            f"{source.path} has no coordinate reference system, so labels have no place in it: assign one, or cut it "
            "without labels with --grid"
        )
    bounds = _bounds(source, file.crs)
    try:
        _, _, geometries, columns = pyogrio.raw.read(
            file.path, layer=file.layer, columns=[file.field], bbox=bounds, force_2d=True
        )
        shapes = np.asarray(shapely.from_wkb(geometries), object)
    except (*_VECTOR_ERRORS, ShapelyError) as error:
        raise _unreadable(file.path, error) from error
    names = np.array([_class_name(value) for value in columns[0]], object)
    has_name, has_place = names != "", ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    is_usable = has_name & has_place
    shapes, names = _simple_parts(file, shapes[is_usable], names[is_usable])
    if file.crs != source.crs:
        try:
            shapes, names = _transform(shapes, names, file.crs, source.crs, bounds)
        except ValueError as error:
            raise RasterError(f"{file.path} has labels outside the area of its CRS ({error}): correct them") from error
    return Labels(
        geometries=shapes,
        names=names,
        n_without_class=int(np.count_nonzero(~has_name)),
        n_without_place=int(np.count_nonzero(has_name & ~has_place)),
    )


def _unreadable(path: Path, error: BaseException) -> RasterError:
    """Return the error for a file that can't be read."""
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return RasterError(f"{path} can't be read as vector data ({reason}): expected a GeoPackage, GeoJSON or Shapefile")


def _choose_layer(path: Path, layers: Sequence[str], layer: str | None) -> str:
    """Return the name of the layer to read."""
    if layer is None and len(layers) == 1:
        return layers[0]
    if layer is None or layer not in layers:
        found = f"the layers {', '.join(layers)}" if layers else "no layer"
        wanted = "one" if layer is None else f"the layer {layer}"
        raise RasterError(f"{path} has {found}, expected {wanted}: choose one with --layer")
    return layer


def _choose_field(path: Path, info: dict[str, Any], field: str | None) -> str:
    """Return the name of the column with the classes."""
    fields = [str(name) for name in info["fields"]]
    if field in fields:
        return str(field)
    found = f"the columns {', '.join(fields)}" if fields else "no columns"
    if field is not None:
        raise RasterError(f"{path} has {found}, expected the column {field}: choose one with --label-field")
    texts = [name for name, kind in zip(fields, info["dtypes"], strict=True) if str(kind) in _TEXT_TYPES]
    usual = [name for name in fields if name.lower() in _USUAL_NAMES]
    for candidates in (texts, usual):
        if len(candidates) == 1:
            return candidates[0]
    raise RasterError(
        f"{path} has {found}, expected one column with text, or one called class or label: choose one with "
        "--label-field"
    )


def _class_name(value: object) -> str:
    """Return the class that a value of the column says; empty if it says none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    # A column of whole numbers with gaps is read as one of floating-point numbers.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _bounds(source: RasterSource, crs: CRS) -> tuple[float, float, float, float] | None:
    """Return the area of a raster and its surroundings in another CRS; None if it has no simple bounds there."""
    xs, ys = transform_points(source.transform, np.array([0.0, source.width]), np.array([0.0, source.height]))
    corners = xs.min(), ys.min(), xs.max(), ys.max()
    try:
        west, south, east, north = transform_bounds(source.crs, crs, *corners)
    except (RasterioError, *PROJECTION_ERRORS) as error:
        raise RasterError(
            f"{source.path} has no place in the CRS of the labels ({error}): check the CRS of both"
        ) from error
    if not np.isfinite([west, south, east, north]).all() or west > east:
        return None
    x, y = (east - west) * _SURROUNDINGS, (north - south) * _SURROUNDINGS
    return west - x, south - y, east + x, north + y


def _simple_parts(file: LabelFile, shapes: Geometries, names: Names) -> tuple[Geometries, Names]:
    """Return valid polygons and points, each with its class; raise a RasterError if there is anything else."""
    types = shapely.get_type_id(shapes)
    if (other := ~np.isin(types, list(_ACCEPTED))).any():
        found = shapes[other][0].geom_type
        raise RasterError(
            f"{file.path} has geometries of the type {found}, expected polygons or points: leave them out, or draw "
            "polygons around them"
        )
    parts, owners = shapely.get_parts(shapely.make_valid(shapes), return_index=True)
    # What is left of an invalid polygon may be a collection, with lines in it.
    parts, deeper = shapely.get_parts(parts, return_index=True)
    owners = owners[deeper]
    is_polygon = shapely.get_type_id(parts) == _POLYGON
    is_usable = is_polygon | np.isin(types[owners], [_POINT, shapely.GeometryType.MULTIPOINT])
    return parts[is_usable], names[owners[is_usable]]


def _transform(
    shapes: Geometries, names: Names, source: CRS, target: CRS, bounds: tuple[float, float, float, float] | None
) -> tuple[Geometries, Names]:
    """Return geometries in another CRS, those that are within `bounds`."""
    if bounds is not None:
        shapes = shapely.intersection(shapes, shapely.box(*bounds))
        longest = max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / _PIECES
        shapes, owners = shapely.get_parts(shapely.segmentize(shapes, longest), return_index=True)
        is_usable = np.isin(shapely.get_type_id(shapes), [_POINT, _POLYGON]) & ~shapely.is_empty(shapes)
        shapes, names = shapes[is_usable], names[owners[is_usable]]

    def to_target(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack(project(source, target, points[:, 0], points[:, 1]), axis=1) if len(points) else points

    return np.asarray(shapely.make_valid(shapely.transform(shapes, to_target)), object), names
