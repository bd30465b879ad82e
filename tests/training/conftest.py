"""Fixtures for floor 1: small labeled folders, and one finished training."""

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.reporter import Reporter
from overfly.training.job import TrainJob, train
from overfly.training.recipe import Recipe, without_pretraining


def draw_folder(folder, *, classes=("field", "harbor", "roofs"), n_images=8, size=32, suffix=".png", seed=0):
    """Write a data folder whose classes differ in brightness and stripes, with noise in every image."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(n_images):
            pixels = np.full((size, size, 3), 60 + 70 * label, np.float64)
            pixels[:: label + 2] += 50
            noisy = (pixels + rng.normal(0, 40, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / name / f"{name}{i:02d}{suffix}")
    return folder


class Listener(Reporter):
    """Records what it receives; raises at the first note or stage that starts with `stop_at`."""

    def __init__(self, stop_at=None):
        self.notes = []
        self.stages = []
        self.stop_at = stop_at

    def progress(self, stage, done, total):
        self.stages.append((stage, done, total))
        self._stop(stage)

    def note(self, message):
        self.notes.append(message)
        self._stop(message)

    def _stop(self, message):
        if self.stop_at is not None and message.startswith(self.stop_at):
            raise KeyboardInterrupt


@pytest.fixture
def listener():
    """The class of reporters that record what they receive, and can interrupt a training."""
    return Listener


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Three classes of eight images of 32 x 32; do not change it."""
    return draw_folder(tmp_path_factory.mktemp("scenes") / "data")


@pytest.fixture
def make_folder(tmp_path):
    """A function that writes a data folder into the test's own folder."""

    def make(name="data", **options):
        return draw_folder(tmp_path / name, **options)

    return make


@pytest.fixture(scope="session")
def recipe():
    """Three epochs of the default model, which has dropout, with the default recipe for random weights.

    Of the 24 images of `scenes`, 14 are for training, in one step per epoch, 4 for validation and 6 for testing.
    """
    sizes = {"image_size": 32, "epochs": 3}
    recipe = Recipe(**sizes, learning_rate=3e-3, test_fraction=0.25, val_fraction=0.2)
    return without_pretraining(recipe)


@pytest.fixture(scope="session")
def finished(scenes, recipe, tmp_path_factory, three_blocks):
    """(The uninterrupted run of `recipe` on `scenes`, and its `Listener`); do not change it."""
    heard = Listener()
    job = TrainJob(
        data=scenes,
        out=tmp_path_factory.mktemp("finished") / "run",
        recipe=recipe,
        weights="none",
        seed=5,
        device="cpu",
    )
    with three_blocks():
        return train(job, reporter=heard), heard


@pytest.fixture(scope="module")
def small_model(three_blocks):
    """Give MobileNetV2 few blocks in all tests of a module, as it has in `finished`."""
    with three_blocks():
        yield


@pytest.fixture
def make_job(scenes, recipe, tmp_path):
    """A function that returns the job of `finished` with an output of its own, and with changes."""

    def make(**changes):
        options = {
            "data": scenes,
            "out": tmp_path / "run",
            "recipe": recipe,
            "weights": "none",
            "seed": 5,
            "device": "cpu",
        }
        return TrainJob(**{**options, **changes})

    return make
