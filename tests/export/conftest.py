"""Runs of a model with weights set by hand, so small that its export takes seconds."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from overfly.runtime.documents import write_document
from overfly.runtime.evaluation.metrics import METRICS, Metrics
from overfly.runtime.images.reading import ImageSpec
from overfly.runtime.versions import installed_versions
from overfly.training.data.dataset import scan
from overfly.training.data.split import make_split
from overfly.training.models.build import PreprocessedModel
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.recipe import RECIPES
from overfly.training.run import RUN_SCHEMA, RunRecord, save_checkpoint, save_split
from overfly.training.run_layout import RUN_FILE

SIZE = 8
LAYERS = ("features.0", "features.2", "classifier.1")


class Greenness(nn.Module):
    """Tells green images from others by three layers, each of which passes the green channel on."""

    def __init__(self, *, weights=None):
        super().__init__()
        assert weights is None
        self.features = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 2))

    def forward(self, images):
        return self.classifier(self.features(images).mean((2, 3)))


def set_weights(model, hard):
    """Let the first channel carry the green; in `hard` layers, one that is always 0 has a weight of 1000 as well.

    In INT8 the weights of 1 and 1000 share one scale, in which 1 is rounded to 0.
    """
    with torch.no_grad():
        for name in LAYERS:
            layer = model.get_submodule(name)
            layer.weight.zero_()
            layer.bias.zero_()
            carrier, dead = (1, 0) if name == "features.0" else (0, 3)
            rows = slice(0, 2) if name == "classifier.1" else slice(0, 1)
            layer.weight[rows, carrier] = torch.ones_like(layer.weight[rows, carrier])
            if name in hard:
                layer.weight[rows, dead] = 1000.0
        head = model.get_submodule("classifier.1")
        head.weight[0] *= -1
        head.bias += torch.tensor([0.55, -0.55])


def draw_images(folder):
    """Write two classes of 40 images that differ in green; red is 0 and blue is noise."""
    rng = np.random.default_rng(0)
    for name, level in (("dry", 90), ("green", 190)):
        (folder / name).mkdir(parents=True)
        for index in range(40):
            pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            pixels[..., 0] = 0
            pixels[..., 1] = rng.integers(level - 30, level + 30, (SIZE, SIZE))
            Image.fromarray(pixels).save(folder / name / f"{index:02d}.png")
    return folder


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """A function that writes a run of `Greenness` and returns its folder; its data is in ``data`` next to it."""
    monkeypatch.setattr(torchvision_models(), "mobilenet_v2", Greenness)

    def make(*, hard=(), val_fraction=0.0):
        data, folder = draw_images(tmp_path / "data"), tmp_path / "run"
        folder.mkdir()
        # The mean of red and green is 0, so that red stays 0 and green stays positive for the model.
        image = ImageSpec(SIZE, (0.0, 0.0, 0.5), (1.0, 1.0, 1.0))
        model = Greenness()
        set_weights(model, hard)
        split = make_split(scan(data), test_fraction=0.25, val_fraction=val_fraction)
        record = RunRecord(
            model="mobilenet_v2",
            classes=split.classes,
            image=image,
            data=str(data),
            recipe=RECIPES["default"],
            weights="none",
            seed=0,
            device="cpu",
            precision="fp32",
            metrics=Metrics(**dict.fromkeys(METRICS, 1.0), n_images=len(split.images("test"))),
            intervals=dict.fromkeys(METRICS, (1.0, 1.0)),
            most_confused=(),
            near_duplicates=(),
            machine="none",
            seconds=0.0,
            versions=installed_versions(),
            checkpoint_sha256=save_checkpoint(folder, PreprocessedModel(model, image)),
            split_sha256=save_split(folder, split),
        )
        write_document(folder / RUN_FILE, record, schema=RUN_SCHEMA)
        return folder

    return make
