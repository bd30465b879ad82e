"""Turn the values of pixels with any number of bits into 8 bits."""

import logging
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.runtime.errors import ImageError

# Lowest and highest value: they become 0 and 255.
ValueRange = tuple[float, float]

_LOGGER = logging.getLogger(__name__)
_BYTE = 8
_MAX_BITS = 16
# Of 1,400 scenes of UC Merced and RSSCN7, none has less than a quarter of the range between its darkest and its
# brightest value.
_MIN_CONTRAST = 0.25
# In none of them are 99% of the values, but for the highest possible one, below a fifth of the range.
_DARK = 0.2
# The image with the most has 13% of its values at the upper end.
_CLIPPED = 0.15
# Below it are 99% of the values if 12 bits (or 8) are read with a range of 16 (or of reflectances, up to 10,000).
_FAINT = 0.1
# A person may name each class folder.
_MAX_WARNINGS = 3
# The values of about as many rows say how bright an image is.
_N_ROWS = 64


def check_range(low: float, high: float) -> None:
    """Raise ValueError if two numbers are not a range of values."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"the range of values is {low},{high}: expected two finite numbers, the lower one first")


class DepthConverter:
    """Converts pixel values to 8 bits, and warns once per folder of values that don't suit their bits or the range.

    Several threads may use it at once.

    Parameters
    ----------
    value_range
        The values of images with more than 8 bits that become 0 and 255; None keeps the highest 8 bits.

    Attributes
    ----------
    folders
        The folders that a person named; "once per folder" is once for each of them. An image that is in none of them
        counts for its folder and for those next to that.
    """

    def __init__(self, value_range: ValueRange | None) -> None:
        self.value_range = value_range
        self.folders: tuple[Path, ...] = ()
        self._warned: set[Path] = set()
        self._n_warnings = 0
        self._lock = threading.Lock()

    def to_8_bits(self, path: Path, values: npt.NDArray[Any], n_bits: int) -> npt.NDArray[np.uint8]:
        """Return the values in 8 bits.

        Fewer bits are stretched to 8: the highest value becomes 255.

        Parameters
        ----------
        path
            The file, for messages.
        values
            Real numbers; any shape.
        n_bits
            How many bits each value has in the file.

        Raises
        ------
        ImageError
            If a value has more than 16 bits, and there is no `value_range`.
        """
        if n_bits <= _BYTE:
            return (
                values if n_bits == _BYTE else (values.astype(np.uint16) * 255 // ((1 << n_bits) - 1)).astype(np.uint8)
            )
        if self.value_range is not None:
            self._check_clipping(path, values, *self.value_range)
            return stretch(values, *self.value_range)
        n_bits = min(n_bits, _MAX_BITS)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= 1 << n_bits:
            raise ImageError(
                f"{path} has values from {low} to {high}, outside {n_bits} bits: train with --range LO,HI, "
                "or convert it"
            )
        if 0 < high - low < _MIN_CONTRAST * (1 << n_bits):
            self._warn(path, _low_contrast(low, high, n_bits))
        elif low < (bright := _brightness(values, n_bits)) < _DARK * (1 << n_bits):
            self._warn(path, _low_contrast(low, bright, n_bits))
        return (values >> (n_bits - _BYTE)).astype(np.uint8)

    def needs_low_bytes(self, high: npt.NDArray[np.uint8]) -> bool:
        """Whether the low bytes of 16-bit values matter, given the high ones: for a range, or for a warning."""
        if self.value_range is not None:
            return True
        contrast = int(high.max()) - int(high.min())
        return contrast <= _MIN_CONTRAST * (1 << _BYTE) or _brightness(high, _BYTE) <= _DARK * (1 << _BYTE)

    def _check_clipping(self, path: Path, values: npt.NDArray[Any], low: float, high: float) -> None:
        """Warn of an image of which a range leaves much white, or nearly all black."""
        rows = _rows(values)
        # Without values that stand for "no data".
        stored = rows[rows < (np.finfo if rows.dtype.kind == "f" else np.iinfo)(rows.dtype).max]
        if not stored.size:
            return
        clipped = float(np.mean(stored > high))
        if clipped > _CLIPPED:
            part, color = f"{clipped:.0%} of them above", "white"
        elif stored.max() < low or stored.min() < _percentile_99(stored) < low + _FAINT * (high - low):
            part, color = "nearly all of them near the lower end of", "black"
        else:
            return
        self._warn(
            path,
            f"has values from {stored.min():g} to {stored.max():g}, {part} the range {low:g},{high:g}, so much of it "
            f"becomes {color}: use images like those that the model is trained on, or a range that suits all of them",
        )

    def _warn(self, path: Path, problem: str) -> None:
        """Warn of an image, unless there was a warning for its folder, or for many others."""
        around = path.absolute().parent
        keys = {folder for folder in self.folders if path.is_relative_to(folder)} or {around, around.parent}
        with self._lock:
            if not self._warned.isdisjoint(keys) or self._n_warnings > _MAX_WARNINGS:
                return
            self._warned |= keys
            self._n_warnings += 1
            is_last = self._n_warnings > _MAX_WARNINGS
        if is_last:
            path, problem = around, "and maybe more folders have such images, too"
        _LOGGER.warning("%s %s", path, problem)


def _low_contrast(low: int, high: int, n_bits: int) -> str:
    """Return what is wrong with values of which nearly all are in a small range."""
    return (
        f"has nearly all values in the range {low},{high}, a small part of its {n_bits} bits, so its contrast is low: "
        f"train with --range {low},{high}, or with the range of all images"
    )


def _rows(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return some of the rows."""
    return values[:: max(1, len(values) // _N_ROWS)]


def _brightness(values: npt.NDArray[Any], n_bits: int) -> int:
    """Return the value that 99% do not exceed; the lowest one if there is no other than the highest possible.

    Few very bright pixels, or a value that stands for "no data", don't make a dark image bright.
    """
    rows = _rows(values)
    stored = rows[rows < (1 << n_bits) - 1]
    return int(_percentile_99(stored) if stored.size else values.min())


def _percentile_99(values: npt.NDArray[Any]) -> float:
    """Return the value that 99% do not exceed."""
    return float(np.percentile(values, 99, method="nearest"))


def stretch(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return values in 8 bits: `low` becomes 0, `high` becomes 255, what is beyond them too; not-a-number becomes 0."""
    if values.dtype.kind == "u" and values.dtype.itemsize <= np.dtype(np.uint16).itemsize:
        # Most files have 16 bits. A table takes a quarter of the memory of floating-point values.
        return np.take(stretch(np.arange(1 << _MAX_BITS), low, high), values)
    # First the cut: a value that stands for "no data" may be too large for the arithmetic.
    scaled = (np.clip(values, low, high) - low) * (255 / (high - low))
    rounded: npt.NDArray[np.uint8] = np.rint(np.nan_to_num(scaled)).astype(np.uint8)
    return rounded
