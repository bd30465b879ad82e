"""Pictures in, uint8 RGB arrays out: the one implementation that training and deployment share."""

import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from overfly.runtime.errors import DataError, ImageError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

# Pillow's own limit: past it a small file may be a decompression bomb.
MAX_PIXELS = 89_478_485

# Named, as Pillow knows many more, and hands some of them to programs that it finds on the machine.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")

# Our own limit below refuses what Pillow only warns of; its warning would come beside our sentence.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# What undoes each EXIF orientation but 1, which is upright.
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
    """What the model's input is made of.

    Attributes
    ----------
    size
        Height and width in pixels to which every picture is resized (bilinear with antialiasing;
        the aspect ratio is not kept, so that nothing of the scene is cut off).
    mean, std
        Per channel (R, G, B), for pixels scaled to [0, 1]. Applied inside the graph.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Refuse values that no model can take."""
        if self.size < 1 or min(self.std) <= 0:
            raise ValueError(f"image size {self.size} and std {self.std} must be positive")


def load_image(path: Path, size: int) -> ImageBatch:
    """Decode one picture and resize it.

    Greyscale, palette, CMYK and 16-bit pictures become 8-bit RGB (of 16 bits the high byte);
    transparency is dropped; the EXIF orientation is applied; of several pages the first counts.

    Parameters
    ----------
    path
        A file that Pillow can open.
    size
        Height and width of the result in pixels.

    Returns
    -------
    ndarray
        uint8, shape ``[size, size, 3]``, RGB.

    Raises
    ------
    ImageError
        When the file is missing, is no picture, is truncated, has floating-point pixels, or has
        more than `MAX_PIXELS` pixels.
    """
    try:
        _refuse_other_than_file(path)
        with Image.open(path, formats=_FORMATS) as picture:
            _refuse_bomb(path, picture.size)
            rgb = _to_rgb(path, _upright(picture))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist: expected a picture") from None
    except PermissionError:
        raise ImageError(f"{path} can't be opened: you have no right to read it; change its rights") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture that can be read: {_describe(path)}; remove or replace it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path} is too large: {error}; cut it into scenes") from None
    except Exception as error:
        # For damaged files Pillow's decoders raise whatever comes, TypeError and struct.error among others.
        raise ImageError(f"{path} can't be decoded ({error}): remove or replace it") from error
    return _resize(rgb, size)


def resize_pixels(pixels: ImageBatch, size: int) -> ImageBatch:
    """Return uint8 RGB pixels of shape ``[height, width, 3]`` as `load_image` would have resized them."""
    return pixels if pixels.shape == (size, size, 3) else _resize(Image.fromarray(pixels), size)


def find_images(paths: list[Path]) -> list[Path]:
    """Return the pictures named, and those below each folder named, sorted within a folder.

    What has a picture's name but is none, such as a link that leads nowhere, and a folder that
    can't be listed are among them: `load_image` says what is wrong with each.

    Raises
    ------
    DataError
        When a path does not exist, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if not os.path.lexists(path):
            raise DataError(f"{path} does not exist: expected a picture or a folder of pictures")
        below = pictures_below(path) if path.is_dir() else [path]
        if not below:
            raise DataError(f"{path} holds no picture: expected files ending in {suffix_list()}")
        found += below
    return found


def visible_files(folder: Path, on_error: Callable[[OSError], None] | None = None) -> list[Path]:
    """Return all below `folder` that is no folder, sorted, but for what is hidden or in a hidden folder.

    Links to folders are not followed, so that none can lead in a circle.

    Parameters
    ----------
    folder
        Where to look.
    on_error
        Called for a folder that can't be listed; without it the error is raised.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=on_error or _raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found)


def pictures_below(folder: Path) -> list[Path]:
    """Return the pictures below a folder, and the folders that can't be listed."""
    unlistable: list[Path] = []
    files = visible_files(folder, lambda error: unlistable.append(Path(error.filename)))
    return sorted([path for path in files if is_image_name(path)] + unlistable)


def _raise(error: OSError) -> None:
    """Raise what `os.walk` would pass over."""
    raise error


def is_image_name(path: Path) -> bool:
    """Whether the name of `path` ends like a picture's."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def suffix_list() -> str:
    """Return the accepted suffixes for a message."""
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _upright(picture: Image.Image) -> Image.Image:
    """Apply the EXIF orientation.

    Pillow's `exif_transpose` writes all other tags again, and fails where one is odd.
    """
    picture.load()  # a PNG may tell its orientation after its pixels, and a TIFF is turned while it is loaded
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(path: Path, picture: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB."""
    if picture.mode == "F":
        raise ImageError(f"{path} has floating-point pixels: expected 8 or 16 bits a channel; convert it first")
    if picture.mode.startswith("I"):
        pixels = np.asarray(picture)
        if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
            raise ImageError(f"{path} has pixels outside 16 bits: expected 8 or 16 bits a channel; convert it first")
        picture = Image.fromarray((pixels >> 8).astype(np.uint8))
    if "transparency" in picture.info:
        # Straight to RGB, Pillow would warn of a palette's transparency.
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _resize(rgb: Image.Image, size: int) -> ImageBatch:
    """Return the pixels of an RGB picture, shape ``[size, size, 3]``."""
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(rgb, dtype=np.uint8)


def _refuse_bomb(path: Path, size: tuple[int, int]) -> None:
    """Raise for a picture whose pixels would not fit a scene classifier's memory."""
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(f"{path} is too large: {size[0]} x {size[1]} pixels, at most {MAX_PIXELS}; cut it into scenes")


def _describe(path: Path) -> str:
    """Say what stands where a picture was expected."""
    return "it is empty" if path.stat().st_size == 0 else "its content is of no known image format"


def _refuse_other_than_file(path: Path) -> None:
    """Raise for what is no file: a folder, or a pipe, which would never end."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        os.listdir(path)  # noqa: PTH208 - a folder among the pictures is one that could not be listed: this says why
        raise ImageError(f"{path} is a folder: expected a picture")
    if not stat.S_ISREG(mode):
        raise ImageError(f"{path} is no file but a device, pipe or socket: expected a picture; remove it")
