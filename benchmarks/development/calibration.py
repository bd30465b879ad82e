"""What the temperature of a bundle gains, for the runs of one or several seeds.

    python -m overfly.benchmarks.development.calibration RUN BUNDLE [RUN BUNDLE ...]

Each bundle is exported from the run before it. Its fp32 and int8 variants classify the test part of the run on the CPU
in f32. The figures are the number of right answers, the expected calibration error (ECE), the negative log likelihood
(NLL) and the Brier score, each with the temperature and, in parentheses, without it. "By chance" is the calibration
error that right probabilities would have, because each bin has few images.

The limit of a bundle is that the temperature lowers the negative log likelihood. That of all together is a mean
calibration error of 0.02.
"""

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.development.harness import make_parser, show
from overfly.benchmarks.development.run_parts import read_part
from overfly.export.ir import run_model
from overfly.runtime.bundle.bundle import Bundle, Logits
from overfly.runtime.errors import BundleError
from overfly.runtime.evaluation.calibration import PROBABILITY_METRICS, Scores, ece_if_calibrated
from overfly.runtime.inference.compile import read_variant
from overfly.training.run import Run

_VARIANTS = ("fp32", "int8")
_N_DRAWS = 1000
_MOST_ECE = 0.02


@dataclass(frozen=True, slots=True)
class Quality:
    """How good probabilities are: the metrics of `overfly.runtime.evaluation.calibration`."""

    ece: float
    nll: float
    brier: float

    @classmethod
    def of(cls, scores: Scores) -> "Quality":
        """Return the quality of the scores of one variant."""
        return cls(**{name: float(metric(scores, scores.once)) for name, metric in PROBABILITY_METRICS.items()})

    @classmethod
    def mean(cls, qualities: Sequence["Quality"]) -> "Quality":
        """Return the mean of each metric."""
        return cls(*(float(mean) for mean in np.mean([astuple(quality) for quality in qualities], axis=0)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """The figures of one variant of a bundle, or the mean of all bundles.

    Attributes
    ----------
    name
        The variant, and the seed of the run.
    n_right, n_images
        Number of right answers, and of images.
    by_chance
        The mean calibration error that right probabilities would have.
    calibrated, raw
        With the temperature and without it.
    is_mean
        Whether the figures are the mean of all bundles.
    """

    columns: ClassVar[tuple[str, ...]] = ("", "right", "ECE", "by chance", "NLL", "Brier", "limit")

    name: str
    n_right: int
    n_images: int
    by_chance: float
    calibrated: Quality
    raw: Quality
    is_mean: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the limit is kept: that of a bundle, or that of all."""
        if not self.is_mean:
            return self.calibrated.nll < self.raw.nll
        return self.calibrated.ece <= _MOST_ECE

    @property
    def cells(self) -> tuple[str, ...]:
        """The figures and the limit, as text."""
        limit = f"ECE {_MOST_ECE}" if self.is_mean else "NLL lower"
        pairs = (
            f"{getattr(self.calibrated, name):.3f} ({getattr(self.raw, name):.3f})" for name in ("ece", "nll", "brier")
        )
        error, likelihood, score = pairs
        right = f"{self.n_right:,} of {self.n_images:,}"
        return self.name, right, error, f"{self.by_chance:.3f}", likelihood, score, limit

    def as_record(self) -> dict[str, object]:
        """Return all figures by name, for JSON."""
        return {**asdict(self), "is_met": self.is_met}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table or, with ``--json``, an array."""
    parser = make_parser("calibration")
    parser.add_argument("paths", nargs="+", type=Path, metavar="RUN BUNDLE")
    options = parser.parse_args(arguments)
    if len(options.paths) % 2:
        parser.error(f"found {len(options.paths)} paths, expected a bundle after each run")
    pairs = zip(options.paths[::2], options.paths[1::2], strict=True)
    of_variants = zip(*(judge(run, bundle) for run, bundle in pairs), strict=True)
    rows = [row for name, found in zip(_VARIANTS, of_variants, strict=True) for row in with_mean(name, found)]
    show(rows, as_json=options.json)


def judge(run_path: Path, bundle_path: Path) -> list[Calibration]:
    """Return the figures of each variant of a bundle on the test part of its run.

    Raises
    ------
    BundleError
        If the bundle is not calibrated, or lacks one of the variants.
    """
    run, bundle = Run.open(run_path), Bundle.open(bundle_path)
    scaling = bundle.manifest.temperature_scaling
    if scaling is None:
        raise BundleError(bundle.calibration_warning())
    images, truth = read_part(run, "test")
    found = []
    for name in _VARIANTS:
        logits = run_model(read_variant(bundle, name), images)
        found.append(compare(f"{name}, seed {run.record.seed}", logits, truth, scaling.temperature))
    return found


def compare(name: str, logits: Logits, truth: npt.NDArray[np.int64], temperature: float) -> Calibration:
    """Return the figures of logits that were divided by a temperature.

    Parameters
    ----------
    logits
        float32, shape ``[N, n_classes]``.
    truth
        Class indices, shape ``[N]``.
    """
    scores = Scores.of(logits, truth)
    by_chance = float(ece_if_calibrated(scores, n_draws=_N_DRAWS).mean())
    raw = Scores.of(logits * np.float32(temperature), truth)
    return Calibration(name, int(scores.is_right.sum()), len(truth), by_chance, Quality.of(scores), Quality.of(raw))


def with_mean(variant: str, rows: Sequence[Calibration]) -> list[Calibration]:
    """Return the rows of a variant, and after them their mean; the right answers are added."""
    calibrated, raw = (Quality.mean([getattr(row, kind) for row in rows]) for kind in ("calibrated", "raw"))
    n_right, n_images = (sum(getattr(row, name) for row in rows) for name in ("n_right", "n_images"))
    by_chance = float(np.mean([row.by_chance for row in rows]))
    return [*rows, Calibration(f"{variant}, mean", n_right, n_images, by_chance, calibrated, raw, is_mean=True)]


if __name__ == "__main__":
    main()
