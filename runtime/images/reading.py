"""Decode image files to uint8 RGB arrays: the one implementation that training and deployment share."""

import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from overfly.runtime.documents import ADDED_LATER
from overfly.runtime.errors import DecodingError, ImageError, MissingExtraError
from overfly.runtime.extras import require_extra
from overfly.runtime.files.access import explain_unreadable
from overfly.runtime.images.depth import DepthConverter, ValueRange, check_range
from overfly.runtime.images.memory import BYTES_PER_PIXEL, DECODING_BUDGET
from overfly.runtime.images.metadata import check_thumbnails, without_metadata
from overfly.runtime.images.pillow_decoding import (
    FORMATS,
    TURNS,
    decode_values,
    open_image,
    reduce_while_decoding,
    silence_libraries,
)
from overfly.runtime.images.tiff import (
    CMYK,
    FLOAT,
    JPEG,
    PALETTE,
    READABLE_COLORS,
    REAL_FORMATS,
    SIGNED,
    UNCOMPRESSED,
    UNSIGNED,
    WHITE_IS_ZERO,
    TiffLayout,
    read_tiff_layout,
)

# Pillow's own limit, twice that of its warning. A small file with more pixels may be a decompression bomb.
MAX_PIXELS = 2 * 89_478_485

# Pillow reduces by the largest whole factor that leaves at least this many times the size of the result.
_REDUCING_GAP = 1.0
# A window of a raster need not be a whole number of pixels: one of 255.5 pixels is reduced to 128 like one of 256.
_FACTOR_TOLERANCE = 0.004

_LIBTIFF_IS_SILENT = silence_libraries()

