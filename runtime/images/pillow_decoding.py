"""Decode images with Pillow, quietly."""

import ctypes
import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin

from overfly.runtime.images.tiff import PALETTE, TiffLayout

# Pillow reads more formats, some of them by starting programs that it finds on the machine.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")

# The operation that makes an image of each EXIF orientation upright; orientation 1 is upright already.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_DEEP = ";16"
# Pillow's raw modes of 16-bit color, and those that keep the low byte of each value instead of the high one. TIFF
# values that libtiff has decoded are in the machine's own order (N).
_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


def silence_libraries() -> bool:
    """Keep what Pillow and its libtiff have to say of a file off standard error: it does not name the file.

    This holds for the whole process: a filter for a moment is not safe in the threads that decode.

    Returns
    -------
    bool
        Whether libtiff is silent. On Windows it is a part of Pillow that can't be reached.
    """
    # An image above Pillow's limit; `ImageReader` has one of its own.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    # Damaged EXIF data or MPO indexes.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # Pillow 13.0 silences libtiff's warnings, but not its errors, which it raises as well.
    try:
        set_error_handler = ctypes.CDLL(sys.modules["PIL._imaging"].__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return False
    set_error_handler.argtypes, set_error_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    set_error_handler(None)
    return True


def open_image(stream: BinaryIO, layout: TiffLayout | None) -> ImageFile.ImageFile:
    """Open an image, of a TIFF the page that counts; nothing is decoded yet."""
    stream.seek(0)
    image = Image.open(stream, formats=FORMATS)
    if layout is not None and layout.page:
        image.seek(layout.page)
    return image


def reduce_while_decoding(image: JpegImagePlugin.JpegImageFile, size: int) -> None:
    """Let the decoder reduce an opened JPEG image by 2, 4 or 8, if both sides stay at least `size` pixels long.

    The decoder then computes the small image from the low frequencies alone. It is nearly the average of each block of
    the decoded pixels: for UC Merced's images, reduced by 2, the two differ by 0.4 of 255 steps in the mean.
    """
    for factor in (8, 4, 2):
        width, height = image.width // factor, image.height // factor
        # A side that is no multiple of the factor would be reduced to a part of a pixel more.
        if (width * factor, height * factor) == image.size and min(width, height) >= size:
            image.draft(None, (width, height))
            return


def decode_values(
    stream: BinaryIO,
    image: ImageFile.ImageFile,
    layout: TiffLayout | None,
    needs_low_bytes: Callable[[npt.NDArray[np.uint8]], bool],
) -> tuple[npt.NDArray[Any], int] | Image.Image:
    """Decode an opened image, and turn it upright.

    Of 16-bit color, Pillow keeps the high bytes. The low ones are decoded only if `needs_low_bytes` says so, given the
    high ones, because that takes as long again.

    Returns
    -------
    Image or tuple
        An RGB image; or, of more than 8 bits, the values ``[H, W]`` or ``[H, W, 3]`` and their number of bits.
    """
    raw_mode = _raw_mode(image)
    upright = _upright(image)
    if layout is not None and layout.photometric == PALETTE:
        return Image.fromarray(layout.palette()[np.asarray(upright)])
    if upright.mode.startswith("I"):
        return np.asarray(upright), 32 if upright.mode == "I" else 16
    if _DEEP in raw_mode and needs_low_bytes(np.asarray(upright)[..., :3]):
        return _color_of_16_bits(stream, upright, raw_mode, layout), 16
    if "transparency" in upright.info:
        # Pillow warns if a palette with transparency is converted to RGB in one step.
        upright = upright.convert("RGBA")
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return Pillow's name of how the pixels are stored, such as ``RGB;16B``; empty for formats that have none."""
    arguments = image.tile[0].args if image.tile else ""
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw_mode if isinstance(raw_mode, str) else ""


def _upright(image: Image.Image) -> Image.Image:
    """Decode an image and apply the EXIF orientation.

    Pillow's `exif_transpose` also writes all other EXIF tags again, and fails if one of them is malformed.
    """
    # A PNG may have its EXIF data after the pixels, and Pillow turns a TIFF while it loads the pixels.
    image.load()
    orientation = 1
    # Pillow raises many kinds of exceptions for damaged EXIF data. The pixels are sound.
    with suppress(Exception):
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _color_of_16_bits(
    stream: BinaryIO, high: Image.Image, raw_mode: str, layout: TiffLayout | None
) -> npt.NDArray[np.uint16]:
    """Return all 16 bits of a color image, shape ``[H, W, 3]``.

    Pillow has no mode for them: it keeps the high byte of each value. The image is decoded again for the low byte.
    """
    form, _, order = raw_mode.partition(_DEEP)
    # Gray with transparency: as four bytes, the first two are the high and the low one of gray.
    low_mode = "RGBA" if form == "LA" else f"{form}{_DEEP}{_OTHER_BYTE[order]}"
    with open_image(stream, layout) as image:
        image.tile = [
            tile._replace(args=low_mode if isinstance(tile.args, str) else (low_mode, *tile.args[1:]))
            for tile in image.tile
        ]
        low = np.asarray(_upright(image))
    low = low[..., [1, 1, 1]] if form == "LA" else low[..., :3]
    values: npt.NDArray[np.uint16] = np.asarray(high)[..., :3].astype(np.uint16) << 8 | low
    return values
