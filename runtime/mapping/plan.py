"""Plan the maps of a job: open each raster once, and check everything that could make its map fail."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rasterio.features import rasterize

from overfly.runtime.bundle.manifest import Manifest
from overfly.runtime.errors import OverflyError, RasterError
from overfly.runtime.files.access import explain_unreadable
from overfly.runtime.files.names import utf8_text
from overfly.runtime.files.output_guards import check_inputs_safe, explain_os_errors
from overfly.runtime.files.unfinished import unfinished_folder
from overfly.runtime.mapping.blocks import open_raster
from overfly.runtime.mapping.grid import WindowGrid
from overfly.runtime.mapping.outputs.geotiff import MapPlace
from overfly.runtime.mapping.raster_map import RasterMap
from overfly.runtime.mapping.record import MOSAIC_FILE, OVERLAPS, MapOptions
from overfly.runtime.raster.description import describe_raster, file_states
from overfly.runtime.raster.mosaic import write_mosaic
from overfly.runtime.raster.scale import cell_areas
from overfly.runtime.raster.source import RasterSource
from overfly.runtime.raster.vectors import read_polygons
from overfly.runtime.reporter import Reporter

if TYPE_CHECKING:
    from overfly.runtime.mapping.job import MapJob

# A block of larger windows takes more than 600 MB of memory.
_MAX_WINDOW_PIXELS = 4096
# A map takes about a kilobyte of memory per cell while it is written.
_MAX_CELLS = 4_000_000


def plan_maps(
    job: "MapJob", options: MapOptions, manifest: Manifest, reporter: Reporter
) -> tuple[list[RasterMap], list[OverflyError]]:
    """Plan the map of each raster.

    Parameters
    ----------
    job, options, manifest
        What to do.
    reporter
        Receives progress.

    Returns
    -------
    tuple
        The maps, and why other rasters can't be mapped.

    Raises
    ------
    OutputError
        If the output is or holds a file of a raster.
    """
    maps: list[RasterMap] = []
    problems: list[OverflyError] = []
    rasters = job.rasters
    if job.merge and len(rasters) > 1:
        rasters = (unfinished_folder(job.out) / MOSAIC_FILE,)
        with explain_os_errors(job.out):
            rasters[0].parent.mkdir(parents=True, exist_ok=True)
            write_mosaic(rasters[0], job.rasters, ignore_nodata=job.nodata is not None)
    names = _folder_names(rasters)
    for done, (path, name) in enumerate(zip(rasters, names, strict=True), start=1):
        try:
            maps.append(_plan(path, name, job, options, manifest))
        except RasterError as error:
            problems.append(error)
        except OSError as error:
            problems.append(RasterError(explain_unreadable(path, error)))
        reporter.progress("hashing rasters", done, len(names))
    for each in maps:
        files = [file for file in each.files if file.name != MOSAIC_FILE]
        check_inputs_safe(job.out, files)
        check_inputs_safe(unfinished_folder(job.out), files)
    return maps, problems


def _plan(path: Path, name: str, job: "MapJob", options: MapOptions, manifest: Manifest) -> RasterMap:
    """Open a raster and plan its map."""
    is_mosaic = job.merge and len(job.rasters) > 1
    with open_raster(path, options) as source:
        states = file_states(source.files)
        size = source.pixel_size
        window = options.scene_m / size.x, options.scene_m / size.y
        grid = WindowGrid(source.width, source.height, *window, per_side=OVERLAPS[options.overlap])
        _check_size(path, grid, options.scene_m)
        raster = describe_raster(source)
        if is_mosaic:  # it moves with the folder that it is in
            raster = replace(raster, path=utf8_text(job.out.absolute() / MOSAIC_FILE))
        return RasterMap(
            name=name,
            title=job.out.name if is_mosaic else path.stem,
            path=path,
            files=source.files,
            states=states,
            place=MapPlace(crs=source.crs, transform=grid.transform(source.transform)),
            raster=raster,
            options=replace(options, bands=source.bands),
            grid=grid,
            cell_m=(grid.cell_width * size.x, grid.cell_height * size.y),
            areas=_areas(source, grid),
            manifest=manifest,
            inside=None if job.area is None else _cells_inside(job.area, source, grid),
            allow_mixed=job.allow_mixed,
        )


def _areas(source: RasterSource, grid: WindowGrid) -> npt.NDArray[np.float64]:
    """Return the area of what the raster has of each cell, in square meters."""
    if source.crs is None:
        size = source.pixel_size
        return grid.shares_inside() * math.prod((grid.cell_width * size.x, grid.cell_height * size.y))
    try:
        areas = cell_areas(source.crs, grid.transform(source.transform), grid.n_rows, grid.n_columns)
    except ValueError as error:
        raise RasterError(
            f"{source.path} has cells that have no place on the Earth ({error}): correct its CRS or its coordinates, "
            "or cut off what is beyond its CRS"
        ) from error
    return areas * grid.shares_inside()


def _check_size(path: Path, grid: WindowGrid, scene_m: float) -> None:
    """Raise RasterError if a window has too few or too many pixels, or if there are too many cells."""
    width, height = grid.window_width, grid.window_height
    if min(width, height) < 1:
        raise RasterError(
            f"{path} has pixels larger than a window of {scene_m:g} m: give the scene size that the model was trained "
            "with, or a raster of a higher resolution"
        )
    if max(width, height) > _MAX_WINDOW_PIXELS:
        raise RasterError(
            f"{path} has {width:.0f} x {height:.0f} pixels in a window of {scene_m:g} m, expected at most "
            f"{_MAX_WINDOW_PIXELS}: reduce its resolution first, for example with gdalwarp -tr and -r average"
        )
    if grid.n_rows * grid.n_columns > _MAX_CELLS:
        raise RasterError(
            f"{path} has {grid.n_columns:,} x {grid.n_rows:,} cells with windows of {scene_m:g} m, expected at most "
            f"{_MAX_CELLS:,}: check --scene-m, choose a smaller --overlap, or cut the raster into parts"
        )


def _cells_inside(area: Path, source: RasterSource, grid: WindowGrid) -> npt.NDArray[np.bool_]:
    """Return the cells whose center is in a polygon of a file."""
    if source.crs is None:
        raise RasterError(f"{source.path} has no coordinate reference system, so --area can't limit it: assign one")
    polygons = read_polygons(area, source)
    if not len(polygons):
        raise RasterError(f"{source.path} has no cell in the area of {area}: check that both show the same place")
    inside: npt.NDArray[np.bool_] = rasterize(
        polygons,
        out_shape=(grid.n_rows, grid.n_columns),
        transform=grid.transform(source.transform),
        dtype="uint8",
    ).astype(np.bool_)
    if not inside.any():
        raise RasterError(f"{source.path} has no cell in the area of {area}: check that both show the same place")
    return inside


def _folder_names(rasters: tuple[Path, ...]) -> list[str]:
    """Return a folder for each raster: empty for a single one; the stem, with a number if another has the same."""
    if len(rasters) == 1:
        return [""]
    names: list[str] = []
    taken: set[str] = set()
    for path in rasters:
        name, number = path.stem, 1
        # Some file systems don't distinguish upper and lower case.
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
