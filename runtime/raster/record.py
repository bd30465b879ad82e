"""What a file that is made from a raster says of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterRecord:
    """A raster as it was read.

    Attributes
    ----------
    path
        As absolute path.
    sha256
        Of all files that decide what is read of it; see `overfly.runtime.raster.side_files`.
    width, height
        In pixels.
    crs
        As WKT, or an authority and its code such as ``EPSG:32617``; None if there is none.
    transform
        The six coefficients from (column, row) to x and y.
    """

    path: str
    sha256: str
    width: int
    height: int
    crs: str | None
    transform: tuple[float, ...]
