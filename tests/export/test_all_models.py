"""All five models pass through ONNX, fp32 and fp16 with PyTorch's answers, their logits as large as a trained one's."""

import numpy as np
import pytest
import torch

from overfly.export.bundle_writer import ExportJob, export
from overfly.runtime.bundle import Bundle
from overfly.runtime.documents import write_document
from overfly.runtime.images import ImageSpec
from overfly.runtime.metrics import Metrics
from overfly.runtime.versions import installed_versions
from overfly.training.dataset import decode, scan
from overfly.training.models import MODELS, Deployed, build_model
from overfly.training.recipe import RECIPES
from overfly.training.run import RUN_FILE, RUN_SCHEMA, RunRecord, save_checkpoint, save_split
from overfly.training.split import make_split

pytestmark = pytest.mark.slow

# The smallest that each takes: five halvings, or AlexNet's large strides.
SIZES = {"alexnet": 64, "mobilenet_v2": 32, "resnet18": 32, "shufflenet_v2_x1_0": 32, "vgg16": 32}


def trained_like(name, images, n_classes):
    """Return a model with drawn weights that is normalised within and gives logits of a few units, as a trained one."""
    torch.manual_seed(0)
    model = build_model(name, n_classes)
    deployed = Deployed(model, ImageSpec(SIZES[name], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
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


@pytest.mark.parametrize("name", MODELS)
def test_onnx_fp32_and_fp16_agree_with_pytorch(name, tiny_data, tmp_path):
    size = SIZES[name]
    dataset = scan(tiny_data)
    split = make_split(dataset, test_fraction=0.67)
    images = decode(tiny_data, dataset.scenes, size=size)
    deployed = trained_like(name, images, len(split.classes))
    (tmp_path / "run").mkdir()
    record = RunRecord(
        model=name,
        classes=split.classes,
        image=ImageSpec(size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        data=str(tiny_data),
        recipe=RECIPES["default"],
        weights="none",
        seed=0,
        device="cpu",
        metrics=Metrics(0.5, 0.5, 0.5, 64),
        versions=installed_versions(),
        checkpoint_sha256=save_checkpoint(tmp_path / "run", deployed),
        split_sha256=save_split(tmp_path / "run", split),
    )
    write_document(tmp_path / "run" / RUN_FILE, record, schema=RUN_SCHEMA)
    export(ExportJob(tmp_path / "run", tmp_path / "bundle", variants=("fp32", "fp16")))
    bundle = Bundle.open(tmp_path / "bundle")
    logits = bundle.golden().logits
    assert len(logits) == 64
    # Answers that differ from image to image, of the size of a trained model's.
    assert len(set(logits.argmax(axis=1))) >= 4
    assert np.abs(logits).max() > 5
    assert bundle.manifest.onnx.parity.max_abs_diff <= 1e-3
    assert bundle.variant("fp32").parity.max_abs_diff <= 1e-3
    assert 0 < bundle.variant("fp16").parity.max_abs_diff <= 0.2
    for parity in (bundle.manifest.onnx.parity, bundle.variant("fp32").parity):
        assert (parity.n_images, parity.top1_agreement) == (64, 1.0)