ImageBatch = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """How an image becomes the model's input.

    Attributes
    ----------
    size
        Height and width in pixels to which every image is resized: bilinear with antialiasing. The aspect ratio
        is not kept, so that nothing is cut off.
    mean, std
        Of each channel (R, G, B), for pixels scaled to [0, 1]. The model itself applies them.
    value_range
        The values that become 0 and 255 in images of more than 8 bits; None keeps their highest 8 bits.
    reduce_first
        Whether an image that is several times too large is first reduced by a whole factor, each pixel the average of a
        block of pixels, and the bilinear filter does the rest. It takes less than half the time, and the pixels differ
        a little: a model gets its images as it was trained. False in runs and bundles made before this could be chosen.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    value_range: ValueRange | None = field(default=None, metadata=ADDED_LATER)
    reduce_first: bool = field(default=False, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        """Raise ValueError if a value is not positive, or the range is not valid."""
        if self.size < 1 or min(self.std) <= 0:
            raise ValueError(f"image size {self.size} and std {self.std} must be positive")
        if self.value_range is not None:
            check_range(*self.value_range)

    def reader(self) -> "ImageReader":
        """Return what reads images as this input."""
        return ImageReader(self.size, self.value_range, reduce_first=self.reduce_first)


class ImageReader:
    """Reads image files as input of a model, in the same way for training, export, bench and prediction.

    Several threads may use it at once. It warns, once per folder, of images that use only a small part of their bits.

    Parameters
    ----------
    size
        Height and width of the result in pixels.
    value_range, reduce_first
        See `ImageSpec`.

    Attributes
    ----------
    size, reduce_first
        As given.
    """

    def __init__(self, size: int, value_range: ValueRange | None = None, *, reduce_first: bool = False) -> None:
        self.size = size
        self._depth = DepthConverter(value_range)
        self.reduce_first = reduce_first

    def warn_once_in(self, folders: Iterable[Path]) -> None:
        """Warn once for each of these folders, which a person named, with all images below it."""
        self._depth.folders = tuple(folders)

    def read(self, path: Path) -> ImageBatch:
        """Decode an image file and resize the image.

        Grayscale, palette, CMYK and 16-bit images become 8-bit RGB; of 16 bits the high byte is kept, unless there is a
        `value_range`. Of more than three bands the first three are read. Transparency is dropped, and the EXIF
        orientation is applied. Of a file with several pages the first is read that is not a reduced version of another.
        A TIFF that Pillow is not known to read right is read with rasterio.

        Parameters
        ----------
        path
            A JPEG, PNG, TIFF, BMP or WebP file.

        Returns
        -------
        ndarray
            uint8, shape ``[size, size, 3]``, RGB.

        Raises
        ------
        ImageError
            If the file is missing, is not an image, is damaged, has more than `MAX_PIXELS` pixels or values that don't
            fit into 16 bits, or needs rasterio, which is not installed.
        """
        try:
            _check_is_file(path)
            with path.open("rb") as stream, ExitStack() as reserved:
                return self._resize(self._decode(path, stream, reserved))
        except Exception as error:
            # Decoders raise many kinds of exceptions for damaged files, TypeError and struct.error among them.
            if isinstance(error, ImageError) and not isinstance(error, DecodingError):
                raise
            raise ImageError(_explain(path, error)) from error

    def fit(self, pixels: ImageBatch) -> ImageBatch:
        """Resize uint8 RGB pixels of shape ``[height, width, 3]`` to ``[size, size, 3]``, as `read` does."""
        return pixels if pixels.shape == (self.size, self.size, 3) else self._resize(Image.fromarray(pixels))

    def _resize(self, rgb: Image.Image) -> ImageBatch:
        """Return the pixels of an RGB image, shape ``[size, size, 3]``."""
        return resize(rgb, (self.size, self.size), reduce_first=self.reduce_first)

    def _decode(self, path: Path, stream: BinaryIO, reserved: ExitStack) -> Image.Image:
        """Return an image as RGB; the memory that it takes stays reserved."""
        layout = read_tiff_layout(stream)
        if layout is not None:
            _check_size(path, layout.width, layout.height)
            _check_layout(path, layout, self._depth.value_range)
            if not _is_for_pillow(layout):
                return self._decode_with_rasterio(path, stream, layout, reserved)
            if layout.damaged_metadata:
                # Pillow may stop reading the tags there, and miss some that the pixels need.
                stream, layout = layout.without_metadata(stream)
        try:
            return self._decode_with_pillow(path, stream, layout, reserved)
        except ImageError:
            raise
        except Exception:
            reserved.close()  # or it would wait for itself
            with suppress(Exception):  # then the first error is the better one
                if layout is None:
                    return self._decode_with_pillow(path, without_metadata(stream), None, reserved)
                return self._decode_with_pillow(path, *layout.without_metadata(stream), reserved)
            raise

    def _decode_with_pillow(
        self, path: Path, stream: BinaryIO, layout: TiffLayout | None, reserved: ExitStack
    ) -> Image.Image:
        """Return an image as RGB."""
        with open_image(stream, layout) as image:
            _check_size(path, image.width, image.height)
            if isinstance(image, JpegImagePlugin.JpegImageFile):
                check_thumbnails(stream, (segment for _, segment in image.applist))
            # Of the whole image also if it is reduced: of a progressive JPEG, the decoder keeps all coefficients.
            reserved.enter_context(DECODING_BUDGET.reserve(image.width * image.height * BYTES_PER_PIXEL))
            if self.reduce_first and isinstance(image, JpegImagePlugin.JpegImageFile):
                reduce_while_decoding(image, self.size)
            decoded = decode_values(stream, image, layout, self._depth.needs_low_bytes)
        return decoded if isinstance(decoded, Image.Image) else self._as_image(path, *decoded)

    def _decode_with_rasterio(
        self, path: Path, stream: BinaryIO, layout: TiffLayout, reserved: ExitStack
    ) -> Image.Image:
        """Return a TIFF as RGB; raise if rasterio is not installed."""
        try:
            require_extra("geo", "rasterio")
        except MissingExtraError as error:
            raise ImageError(f"{path} is a TIFF of {layout}: {error}") from None
        from overfly.runtime.images.geotiff import read_bands

        n_bytes = layout.width * layout.height * BYTES_PER_PIXEL + path.stat().st_size
        reserved.enter_context(DECODING_BUDGET.reserve(n_bytes))
        values = read_bands(stream, layout)
        if layout.photometric == PALETTE:
            image = Image.fromarray(layout.palette()[values])
        else:
            image = self._as_image(path, values, layout.bits[0])
        turn = TURNS.get(layout.orientation)
        return image if turn is None else image.transpose(turn)

    def _as_image(self, path: Path, values: npt.NDArray[Any], n_bits: int) -> Image.Image:
        """Return values of shape ``[H, W]`` or ``[H, W, 3]`` as an RGB image."""
        return Image.fromarray(self._depth.to_8_bits(path, values, n_bits)).convert("RGB")


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A part of a larger image to resize.

    Attributes
    ----------
    box
        Its left, top, right and bottom edge, in pixels of the given image. The filter also looks beyond them.
    origin
        Column and row of the given image's first pixel in the whole one.
    """

    box: tuple[float, float, float, float]
    origin: tuple[int, int]


def resize(
    image: Image.Image, size: tuple[int, int], *, reduce_first: bool, part: ImagePart | None = None
) -> ImageBatch:
    """Resize an RGB image as the model was trained on it: bilinear, with antialiasing.

    Parameters
    ----------
    image
        The image.
    size
        Width and height of the result in pixels.
    reduce_first
        See `ImageSpec`.
    part
        What to resize; None takes the whole image.

    Returns
    -------
    ndarray
        uint8, shape ``[height, width, 3]``.
    """
    if part is not None:
        box = part.box
        if reduce_first:
            image, box = _reduce(image, size, part)
        image = image.resize(size, Image.Resampling.BILINEAR, box=box)
    elif image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP if reduce_first else None)
    return np.asarray(image, dtype=np.uint8)


