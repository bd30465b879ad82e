"""Which images of a data folder are evaluated, and which class each of them has."""

import hashlib
import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from overfly.benchmarks.results.records import (
    ALL_IMAGES,
    COMMON_IMAGES,
    EVERY_TEST_PART,
    TEST_FOLDER,
    TEST_PART,
    EvaluationSet,
)
from overfly.runtime.bundle.manifest import N_SHORT_DIGITS, Manifest
from overfly.runtime.errors import DataError
from overfly.training.data.dataset import Dataset, LabeledImage, group_by_content
from overfly.training.data.split import read_split
from overfly.training.run_layout import SPLIT_FILE

_MAX_NAMED = 5

_LOGGER = logging.getLogger(__name__)


def select_images(dataset: Dataset, manifest: Manifest, *, bundle: str = "") -> tuple[str, list[LabeledImage]]:
    """Choose the images to evaluate.

    If the folder contains the test part of the run that the bundle was exported from, exactly that part is
    evaluated, because the run was trained on the rest. Its images are found by content, and an image that
    is listed twice is evaluated twice. If the folder contains none of the test part, it is another data
    set. Then its test part is evaluated if it has part folders such as train and test, else all its images.

    Parameters
    ----------
    dataset
        The scanned data folder.
    manifest
        The manifest of the bundle.
    bundle
        Name of the bundle for the error; empty if there is only one.

    Returns
    -------
    tuple
        `TEST_PART`, `TEST_FOLDER` or `ALL_IMAGES`, and the images. Their labels are indices of the bundle's classes.

    Raises
    ------
    DataError
        If only some of the test part is there, or an image has a class that the bundle does not have.
    """
    by_content = group_by_content(dataset.images)
    wanted = manifest.provenance.test_sha256
    n_found = sum(sha256 in by_content for sha256 in wanted)
    if 0 < n_found < len(wanted):
        raise DataError(
            f"{dataset.folder} lacks {len(wanted) - n_found} of the {len(wanted)} test images of "
            f"{bundle or 'the bundle'}: pass the data folder that the run was trained on, unchanged, or a folder with "
            "none of its images"
        )
    if n_found:
        # A hash that is listed again takes the next image with that content.
        images = {sha256: cycle(same) for sha256, same in by_content.items()}
        return TEST_PART, _relabel([next(images[sha256]) for sha256 in wanted], dataset, manifest)
    if dataset.parts:
        test = [image for image in dataset.images if dataset.part_of(image) == "test"]
        return TEST_FOLDER, _relabel(test, dataset, manifest)
    return ALL_IMAGES, _relabel(dataset.images, dataset, manifest)


def select_common_images(
    dataset: Dataset, manifests: Mapping[str, Manifest]
) -> tuple[str, list[LabeledImage], list[int]]:
    """Choose the images to evaluate several bundles on: those that `select_images` chooses for each of them.

    So an image of the test part of one bundle is not used if it is not in the test part of another one, which may have
    been trained on it.

    Parameters
    ----------
    dataset
        The scanned data folder.
    manifests
        The manifests by the names of their bundles, at least one. All have the same classes in the same order.

    Returns
    -------
    tuple
        `TEST_PART`, `EVERY_TEST_PART`, `TEST_FOLDER`, `ALL_IMAGES` or `COMMON_IMAGES`; the images; and how many
        `select_images` chooses for each bundle.

    Raises
    ------
    DataError
        If `select_images` raises it, or if there is a class of which the bundles have no image in common.
    """
    several = len(manifests) > 1
    found = {name: select_images(dataset, of, bundle=name if several else "") for name, of in manifests.items()}
    (first, (source, images)), *others = found.items()
    counts = [len(chosen) for _, chosen in found.values()]
    if not others:
        return source, images, counts
    contents = {name: {image.sha256 for image in chosen} for name, (_, chosen) in found.items()}
    common = [image for image in images if all(image.sha256 in of for of in contents.values())]
    if all(of == contents[first] for of in contents.values()):
        return (EVERY_TEST_PART if source == TEST_PART else source), common, counts
    labels = {image.label for _, chosen in found.values() for image in chosen}
    if missing := sorted(labels - {image.label for image in common}):
        sizes = ", ".join(f"{name} {n}" for name, n in zip(found, counts, strict=True))
        raise DataError(
            f"the bundles have different test images ({sizes}), {len(common)} in common and none of the class "
            f"{manifests[first].classes[missing[0]]}: train with the same --split or --seed, or pass a folder with "
            "other images"
        )
    return COMMON_IMAGES, common, counts


