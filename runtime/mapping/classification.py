"""Classify the windows of a raster, block by block."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.errors import RasterError
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.pipeline import ThreadPool, ordered_results
from overfly.runtime.inference.runner import Runner
from overfly.runtime.mapping.blocks import BlockImages, read_block
from overfly.runtime.mapping.grid import Block, WindowGrid
from overfly.runtime.mapping.sums import Quantized, quantized_probabilities
from overfly.runtime.raster.source import RasterSource

_BITS = 8
_N_COLORS = 3


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What is kept of a block: in memory, and as bytes in the journal.

    Attributes
    ----------
    classified
        bool, shape ``[n_rows, n_columns]``: which windows were classified.
    present
        bool, same shape: which cells have enough pixels to have a class.
    probabilities
        uint16, shape ``[n_classified, n_classes]``; see `overfly.runtime.mapping.sums`.
    thumbnail
        uint8, shape ``[n_rows * p, n_columns * p, 3]``; None if no window was classified.
    """

    classified: npt.NDArray[np.bool_]
    present: npt.NDArray[np.bool_]
    probabilities: Quantized
    thumbnail: ImageBatch | None

    def to_bytes(self) -> bytes:
        """Return the journal's form."""
        picture = b"" if self.thumbnail is None else self.thumbnail.tobytes()
        masks = np.packbits(self.classified).tobytes() + np.packbits(self.present).tobytes()
        return masks + self.probabilities.astype("<u2").tobytes() + picture

    @classmethod
    def from_bytes(cls, data: bytes, block: Block, *, n_classes: int, cell_pixels: int) -> "BlockResult":
        """Return what `to_bytes` was made from."""
        shape = block.n_rows, block.n_columns
        n_windows = block.n_rows * block.n_columns
        n_mask = -(-n_windows // _BITS)
        classified, present = (
            np.unpackbits(np.frombuffer(data, np.uint8, n_mask, start), count=n_windows).astype(np.bool_).reshape(shape)
            for start in (0, n_mask)
        )
        begin = 2 * n_mask
        n_values = int(classified.sum()) * n_classes
        probabilities = np.frombuffer(data, "<u2", n_values, begin).reshape(-1, n_classes).astype(np.uint16)
        if not n_values:
            return cls(classified, present, probabilities, None)
        picture = np.frombuffer(data, np.uint8, offset=begin + 2 * n_values)
        return cls(
            classified,
            present,
            probabilities,
            picture.reshape(block.n_rows * cell_pixels, block.n_columns * cell_pixels, _N_COLORS),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockClassifier:
    """Classifies the windows of one raster.

    Attributes
    ----------
    source, grid
        The raster and its windows.
    wanted
        bool, shape ``[n_rows, n_columns]`` of the grid: the windows that are of interest.
    runner, n_classes
        The model.
    size, reduce_first
        How it takes images; see `overfly.runtime.images.reading.ImageSpec`.
    cell_pixels
        Side of a cell in thumbnails, in pixels.
    """

    source: RasterSource
    grid: WindowGrid
    wanted: npt.NDArray[np.bool_]
    runner: Runner
    n_classes: int
    size: int
    reduce_first: bool
    cell_pixels: int

    def results(self, blocks: Iterable[tuple[int, Block]]) -> Iterator[tuple[int, BlockResult | RasterError]]:
        """Classify blocks, each with its index; one thread reads ahead.

        Yields
        ------
        tuple
            The index of a block, and its result or why it can't be read; not in the order of `blocks`.
        """
        finished: list[tuple[int, BlockResult | RasterError]] = []
        pending: deque[tuple[int, BlockImages]] = deque()
        logits: list[Logits] = []

        def windows(pool: ThreadPool) -> Iterator[ImageBatch]:
            """Yield the images of all blocks without a gap, so that the device never waits for a block to end."""
            for index, images in ordered_results((pool.submit(self._read, *each) for each in blocks), limit=2):
                if isinstance(images, RasterError):
                    finished.append((index, images))
                elif not images.classified.any():
                    finished.append((index, self._empty(images)))
                else:
                    pending.append((index, images))
                    yield from images.windows()

        with ThreadPool(1) as pool:
            for row in self.runner.stream(windows(pool)):
                logits.append(row)
                if len(logits) == np.count_nonzero(pending[0][1].classified):
                    index, images = pending.popleft()
                    finished.append((index, self._result(images, np.stack(logits))))
                    logits.clear()
                yield from finished
                finished.clear()
        yield from finished

    def _read(self, index: int, block: Block) -> tuple[int, BlockImages | RasterError]:
        read = partial(read_block, self.source, self.grid, block, size=self.size, reduce_first=self.reduce_first)
        rows, columns = slice(block.row, block.row + block.n_rows), slice(block.column, block.column + block.n_columns)
        try:
            return index, read(wanted=self.wanted[rows, columns])
        except RasterError as error:
            return index, error

    def _empty(self, images: BlockImages) -> BlockResult:
        return BlockResult(images.classified, images.present, np.zeros((0, self.n_classes), np.uint16), None)

    def _result(self, images: BlockImages, logits: Logits) -> BlockResult:
        thumbnail = images.thumbnail(self.cell_pixels)
        return BlockResult(images.classified, images.present, quantized_probabilities(logits), thumbnail)
