"""Which recipe is better, judged on a part of the split that decides nothing else.

    python -m overfly.benchmarks.development.recipe_comparison --recipe NAME RUN [RUN ...] --recipe NAME RUN [RUN ...]

Each ``--recipe`` names one recipe and its runs, one run per seed. The first recipe is the baseline. All recipes must
have runs of the same seeds and splits, so that each difference is between two models that were judged on the same
images. A choice between recipes is made on the validation part, which is the default. The test part (``--part test``)
is for what was chosen.

The accuracy and the negative log likelihood (NLL) are those of all runs together. The 95% interval of a
difference is that of Student's t over the seeds. The limit of a recipe is that it may cost no accuracy: its interval
reaches 0.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from overfly.benchmarks.development.harness import make_parser, show
from overfly.benchmarks.development.run_parts import read_part
from overfly.runtime.errors import OverflyError
from overfly.runtime.evaluation.calibration import Scores, nll
from overfly.training.loop.trainer import predict_logits
from overfly.training.run import Run

# The 97.5% quantiles of Student's t for 1, 2, ... degrees of freedom.
STUDENT_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622)
# With two, an interval is so wide that it says nothing.
_FEWEST_SEEDS, _MOST_SEEDS = 3, len(STUDENT_T) + 1


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean over the seeds of a recipe's metric less that of the baseline, and its 95% interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: Sequence[float], baseline: Sequence[float]) -> "Difference":
        """Return the difference of paired values, two to ten pairs."""
        values = np.subtract(ours, baseline)
        error = values.std(ddof=1) / np.sqrt(len(values))
        reach = float(STUDENT_T[len(values) - 2] * error)
        mean = float(values.mean())
        return cls(mean, mean - reach, mean + reach)


@dataclass(frozen=True, slots=True)
class Judged:
    """The answers of one run: on how many images, how many were right, and their mean NLL."""

    n_images: int
    n_right: int
    nll: float

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.n_right / self.n_images


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of a recipe.

    Attributes
    ----------
    name
        The recipe.
    judged
        Its runs by seed.
    accuracy, nll
        The differences to the baseline; None for the baseline itself.
    """

    columns: ClassVar[tuple[str, ...]] = ("", "right", "by seed", "difference, points", "NLL", "difference", "limit")

    name: str
    judged: Mapping[int, Judged]
    accuracy: Difference | None = None
    nll: Difference | None = None

    @property
    def is_met(self) -> bool:
        """Whether the recipe may be as accurate as the baseline."""
        return self.accuracy is None or self.accuracy.high >= 0

    @property
    def cells(self) -> tuple[str, ...]:
        """The figures and the limit, as text."""
        runs = self.judged.values()
        right = f"{sum(run.n_right for run in runs):,} of {sum(run.n_images for run in runs):,}"
        seeds = ", ".join(str(run.n_right) for run in runs)
        mean = f"{np.mean([run.nll for run in runs]):.3f}"
        if self.accuracy is None or self.nll is None:
            return self.name, right, seeds, "baseline", mean, "baseline", "-"
        points = f"{100 * self.accuracy.mean:+.2f} ({100 * self.accuracy.low:+.2f} to {100 * self.accuracy.high:+.2f})"
        likelihood = f"{self.nll.mean:+.3f} ({self.nll.low:+.3f} to {self.nll.high:+.3f})"
        return self.name, right, seeds, points, mean, likelihood, "reaches 0"

    def as_record(self) -> dict[str, object]:
        """Return all figures by name, for JSON."""
        return {**asdict(self), "is_met": self.is_met}


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge the runs, and print a table or, with ``--json``, an array."""
    parser = make_parser("recipe_comparison")
    parser.add_argument(
        "--recipe",
        action="append",
        nargs="+",
        required=True,
        metavar=("NAME", "RUN"),
        help="a name, and a run of each seed; the first recipe is the baseline",
    )
    parser.add_argument("--part", choices=("val", "test"), default="val", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        recipes = {name: [Run.open(Path(path)) for path in paths] for name, *paths in options.recipe}
        if len(recipes) < max(2, len(options.recipe)):
            parser.error("found one recipe, or a name twice; expected two or more recipes with different names")
        _check_pairs(parser, recipes, options.part)
        judged = {name: judge_all(runs, options.part) for name, runs in recipes.items()}
    except OverflyError as error:
        parser.error(str(error))
    show(compare(judged), as_json=options.json)


def judge_all(runs: Sequence[Run], part: str) -> dict[int, Judged]:
    """Return how good the model of each run is on a part of its split, by the seed of the run."""
    return {run.record.seed: _judge(run, part) for run in sorted(runs, key=lambda run: run.record.seed)}


def compare(judged: Mapping[str, Mapping[int, Judged]]) -> list[Comparison]:
    """Return the figures of each recipe; the first one is the baseline.

    Parameters
    ----------
    judged
        For each recipe its runs by seed: two to ten, and the same seeds for each, in the same order.
    """
    (name, baseline), *others = judged.items()
    rows = [Comparison(name, baseline)]
    for name, runs in others:
        pairs = [(runs[seed], baseline[seed]) for seed in baseline]
        accuracy, likelihood = (
            Difference.of(*zip(*((getattr(run, metric), getattr(base, metric)) for run, base in pairs), strict=True))
            for metric in ("accuracy", "nll")
        )
        rows.append(Comparison(name, runs, accuracy, likelihood))
    return rows


def _judge(run: Run, part: str) -> Judged:
    """Classify a part of a run's split."""
    images, labels = read_part(run, part)
    scores = Scores.of(predict_logits(run.load_model(), images), labels)
    return Judged(len(images), int(scores.is_right.sum()), float(nll(scores, scores.once)))


def _check_pairs(parser: argparse.ArgumentParser, recipes: Mapping[str, Sequence[Run]], part: str) -> None:
    """Exit if the runs of a recipe can't be paired with those of the first one, or lack the part."""
    baseline, *others = recipes
    splits = {name: {run.record.seed: run.record.split_sha256 for run in runs} for name, runs in recipes.items()}
    for name, runs in recipes.items():
        n_seeds = len(splits[name])
        if n_seeds < len(runs) or not _FEWEST_SEEDS <= n_seeds <= _MOST_SEEDS:
            parser.error(
                f"{name} has {len(runs)} runs of {n_seeds} seeds: expected one run of each seed, of {_FEWEST_SEEDS} to "
                f"{_MOST_SEEDS} seeds"
            )
        for run in runs:
            if not run.split().images(part):
                parser.error(f"{run.path} has no validation part: {run.split().validation_advice()}")
    for name in others:
        if splits[name] != splits[baseline]:
            parser.error(
                f"the runs of {name} have other seeds or splits than those of {baseline}: "
                "train all recipes with the same seeds, data and parts"
            )


if __name__ == "__main__":
    main()
