"""The plots of a run show its numbers, whatever the names of the classes are."""

import itertools
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from overfly.training import plots
from overfly.training.loop.history import Epoch
from overfly.training.plots import plot_confusion, plot_curves


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def history(losses, accuracies):
    return [
        Epoch(i, loss, accuracy, 0.1, 10.0, 1.0)
        for i, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), start=1)
    ]


def n_orange(image):
    """Pixels of the validation curve's color, #ff7f0e."""
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


def tick_labels(confusion, classes):
    """Return the texts along both sides of a matrix, and the boxes of those at its left in pixels."""
    figure = plots._confusion_figure(confusion, classes)
    (axes,) = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    below, left = axes.get_xticklabels(), axes.get_yticklabels()
    assert [label.get_text() for label in below] == [label.get_text() for label in left]
    return [label.get_text() for label in left], [label.get_window_extent(renderer) for label in left]


@pytest.mark.parametrize("length", [1, 20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_classes", [2, 21])
def test_names_of_any_length_are_shown_whole_next_to_their_rows(tmp_path, length, n_classes):
    names = [f"{'x' * length}{i}" for i in range(n_classes)]
    texts, boxes = tick_labels(np.eye(n_classes, dtype=np.int64), names)
    assert texts == names
    for upper, lower in itertools.pairwise(boxes):
        assert upper.y0 > lower.y1
    # Of 8 points, a letter is about half as wide.
    assert min(box.width for box in boxes) > 3 * length
    plot_confusion(tmp_path / "c.png", np.eye(n_classes, dtype=np.int64), names)
    image = pixels(tmp_path / "c.png")
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert (edge == 255).all()  # nothing is cut off
    # The figure has 100 pixels an inch and the file 120.
    assert image.shape[1] > 1.2 * (max(box.width for box in boxes) + n_classes * 36)


def test_the_cells_are_as_large_next_to_long_names(tmp_path):
    dark = []
    for name in ("x", "x" * 100):
        plot_confusion(tmp_path / "c.png", np.eye(2, dtype=np.int64), (name, "y"))
        dark.append((pixels(tmp_path / "c.png").sum(axis=2) < 300).sum())
    # Dark are half of the cells, and some letters.
    assert 0.9 < dark[1] / dark[0] < 1.5


def test_a_plot_that_would_be_too_large_is_drawn_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "_MOST_PIXELS", 300)
    plot_confusion(tmp_path / "c.png", np.eye(21, dtype=np.int64), [f"class {i}" for i in range(21)])
    assert max(pixels(tmp_path / "c.png").shape) == pytest.approx(300, abs=2)


def test_a_layout_that_the_user_prefers_cuts_nothing_off(tmp_path, monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "figure.constrained_layout.use", True)
    plot_confusion(tmp_path / "c.png", np.eye(2, dtype=np.int64), ("x" * 100, "y"))
    assert pixels(tmp_path / "c.png").shape[1] > 700


@pytest.mark.parametrize("name", ["forêt", "under_score", "two words", "100% $", r"$\frac$", "a$_$b", "поле", "غابة"])
def test_awkward_class_names_are_shown_as_they_are(tmp_path, name):
    plot_confusion(tmp_path / "c.png", np.eye(2, dtype=np.int64), (name, "other"))
    assert pixels(tmp_path / "c.png").shape[2] == 3
    assert tick_labels(np.eye(2, dtype=np.int64), (name, "other"))[0] == [name, "other"]


def test_a_name_that_no_font_has_is_shown_as_its_number(monkeypatch, tmp_path):
    monkeypatch.setattr(plots, "_MORE_FONTS", ())
    classes = ("field", "森林", "river")
    assert tick_labels(np.eye(3, dtype=np.int64), classes)[0] == ["field", "class #2", "river"]
    plot_confusion(tmp_path / "c.png", np.eye(3, dtype=np.int64), classes)


def test_another_font_gives_what_matplotlibs_own_lacks(monkeypatch):
    monkeypatch.setattr(plots, "_MORE_FONTS", ())
    own = plots._fonts()
    monkeypatch.setattr(plots, "_MORE_FONTS", ("no such font", "STIXGeneral"))  # the latter comes with matplotlib
    both = plots._fonts()
    assert list(both) == ["DejaVu Sans", "STIXGeneral"]
    name = next(chr(i) for i in both["STIXGeneral"].get_charmap() if not plots._readable(chr(i), own))
    assert tick_labels(np.eye(2, dtype=np.int64), (name, "b"))[0] == [name, "b"]


@pytest.mark.slow
def test_without_a_home_folder_matplotlib_writes_nothing_to_standard_error(tmp_path):
    home = tmp_path / "home"
    home.touch()
    code = (
        "import sys; from pathlib import Path; import numpy as np; from overfly.training.plots import plot_confusion\n"
        "plot_confusion(Path(sys.argv[1]), np.eye(2, dtype=int), ('a', 'b'))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    environment |= dict.fromkeys(["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"], str(home))
    environment |= dict.fromkeys(["USERPROFILE", "LOCALAPPDATA"], str(home))
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "confusion.png"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "confusion.png").is_file()
