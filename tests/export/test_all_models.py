"""All five models keep PyTorch's answers in ONNX, fp32 and fp16, with logits as large as a trained model's.

Models with depthwise convolutions are trained, because with random weights they amplify every rounding error. Training
the large ones would take minutes, so their weights are scaled until each layer has inputs and outputs of about 1.
"""

import numpy as np
import pytest
import torch

from overfly.export.exporter import ExportJob, export
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.documents import write_document
from overfly.runtime.evaluation.metrics import METRICS, Metrics
from overfly.runtime.images.reading import ImageReader, ImageSpec
from overfly.runtime.versions import installed_versions
from overfly.training.data.dataset import decode, scan
from overfly.training.data.split import make_split
from overfly.training.job import TrainJob, train
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.registry import MODELS
from overfly.training.recipe import RECIPES, override
from overfly.training.run import RUN_SCHEMA, RunRecord, save_checkpoint, save_split
from overfly.training.run_layout import RUN_FILE

pytestmark = pytest.mark.slow

TRAINED = {"mobilenet_v2", "shufflenet_v2_x1_0"}
# The smallest that each takes: five halvings, or AlexNet's large strides.
SIZES = {"alexnet": 64, "mobilenet_v2": 64, "resnet18": 32, "shufflenet_v2_x1_0": 64, "vgg16": 32}
TEST_FRACTION = 0.67


def train_briefly(name, data, out):
    """Train a model on a third of the small data set."""
    plain = {"ema_decay": 0.0, "rotation": 0.0, "min_crop": 1.0, "jitter": 0.0, "label_smoothing": 0.0}
    sizes = {"test_fraction": TEST_FRACTION, "model": name, "image_size": SIZES[name], "batch_size": 8, "epochs": 20}
    recipe = override(RECIPES["default"], learning_rate=2e-3, **sizes, **plain)
    train(TrainJob(data=data, out=out, recipe=recipe, weights="none"))


def trained_like(name, images, n_classes):
    """Return a model with random weights, normalized activations, and logits of a few units."""
    torch.manual_seed(0)
    model = build_model(name, n_classes)
    deployed = PreprocessedModel(model, ImageSpec(SIZES[name], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    batch = torch.from_numpy(images)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.momentum = None  # the mean over all batches
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        deployed.train()
        deployed(batch)
        deployed.eval()
        logits = deployed(batch)
        head = model.get_submodule(MODELS[name])
        scale = 3 / logits.std(dim=0).mean()
        head.bias.copy_(-scale * (logits - head.bias).mean(dim=0))
        head.weight *= scale
    return deployed


def write_run(name, data, out):
    """Write the run of a model that was set up instead of trained."""
    dataset = scan(data)
    split = make_split(dataset, test_fraction=TEST_FRACTION)
    deployed = trained_like(name, decode(data, dataset.images, ImageReader(SIZES[name])), len(split.classes))
    out.mkdir()
    record = RunRecord(
        model=name,
        classes=split.classes,
        image=ImageSpec(SIZES[name], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        data=str(data),
        recipe=RECIPES["default"],
        weights="none",
        seed=0,
        device="cpu",
        precision="fp32",
        metrics=Metrics(**dict.fromkeys(METRICS, 0.5), n_images=64),
        intervals=dict.fromkeys(METRICS, (0.4, 0.6)),
        most_confused=(),
        near_duplicates=(),
        machine="none",
        seconds=0.0,
        versions=installed_versions(),
        checkpoint_sha256=save_checkpoint(out, deployed),
        split_sha256=save_split(out, split),
    )
    write_document(out / RUN_FILE, record, schema=RUN_SCHEMA)


@pytest.mark.parametrize("name", [*sorted(set(MODELS) - {"vgg16"}), pytest.param("vgg16", marks=pytest.mark.full)])
def test_onnx_fp32_and_fp16_agree_with_pytorch(name, tiny_data, tmp_path):
    (train_briefly if name in TRAINED else write_run)(name, tiny_data, tmp_path / "run")
    export(ExportJob(run=tmp_path / "run", out=tmp_path / "bundle", variants=("fp32", "fp16")))
    bundle = Bundle.open(tmp_path / "bundle")
    logits = bundle.golden().logits
    assert len(logits) == 64
    # Answers that differ from image to image, of the size of a trained model's.
    assert len(set(logits.argmax(axis=1))) >= 4
    assert np.abs(logits).max() > 3
    assert bundle.manifest.onnx.parity.max_abs_diff <= 1e-3
    assert bundle.variant("fp32").parity.max_abs_diff <= 1e-3
    assert 0 < bundle.variant("fp16").parity.max_abs_diff <= 0.2
    for parity in (bundle.manifest.onnx.parity, bundle.variant("fp32").parity):
        assert (parity.n_images, parity.top1_agreement) == (64, 1.0)
