"""Read labels, which are polygons or points in any CRS, into the coordinates of a raster."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from rasterio.crs import CRS

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.source import RasterSource
from overfly.runtime.raster.vectors import (
    VECTOR_ERRORS,
    bounds_in,
    layer_crs,
    simple_parts,
    transform_shapes,
    unreadable,
)

# The column of the classes, where there are several columns of text.
_USUAL_NAMES = ("class", "label")
_TEXT_TYPES = {"object", "str", "string"}

_POINT, _POLYGON = shapely.GeometryType.POINT, shapely.GeometryType.POLYGON
_ACCEPTED = {_POINT, _POLYGON, shapely.GeometryType.MULTIPOINT, shapely.GeometryType.MULTIPOLYGON}
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
        base = self.path.with_suffix("")  # paths of Windows ignore the case, as its files do; the order must not
        files = [file for file in self.path.parent.iterdir() if file.with_suffix("") == base and file.is_file()]
        return sorted(files, key=lambda file: file.name)


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
    except VECTOR_ERRORS as error:
        raise unreadable(path, error) from error
    if info["geometry_type"] is None:
        raise RasterError(f"{path} is a table without geometries, expected polygons or points: pass another file")
    return LabelFile(path=path, layer=layer, field=_choose_field(path, info, field), crs=layer_crs(path, info["crs"]))


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
    bounds = bounds_in(source, file.crs)
    try:
        _, _, geometries, columns = pyogrio.raw.read(
            file.path, layer=file.layer, columns=[file.field], bbox=bounds, force_2d=True
        )
        shapes = np.asarray(shapely.from_wkb(geometries), object)
    except VECTOR_ERRORS as error:
        raise unreadable(file.path, error) from error
    names = np.array([_class_name(value) for value in columns[0]], object)
    has_name, has_place = names != "", ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    is_usable = has_name & has_place
    shapes, names = _simple_parts(file, shapes[is_usable], names[is_usable])
    try:
        shapes, owners = transform_shapes(shapes, file.crs, source, bounds)
    except ValueError as error:
        raise RasterError(f"{file.path} has labels outside the area of its CRS ({error}): correct them") from error
    names = names[owners]
    return Labels(
        geometries=shapes,
        names=names,
        n_without_class=int(np.count_nonzero(~has_name)),
        n_without_place=int(np.count_nonzero(has_name & ~has_place)),
    )


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


def _simple_parts(file: LabelFile, shapes: Geometries, names: Names) -> tuple[Geometries, Names]:
    """Return valid polygons and points, each with its class; raise a RasterError if there is anything else."""
    types = shapely.get_type_id(shapes)
    if (other := ~np.isin(types, list(_ACCEPTED))).any():
        found = shapes[other][0].geom_type
        raise RasterError(
            f"{file.path} has geometries of the type {found}, expected polygons or points: leave them out, or draw "
            "polygons around them"
        )
    parts, owners = simple_parts(shapes)
    return parts, names[owners]