def _reduce(
    image: Image.Image, size: tuple[int, int], part: ImagePart
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """Reduce an image as Pillow does with a `reducing_gap`; return it, and the box of the part in it.

    With a box, Pillow itself would begin to average somewhere before it. Here the groups of pixels begin at the first
    pixel of the whole image: so it does not matter how that is divided into parts.
    """
    left, top, right, bottom = part.box
    sides = right - left, bottom - top
    x_factor, y_factor = (
        max(1, int(a / b / _REDUCING_GAP + _FACTOR_TOLERANCE)) for a, b in zip(sides, size, strict=True)
    )
    if (x_factor, y_factor) == (1, 1):
        return image, part.box
    x, y = -part.origin[0] % x_factor, -part.origin[1] % y_factor
    reduced = image.reduce((x_factor, y_factor), box=(x, y, *image.size))
    return reduced, ((left - x) / x_factor, (top - y) / y_factor, (right - x) / x_factor, (bottom - y) / y_factor)


def _explain(path: Path, error: Exception) -> str:
    """Return a sentence that says why an image can't be read. What decoders say of damage means little to users."""
    if isinstance(error, OSError) and error.errno is not None:
        return explain_unreadable(path, error)
    if isinstance(error, UnidentifiedImageError):
        found = "is empty" if path.stat().st_size == 0 else "has no known image format, or a damaged header"
        return f"{path} {found}: expected {', '.join(FORMATS)}; remove or replace it"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"{path} is too large: expected at most {MAX_PIXELS} pixels; cut it into smaller images"
    if isinstance(error, MemoryError):
        return f"{path} does not fit into the memory that is free; cut it into smaller images"
    reason = "its data is damaged or cut short"
    if isinstance(error, DecodingError):
        reason = str(error)
    elif "nsupported" in str(error):
        reason = f"its data is damaged, or of a kind that overfly does not read ({error})"
    return f"{path} can't be decoded: {reason}; remove or replace it"


def _check_is_file(path: Path) -> None:
    """Raise if `path` is a folder, or something like a pipe, from which a read might never return."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            # `images_below` also returns folders that could not be listed: this raises the error that says why.
            os.listdir(path)  # noqa: PTH208
            raise ImageError(f"{path} is a folder: expected an image")
    except OSError as error:
        raise ImageError(explain_unreadable(path, error)) from None
    if not stat.S_ISREG(mode):
        raise ImageError(f"{path} is a device, pipe or socket: expected an image; remove it")


def _is_for_pillow(layout: TiffLayout) -> bool:
    """Whether Pillow decodes a TIFF, not rasterio.

    If the libtiff of Pillow would write to standard error, rasterio reads compressed files where it is installed. It
    gives the same values, apart from JPEG and CMYK.
    """
    if not layout.pillow_is_right():
        return False
    uses_libtiff = layout.compression != UNCOMPRESSED
    values_differ = layout.compression == JPEG or layout.photometric == CMYK
    return _LIBTIFF_IS_SILENT or not uses_libtiff or values_differ or find_spec("rasterio") is None


def _check_layout(path: Path, layout: TiffLayout, value_range: ValueRange | None) -> None:
    """Raise if the values of a TIFF can't be turned into 8-bit RGB, or only with a `value_range`."""
    n_bits, form = layout.bits[0], layout.formats[0]
    if len({*layout.bits[:3]}) > 1 or len({*layout.formats[:3]}) > 1:
        problem = f"has {layout}: expected bands of the same kind"
    elif layout.photometric not in READABLE_COLORS or (layout.photometric == CMYK and n_bits != 8):  # noqa: PLR2004
        problem = f"has {layout.colors} colors of {n_bits} bits: expected gray, RGB or a palette"
    elif form not in REAL_FORMATS:
        problem = "has complex pixels: expected real ones"
    elif form != UNSIGNED and layout.photometric == WHITE_IS_ZERO:
        problem = f"has {layout}: expected unsigned values where white is zero"
    elif form == SIGNED and n_bits <= 8:  # noqa: PLR2004 - bits of a byte
        problem = "has signed 8-bit pixels: expected unsigned ones"
    elif value_range is None and (form == FLOAT or (form == SIGNED and n_bits <= 16)):  # noqa: PLR2004
        kind = "floating-point" if form == FLOAT else "signed 16-bit"
        problem = (
            f"has {kind} pixels: expected 8 or 16 bits per channel without a sign, or a model trained with --range"
        )
    else:
        return
    raise ImageError(f"{path} {problem}; convert it first")


def _check_size(path: Path, width: int, height: int) -> None:
    """Raise if an image has more than `MAX_PIXELS` pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{path} is too large: {width} x {height} pixels, expected at most {MAX_PIXELS}; cut it into smaller images"
        )
