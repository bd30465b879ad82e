"""Fixtures for floor 3: a clock that only work moves, backends of known speed and errors, and a report made of them."""

import base64
import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
from PIL import Image

from overfly.benchmarks.job import make_report
from overfly.benchmarks.measurement.timing import ImageSource, Plan, measure
from overfly.benchmarks.results.packed import pack, unpack
from overfly.benchmarks.results.records import (
    EVERY_TEST_PART,
    TEST_PART,
    ActivationMap,
    BundleFacts,
    Environment,
    EvaluationSet,
    Picture,
    Recommendation,
)
from overfly.benchmarks.results.row_records import Execution, LoadTimes, Probe, Row, RowSpec
from overfly.benchmarks.results.rows import make_row
from overfly.runtime.explanation.drawing import encode
from overfly.runtime.files.hashing import sha256_file

CLASSES = ("beach", "forest <b>", "storage & tanks")
N_IMAGES = 60


class Clock:
    """Time that passes only when something works."""

    def __init__(self):
        self.now_ns = 0
        self._lock = Lock()

    def __call__(self):
        return self.now_ns

    def work(self, ms):
        """Let time pass; from any thread."""
        with self._lock:
            self.now_ns += round(ms * 1e6)


@dataclass
class Fake:
    """A model that takes a known time, and is wrong for known images (their first pixel is their index)."""

    clock: Clock
    latency_ms: object
    stream_ms: float
    wrong: dict = None
    breaks_at: int = None
    n_classes: int = 2
    n_inferred: int = 0

    def infer(self, image):
        self.n_inferred += 1
        if self.n_inferred == self.breaks_at:
            raise RuntimeError("source.cpp:1\nout of memory")
        self.clock.work(self.latency_ms(self.n_inferred) if callable(self.latency_ms) else self.latency_ms)
        return self.answer(image[0])[np.newaxis]

    def stream(self, images):
        for image in images:
            self.clock.work(self.stream_ms)
            yield self.answer(image)

    def answer(self, image):
        index = int(image[0, 0, 0])
        logits = np.zeros(self.n_classes, np.float32)
        logits[(self.wrong or {}).get(index, index % self.n_classes)] = 1
        return logits


def _images(clock, n_images, decode_ms=3.0):
    """Return images whose every pixel is their index, each decoded in a known time."""
    pixels = np.arange(n_images, dtype=np.uint8).reshape(n_images, 1, 1, 1) * np.ones((1, 2, 2, 3), np.uint8)

    def load(index):
        clock.work(decode_ms)
        return pixels[index]

    return ImageSource(pixels, load)


@pytest.fixture
def clock():
    """The clock of one test."""
    return Clock()


@pytest.fixture
def fake(clock):
    """A function that makes a model of known speed and errors."""
    return lambda **options: Fake(clock, **options)


@pytest.fixture
def images(clock):
    """A function that makes a number of images, each decoded in 3 ms."""
    return lambda n_images: _images(clock, n_images)


PLAN = Plan(
    n_rounds=2,
    rounds_per_block=2,
    latency_samples=4,
    file_latency_samples=3,
    latency_floor=2,
    latency_limit_s=1.0,
    stream_min_s=0.01,
    file_stream_min_s=0.02,
    n_warmup=1,
)


@pytest.fixture
def plan():
    """Two rounds of four samples."""
    return PLAN


def quiet_machine(**changes):
    """Return a machine with nothing to complain of."""
    facts = {
        "host": "box",
        "system": "Linux-6.1-x86_64",
        "cpu": "Some CPU",
        "n_cores": 2,
        "affinity": (0, 1),
        "memory_bytes": 1 << 34,
        "power_source": "mains",
        "power_saving": None,
        "load_before": 0.01,
        "load_during": 0.02,
        "versions": {"python": "3.11.2", "openvino": "2026.4.1"},
        "timestamp": "2026-01-02T03:04:05+00:00",
    }
    return Environment(**{**facts, **changes})


@pytest.fixture
def machine():
    """A function that describes a quiet machine, with changes."""
    return quiet_machine


