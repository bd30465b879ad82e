"""The paper's other four models train from a weights file in torchvision's format, and learn on real scenes."""

import shutil

import pytest
import torch

from overfly.training.job import TrainJob, train
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.recipe import RECIPES, override, without_pretraining

pytestmark = [pytest.mark.real, pytest.mark.slow]

CLASSES = ("beach", "forest")
N_IMAGES = 60


@pytest.fixture(scope="module")
def few_scenes(real_data, tmp_path_factory):
    """The first scenes of classes that are easy to tell apart."""
    folder = tmp_path_factory.mktemp("few")
    for name in CLASSES:
        (folder / name).mkdir()
        for path in sorted((real_data / name).iterdir())[:N_IMAGES]:
            shutil.copy(path, folder / name)
    return folder


@pytest.mark.parametrize(
    ("name", "epochs", "learning_rate"),
    [
        ("resnet18", 3, 1e-3),
        ("shufflenet_v2_x1_0", 5, 4e-3),
        pytest.param("vgg16", 2, 1e-4, marks=pytest.mark.full),
        pytest.param("alexnet", 3, 1e-4, marks=pytest.mark.full),
    ],
)
def test_it_learns_from_a_weights_file(few_scenes, tmp_path, name, epochs, learning_rate):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(getattr(torchvision_models(), name)(weights=None).state_dict(), tmp_path / f"{name}.pth")
    # Drawn weights have nothing worth keeping.
    recipe = override(
        without_pretraining(RECIPES["default"]),
        model=name,
        image_size=64,
        epochs=epochs,
        batch_size=8,
        learning_rate=learning_rate,
        precision="fp32",
        ema_decay=0.0,
        sam_rho=0.0,
        rotation=0.0,
        min_crop=1.0,
        test_fraction=0.3,
    )
    run = train(TrainJob(data=few_scenes, out=tmp_path / "run", recipe=recipe, weights=str(tmp_path / f"{name}.pth")))
    assert run.record.weights.startswith("sha256:")
    assert run.record.metrics.n_images == 36
    # Guesses have 27 right of 36 twice in a thousand times.
    assert run.record.metrics.accuracy >= 27 / 36
