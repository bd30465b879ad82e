"""The bundles of a bench: opened, told apart by name, and each with the run that it was exported from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.errors import ComparisonError, RunError
from overfly.runtime.files.hashing import sha256_file
from overfly.training.run_layout import RUN_FILE


@dataclass(frozen=True, slots=True)
class BundleToMeasure:
    """A bundle of a bench.

    Attributes
    ----------
    bundle
        The opened bundle.
    name
        Its name in the report, see `results.records.BundleFacts`.
    label
        What the names of its rows begin with: the same if there are several bundles, else empty.
    run
        The run that it was exported from; None if that was not given.
    """

    bundle: Bundle
    name: str
    label: str
    run: Path | None


def open_bundles(paths: Sequence[Path], runs: Sequence[Path]) -> list[BundleToMeasure]:
    """Open the bundles of a bench, and find the run of each.

    Parameters
    ----------
    paths
        At least one bundle.
    runs
        Runs that they were exported from. A run may belong to several of the bundles.

    Raises
    ------
    BundleError
        If a path is not a bundle.
    ComparisonError
        If a bundle is there twice, or if two have different classes.
    RunError
        If a path is not a run, or if none of the bundles was exported from it.
    """
    bundles = [Bundle.open(path) for path in paths]
    _check_different(bundles)
    for bundle in bundles[1:]:
        _check_same_classes(bundles[0], bundle)
    of_runs = {_sha256_of_run(run, bundles): run for run in runs}
    found = []
    for bundle, name in zip(bundles, _names(paths), strict=True):
        run = of_runs.get(bundle.manifest.provenance.run_sha256)
        found.append(BundleToMeasure(bundle, name, name if len(bundles) > 1 else "", run))
    return found


def _check_different(bundles: Sequence[Bundle]) -> None:
    """Check that no bundle is there twice, also not as a copy in another folder."""
    known: dict[str, Path] = {}
    for bundle in bundles:
        sha256 = bundle.manifest_sha256()
        if sha256 in known:
            raise ComparisonError(f"{bundle.path} is the same bundle as {known[sha256]}: give each bundle once")
        known[sha256] = bundle.path


def _check_same_classes(first: Bundle, other: Bundle) -> None:
    """Check that a bundle has the classes of the first one, in the same order."""
    expected, found = first.manifest.classes, other.manifest.classes
    if len(found) != len(expected):
        what = f"found {len(found)}, expected {len(expected)}"
    elif found != expected:
        number = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
        what = f"class {number + 1} is {found[number]!r}, expected {expected[number]!r}"
    else:
        return
    raise ComparisonError(
        f"{other.path} has other classes than {first.path} ({what}): bench them one by one, or train both on the same "
        "class folders"
    )


def _sha256_of_run(run: Path, bundles: Sequence[Bundle]) -> str:
    """Return the SHA-256 of a run's ``run.json``, after checking that one of the bundles was exported from the run."""
    if not (run / RUN_FILE).is_file():
        raise RunError(f"{run} is not a run: expected the folder written by overfly train, with its {RUN_FILE}")
    sha256 = sha256_file(run / RUN_FILE)
    if all(bundle.manifest.provenance.run_sha256 != sha256 for bundle in bundles):
        paths = ", ".join(str(bundle.path) for bundle in bundles)
        what = f"the bundle {paths} was not" if len(bundles) == 1 else f"none of the bundles {paths} was"
        raise RunError(
            f"{what} exported from {run}: the SHA-256 of its {RUN_FILE} differs; pass the run that the bundle was "
            "made from, or export it again"
        )
    return sha256


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the names of different bundles: the last parts of their paths, as few as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for n_parts in count(1):
        names = [Path(*of[-n_parts:]).as_posix() for of in parts]
        if len(set(names)) == len(names):
            break
    return names