def subsample(images: Sequence[LabeledImage], n_wanted: int, *, seed: int = 0) -> list[LabeledImage]:
    """Return about `n_wanted` images in their order, the same number of each class as far as it has them.

    Parameters
    ----------
    images
        The images to choose from.
    n_wanted
        The number of images. At least one of each class is returned, even if that is more.
    seed
        Random seed.
    """
    if len(images) <= n_wanted:
        return list(images)
    by_class: dict[int, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_class[image.label].append(index)
    n_per_class = max(1, n_wanted // len(by_class))
    generator = random.Random(seed)  # noqa: S311 - not used for security
    chosen: list[int] = []
    for _, of_class in sorted(by_class.items()):
        chosen += generator.sample(of_class, min(n_per_class, len(of_class)))
    return [images[i] for i in sorted(chosen)]


def count_seen(
    images: Sequence[LabeledImage],
    manifest: Manifest,
    folder: Path,
    *,
    run: Path | None = None,
    bundle: str = "",
) -> tuple[int, int]:
    """Return how many of the images to evaluate the run was trained on, and how many it was validated on.

    Parameters
    ----------
    images
        The images to evaluate, at least one.
    manifest
        The manifest of the bundle, which names the images of the run by their content. If it is of an earlier version,
        the run's split names them; without `run`, none is counted, which the log says.
    folder
        The data folder, for the error.
    run
        The run folder.
    bundle
        Name of the bundle for the error and the log; empty if there is only one.

    Raises
    ------
    DataError
        If these are all of the images: then their accuracy says nothing about other images.
    """
    provenance = manifest.provenance
    parts = {"train": provenance.train_sha256, "val": provenance.val_sha256}
    if None in parts.values() and run is not None:
        split = read_split(run / SPLIT_FILE)
        parts = {part: tuple(image.sha256[:N_SHORT_DIGITS] for image in split.images(part)) for part in parts}
    elif None in parts.values():
        _LOGGER.warning(
            "%s is of an earlier version and does not name the images of its training: "
            "pass --run, or images that were not trained on",
            bundle or "the bundle",
        )
    train, val = (frozenset(sha256s or ()) for sha256s in parts.values())
    found = [image.sha256[:N_SHORT_DIGITS] for image in images]
    n_train, n_val = (sum(sha256 in part for sha256 in found) for part in (train, val))
    if train.union(val).issuperset(found):
        of = f" of {bundle}" if bundle else ""
        raise DataError(
            f"{folder} has no image that the run{of} has not seen: of the {len(found)} to evaluate, it was trained on "
            f"{n_train} and validated on {n_val}; pass the whole data folder of the training, of which the test part "
            "is evaluated, or other images"
        )
    return n_train, n_val


def describe_images(source: str, images: Sequence[LabeledImage], *, n_available: int) -> EvaluationSet:
    """Return the record of the evaluated images.

    Parameters
    ----------
    source
        Where they come from, as `select_common_images` returns it.
    images
        The evaluated images, chosen from `n_available` of the same source.
    n_available
        The number of images of that source.
    """
    return EvaluationSet(
        source=source,
        n_available=n_available,
        names=tuple(image.name for image in images),
        truth=tuple(image.label for image in images),
        sha256=hashlib.sha256("\n".join(sorted(image.sha256 for image in images)).encode()).hexdigest(),
    )


def find_calibration_images(dataset: Dataset, manifest: Manifest) -> list[LabeledImage]:
    """Return the images that calibrated the bundle's quantized variant.

    Raises
    ------
    DataError
        If the bundle has no such variant, or the data folder lacks some of the images.
    """
    record = next((v.calibration for v in manifest.variants.values() if v.calibration is not None), None)
    if record is None:
        raise DataError("the bundle names no calibration images: export the run with --variant int8")
    by_content = {image.sha256: image for image in dataset.images}
    n_missing = sum(sha256 not in by_content for sha256 in record.sha256)
    if n_missing:
        raise DataError(
            f"{dataset.folder} lacks {n_missing} of the {len(record.sha256)} images that calibrated the bundle: "
            "pass the data folder that the run was trained on"
        )
    return [by_content[sha256] for sha256 in record.sha256]


def _relabel(images: Sequence[LabeledImage], dataset: Dataset, manifest: Manifest) -> list[LabeledImage]:
    """Return the images with the bundle's class indices; classes are matched by name."""
    index = {name: i for i, name in enumerate(manifest.classes)}
    unknown = sorted({dataset.classes[image.label] for image in images} - index.keys())
    if unknown:
        known = ", ".join(manifest.classes[:_MAX_NAMED]) + (", ..." if len(manifest.classes) > _MAX_NAMED else "")
        raise DataError(
            f"the class {unknown[0]} of {dataset.folder} is not one of the bundle's {len(index)} classes ({known}): "
            "rename or remove its folder"
        )
    return [LabeledImage(image.name, index[dataset.classes[image.label]], image.sha256) for image in images]
