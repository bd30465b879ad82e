"""Which scenes are cut from which raster: opens and checks every raster before the first scene is written."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rasterio import Affine
from rasterio.crs import CRS

from overfly.runtime.errors import RasterError
from overfly.runtime.files.names import utf8_text
from overfly.runtime.files.output_guards import windows_device
from overfly.runtime.raster.description import describe_raster
from overfly.runtime.raster.record import RasterRecord
from overfly.runtime.raster.source import RasterSource
from overfly.training.data.chips.classes import AMBIGUOUS, UNLABELED, classify_windows
from overfly.training.data.chips.ground import RasterWindows
from overfly.training.data.chips.labels import LabelFile, read_labels
from overfly.training.data.chips.record import UNLABELED_FOLDER
from overfly.training.data.chips.windows import ChipGrid, chip_grid

# No system has them in the names of all its folders, or they hide a folder.
_FORBIDDEN = frozenset('<>:"/\\|?*')
_NOT_TEXT = {"Cc", "Cs", "Zl", "Zp"}
# File systems have names of up to 255 bytes.
_MAX_NAME_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterPlan:
    """The scenes of a raster.

    Attributes
    ----------
    path
        The raster.
    stem
        What the names of its scenes start with.
    record
        The file and its grid.
    crs, transform
        The place of the raster.
    bands
        The bands for red, green and blue.
    grid
        All its windows.
    chosen
        int64, shape ``[N]``: the indices of the windows that have a class.
    labels
        The class of each of these, as text.
    dropped
        The number of windows without a class, and of features that are no labels, by the reason.
    """

    path: Path
    stem: str
    record: RasterRecord
    crs: CRS | None
    transform: Affine
    bands: tuple[int, ...]
    grid: ChipGrid
    chosen: npt.NDArray[np.int64]
    labels: npt.NDArray[np.object_]
    dropped: Counter[str] = field(default_factory=Counter)

    def ground_windows(self, of: Sequence[int] | npt.NDArray[np.int64]) -> RasterWindows:
        """Return the place of some of the windows, given by their indices; only for a raster with a CRS."""
        return RasterWindows(self.crs, self.grid.corners(self.transform)[np.asarray(of, np.int64)])


def plan_raster(
    source: RasterSource,
    stem: str,
    *,
    scene_m: float,
    stride_m: float,
    labels: LabelFile | None,
    choices: "ClassChoices",
) -> RasterPlan:
    """Find the windows of a raster and their classes.

    Parameters
    ----------
    source
        The raster.
    stem
        What the names of its scenes start with.
    scene_m, stride_m
        See `overfly.training.data.chips.windows.chip_grid`.
    labels
        What gives the classes; None puts all windows into one folder.
    choices
        How labels become classes.

    Raises
    ------
    RasterError
        If the raster or the labels can't be used.
    """
    grid = chip_grid(source, scene_m, stride_m)
    names = np.full(len(grid.columns), UNLABELED_FOLDER, object)
    dropped: Counter[str] = Counter()
    is_chosen = np.ones(len(names), np.bool_)
    if labels is not None:
        found = read_labels(labels, source)
        classes = classify_windows(grid.polygons(source.transform), found, min_cover=choices.min_cover)
        dropped += classes.count_dropped()
        dropped += Counter(without_class=found.n_without_class, without_geometry=found.n_without_place)
        # The two names at the end are those of UNLABELED and AMBIGUOUS.
        known = np.array([*classes.names, "", choices.outside or ""], object)
        assert (UNLABELED, AMBIGUOUS) == (-1, -2)  # noqa: S101
        names = known[classes.numbers]
        is_chosen = names != ""
        if choices.outside is not None:
            del dropped["unlabeled"]
    return RasterPlan(
        path=source.path,
        stem=stem,
        record=describe_raster(source),
        crs=source.crs,
        transform=source.transform,
        bands=source.bands,
        grid=grid,
        chosen=np.flatnonzero(is_chosen),
        labels=names[is_chosen],
        dropped=dropped,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChoices:
    """How labels become the classes of windows.

    Attributes
    ----------
    min_cover
        The share of a window that a class must cover.
    outside
        The class of windows without a label; None drops them.
    """

    min_cover: float
    outside: str | None


def file_stems(paths: Sequence[Path]) -> list[str]:
    """Return what the names of each raster's scenes start with: its name, with a number if several have the same."""
    stems = [utf8_text(path.stem).lstrip(".") or "raster" for path in paths]
    counts = Counter(stem.casefold() for stem in stems)
    seen: Counter[str] = Counter()
    names = []
    for stem in stems:
        seen[stem.casefold()] += 1
        names.append(f"{stem}-{seen[stem.casefold()]}" if counts[stem.casefold()] > 1 else stem)
    return names


def check_class_names(names: Iterable[str]) -> None:
    """Check that each class can have a folder with its name, on every system.

    Raises
    ------
    RasterError
        If one can't; the message has the name and why.
    """
    folded: dict[str, str] = {}
    for name in names:
        if problem := _problem_of_name(name):
            raise RasterError(f"the class {name!r} of the labels can't name a folder: {problem}; rename the class")
        other = folded.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise RasterError(
                f"the classes {other!r} and {name!r} of the labels would share a folder on Windows: rename one, "
                "or give both the same name"
            )


def _problem_of_name(name: str) -> str | None:
    """Return why a class can't name a folder; None if it can."""
    if bad := sorted(_FORBIDDEN.intersection(name)):
        return f"it has the character {bad[0]}"
    if not _NOT_TEXT.isdisjoint(map(unicodedata.category, name)):
        return "it has control characters"
    if name.startswith(".") or name.endswith((".", " ")):
        return "it starts or ends with a dot, or ends with a blank"
    if windows_device(Path(name)):
        return "it is a device on Windows"
    if len(name.encode(errors="replace")) > _MAX_NAME_BYTES:
        return f"it is longer than {_MAX_NAME_BYTES} bytes"
    return None
