"""Sets of images that a model was not trained for: what ``known_score`` measures on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.windows import Window

from overfly.runtime.images.discovery import find_images
from overfly.runtime.images.reading import ImageBatch, ImageReader
from overfly.training.synthetic.dataset import CLASSES, draw_sample

# Side of an image of UC Merced in pixels: what is drawn, and what is cut from a raster or a picture.
_SIDE = 256
# How many images each set has, if there are as many.
N_IMAGES = 200


def noise(reader: ImageReader) -> ImageBatch:
    """Return images of noise: evenly distributed, and normal with several means and deviations; half of them coarse."""
    generator = np.random.default_rng(0)
    images = []
    for number in range(N_IMAGES):
        side = _SIDE if number % 2 else reader.size
        shape = side, side, 3 if number % 8 < 6 else 1  # noqa: PLR2004 - a quarter is gray
        if number % 4 < 2:  # noqa: PLR2004 - half of them
            values = generator.uniform(0, 256, shape)
        else:
            values = generator.normal(generator.uniform(50, 200), generator.uniform(10, 80), shape)
        pixels = np.broadcast_to(np.clip(values, 0, 255), (side, side, 3)).astype(np.uint8)
        images.append(reader.fit(np.ascontiguousarray(pixels)))
    return np.stack(images)


def flat_colors(reader: ImageReader) -> ImageBatch:
    """Return images of one color each: black, white, grays, and colors drawn evenly."""
    grays = np.repeat(np.linspace(0, 255, 20), 3).reshape(-1, 3)
    colors = np.random.default_rng(0).uniform(0, 256, (N_IMAGES - len(grays), 3))
    pixels = np.concatenate([grays, colors]).astype(np.uint8)[:, np.newaxis, np.newaxis]
    return np.ascontiguousarray(np.broadcast_to(pixels, (N_IMAGES, reader.size, reader.size, 3)))


def drawings(reader: ImageReader) -> ImageBatch:
    """Return images of the data set that `overfly sample` draws."""
    n_per_class = N_IMAGES // len(CLASSES)
    drawn = (draw_sample(name, index) for name in CLASSES for index in range(n_per_class))
    return np.stack([reader.fit(np.asarray(image)) for image in drawn])


def raster_windows(reader: ImageReader, rasters: Sequence[Path]) -> ImageBatch:
    """Return windows of rasters, evenly from each, without those that are more than half empty."""
    return np.concatenate([_evenly(list(_windows(reader, path)), N_IMAGES // len(rasters)) for path in rasters])


def picture_parts(reader: ImageReader, paths: Sequence[Path]) -> ImageBatch:
    """Return square parts of pictures, such as photographs: the whole middle, and parts of `_SIDE` pixels."""
    parts = []
    for path in paths:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        some = [picture.crop((left, top, left + side, top + side))]
        some += [
            picture.crop((x, y, x + _SIDE, y + _SIDE))
            for y in range(0, picture.height - _SIDE + 1, _SIDE // 2)
            for x in range(0, picture.width - _SIDE + 1, _SIDE // 2)
        ]
        parts += [_evenly([reader.fit(np.asarray(part)) for part in some], max(1, N_IMAGES // len(paths)))]
    return np.concatenate(parts)


def image_files(reader: ImageReader, folders: Sequence[Path], *, n_most: int | None = N_IMAGES) -> ImageBatch:
    """Return the images below folders, at most `n_most`."""
    images = [reader.read(path) for path in find_images(list(folders))]
    return _evenly(images, n_most or len(images))


def _windows(reader: ImageReader, path: Path) -> Iterator[ImageBatch]:
    """Yield windows of the first three bands of a raster, of `_SIDE` pixels and of half as many."""
    with rasterio.open(path) as dataset:
        for side in (_SIDE, _SIDE // 2):
            for top in range(0, dataset.height - side + 1, side // 4):
                for left in range(0, dataset.width - side + 1, side // 4):
                    window = Window(left, top, side, side)
                    if dataset.dataset_mask(window=window).mean() > 127:  # noqa: PLR2004 - half of 255
                        pixels = dataset.read((1, 2, 3), window=window).transpose(1, 2, 0)
                        yield reader.fit(np.ascontiguousarray(pixels))


def _evenly(images: Sequence[ImageBatch], n_most: int) -> ImageBatch:
    """Return at most `n_most` images as a stack, taken at even distances."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(n_most, len(images))).round().astype(int))
    return np.stack([images[i] for i in chosen])