def _row_of(backend, variant, device="CPU", precision="f32", n_threads=2):
    """Return what a row measures, and how it is computed."""
    size_bytes = {"fp32": 8, "fp16": 4, "int8": 2}[variant] << 20
    requested = "f32" if variant == "fp32" else "auto"
    return RowSpec(backend, variant, "", size_bytes), Execution(
        device, f"Some {device}", requested, precision, n_threads
    )


def _around(ms):
    """Return latencies that differ by 4% at most, so that no summary is trivial."""
    return lambda n: ms * (1 + 0.01 * (n % 5 - 2))


# Enough samples and rounds for a valid report.
FULL_PLAN = Plan(
    n_rounds=14,
    rounds_per_block=14,
    latency_samples=75,
    file_latency_samples=120,
    latency_floor=20,
    latency_limit_s=60.0,
    stream_min_s=0.2,
    file_stream_min_s=0.2,
    n_warmup=5,
)


def _measured_rows(clock, measured, backends, truth, n_classes):
    """Measure fakes, and return their rows."""
    images = _images(clock, len(truth))
    results = measure(backends, [images] * len(backends), FULL_PLAN, clock=clock)
    probe = Probe(LoadTimes(120.0, 30.0), 14.5, 150 << 20)
    return [
        make_row(*row, measurements, truth, n_classes=n_classes, probe=probe)
        for row, measurements in zip(measured, results, strict=True)
    ]


def measured_report(bundle_folder, classes=CLASSES, n_images=N_IMAGES):
    """Return the report of fakes: a PyTorch baseline, ONNX Runtime, two variants, and one that could not be loaded."""
    clock = Clock()
    measured = [
        _row_of("pytorch", "fp32"),
        _row_of("onnxruntime", "fp32", n_threads=None),
        _row_of("openvino", "fp32"),
        _row_of("openvino", "int8"),
    ]
    base = {4: 0}  # one image that everybody takes for a beach
    options = {"n_classes": len(classes)}
    backends = [
        Fake(clock, _around(40.0), 25.0, base, **options),
        Fake(clock, _around(10.0), 8.0, base, **options),
        Fake(clock, _around(10.0), 8.0, base, **options),
        Fake(clock, _around(2.5), 1.25, {**base, 7: 2, 10: 2, 11: 0, 13: 0}, **options),
    ]
    truth = np.arange(n_images) % len(classes)
    rows = _measured_rows(clock, measured, backends, truth, len(classes))
    on_gpu = _row_of("openvino", "fp16", device="GPU", precision=None, n_threads=None)
    rows.insert(3, Row(*on_gpu, "GPU can't compile the fp16 variant"))
    names = tuple(f"{classes[t]}/{i:02}.jpg" for i, t in enumerate(truth))
    sha256 = sha256_file(bundle_folder / "manifest.json")
    facts = BundleFacts(bundle_folder.name, sha256, "mobilenet_v2", 64, n_images, 0, 0)
    return make_report(
        rows,
        EvaluationSet(TEST_PART, n_images, names, tuple(truth.tolist()), "0" * 64),
        quiet_machine(),
        bundles=(facts,),
        classes=classes,
        quick=False,
        max_drop_pp=None,
    )


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory):
    """Return a folder that is a bundle as far as a report looks at it."""
    folder = tmp_path_factory.mktemp("reports") / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(b"{}\n")
    return folder


@pytest.fixture(scope="session")
def measured():
    """The function that makes the report of fakes, for another one."""
    return measured_report


@pytest.fixture(scope="session")
def report(bundle_folder):
    """Return a report with a baseline, an int8 row that differs from it in some images, and a row that failed."""
    return dataclasses.replace(measured_report(bundle_folder), overfly_version="0.1.0")


