"""The pictures of a run: its curves and its confusion matrix."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.runtime.errors import needs_extra
from overfly.runtime.files import write_atomically
from overfly.runtime.metrics import Confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from overfly.training.loop import Epoch

_DPI = 120


def plot_curves(path: Path, history: Sequence["Epoch"]) -> None:
    """Draw training loss, and validation accuracy where there is one, over the epochs, as PNG."""
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
    """Draw a confusion matrix with its counts, rows the truth, as PNG."""
    side = 2.5 + 0.36 * len(classes)
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    rows = confusion / confusion.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1)
    for truth, row in enumerate(confusion):
        for predicted, count in enumerate(row):
            if count:
                colour = "white" if rows[truth, predicted] > 0.5 else "black"  # noqa: PLR2004 - readable on either
                axes.text(predicted, truth, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(
        range(len(classes)), classes, rotation=60, ha="right", rotation_mode="anchor", fontsize=8, parse_math=False
    )
    axes.set_yticks(range(len(classes)), classes, fontsize=8, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    _save(figure, path)


def _figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches, without touching matplotlib's global state."""
    with needs_extra("train"):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, atomically."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that matplotlib's font lacks shows as boxes, which is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=_DPI)
    write_atomically(path, buffer.getvalue())
