"""The plots of a run: its curves and its confusion matrix."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overfly.runtime.evaluation.metrics import Confusion
from overfly.runtime.files.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.transforms import Bbox

    from overfly.training.loop.history import Epoch

# If matplotlib finds no folder for its cache, as for a user without a home folder, it makes a temporary one and advises
# to set a variable. Log handlers still get that, but standard error does not.
logging.getLogger("matplotlib").addHandler(logging.NullHandler())

_DPI = 120
_CELL_INCHES = 0.36
_MARGIN_INCHES = 0.1
_MOST_PIXELS = 5000

# Part of matplotlib, with most alphabets.
_OWN_FONT = "DejaVu Sans"
# Fonts of Windows, Linux and macOS for other scripts, mainly those of East Asia and India.
_MORE_FONTS = (
    "Segoe UI",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Yu Gothic",
    "Nirmala UI",
    "Leelawadee UI",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Hiragino Sans",
    "PingFang SC",
    "Apple SD Gothic Neo",
)


def plot_curves(path: Path, history: Sequence["Epoch"]) -> None:
    """Plot the training loss and, if there is one, the validation accuracy over the epochs, as PNG."""
    figure = _figure(7, 4)
    axes = figure.subplots()
    epochs = [epoch.epoch for epoch in history]
    axes.plot(epochs, [epoch.loss for epoch in history], color="tab:blue", marker="o", markersize=3)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (nats)", color="tab:blue")
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.grid(visible=True, alpha=0.3)
    validated = [(e.epoch, 100 * e.val_accuracy) for e in history if e.val_accuracy is not None]
    if validated:
        right = axes.twinx()
        right.plot(*zip(*validated, strict=True), color="tab:orange", marker="o", markersize=3)
        right.set_ylabel("validation accuracy (%)", color="tab:orange")
    _save(figure, path)


def plot_confusion(path: Path, confusion: Confusion, classes: Sequence[str]) -> None:
    """Plot a confusion matrix with its counts, int64 ``[n_classes, n_classes]``, rows the true classes, as PNG.

    The plot is as large as the names of the classes need. If no font of this machine has the characters of a name, the
    plot shows its number in ``run.json`` instead, counted from 1.
    """
    figure = _confusion_figure(confusion, classes)
    box = figure.get_tightbbox().padded(_MARGIN_INCHES)
    # At the full resolution, hundreds of classes would need gigabytes.
    _save(figure, path, dpi=min(_DPI, _MOST_PIXELS / max(box.width, box.height)), box=box)


def _confusion_figure(confusion: Confusion, classes: Sequence[str]) -> "Figure":
    """Return the figure of `plot_confusion`."""
    side = _CELL_INCHES * max(len(classes), 5)
    figure = _figure(side, side)
    figure.set_layout_engine("none")
    # The matrix fills the figure; saving it adds what the names around it need.
    axes = figure.add_axes((0, 0, 1, 1))
    rows = confusion / confusion.sum(axis=1, keepdims=True).clip(min=1)
    places = range(len(classes))
    axes.pcolormesh(places, places, rows, shading="nearest", cmap="Blues", vmin=0, vmax=1)
    axes.invert_yaxis()
    for truth, row in enumerate(confusion):
        for predicted, count in enumerate(row):
            if count:
                color = "white" if rows[truth, predicted] > 0.5 else "black"  # noqa: PLR2004 - readable on either
                axes.text(predicted, truth, str(count), ha="center", va="center", color=color, fontsize=8)
    fonts = _fonts()
    names = [name if _readable(name, fonts) else f"class #{i}" for i, name in enumerate(classes, start=1)]
    style: dict[str, Any] = {"fontsize": 8, "family": list(fonts), "parse_math": False}
    axes.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", **style)
    axes.set_yticks(places, names, **style)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


def _figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches, without touching matplotlib's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _fonts() -> "dict[str, FT2Font]":
    """Return matplotlib's own font and those of `_MORE_FONTS` that this machine has, by name."""
    from matplotlib import font_manager

    found = font_manager.get_font_names()
    names = [name for name in (_OWN_FONT, *_MORE_FONTS) if name in found]
    return {name: font_manager.get_font(font_manager.findfont(name)) for name in names}


def _readable(name: str, fonts: "dict[str, FT2Font]") -> bool:
    """Return whether each character of a name is in one of the fonts."""
    return all(any(font.get_char_index(ord(character)) for font in fonts.values()) for character in name)


def _save(figure: "Figure", path: Path, *, dpi: float = _DPI, box: "Bbox | None" = None) -> None:
    """Write a figure, or the part of it in a box (in inches), as PNG, atomically."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches=box)
    write_atomically(path, buffer.getvalue())
