"""Which scenes an export looks at: to calibrate INT8, to steer it, and to prove the bundle with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overfly.training.data.dataset import LabelledImage
from overfly.training.data.split import Split, sample_evenly

N_GOLDEN = 64
# One image is half a point of accuracy.
N_STEERING = 200


@dataclass(frozen=True, slots=True)
class Chosen:
    """Scenes of one part of the split: ``train``, ``val`` or ``test``."""

    part: str
    images: Sequence[LabelledImage]


@dataclass(frozen=True, slots=True)
class Selection:
    """The scenes of an export.

    Attributes
    ----------
    calibration
        Of the training part: they set the INT8 ranges.
    steering
        Of the validation part, or of the training part without `calibration` where there is none: they judge INT8
        before it is signed off.
    golden
        Of the test part where it is there: each step is compared with PyTorch on them. Nothing is chosen by them, so
        that the weights are the same when they are taken from another part.
    """

    calibration: Chosen
    steering: Chosen
    golden: Chosen


def select(split: Split, data: Path, *, n_calibration: int, seed: int) -> Selection:
    """Choose the scenes of an export, the classes in turn.

    Parameters
    ----------
    split
        The run's split.
    data
        The data folder. Where it has none of the test part's files, as on a machine that was given
        the training part only, the golden images are those of the validation part, or training images
        that calibrate nothing.
    n_calibration
        How many images calibrate.
    seed
        The run's.
    """
    train, val, test = (split.images(part) for part in ("train", "val", "test"))
    calibration = sample_evenly(train, n_calibration, seed=seed)
    used = {scene.sha256 for scene in calibration}
    # A split made elsewhere may have the same image in two parts.
    val, rest = ([scene for scene in scenes if scene.sha256 not in used] for scenes in (val, train))
    held_back = Chosen("val", val) if val else Chosen("train", rest)
    if any((data / scene.name).is_file() for scene in test):
        proof = Chosen("test", test)
    else:
        proof = held_back if held_back.images else Chosen("train", train)
    return Selection(
        calibration=Chosen("train", calibration),
        steering=Chosen(held_back.part, sample_evenly(held_back.images, N_STEERING, seed=seed)),
        golden=Chosen(proof.part, sample_evenly(proof.images, N_GOLDEN, seed=seed)),
    )
