"""Which images an export uses: to calibrate INT8, to measure its accuracy, and as golden images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.errors import DataError
from overfly.runtime.files.access import describe_broken_link
from overfly.training.data.dataset import LabeledImage
from overfly.training.data.split import Split, sample_evenly

# 100, 128, 200 and 300 images gave logits no closer to fp32's on held-out training images.
N_CALIBRATION = 64
# One image is half a percentage point of accuracy.
N_VALIDATION = 200
N_GOLDEN = 64


@dataclass(frozen=True, slots=True)
class ImageSample:
    """Images of one part of the split: ``train``, ``val`` or ``test``."""

    part: str
    images: Sequence[LabeledImage]


@dataclass(frozen=True, slots=True)
class Selection:
    """The images of an export.

    Attributes
    ----------
    calibration
        From the training part. They set the INT8 ranges.
    validation
        From the validation part. If that has fewer than `N_VALIDATION` images, and the training part without
        `calibration` has more: from the latter. They measure how much accuracy INT8 loses, for ``--max-drop``.
    golden
        From the test part if its files are there. Each step is compared with PyTorch on them. They decide nothing, so
        the weights are the same if they come from another part.
    """

    calibration: ImageSample
    validation: ImageSample
    golden: ImageSample


def select(split: Split, data: Path, *, n_calibration: int | None, seed: int) -> Selection:
    """Choose the images of an export, evenly from all classes.

    Parameters
    ----------
    split
        The run's split.
    data
        The data folder. If it has no file of the test part, as on a machine that has the training part only, the golden
        images are from the same part as `Selection.validation`.
    n_calibration
        Number of calibration images; None takes 64, or one of each class if there are more classes.
    seed
        The run's seed.

    Raises
    ------
    DataError
        If a link that leads nowhere hides test images.
    """
    if n_calibration is None:
        n_calibration = max(N_CALIBRATION, len(split.classes))
    train, val, test = (split.images(part) for part in ("train", "val", "test"))
    calibration = sample_evenly(train, n_calibration, seed=seed)
    used = {image.sha256 for image in calibration}
    # A split that was made elsewhere may have the same image in two parts.
    val, remaining = ([image for image in images if image.sha256 not in used] for images in (val, train))
    enough = len(val) >= min(N_VALIDATION, len(remaining))
    held_out = ImageSample("val", val) if enough else ImageSample("train", remaining)
    paths = [image.path(data) for image in test]
    missing = [path for path in paths if not path.is_file()]
    for broken in filter(None, map(describe_broken_link, missing)):
        raise DataError(broken)
    if len(missing) < len(paths):
        golden = ImageSample("test", test)
    else:
        golden = held_out if held_out.images else ImageSample("train", train)
    return Selection(
        calibration=ImageSample("train", calibration),
        validation=ImageSample(held_out.part, sample_evenly(held_out.images, N_VALIDATION, seed=seed)),
        golden=ImageSample(golden.part, sample_evenly(golden.images, N_GOLDEN, seed=seed)),
    )
