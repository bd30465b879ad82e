"""How time and memory grow with the number of images: ``train``, ``export``, ``bench`` and ``predict``.

    python -m overfly.benchmarks.development.growth DATA --weights FILE

The images are drawn evenly from the classes of DATA. 10 and 100 times as many are links to the same files, so they are
equal images for overfly. Each command is a process of its own. Its time is wall clock, and its memory is the most that
it used at once. ``train`` takes one epoch. ``bench`` measures speeds as well, which takes minutes for any number of
images.

The exponent of growth is that from the second largest number of images to the largest: 1 is linear, 0 is flat. Needs
Linux or macOS, which say how much memory a process used.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from overfly.benchmarks.development.harness import add_data_options, make_parser, positive, show
from overfly.training.data.dataset import LabeledImage, scan
from overfly.training.data.split import sample_evenly

_FACTORS = (1, 10, 100)
# A tenth more per image, when there are ten times as many, is an exponent of 1.04.
_LINEAR = 1.05
_FLAT = 0.05


@dataclass(frozen=True, slots=True)
class Growth:
    """A cost of one command, for several numbers of images.

    Attributes
    ----------
    name, unit
        What was measured.
    n_images
        Numbers of images, in ascending order.
    costs
        The cost at each of them.
    at_most
        The limit of the exponent.
    """

    columns: ClassVar[tuple[str, ...]] = ("", "unit", "images", "cost", "exponent", "limit")

    name: str
    unit: str
    n_images: tuple[int, ...]
    costs: tuple[float, ...]
    at_most: float

    @property
    def exponents(self) -> tuple[float, ...]:
        """The exponent of growth from each number of images to the next."""
        return tuple(
            math.log(b / a) / math.log(n / m)
            for (a, b), (m, n) in zip(pairwise(self.costs), pairwise(self.n_images), strict=True)
        )

    @property
    def is_met(self) -> bool:
        """Whether the cost grows slowly enough where there are most images."""
        return self.exponents[-1] <= self.at_most

    @property
    def cells(self) -> tuple[str, ...]:
        """The figures and the limit, as text."""
        numbers = " / ".join(f"{number:,}" for number in self.n_images)
        costs = " / ".join(f"{cost:,.1f}" for cost in self.costs)
        return self.name, self.unit, numbers, costs, f"{self.exponents[-1]:.2f}", f"at most {self.at_most}"

    def as_record(self) -> dict[str, object]:
        """Return all figures by name, for JSON."""
        return {**asdict(self), "exponents": self.exponents, "is_met": self.is_met}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table or, with ``--json``, an array."""
    parser = make_parser("growth")
    add_data_options(parser)
    parser.add_argument(
        "--images", type=positive, default=210, help="the smallest number of images; default: %(default)s"
    )
    parser.add_argument("--image-size", type=positive, default=128, help="in pixels; default: %(default)s")
    options = parser.parse_args(arguments)
    sample = sample_evenly(scan(options.data).images, options.images, seed=0)
    costs: dict[str, list[tuple[float, float]]] = {}
    numbers = [len(sample) * factor for factor in _FACTORS]
    with tempfile.TemporaryDirectory() as folder:
        for factor in _FACTORS:
            data, place = Path(folder, f"data{factor}"), Path(folder, str(factor))
            link_images(options.data, sample, data, factor)
            for name, command in _commands(data, place, options.weights, options.image_size).items():
                costs.setdefault(name, []).append(run(command))
    results = []
    for name, figures in costs.items():
        seconds, megabytes = zip(*figures, strict=True)
        memory = _FLAT if name == "predict" else _LINEAR
        results.append(Growth(f"{name}, time", "s", tuple(numbers), seconds, _LINEAR))
        results.append(Growth(f"{name}, memory", "MB", tuple(numbers), megabytes, memory))
    show(results, as_json=options.json)


def link_images(source: Path, images: Sequence[LabeledImage], target: Path, factor: int) -> None:
    """Make a data folder with `factor` links to each image of another data folder."""
    for image in images:
        path, link = image.path(source).absolute(), target / image.name
        link.parent.mkdir(parents=True, exist_ok=True)
        for copy in range(factor):
            link.with_stem(f"{link.stem}_{copy}").symlink_to(path)


def run(command: Sequence[str]) -> tuple[float, float]:
    """Run a command of overfly; return its seconds, and the most memory that it used, in MB (10^6 bytes).

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    start = time.perf_counter()
    # Not subprocess.run: only wait4 says how much memory this one child used.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", "overfly.cli", *command], stdout=log, stderr=log)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode:
            log.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, log.read().decode(errors="replace"))
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e6


def _commands(data: Path, place: Path, weights: str, image_size: int) -> dict[str, list[str]]:
    """Return the commands by name; each uses what the one before has written."""
    run_folder, bundle, report = (str(place / name) for name in ("run", "bundle", "report"))
    train = ["--weights", weights, "--epochs", "1", "--image-size", str(image_size), "--seed", "0"]
    return {
        "train": ["train", str(data), "--out", run_folder, *train],
        "export": ["export", run_folder, "--data", str(data), "--out", bundle],
        "bench": ["bench", bundle, "--data", str(data), "--run", run_folder, "--device", "CPU", "--out", report],
        "predict": ["predict", bundle, str(data), "--device", "CPU"],
    }


if __name__ == "__main__":
    main()
