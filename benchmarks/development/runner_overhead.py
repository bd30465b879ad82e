"""What overfly's runner adds to OpenVINO: both measured in turns, on the same IR.

    python -m overfly.benchmarks.development.runner_overhead BUNDLE --images FOLDER

Each comparison is a ratio, measured over several rounds:

- latency of one image at a time: `Runner.infer` against ``benchmark_app -api sync`` (same hint, precision and shape);
- throughput: `Runner.stream` against ``benchmark_app -api async``;
- images per second from files: `Classifier.answers` against the most that decoding alone and inference alone, measured
  in the same round, allow: 1 / (1 / decoding + 1 / inference) if both use the CPU, otherwise the slower of the two;
- images per second that one thread reads: large images reduced first, against the bilinear filter alone;
- time of a whole process: ``overfly predict`` of one image, ``devices`` and ``check``, each against a script of a few
  lines that makes the same calls of openvino and pillow; both have a warm model cache.

Close all other programs first. On a shared machine, only the ratios are meaningful.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import numpy as np

from overfly.benchmarks.development.ab_test import ABResult, measure_alternately
from overfly.benchmarks.development.harness import make_parser, show
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Classifier
from overfly.runtime.images.discovery import find_images
from overfly.runtime.images.reading import ImageBatch, ImageReader
from overfly.runtime.inference.compile import Hint
from overfly.runtime.inference.pipeline import ThreadPool
from overfly.runtime.machine import decoding_threads

T = TypeVar("T")

_NS_PER_MS = 1_000_000
_N_WARMUP = 20

_BENCHMARK_APP = "import sys; from openvino.tools.benchmark.main import main; sys.exit(main())"

# The shortest scripts that do the same as a command. Their arguments: the device, a folder for the model cache, then
# those that `compare_processes` adds.
_PREDICT = """
import sys
import numpy as np
import openvino as ov
from PIL import Image
device, cache, xml, labels, size, path = sys.argv[1:]
model = ov.Core().compile_model(xml, device, {"PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": cache})
image = Image.open(path).convert("RGB").resize((int(size), int(size)), Image.Resampling.BILINEAR)
logits = model(np.asarray(image)[None])[0][0]
probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
print(open(labels).read().splitlines()[logits.argmax()], probabilities.max())
"""
_DEVICES = """
import openvino as ov
core = ov.Core()
for name in core.available_devices:
    properties = ("FULL_DEVICE_NAME", "DEVICE_TYPE", "INFERENCE_PRECISION_HINT", "OPTIMIZATION_CAPABILITIES")
    print(name, *(core.get_property(name, each) for each in properties))
"""
_CHECK = """
import hashlib, sys
from pathlib import Path
import numpy as np
import openvino as ov
device, cache, folder, *variants = sys.argv[1:]
for path in Path(folder).iterdir():
    print(path, hashlib.sha256(path.read_bytes()).hexdigest())
golden = np.load(Path(folder, "golden.npz"))
core = ov.Core()
for xml in variants:
    model = core.compile_model(xml, device, {"PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": cache})
    logits = np.concatenate([model(image[None])[0] for image in golden["images"]])
    difference = np.abs(logits - golden["logits"]).max()
    print(xml, (logits.argmax(1) == golden["logits"].argmax(1)).mean(), difference)
