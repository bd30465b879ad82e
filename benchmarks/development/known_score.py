"""How well the known score, and other scores, tell images that a model was not trained for.

    python -m overfly.benchmarks.development.known_score RUN BUNDLE --rasters FOLDER --pictures FOLDER
        --folder grass=FOLDER --left-out RUN BUNDLE FOLDER

Known images are the test part of the run. Strangers are noise, images of one color, the data set that `overfly sample`
draws, and what the options add: windows of the rasters in a folder, parts of the pictures in a folder, the images of
any folder, and, with ``--left-out``, the classes of a data folder that the model of another run was not trained on.

For each set of strangers and each score there are two figures:

- AUROC: how often a known image has a higher score than a stranger;
- rejected: the share of the strangers below the score that 99% of the known images reach.

The last row of a score is the mean of all sets. With ``--cost``, inference with the known score is compared in turns
with inference without it instead.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.development.ab_test import ABResult, measure_alternately
from overfly.benchmarks.development.harness import make_parser, show
from overfly.benchmarks.development.run_parts import read_part
from overfly.benchmarks.development.strangers import (
    drawings,
    flat_colors,
    image_files,
    noise,
    picture_parts,
    raster_windows,
)
from overfly.export.ir import run_model
from overfly.export.known_score import KnownScoreWeights, acceptance_threshold, read_taps, run_known_score
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import softmax
from overfly.runtime.evaluation.calibration import log_softmax
from overfly.runtime.images.discovery import find_images
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.compile import compile_for_single_images, read_variant, supported_config
from overfly.training.run import Run

Values = npt.NDArray[np.float64]
# A score of images, made from their logits, the mean activations in the middle, and the features.
Score = Callable[[Values, Values, Values], Values]

KNOWN_SCORE = "known score"
# The targets: of each set, and of the mean.
_EACH, _MEAN = 0.90, 0.95
_N_INFERENCES = 200


@dataclass(frozen=True, slots=True)
class Separation:
    """How well a score separates known images from a set of strangers, or the mean of all sets.

    Attributes
    ----------
    score, strangers
        Their names.
    n_images
        Number of strangers.
    auroc
        How often a known image has a higher score than a stranger; equal scores count half.
    rejected
        The share of the strangers below what 99% of the known images reach.
    at_least
        The target of the AUROC.
    """

    columns: ClassVar[tuple[str, ...]] = ("", "score", "strangers", "images", "AUROC", "rejected", "limit")

    score: str
    strangers: str
    n_images: int
    auroc: float
    rejected: float
    at_least: float = _EACH

    @classmethod
    def of(cls, score: str, strangers: str, known: Values, strange: Values) -> "Separation":
        """Compare the scores of known images with those of strangers."""
        auroc = float(np.mean(known[:, np.newaxis] > strange) + np.mean(known[:, np.newaxis] == strange) / 2)
        rejected = float(np.mean(strange < acceptance_threshold(known)))
        return cls(score, strangers, len(strange), auroc, rejected)

    @property
    def is_met(self) -> bool:
        """Whether the AUROC reaches the target."""
        return self.auroc >= self.at_least

    @property
    def cells(self) -> tuple[str, ...]:
        """The figures and the limit, as text."""
        figures = f"{self.auroc:.3f}", f"{self.rejected:.0%}", f"at least {self.at_least:.2f}"
        return "", self.score, self.strangers, str(self.n_images), *figures

    def as_record(self) -> dict[str, object]:
        """Return all figures by name, for JSON."""
        return {**asdict(self), "is_met": self.is_met}


class Model:
    """A variant of a bundle, with the parts of its run's split."""

    def __init__(self, run: Path, bundle: Path, variant: str) -> None:
        self._run, opened = Run.open(run), Bundle.open(bundle)
        opened.check_known_score()
        self.reader = opened.manifest.image.reader()
        self.classes = opened.manifest.classes
        self._model = read_variant(opened, variant)

    def part(self, name: str) -> tuple[ImageBatch, npt.NDArray[np.int64]]:
        """Return the images and the labels of a part of the split."""
        return read_part(self._run, name)

    def read(self, images: ImageBatch) -> tuple[Values, Values, Values, Values]:
        """Return the known scores, the logits, the activations in the middle and the features of images."""
        known, logits = run_known_score(self._model, images), run_model(self._model, images)
        return known.astype(np.float64), logits.astype(np.float64), *read_taps(self._model, images)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table or, with ``--json``, an array."""
    parser = make_parser("known_score", n_rounds=15)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path, help="exported from the run")
    parser.add_argument("--variant", default="fp32", help="default: %(default)s")
    parser.add_argument("--rasters", type=Path, help="a folder of rasters")
    parser.add_argument("--pictures", type=Path, help="a folder of pictures that are not taken from above")
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=FOLDER", help="more strangers")
    parser.add_argument("--left-out", nargs=3, type=Path, metavar=("RUN", "BUNDLE", "FOLDER"))
    parser.add_argument("--cost", action="store_true", help="compare the time of an inference instead")
    options = parser.parse_args(arguments)
    if options.cost:
        show([measure_cost(options.bundle, options.variant, options.rounds)], as_json=options.json)
        return
    model = Model(options.run, options.bundle, options.variant)
    reader = model.reader
    sets = {"noise": noise(reader), "flat colors": flat_colors(reader), "drawn": drawings(reader)}
    if options.rasters:
        sets["rasters"] = raster_windows(reader, sorted(options.rasters.glob("*.tif")))
    if options.pictures:
        sets["pictures"] = picture_parts(reader, find_images([options.pictures]))
    for given in options.folder:
        name, _, folder = given.partition("=")
        sets[name] = image_files(reader, [Path(folder)])
    results = separate(model, sets)
    if options.left_out:
        run, bundle, folder = options.left_out
        smaller = Model(run, bundle, options.variant)
        others = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name not in smaller.classes]
        results += separate(smaller, {"left-out classes": image_files(smaller.reader, others, n_most=None)})
    show(with_means(results), as_json=options.json)


def separate(model: Model, sets: Mapping[str, ImageBatch]) -> list[Separation]:
    """Return a row for each score and each set of strangers."""
    images, labels = model.part("train")
    _, _, *training = model.read(images)
    _, _, *held_out = model.read(model.part("val")[0])
    scores = other_scores((training[0], training[1]), labels, (held_out[0], held_out[1]))
    known = model.read(model.part("test")[0])
    strange = {name: model.read(images) for name, images in sets.items()}
    results = [Separation.of(KNOWN_SCORE, name, known[0], each[0]) for name, each in strange.items()]
    for score, compute in scores.items():
        of_known = compute(*known[1:])
        results += [Separation.of(score, name, of_known, compute(*each[1:])) for name, each in strange.items()]
    return results


def other_scores(
    training: tuple[Values, Values], labels: npt.NDArray[np.int64], held_out: tuple[Values, Values]
) -> dict[str, Score]:
    """Return the scores that the known score is compared with; the arguments are those of `KnownScoreWeights.fit`."""
    weights = KnownScoreWeights.fit(training, labels, held_out)
    present, row = np.unique(labels, return_inverse=True)
    means = np.stack([training[1][labels == label].mean(axis=0) for label in present])
    within = training[1] - means[row]
    whitened = KnownScoreWeights.fit((within, within), labels, (within, within))
    centers = means @ whitened.whitening

    def mahalanobis(_logits: Values, _middle: Values, features: Values) -> Values:
        """Return minus the distance of the features from the nearest class, with the covariance of all images."""
        moved = features @ whitened.whitening
        nearest: Values = ((moved[:, np.newaxis] - centers) ** 2).sum(axis=2).min(axis=1)
        return -np.sqrt(nearest)

    return {
        "maximum logit": lambda logits, _middle, _features: logits.max(axis=1),
        "energy": lambda logits, _middle, _features: (logits - log_softmax(logits))[:, 0],
        "maximum probability": lambda logits, _middle, _features: softmax(logits).max(axis=1),
        "features, Mahalanobis": mahalanobis,
        "features, cosine": lambda _logits, middle, features: weights.parts(middle, features)[0],
        "middle, Mahalanobis": lambda _logits, middle, features: -weights.parts(middle, features)[1],
    }


def with_means(results: Sequence[Separation]) -> list[Separation]:
    """Return the results by score, with the mean of each score after them."""
    rows: list[Separation] = []
    for score in dict.fromkeys(result.score for result in results):
        own = [result for result in results if result.score == score]
        auroc, rejected = (float(np.mean([getattr(each, name) for each in own])) for name in ("auroc", "rejected"))
        n_images = sum(each.n_images for each in own)
        rows += [*own, Separation(score, "mean", n_images, auroc, rejected, at_least=_MEAN)]
    return rows


def measure_cost(bundle: Path, variant: str, n_rounds: int) -> ABResult:
    """Compare the fastest inference of each round with that of the same network without the known score.

    Other programs make an inference slower and never faster, so the fastest one says most on a shared machine.
    """
    opened = Bundle.open(bundle)
    opened.check_known_score()
    size = opened.manifest.image.size
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    config = supported_config("CPU", hint="latency", execution_precision="auto")

    def prepare(*, with_score: bool) -> Callable[[], float]:
        model = read_variant(opened, variant)
        if not with_score:
            model.remove_result(model.output(1).get_node())
        request = compile_for_single_images(model, "CPU", config).create_infer_request()
        return lambda: _rate(request, image)

    ours, theirs = measure_alternately(n_rounds, prepare(with_score=True), prepare(with_score=False))
    return ABResult(f"{variant}, with the known score, of without", "images/s", ours, theirs, at_least=0.98)


def _rate(request: Any, image: ImageBatch) -> float:  # noqa: ANN401 - ov.InferRequest has no stub
    """Return the images per second at the speed of the fastest of many inferences."""
    request.get_input_tensor(0).data[:] = image
    seconds = []
    for _ in range(_N_INFERENCES):
        start = time.perf_counter()
        request.infer()
        seconds.append(time.perf_counter() - start)
    return 1 / min(seconds)


if __name__ == "__main__":
    main()
