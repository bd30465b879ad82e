"""What overfly's runner adds to OpenVINO, measured side by side, in turns, on one IR.

    python -m overfly.benchmarks.development.runner_overhead BUNDLE --pictures FOLDER

compares, each as a ratio over several rounds:

- one image at a time: `Runner.infer` with ``benchmark_app -api sync`` (median latency; same hint, precision, shape);
- many in flight: `Runner.stream` with ``benchmark_app -api async`` (images a second);
- from files: `Classifier.answers` with the bound that decoding alone and inference alone, measured in the same round,
  allow: 1 / (1 / decoding + 1 / inference) where both need the same cores, the slower of the two where they do not;
- from the start of the process: ``overfly predict`` of one picture with a ten-line script of openvino and pillow that
  does the same, both with a warm model cache.

Close everything else first. Only the ratios mean something on a machine that others use too.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import numpy as np

from overfly.benchmarks.development.ab_test import Comparison, in_turns, show
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Classifier
from overfly.runtime.images.reading import ImageBatch, find_images, load_image
from overfly.runtime.inference.pipeline import ordered_results
from overfly.runtime.inference.runner import Hint
from overfly.runtime.machine import usable_cores

T = TypeVar("T")

_NS_PER_MS = 1_000_000
_N_WARMUP = 20

_BENCHMARK_APP = "import sys; from openvino.tools.benchmark.main import main; sys.exit(main())"

# What a person would write who knows openvino and pillow: {xml}, {labels}, {cache} and {size} are filled in.
_TEN_LINES = """
import sys
import numpy as np
import openvino as ov
from PIL import Image
model = ov.Core().compile_model({xml!r}, {device!r}, {{"PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": {cache!r}}})
labels = open({labels!r}).read().splitlines()
picture = Image.open(sys.argv[1]).convert("RGB").resize(({size}, {size}), Image.Resampling.BILINEAR)
logits = model(np.asarray(picture)[None])[0][0]
probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
print(labels[logits.argmax()], probabilities.max())
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how long.

    Attributes
    ----------
    bundle
        Folder of the bundle.
    pictures
        What to read for the figures from files.
    n_rounds
        How often every side has its turn.
    turn_s
        Seconds that a turn lasts.
    """

    bundle: Path
    pictures: tuple[Path, ...]
    variant: str
    device: str
    n_rounds: int
    turn_s: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table, or with ``--json`` one object."""
    parser = argparse.ArgumentParser(prog="overfly.benchmarks.development.runner_overhead")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of pictures to read")
    parser.add_argument("--variant", default="int8")
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    pictures = tuple(find_images([options.pictures]))
    plan = Plan(options.bundle, pictures, options.variant, options.device, options.rounds, options.seconds)
    comparisons = [compare_latency(plan), compare_throughput(plan), compare_files(plan), compare_start(plan)]
    show(comparisons, as_json=options.json)


def compare_latency(plan: Plan) -> Comparison:
    """Compare the median latency of one image at a time, in milliseconds."""
    with _classifier(plan, "latency") as classifier:
        images = _images(plan)
        app = partial(_benchmark_app, plan, classifier, ("-hint", "latency", "-api", "sync"))
        ours, theirs = in_turns(
            plan.n_rounds,
            lambda: _median_latency_ms(classifier, images, plan.turn_s),
            lambda: app()["latency (ms)"],
        )
    return Comparison("one image at a time, p50", "ms", ours, theirs, at_most=1.03)


def compare_throughput(plan: Plan) -> Comparison:
    """Compare the images a second with as many in flight as the device wants."""
    with _classifier(plan, "throughput") as classifier:
        images = _images(plan)
        app = partial(_benchmark_app, plan, classifier, ("-hint", "throughput", "-api", "async"))
        ours, theirs = in_turns(
            plan.n_rounds,
            lambda: _rate(classifier.runner.stream, images, plan.turn_s),
            lambda: app()["throughput"],
        )
    return Comparison("many in flight", "images/s", ours, theirs, at_least=0.97)


