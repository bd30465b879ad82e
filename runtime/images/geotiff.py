"""Read a TIFF with rasterio: the only module that needs the package.

The warning of a TIFF without coordinates is switched off for the whole process, because filters for a moment are not
safe in the threads that decode. An image of a training set has no coordinates as a rule.
"""

import warnings
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from overfly.runtime.errors import DecodingError
from overfly.runtime.images.tiff import CMYK, PALETTE, WHITE_IS_ZERO, YCBCR, TiffLayout

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_N_COLORS = 3


def read_bands(stream: BinaryIO, layout: TiffLayout) -> npt.NDArray[Any]:
    """Read the values of the first three bands; of one or two bands, and of a palette, those of the first.

    Parameters
    ----------
    stream
        The file.
    layout
        What its tags say.

    Returns
    -------
    ndarray
        Shape ``[H, W]`` or ``[H, W, 3]``; white is the highest value. The numbers of a palette are not yet colors.

    Raises
    ------
    RasterioError
        If the file is damaged.
    DecodingError
        If GDAL lacks its compression, or does not turn its colors into RGB.
    """
    # GDAL writes what it says of damaged text to standard error, if it is no UTF-8 (rasterio 1.4.4).
    content = layout.without_metadata(stream)[0].read()
    try:
        # In memory, because GDAL would take some names of files for addresses, and look for more files next to them.
        with (
            rasterio.MemoryFile(content, filename="image.tif") as memory,
            memory.open(driver="GTiff") as dataset,
        ):
            if layout.photometric in {CMYK, YCBCR} and dataset.colorinterp[0] != ColorInterp.red:
                raise DecodingError(f"GDAL can't turn its {layout.colors} colors into RGB")
            values: npt.NDArray[Any]
            if dataset.count < _N_COLORS or layout.photometric == PALETTE:
                values = dataset.read(1)
            else:
                values = np.moveaxis(dataset.read([1, 2, 3]), 0, 2)
    except RasterioError as error:
        if "missing codec" in str(error.__cause__ or error):
            raise DecodingError(f"the installed rasterio can't read its compression ({layout})") from error
        raise
    return (1 << layout.bits[0]) - 1 - values if layout.photometric == WHITE_IS_ZERO else values
