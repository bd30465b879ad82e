"""Pictures in, uint8 RGB arrays out: the one implementation that training and deployment share."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from overfly.runtime.errors import DataError, ImageError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

# Pillow's own limit: past it a small file may be a decompression bomb.
MAX_PIXELS = 89_478_485

# Our own limit below refuses what Pillow only warns of; its warning would come beside our sentence.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

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
        with Image.open(path) as picture:
            _refuse_bomb(path, picture.size)
            rgb = _to_rgb(path, ImageOps.exif_transpose(picture))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist: expected a picture") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture that can be read: {_describe(path)}; remove or replace it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path} is too large: {error}; cut it into scenes") from None
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        # Pillow's decoders raise all of these for damaged files.
        raise ImageError(f"{path} can't be decoded ({error}): remove or replace it") from error
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(rgb, dtype=np.uint8)


def find_images(paths: list[Path]) -> list[Path]:
    """Return the pictures named, and those below each folder named, sorted within a folder.

    Raises
    ------
    DataError
        When a path does not exist, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist: expected a picture or a folder of pictures")
        below = [p for p in visible_files(path) if is_image_name(p)] if path.is_dir() else [path]
        if not below:
            raise DataError(f"{path} holds no picture: expected files ending in {suffix_list()}")
        found += below
    return found


def visible_files(folder: Path) -> list[Path]:
    """Return every file below `folder`, sorted, but for those that are hidden or in a hidden folder."""
    files = (
        path for path in folder.rglob("*") if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return sorted(path for path in files if path.is_file())


def is_image_name(path: Path) -> bool:
    """Whether the name of `path` ends like a picture's."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def suffix_list() -> str:
    """Return the accepted suffixes for a message."""
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _to_rgb(path: Path, picture: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB."""
    if picture.mode == "F":
        raise ImageError(f"{path} has floating-point pixels: expected 8 or 16 bits a channel; convert it first")
    if picture.mode.startswith("I"):
        pixels = np.asarray(picture, dtype=np.int64)
        if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
            raise ImageError(f"{path} has pixels outside 16 bits: expected 8 or 16 bits a channel; convert it first")
        picture = Image.fromarray((pixels >> 8).astype(np.uint8))
    if "transparency" in picture.info:
        # Straight to RGB, Pillow would warn of a palette's transparency.
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _refuse_bomb(path: Path, size: tuple[int, int]) -> None:
    """Raise for a picture whose pixels would not fit a scene classifier's memory."""
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(f"{path} is too large: {size[0]} x {size[1]} pixels, at most {MAX_PIXELS}; cut it into scenes")


def _describe(path: Path) -> str:
    """Say what stands where a picture was expected."""
    if path.is_dir():
        return "it is a folder"
    return "it is empty" if path.stat().st_size == 0 else "its content is of no known image format"