def compare_files(plan: Plan) -> Comparison:
    """Compare the files classified a second with what decoding and inference, each by itself, allow."""
    with _classifier(plan, "throughput") as classifier, ThreadPoolExecutor(usable_cores()) as pool:
        images = _images(plan)

        def decode(paths: Iterator[Path]) -> Iterator[object]:
            return ordered_results(
                (pool.submit(load_image, path, classifier.size) for path in paths), 2 * usable_cores()
            )

        def bound() -> float:
            decoding = _rate(decode, plan.pictures, plan.turn_s)
            inference = _rate(classifier.runner.stream, images, plan.turn_s)
            return 1 / (1 / decoding + 1 / inference) if plan.device == "CPU" else min(decoding, inference)

        ours, theirs = in_turns(plan.n_rounds, lambda: _rate(classifier.answers, plan.pictures, plan.turn_s), bound)
    return Comparison("from files, of the bound", "images/s", ours, theirs, at_least=0.85)


def compare_start(plan: Plan) -> Comparison:
    """Compare one picture from the start of the process, in milliseconds, the model cache warm."""
    picture = str(plan.pictures[0])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bundle = Bundle.open(plan.bundle)
        script = _TEN_LINES.format(
            xml=str(plan.bundle / bundle.variant(plan.variant).xml),
            labels=str(plan.bundle / "labels.txt"),
            device=plan.device,
            size=bundle.manifest.image.size,
            cache=folder,
        )
        options = ["--device", plan.device, "--variant", plan.variant]
        overfly = ["-m", "overfly.cli", "predict", str(plan.bundle), picture, *options]
        ours, theirs = (partial(_process_ms, command) for command in (overfly, ["-c", script, picture]))
        ours(), theirs()  # fill the caches
        return Comparison("from process start", "ms", *in_turns(plan.n_rounds, ours, theirs), at_most=1.3)


def _classifier(plan: Plan, hint: Hint) -> Classifier:
    """Open the bundle, compiled for `hint`."""
    return Classifier.from_bundle(plan.bundle, device=plan.device, variant=plan.variant, hint=hint)


def _images(plan: Plan) -> list[ImageBatch]:
    """Return the bundle's golden images, each of shape ``[size, size, 3]``."""
    return list(Bundle.open(plan.bundle).golden().images)


def _median_latency_ms(classifier: Classifier, images: list[ImageBatch], turn_s: float) -> float:
    """Infer one image after the other for a while, a different one each time."""
    singles = [image[np.newaxis] for image in images]
    for image in singles[:_N_WARMUP]:
        classifier.runner.infer(image)
    samples = []
    end = time.perf_counter_ns() + round(turn_s * 1e9)
    for image in cycle(singles):
        start = time.perf_counter_ns()
        classifier.runner.infer(image)
        now = time.perf_counter_ns()
        samples.append(now - start)
        if now >= end:
            return statistics.median(samples) / _NS_PER_MS
    raise ValueError("there is no image to infer")


def _rate(work: Callable[[Iterator[T]], Iterator[object]], items: Sequence[T], turn_s: float) -> float:
    """Return how many items a second `work` takes, fed for a while, after a warm-up."""
    for _ in work(iter(items[:_N_WARMUP])):
        pass

    def feed() -> Iterator[T]:
        end = time.perf_counter() + turn_s
        for item in cycle(items):
            if time.perf_counter() >= end:
                return
            yield item

    start = time.perf_counter()
    done = sum(1 for _ in work(feed()))
    return done / (time.perf_counter() - start)


def _benchmark_app(plan: Plan, classifier: Classifier, options: Sequence[str]) -> dict[str, float]:
    """Run OpenVINO's benchmark_app on the same IR, in the same precision and shape; return its results."""
    size = classifier.size
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _BENCHMARK_APP]
        command += ["-m", str(plan.bundle / Bundle.open(plan.bundle).variant(plan.variant).xml), "-d", plan.device]
        command += [*options, "-shape", f"[1,{size},{size},3]", "-t", str(max(1, round(plan.turn_s)))]
        command += ["-infer_precision", classifier.runner.execution_precision]
        command += ["-json_stats", "-report_type", "no_counters", "-report_folder", folder]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - OpenVINO's own tool
        report = json.loads(Path(folder, "benchmark_report.json").read_text(encoding="utf-8"))
    return {name: float(value) for name, value in report["execution_results"].items()}


def _process_ms(arguments: Sequence[str]) -> float:
    """Run Python with the arguments; return how long it took."""
    start = time.perf_counter_ns()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)  # noqa: S603 - our own commands
    return (time.perf_counter_ns() - start) / _NS_PER_MS


if __name__ == "__main__":
    main()
