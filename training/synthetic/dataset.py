"""The drawn data set of `overfly sample` and `overfly demo`: eight land-use classes, no download."""

from pathlib import Path

import numpy as np
from PIL import Image

from overfly.runtime.reporter import Progress
from overfly.training.synthetic.canvas import REFERENCE_SIZE_PX, Canvas
from overfly.training.synthetic.scenes import SCENES

CLASSES: tuple[str, ...] = tuple(SCENES)
"""Names of the classes and of their folders, in alphabetical order."""

_JPEG_QUALITY = 92


def draw_sample(name: str, index: int, *, size: int = REFERENCE_SIZE_PX, seed: int = 0) -> Image.Image:
    """Draw one image.

    Parameters
    ----------
    name
        One of `CLASSES`.
    index
        Which image of the class, counted from 0.
    size
        Side in pixels. The ground covered (about 77 m) does not depend on it.
    seed
        Seed of the whole data set.

    Returns
    -------
    PIL.Image.Image
        RGB, `size` x `size`; the same for the same arguments.
    """
    # Every image has its own random stream, so that it depends neither on other images nor on their number.
    stream = np.random.SeedSequence(seed, spawn_key=(CLASSES.index(name), index))
    canvas = Canvas(np.random.default_rng(stream), size)
    SCENES[name](canvas)
    return canvas.photograph()


def write_sample(
    folder: Path,
    *,
    images_per_class: int = 40,
    size: int = REFERENCE_SIZE_PX,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write the data set as `folder/<class>/<class>NN.jpg`.

    The same seed gives the same bytes with the same versions of numpy and Pillow. Image NN of a class does not depend
    on `images_per_class`.

    Parameters
    ----------
    folder
        An empty folder.
    images_per_class
        Images in each class folder.
    size
        Side of the images in pixels.
    seed
        Non-negative seed.
    progress
        Called with (images written, all images) after each image.
    """
    total = images_per_class * len(CLASSES)
    for order, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for index in range(images_per_class):
            image = draw_sample(name, index, size=size, seed=seed)
            image.save(folder / name / f"{name}{index:02d}.jpg", quality=_JPEG_QUALITY)
            if progress is not None:
                progress(order * images_per_class + index + 1, total)
