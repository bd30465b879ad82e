"""The images of a part of a run's split, for benchmarks that judge trained models."""

import numpy as np
import numpy.typing as npt

from overfly.runtime.files.names import native_path
from overfly.runtime.images.reading import ImageBatch
from overfly.training.data.dataset import decode_unchanged
from overfly.training.run import Run


def read_part(run: Run, part: str) -> tuple[ImageBatch, npt.NDArray[np.int64]]:
    """Return the images of a part, uint8 of shape ``[N, S, S, 3]``, and their class indices, shape ``[N]``.

    Raises
    ------
    DataError
        If a file is missing, has changed or can't be read.
    """
    images = run.split().images(part)
    pixels = decode_unchanged(native_path(run.record.data), images, run.record.image.reader())
    return pixels, np.array([image.label for image in images])
