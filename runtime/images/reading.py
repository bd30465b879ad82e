"""Decode image files to uint8 RGB arrays: the one implementation that training and deployment share."""

import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from overfly.runtime.errors import ImageError

# Pillow's default limit. A small file with more pixels may be a decompression bomb.
MAX_PIXELS = 89_478_485

# Pillow reads more formats, some of them by starting programs that it finds on the machine.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")

# `load_image` raises for an image that Pillow only warns of. The filter holds for the whole process that imports this
# module: a filter for a moment (warnings.catch_warnings) is not safe in the threads that decode.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# The operation that makes an image of each EXIF orientation upright; orientation 1 is upright already.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

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
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Raise ValueError if a value is not positive."""
        if self.size < 1 or min(self.std) <= 0:
            raise ValueError(f"image size {self.size} and std {self.std} must be positive")


def load_image(path: Path, size: int) -> ImageBatch:
    """Decode an image file and resize the image.

    Grayscale, palette, CMYK and 16-bit images become 8-bit RGB; of 16 bits the high byte is kept.
    Transparency is dropped, and the EXIF orientation is applied. Of a file with several pages the first is read.

    Parameters
    ----------
    path
        A JPEG, PNG, TIFF, BMP or WebP file.
    size
        Height and width of the result in pixels.

    Returns
    -------
    ndarray
        uint8, shape ``[size, size, 3]``, RGB.

    Raises
    ------
    ImageError
        If the file is missing, is not an image, is damaged, has floating-point pixels, or has
        more than `MAX_PIXELS` pixels.
    """
    try:
        _check_is_file(path)
        with Image.open(path, formats=_FORMATS) as image:
            _check_size(path, image)
            rgb = _to_rgb(path, _upright(image))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist: expected an image") from None
    except PermissionError:
        raise ImageError(f"{path} can't be opened: you have no permission to read it; change its permissions") from None
    except UnidentifiedImageError:
        found = "is empty" if path.stat().st_size == 0 else "has no known image format"
        raise ImageError(f"{path} {found}: expected {', '.join(_FORMATS)}; remove or replace it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path} is too large: {error}; cut it into smaller images") from None
    except Exception as error:
        # Pillow's decoders raise many kinds of exceptions for damaged files, TypeError and struct.error among them.
        raise ImageError(f"{path} can't be decoded ({error}): remove or replace it") from error
    return _resize(rgb, size)


def resize_pixels(pixels: ImageBatch, size: int) -> ImageBatch:
    """Resize uint8 RGB pixels of shape ``[height, width, 3]`` to ``[size, size, 3]`` as `load_image` does."""
    return pixels if pixels.shape == (size, size, 3) else _resize(Image.fromarray(pixels), size)


def _check_is_file(path: Path) -> None:
    """Raise if `path` is a folder, or something like a pipe, from which a read might never return."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        # `images_below` also returns folders that could not be listed: this raises the error that says why.
        os.listdir(path)  # noqa: PTH208
        raise ImageError(f"{path} is a folder: expected an image")
    if not stat.S_ISREG(mode):
        raise ImageError(f"{path} is a device, pipe or socket: expected an image; remove it")


def _check_size(path: Path, image: Image.Image) -> None:
    """Raise if an image has more than `MAX_PIXELS` pixels."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{path} is too large: {image.width} x {image.height} pixels, expected at most {MAX_PIXELS}; "
            "cut it into smaller images"
        )


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation.

    Pillow's `exif_transpose` also writes all other EXIF tags again, and fails if one of them is malformed.
    """
    # A PNG may have its EXIF data after the pixels, and Pillow turns a TIFF while it loads the pixels.
    image.load()
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB."""
    if image.mode == "F":
        raise ImageError(f"{path} has floating-point pixels: expected 8 or 16 bits per channel; convert it first")
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
            raise ImageError(f"{path} has pixels outside 16 bits: expected 8 or 16 bits per channel; convert it first")
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
    if "transparency" in image.info:
        # Pillow warns if a palette with transparency is converted to RGB in one step.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _resize(rgb: Image.Image, size: int) -> ImageBatch:
    """Return the pixels of an RGB image, shape ``[size, size, 3]``."""
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(rgb, dtype=np.uint8)