def report_of_several(names=("small", "large"), classes=CLASSES, n_images=N_IMAGES, max_drop_pp=None):
    """Return the report of fakes of bundles, by turns fast with nine images wrong, and slow with one wrong.

    INT8 has one more wrong if the bundle is a slow one, and eight more if it is a fast one.
    """
    clock, measured, backends = Clock(), [], []
    missed = {index: (index + 1) % len(classes) for index in (4, *range(7, 55, 3))}
    for number, name in enumerate(names):
        n_wrong, n_wrong_int8, times = ((9, 17, (20.0, 2.0, 1.25)), (1, 2, (40.0, 10.0, 2.5)))[number % 2]
        rows = [_row_of(*of) for of in (("pytorch", "fp32"), ("openvino", "fp32"), ("openvino", "int8"))]
        measured += [(dataclasses.replace(spec, bundle=name), execution) for spec, execution in rows]
        wrong = [dict(list(missed.items())[:n]) for n in (n_wrong, n_wrong, n_wrong_int8)]
        backends += [
            Fake(clock, _around(ms), ms, of, n_classes=len(classes)) for ms, of in zip(times, wrong, strict=True)
        ]
    truth = np.arange(n_images) % len(classes)
    facts = [
        BundleFacts(name, str(i) * 64, "mobilenet_v2", 64 * (1 + i % 2), n_images, 0, 0) for i, name in enumerate(names)
    ]
    report = make_report(
        _measured_rows(clock, measured, backends, truth, len(classes)),
        EvaluationSet(
            EVERY_TEST_PART,
            n_images,
            tuple(f"{classes[t]}/{i:02}.jpg" for i, t in enumerate(truth)),
            tuple(truth.tolist()),
            "0" * 64,
        ),
        quiet_machine(),
        bundles=tuple(facts),
        classes=classes,
        quick=False,
        max_drop_pp=max_drop_pp,
    )
    return dataclasses.replace(report, overfly_version="0.1.0")


@pytest.fixture(scope="session")
def make_several():
    """The function that makes a report of several bundles."""
    return report_of_several


@pytest.fixture(scope="session")
def several():
    """Return a report of a small and a large bundle: the small one is faster, and has more images wrong."""
    return report_of_several()


@pytest.fixture(scope="session")
def nothing_recommended():
    """A recommendation of no row, for a report that gets other rows."""
    return Recommendation(None, None, None, None, None, "none")


@pytest.fixture(scope="session")
def add_pictures():
    """A function that adds a picture of each of some images to a report, with the maps of some classes."""

    def call(report, indices, labels=(0, 1)):
        jpeg = base64.b64encode(encode(Image.new("RGB", (64, 64), "green"), "JPEG")).decode()
        values = np.array([[2.0, -1.0], [0.5, 0.0]], np.float32)
        maps = tuple(ActivationMap(label, tuple(map(pack, values * (label + 1)))) for label in labels)
        return dataclasses.replace(report, pictures=tuple(Picture(index, jpeg, maps) for index in indices))

    return call


@pytest.fixture
def add_class():
    """A function that adds a class to a report that no image has."""

    def call(report, name):
        def longer(row):
            if row.measurements is None:
                return row
            logits = tuple(pack(np.append(unpack(text), np.float32(-9))) for text in row.measurements.logits)
            return dataclasses.replace(row, measurements=dataclasses.replace(row.measurements, logits=logits))

        return dataclasses.replace(report, classes=(*report.classes, name), rows=tuple(map(longer, report.rows)))

    return call


@pytest.fixture
def golden():
    """A function that returns a golden file's text; with OVERFLY_GOLDEN=write it becomes `text` first."""

    def call(name, text):
        path = Path(__file__).parent / "golden" / name
        if os.environ.get("OVERFLY_GOLDEN") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path.read_text(encoding="utf-8")

    return call


@pytest.fixture
def printed_by(monkeypatch, capsys):
    """A function that prints a table on a terminal of 80 columns, and returns its lines without blanks at the ends."""

    def call(show, content):
        monkeypatch.setenv("COLUMNS", "80")
        # In a pipe on Windows, rich would leave the last column free.
        monkeypatch.setattr("rich.console.detect_legacy_windows", lambda: False)
        show(content)
        printed, errors = capsys.readouterr()
        assert errors == ""
        lines = [line.rstrip() for line in printed.splitlines()]
        assert max(map(len, lines)) <= 80
        return "\n".join(lines) + "\n"

    return call