"""


@dataclass(frozen=True, slots=True)
class OverheadTest:
    """What to measure, and for how long.

    Attributes
    ----------
    bundle
        The bundle folder.
    paths
        The image files for the comparison from files.
    n_rounds
        How often each side is measured.
    turn_s
        Seconds that one measurement takes.
    """

    bundle: Path
    paths: tuple[Path, ...]
    variant: str
    device: str
    n_rounds: int
    turn_s: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table or, with ``--json``, an array."""
    parser = make_parser("runner_overhead", n_rounds=11)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="a folder of images to read")
    parser.add_argument("--pictures", type=_renamed_to_images, help=argparse.SUPPRESS)
    parser.add_argument("--variant", default="int8", help="default: %(default)s")
    parser.add_argument("--device", default="CPU", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds per measurement; default: %(default)s")
    options = parser.parse_args(arguments)
    paths = tuple(find_images([options.images]))
    test = OverheadTest(options.bundle, paths, options.variant, options.device, options.rounds, options.seconds)
    comparisons = (compare_latency, compare_throughput, compare_files, compare_reading)
    show([*(compare(test) for compare in comparisons), *compare_processes(test)], as_json=options.json)


def _renamed_to_images(folder: str) -> None:
    """Name the new option; the parser turns the error into wrong usage."""
    raise argparse.ArgumentTypeError(f"it is now --images: use --images {folder}")


def compare_latency(test: OverheadTest) -> ABResult:
    """Compare the median latency of one image at a time in milliseconds."""
    with _classifier(test, "latency") as classifier:
        ours, theirs = measure_alternately(
            test.n_rounds,
            partial(_median_latency_ms, classifier, _images(test), test.turn_s),
            partial(_benchmark_app, test, classifier, "-hint latency -api sync", "latency (ms)"),
        )
    return ABResult("one image at a time, p50", "ms", ours, theirs, at_most=1.03)


def compare_throughput(test: OverheadTest) -> ABResult:
    """Compare images per second with as many in flight as the device asks for."""
    with _classifier(test, "throughput") as classifier:
        ours, theirs = measure_alternately(
            test.n_rounds,
            partial(_rate, classifier.runner.stream, _images(test), test.turn_s),
            partial(_benchmark_app, test, classifier, "-hint throughput -api async", "throughput"),
        )
    return ABResult("many in flight", "images/s", ours, theirs, at_least=0.97)


def compare_files(test: OverheadTest) -> ABResult:
    """Compare images per second from files with the most that decoding and inference, each alone, allow."""
    with _classifier(test, "throughput") as classifier, ThreadPool(decoding_threads()) as pool:
        images = _images(test)
        decode = partial(pool.map, classifier.reader.read)

        def most_possible() -> float:
            decoding = _rate(decode, test.paths, test.turn_s)
            inference = _rate(classifier.runner.stream, images, test.turn_s)
            return 1 / (1 / decoding + 1 / inference) if test.device == "CPU" else min(decoding, inference)

        ours, theirs = measure_alternately(
            test.n_rounds, lambda: _rate(classifier.answers, test.paths, test.turn_s), most_possible
        )
    return ABResult("from files, of what is possible", "images/s", ours, theirs, at_least=0.85)


def compare_reading(test: OverheadTest) -> ABResult:
    """Compare the images per second that one thread reads, with and without reducing large images first."""
    size = Bundle.open(test.bundle).manifest.image.size
    ours, theirs = (
        partial(_rate, partial(map, ImageReader(size, reduce_first=reduce_first).read), test.paths, test.turn_s)
        for reduce_first in (True, False)
    )
    return ABResult("reading files", "images/s", *measure_alternately(test.n_rounds, ours, theirs), at_least=1.7)


def compare_processes(test: OverheadTest) -> list[ABResult]:
    """Compare the milliseconds of whole processes: ``predict``, ``devices`` and ``check``, with a warm model cache."""
    bundle, image = Bundle.open(test.bundle), str(test.paths[0])
    xml = {name: str(test.bundle / bundle.variant(name).xml) for name in bundle.manifest.variants}
    one = [xml[test.variant], str(test.bundle / "labels.txt"), str(bundle.manifest.image.size), image]
    on_device = ["--device", test.device]
    commands: tuple[tuple[str, list[str], str, list[str]], ...] = (
        ("predict", [str(test.bundle), image, *on_device, "--variant", test.variant], _PREDICT, one),
        ("devices", [], _DEVICES, []),
        ("check", [str(test.bundle), *on_device], _CHECK, [str(test.bundle), *xml.values()]),
    )
    results = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        for command, options, script, given in commands:
            ours = partial(_process_ms, ["-m", "overfly.cli", command, *options])
            theirs = partial(_process_ms, ["-c", script, test.device, cache, *given])
            ours(), theirs()  # fill the caches
            figures = measure_alternately(test.n_rounds, ours, theirs)
            results.append(ABResult(f"whole process, {command}", "ms", *figures, at_most=1.1))
    return results


def _classifier(test: OverheadTest, hint: Hint) -> Classifier:
    """Open the bundle, compiled for `hint`."""
    return Classifier.from_bundle(test.bundle, device=test.device, variant=test.variant, hint=hint)


def _images(test: OverheadTest) -> list[ImageBatch]:
    """Return the bundle's golden images, each of shape ``[size, size, 3]``."""
    return list(Bundle.open(test.bundle).golden().images)


def _median_latency_ms(classifier: Classifier, images: list[ImageBatch], turn_s: float) -> float:
    """Infer the images in turn for `turn_s` seconds, after a warm-up; return the median latency."""
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
    """Feed `work` with the items in turn for `turn_s` seconds, after a warm-up; return the items it took per second."""
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


def _benchmark_app(test: OverheadTest, classifier: Classifier, options: str, figure: str) -> float:
    """Run OpenVINO's benchmark_app on the same IR in the same precision and shape; return one of its figures."""
    xml, size = test.bundle / Bundle.open(test.bundle).variant(test.variant).xml, classifier.reader.size
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _BENCHMARK_APP, "-m", str(xml), "-d", test.device, *options.split()]
        command += ["-shape", f"[1,{size},{size},3]", "-t", str(max(1, round(test.turn_s)))]
        command += ["-infer_precision", classifier.runner.execution_precision]
        command += ["-json_stats", "-report_type", "no_counters", "-report_folder", folder]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - OpenVINO's own tool
        report = json.loads(Path(folder, "benchmark_report.json").read_text(encoding="utf-8"))
    return float(report["execution_results"][figure])


def _process_ms(arguments: Sequence[str]) -> float:
    """Run Python with these arguments; return the milliseconds it took."""
    # With the bytecode of each module, as pip installs it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    start = time.perf_counter_ns()
    subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603 - our own commands
    return (time.perf_counter_ns() - start) / _NS_PER_MS


if __name__ == "__main__":
    main()
