"""Which images of a data folder are judged, and what their right answers are."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from overfly.benchmarks.results.records import ALL_IMAGES, TEST_PART, Judged
from overfly.runtime.bundle.bundle import Manifest
from overfly.runtime.errors import DataError
from overfly.training.data.dataset import Dataset, LabelledImage

_MAX_NAMED = 5


def select_images(dataset: Dataset, manifest: Manifest) -> tuple[str, list[LabelledImage]]:
    """Choose the scenes to judge.

    If the folder holds the test part of the run that the bundle comes from, found by content,
    exactly that is judged, each content as often as it is listed: the rest was trained on. If it
    holds none of it, it is another labelled folder and all of it is judged.

    Parameters
    ----------
    dataset
        The scanned data folder.
    manifest
        Of the bundle.

    Returns
    -------
    tuple
        `TEST_PART` or `ALL_IMAGES`, and the scenes, their labels being indices of the bundle's classes.

    Raises
    ------
    DataError
        When only some of the test part is there, or a class of a judged scene is not the bundle's.
    """
    held: dict[str, list[LabelledImage]] = defaultdict(list)
    for scene in dataset.images:
        held[scene.sha256].append(scene)
    wanted = manifest.provenance.test_sha256
    n_found = sum(sha256 in held for sha256 in wanted)
    if 0 < n_found < len(wanted):
        raise DataError(
            f"{dataset.folder} lacks {len(wanted) - n_found} of the {len(wanted)} test images of the bundle: "
            "pass the data folder that the run was trained on, unchanged, or a folder with none of its images"
        )
    source, scenes = (TEST_PART, _each(wanted, held)) if n_found else (ALL_IMAGES, list(dataset.images))
    return source, _relabel(scenes, dataset, manifest)


def subsample(scenes: Sequence[LabelledImage], n_wanted: int, *, seed: int = 0) -> list[LabelledImage]:
    """Return about `n_wanted` scenes, the same number of each class as far as it has them, in their order.

    Parameters
    ----------
    scenes
        To choose from.
    n_wanted
        All, if there are no more. At least one of each class is taken all the same.
    seed
        Of the choice.
    """
    if len(scenes) <= n_wanted:
        return list(scenes)
    by_class: dict[int, list[int]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        by_class[scene.label].append(index)
    share = max(1, n_wanted // len(by_class))
    chance = random.Random(seed)  # noqa: S311 - which images are judged is no secret
    chosen = [i for _, held in sorted(by_class.items()) for i in chance.sample(held, min(share, len(held)))]
    return [scenes[i] for i in sorted(chosen)]


def describe_judged(source: str, scenes: Sequence[LabelledImage], n_available: int) -> Judged:
    """Return the record of the judged scenes, chosen from `n_available`."""
    digest = hashlib.sha256("\n".join(sorted(scene.sha256 for scene in scenes)).encode()).hexdigest()
    return Judged(source, n_available, tuple(s.name for s in scenes), tuple(s.label for s in scenes), digest)


def find_calibration_images(dataset: Dataset, manifest: Manifest) -> list[LabelledImage]:
    """Return the scenes that set the ranges of the bundle's INT8 variant.

    Raises
    ------
    DataError
        When the bundle has none, or the data folder lacks some of them.
    """
    record = next((v.calibration for v in manifest.variants.values() if v.calibration is not None), None)
    if record is None:
        raise DataError("the bundle names no calibration images: export the run with --variant int8")
    held = {scene.sha256: scene for scene in dataset.images}
    missing = sum(sha256 not in held for sha256 in record.sha256)
    if missing:
        raise DataError(
            f"{dataset.folder} lacks {missing} of the {len(record.sha256)} images that calibrated the bundle: "
            "pass the data folder that the run was trained on"
        )
    return [held[sha256] for sha256 in record.sha256]


def calibration_overlap(manifest: Manifest, scenes: Sequence[LabelledImage]) -> int:
    """Count the judged scenes that also set the ranges of a quantised variant."""
    records = (variant.calibration for variant in manifest.variants.values())
    used = {sha256 for record in records if record is not None for sha256 in record.sha256}
    return sum(scene.sha256 in used for scene in scenes)


def _each(wanted: Sequence[str], held: dict[str, list[LabelledImage]]) -> list[LabelledImage]:
    """Return a scene for each hash; one that is listed again takes the next scene with that content, going round."""
    seen: dict[str, int] = defaultdict(int)
    scenes = []
    for sha256 in wanted:
        scenes.append(held[sha256][seen[sha256] % len(held[sha256])])
        seen[sha256] += 1
    return scenes


def _relabel(scenes: list[LabelledImage], dataset: Dataset, manifest: Manifest) -> list[LabelledImage]:
    """Return the scenes with the bundle's class indices, matched by the name of the class."""
    index = {name: i for i, name in enumerate(manifest.classes)}
    unknown = sorted({dataset.classes[s.label] for s in scenes} - index.keys())
    if unknown:
        known = ", ".join(manifest.classes[:_MAX_NAMED]) + (", ..." if len(manifest.classes) > _MAX_NAMED else "")
        raise DataError(
            f"the class {unknown[0]} of {dataset.folder} is none of the bundle's {len(index)} classes ({known}): "
            f"rename or remove {Path(dataset.folder) / unknown[0]}"
        )
    return [LabelledImage(s.name, index[dataset.classes[s.label]], s.sha256) for s in scenes]
