"""Open a georeferenced raster, check that it can be used, and read parts of it as 8-bit RGB at its own resolution."""

import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import CRSError, NodataShadowWarning, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from overfly.runtime.errors import RasterError
from overfly.runtime.files.names import utf8_text
from overfly.runtime.images.depth import ValueRange, stretch
from overfly.runtime.raster.scale import PixelSize, pixel_size

# For the whole process, like overfly.runtime.images.geotiff. A raster without coordinates gets a sentence of its own,
# and an alpha band counts also beside a nodata value.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
warnings.filterwarnings("ignore", category=NodataShadowWarning)

_LOGGER = logging.getLogger(__name__)

COLOR_BANDS = (1, 2, 3)
GRAY_BANDS = (1, 1, 1)
_N_COLORS = 3
# The value of ``--nodata`` that says that the raster's own nodata value marks nothing.
NO_NODATA = "none"
_PROJ_VARIABLES = ("PROJ_DATA", "PROJ_LIB")

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class RasterSource:
    """An open raster. Each thread needs one of its own, because GDAL's data sets are not safe in two at once.

    A raster that is rotated, or has ground control points, is resampled to a grid of its CRS that is not rotated.

    Parameters
    ----------
    path
        The file.
    bands
        Numbers of the bands for red, green and blue, from 1. None takes 1, 2 and 3, or band 1 three times if there are
        fewer than three.
    value_range
        The values that become 0 and 255, whatever the number of bits; None takes 8-bit values as they are.
    nodata
        The value of missing pixels as text; ``none`` if only an alpha band or a mask marks them; None for what the
        raster itself says.
    gsd
        Meters per pixel of a raster without CRS; another one has its own.
    needs_range
        False for a raster of which only the values themselves are read: more than 8 bits need no range then.

    Attributes
    ----------
    path : Path
    width, height : int
        Size in pixels.
    crs : CRS or None
    transform : Affine
        From (column, row) to the coordinates of `crs`.
    pixel_size : PixelSize
        On the ground, in meters, at the center.
    dtype : str
        NumPy's name for the type of the values.
    bands : tuple of int
        The bands that are read.
    files : tuple of Path
        All files that the raster consists of.

    Raises
    ------
    RasterError
        If the file can't be opened, has no CRS and no `gsd` is given, has no place on the Earth, lacks a band, or has
        values of more than 8 bits and no range is given.
    """

    def __init__(
        self,
        path: Path,
        *,
        bands: Sequence[int] | None = None,
        value_range: ValueRange | None = None,
        nodata: str | None = None,
        gsd: float | None = None,
        needs_range: bool = True,
    ) -> None:
        self.path = path
        self._value_range = value_range
        self._nodata = None if nodata in {None, NO_NODATA} else float(str(nodata))
        self._ignores_nodata = nodata == NO_NODATA
        with ExitStack() as stack:
            self._dataset = self._open(stack)
            self.width, self.height = int(self._dataset.width), int(self._dataset.height)
            self.crs: CRS | None = self._dataset.crs or None
            self.transform: Affine = self._dataset.transform
            self.pixel_size = self._measure_pixels(gsd)
            self.bands = self._choose_bands(bands)
            self.dtype = str(np.result_type(*(np.dtype(self._dataset.dtypes[band - 1]) for band in self.bands)))
            self._palette = self._read_palette()
            if needs_range:
                self._check_values()
            self._alpha, self._masked_bands = self._find_masks()
            self._stack = stack.pop_all()

    def __enter__(self) -> "RasterSource":  # noqa: PYI034 - Python 3.10 has no Self
        """Return the raster itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the raster."""
        self._stack.close()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the raster consists of, itself first, such as its masks and what a VRT refers to."""
        found = {self.path: None}
        pending = [Path(name) for name in self._files]
        while pending:
            file = pending.pop(0)
            if file in found or not file.is_file():
                continue
            found[file] = None
            if file.suffix.lower() == ".vrt":  # GDAL names the files of the first level only
                with suppress(RasterioError), rasterio.open(file) as inner:
                    pending += map(Path, inner.files)
        return tuple(found)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Height and width of the blocks in which the file holds its pixels."""
        height, width = self._dataset.block_shapes[self.bands[0] - 1]
        return int(height), int(width)

    def read(self, window: Window) -> tuple[Pixels, Mask | None]:
        """Read a part of the raster at its own resolution.

        Parameters
        ----------
        window
            In whole pixels; it may extend beyond the raster.

        Returns
        -------
        pixels : ndarray
            uint8, shape ``[H, W, 3]``, RGB; 0 outside of the raster.
        valid : ndarray or None
            bool, shape ``[H, W]``: False for missing pixels and outside of the raster; None if no pixel is missing.

        Raises
        ------
        RasterError
            If the part is damaged.
        """
        height, width = int(window.height), int(window.width)
        inner, rows, columns = self._inside(window)
        is_inside = (inner.height, inner.width) == (height, width)
        pixels = (np.empty if is_inside else np.zeros)((height, width, _N_COLORS), np.uint8)
        if not inner.height or not inner.width:
            return pixels, np.zeros((height, width), np.bool_)
        part = pixels[rows, columns]
        values: npt.NDArray[Any] = part
        if self._is_plain:
            self._fill(values, inner)
        else:
            values = self.read_values(inner)
            part[:] = self._to_8_bits(values)
        mask = self._valid(values, inner)
        if is_inside:
            return pixels, mask
        valid = np.zeros((height, width), np.bool_)
        valid[rows, columns] = True if mask is None else mask
        return pixels, valid

    def read_values(self, window: Window) -> npt.NDArray[Any]:
        """Read the values of the chosen bands as they are in the file.

        Parameters
        ----------
        window
            In whole pixels, inside of the raster.

        Returns
        -------
        ndarray
            Of the type `dtype`, shape ``[H, W, 3]``.

        Raises
        ------
        RasterError
            If the part is damaged.
        """
        values = np.empty((int(window.height), int(window.width), _N_COLORS), self.dtype)
        self._fill(values, window)
        return values

    def read_valid_values(self, window: Window) -> npt.NDArray[Any]:
        """Read the values of the pixels of a window that are not missing: shape ``[N, 3]``."""
        values = self.read_values(window)
        valid = self._valid(values, window)
        return values.reshape(-1, _N_COLORS) if valid is None else values[valid]

    def _open(self, stack: ExitStack) -> DatasetReader | WarpedVRT:
        """Open the file, resampled if it is rotated or has ground control points."""
        check_projections()
        if not self.path.exists():
            raise RasterError(f"{self.path} does not exist: expected a raster such as a GeoTIFF")
        try:
            dataset = stack.enter_context(rasterio.open(self.path))
            self._files = list(dataset.files)
            # Before a view adds an alpha band.
            self._n_bands = int(dataset.count)
            self._n_colors = sum(color != ColorInterp.alpha for color in dataset.colorinterp)
            if not dataset.count:
                raise RasterError(f"{self.path} has no bands, only other rasters in it: extract one of them")
            points, points_crs = dataset.gcps
            transform = dataset.transform
            if not transform.b and not transform.d and (dataset.crs or not points):
                if dataset.crs and transform == Affine.identity():
                    raise RasterError(
                        f"{self.path} has a CRS, but no coordinates: assign some, for example in QGIS's Georeferencer"
                    )
                return dataset
            crs = dataset.crs or points_crs
            if not crs:
                raise RasterError(f"{self.path} is rotated and has no CRS: assign one, for example in QGIS")
            _LOGGER.info("%s is rotated or has ground control points: resampling it", self.path)
            return stack.enter_context(self._resampled(dataset, crs))
        except (RasterioError, CRSError) as error:
            raise RasterError(
                f"{self.path} can't be opened as a raster ({_reason(error)}): expected a GeoTIFF or another raster "
                "that GDAL reads"
            ) from error

    def _resampled(self, dataset: DatasetReader, crs: CRS) -> WarpedVRT:
        """Return a view of a data set in a grid that is not rotated; what is outside of the image is transparent."""
        has_alpha = ColorInterp.alpha in dataset.colorinterp
        is_palette = dataset.colorinterp[0] == ColorInterp.palette
        choices: dict[str, Any] = {"resampling": Resampling.nearest if is_palette else Resampling.bilinear}
        if self._nodata is not None or self._ignores_nodata:
            choices |= {"src_nodata": self._nodata, "nodata": None}
        return WarpedVRT(dataset, src_crs=crs, crs=crs, add_alpha=not has_alpha, **choices)

    def _measure_pixels(self, gsd: float | None) -> PixelSize:
        """Return the size of a pixel on the ground."""
        if self.crs is None:
            if gsd is None:
                raise RasterError(
                    f"{self.path} has no coordinate reference system, so its pixels have no known size: assign a CRS, "
                    "or give the meters per pixel with --gsd"
                )
            return PixelSize(x=gsd, y=gsd)
        try:
            return pixel_size(self.crs, self.transform, self.width, self.height)
        except (ValueError, RasterioError) as error:
            raise RasterError(
                f"{self.path} has the CRS {self.crs.to_string()[:60]}, in which its center has no place on the Earth "
                f"({_reason(error)}): correct its CRS or its coordinates"
            ) from error

    def _choose_bands(self, bands: Sequence[int] | None) -> tuple[int, ...]:
        """Return the numbers of the bands to read."""
        count = self._n_bands
        if bands is None:
            return COLOR_BANDS if self._n_colors >= _N_COLORS else GRAY_BANDS
        if max(bands) > count:
            wanted = ",".join(map(str, bands))
            raise RasterError(
                f"{self.path} has {count} band{'s' * (count != 1)}, expected the bands {wanted}: choose others with "
                "--bands, or leave out the raster"
            )
        return tuple(bands)

    def _read_palette(self) -> Pixels | None:
        """Return the colors of a palette, shape ``[N, 3]``; None if the values are colors themselves."""
        if self._dataset.colorinterp[0] != ColorInterp.palette or set(self.bands) != {1}:
            return None
        colors = np.zeros((1 << 8 * np.dtype(self.dtype).itemsize, _N_COLORS), np.uint8)
        for number, color in self._dataset.colormap(1).items():
            colors[number] = color[:_N_COLORS]
        return colors

    def _check_values(self) -> None:
        """Raise a RasterError if the values can't become 8-bit colors."""
        if np.dtype(self.dtype).kind not in "uif":
            raise RasterError(f"{self.path} has values of the type {self.dtype}, expected real numbers: convert it")
        n_bits = self._dataset.tags(self.bands[0], ns="IMAGE_STRUCTURE").get("NBITS", "8")
        if self.dtype == "uint8" and n_bits != "8" and self._value_range is None and self._palette is None:
            raise RasterError(
                f"{self.path} has values of {n_bits} bits: give the range of values with --range, such as 0,1"
            )
        if self.dtype != "uint8" and self._value_range is None and self._palette is None:
            raise RasterError(
                f"{self.path} has values of the type {self.dtype}, and what is black and white in it is unknown: give "
                "the range of values with --range LO,HI"
            )

    def _find_masks(self) -> tuple[int | None, list[int]]:
        """Return the number of the alpha band, and those of the bands with another mask of GDAL that matters."""
        colors = list(self._dataset.colorinterp)
        alpha = colors.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colors else None
        unimportant = {MaskFlags.all_valid, MaskFlags.alpha}
        if self._nodata is not None or self._ignores_nodata:
            unimportant.add(MaskFlags.nodata)
        flags = self._dataset.mask_flag_enums
        bands = [b for b in sorted(set(self.bands)) if unimportant.isdisjoint(flags[b - 1])]
        return alpha, bands

    @property
    def _is_plain(self) -> bool:
        """Whether the values of the file are the colors."""
        return self.dtype == "uint8" and self._value_range is None and self._palette is None

    def _inside(self, window: Window) -> tuple[Window, slice, slice]:
        """Return the part of a window that is in the raster, and its rows and columns in the window."""
        left, top = int(window.col_off), int(window.row_off)
        x0, y0 = max(left, 0), max(top, 0)
        x1 = max(min(left + int(window.width), self.width), x0)
        y1 = max(min(top + int(window.height), self.height), y0)
        return Window(x0, y0, x1 - x0, y1 - y0), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)

    def _fill(self, values: npt.NDArray[Any], window: Window) -> None:
        """Read a window into an array of shape ``[H, W, 3]``."""
        try:
            if len(set(self.bands)) == 1:
                values[:] = self._dataset.read(self.bands[0], window=window)[:, :, np.newaxis]
            else:
                # GDAL writes each band with the strides of the view: no copy, and the GIL is free meanwhile.
                self._dataset.read(list(self.bands), window=window, out=values.transpose(2, 0, 1))
        except RasterioError as error:
            raise self._damaged(window, error) from error

    def _to_8_bits(self, values: npt.NDArray[Any]) -> Pixels:
        """Return values as colors."""
        if self._palette is not None:
            colors: Pixels = self._palette[values[:, :, 0]]
            return colors
        if self._value_range is not None:
            return stretch(values, *self._value_range)
        self._check_values()
        return values.astype(np.uint8, copy=False)

    def _valid(self, values: npt.NDArray[Any], window: Window) -> Mask | None:
        """Return which pixels are not missing; None if all are there."""
        valid: Mask | None = None
        try:
            if self._alpha is not None:
                valid = self._dataset.read(self._alpha, window=window) > 0
            if self._masked_bands:
                # Not dataset_mask, in which a pixel is valid if another band has a value.
                masks = self._dataset.read_masks(self._masked_bands, window=window)
                valid = _both(valid, masks.any(axis=0))
        except RasterioError as error:
            raise self._damaged(window, error) from error
        if self._nodata is not None:
            valid = _both(valid, (values != self._nodata).any(axis=2))
        if values.dtype.kind == "f":
            valid = _both(valid, np.isfinite(values).all(axis=2))
        return None if valid is None or valid.all() else valid

    def _damaged(self, window: Window, error: Exception) -> RasterError:
        """Return the error for a part that can't be read."""
        return RasterError(
            f"{self.path} can't be read at column {window.col_off}, row {window.row_off} ({_reason(error)}): copy it "
            "again, or leave it out"
        )


def check_projections() -> None:
    """Check that PROJ, which transforms coordinates, finds its data base.

    Raises
    ------
    RasterError
        If it does not, as a rule because a variable of another program names another folder.
    """
    try:
        # Inside of an Env, GDAL does not write the error to standard error as well.
        with rasterio.Env():
            CRS.from_epsg(4326)
    except (CRSError, RasterioError) as error:
        found = [f"{name}={os.environ[name]}" for name in _PROJ_VARIABLES if name in os.environ]
        cause = f"the variable {' and '.join(found)} names another one" if found else _reason(error)
        remedy = "remove the variable from the environment" if found else "install rasterio again"
        raise RasterError(f"coordinates can't be transformed: PROJ lacks its data base, {cause}; {remedy}") from error


def _both(first: Mask | None, second: Mask) -> Mask:
    """Return where both masks are true; None is true everywhere."""
    return second if first is None else first & second


def _reason(error: BaseException) -> str:
    """Return the first line of GDAL's own reason."""
    lines = utf8_text(error.__cause__ or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
