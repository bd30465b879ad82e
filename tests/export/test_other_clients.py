"""What overfly exports opens elsewhere: in OpenVINO's Model API, in benchmark_app, and in ONNX Runtime."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Classifier
from overfly.runtime.images.discovery import find_images
from overfly.runtime.images.reading import ImageReader


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


@pytest.fixture
def images(tiny_data):
    """Five images of each class."""
    return [path for folder in sorted(tiny_data.iterdir()) for path in find_images([folder])[:5]]


def test_model_api_gives_our_labels_with_nothing_but_the_ir(bundle, images, tmp_path):
    models = pytest.importorskip("model_api.models", reason="openvino-model-api needs Python 3.11")
    for name in ("int8.xml", "int8.bin"):
        shutil.copy(bundle.path / name, tmp_path / name)
    theirs = models.Model.create_model(str(tmp_path / "int8.xml"), device="CPU")
    with Classifier.from_bundle(bundle.path, device="CPU", variant="int8", execution_precision="f32") as ours:
        expected = ours.predict(images)
    for path, prediction in zip(images, expected, strict=True):
        # At the model's size, as it would resize without antialiasing.
        (top,) = theirs(ImageReader(64).read(path)).top_labels
        assert top.name == prediction.label
        assert top.confidence == pytest.approx(prediction.probabilities[0], abs=1e-3)


def test_benchmark_app_runs_the_ir(bundle, tmp_path):
    command = [sys.executable, "-c", "from openvino.tools.benchmark.main import main; main()"]
    command += ["-m", str(bundle.path / "int8.xml"), "-d", "CPU", "-shape", "[1,64,64,3]", "-niter", "20"]
    command += ["-json_stats", "-report_type", "no_counters", "-report_folder", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    results = json.loads((tmp_path / "benchmark_report.json").read_text(encoding="utf-8"))["execution_results"]
    assert int(results["total number of iterations"]) >= 20


def test_onnx_runtime_runs_the_onnx_file_on_the_pixels_themselves(bundle, images):
    session = onnxruntime.InferenceSession(bundle.path / "model.onnx", providers=["CPUExecutionProvider"])
    (given,), (returned,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 64, 64, 3])
    images = np.stack([ImageReader(64).read(path) for path in images])
    (logits,) = session.run([returned.name], {given.name: images})
    with Classifier.from_bundle(bundle.path, device="CPU", variant="fp32") as ours:
        labels = [prediction.label for prediction in ours.predict(images)]
    assert [bundle.manifest.classes[i] for i in logits.argmax(axis=1)] == labels
