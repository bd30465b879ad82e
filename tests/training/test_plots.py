"""The pictures of a run show its numbers, whatever the classes are called."""

import numpy as np
import pytest
from PIL import Image

from overfly.training.loop import Epoch
from overfly.training.plots import plot_confusion, plot_curves


def pixels(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def history(losses, accuracies):
    return [
        Epoch(i, loss, accuracy, 0.1, 10.0, 1.0)
        for i, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), start=1)
    ]


def n_orange(image):
    """Pixels of the validation curve's colour, #ff7f0e."""
    return int((np.abs(image - (255, 127, 14)).max(axis=2) < 40).sum())


def test_the_validation_curve_is_there_when_there_is_one(tmp_path):
    plot_curves(tmp_path / "with.png", history([2, 1, 0.5], [0.3, 0.6, 0.9]))
    plot_curves(tmp_path / "without.png", history([2, 1, 0.5], [None, None, None]))
    assert n_orange(pixels(tmp_path / "with.png")) > 100
    assert n_orange(pixels(tmp_path / "without.png")) == 0


def test_a_single_epoch_can_be_drawn(tmp_path):
    plot_curves(tmp_path / "one.png", history([2.0], [None]))
    assert pixels(tmp_path / "one.png").shape[:2] == (480, 840)


def test_a_perfect_diagonal_is_dark_and_the_rest_is_light(tmp_path):
    plot_confusion(tmp_path / "c.png", np.diag([5, 7, 9]), ("a", "b", "c"))
    plot_confusion(tmp_path / "d.png", np.array([[0, 5, 0], [7, 0, 0], [9, 0, 0]]), ("a", "b", "c"))
    dark = [pixels(tmp_path / name).sum(axis=2) < 300 for name in ("c.png", "d.png")]
    assert dark[0].sum() > 1000
    assert (dark[0] != dark[1]).sum() > 1000


def test_a_class_without_a_test_image_can_be_drawn(tmp_path):
    plot_confusion(tmp_path / "c.png", np.array([[3, 1], [0, 0]]), ("a", "b"))
    assert pixels(tmp_path / "c.png").min() < 200


@pytest.mark.parametrize("name", ["forêt", "under_score", "two words", "100% $", r"$\frac$", "a$_$b", "森林"])
def test_awkward_class_names(tmp_path, name):
    plot_confusion(tmp_path / "c.png", np.eye(2, dtype=np.int64), (name, "other"))
    assert pixels(tmp_path / "c.png").shape[2] == 3
