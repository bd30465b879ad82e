"""Classify the windows of a raster, block by block."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.errors import RasterError
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.pipeline import ThreadPool, ordered_results
from overfly.runtime.inference.runner import Runner
from overfly.runtime.mapping.blocks import BlockImages, read_block
from overfly.runtime.mapping.grid import Block, WindowGrid
from overfly.runtime.mapping.sums import Quantized, quantized_known, quantized_probabilities
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
        uint16, shape ``[n_classified, n_values]``; see `overfly.runtime.mapping.sums`.
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
    def from_bytes(cls, data: bytes, block: Block, *, n_values: int, cell_pixels: int) -> "BlockResult":
        """Return what `to_bytes` was made from."""
        shape = block.n_rows, block.n_columns
        n_windows = block.n_rows * block.n_columns
        n_mask = -(-n_windows // _BITS)
        classified, present = (
            np.unpackbits(np.frombuffer(data, np.uint8, n_mask, start), count=n_windows).astype(np.bool_).reshape(shape)
            for start in (0, n_mask)
        )
        begin = 2 * n_mask
        n_all = int(classified.sum()) * n_values
        probabilities = np.frombuffer(data, "<u2", n_all, begin).reshape(-1, n_values).astype(np.uint16)
        if not n_all:
            return cls(classified, present, probabilities, None)
        picture = np.frombuffer(data, np.uint8, offset=begin + 2 * n_all)
        return cls(
            classified,
            present,
            probabilities,
            picture.reshape(block.n_rows * cell_pixels, block.n_columns * cell_pixels, _N_COLORS),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """How the blocks of a map are classified.

    Attributes
    ----------
    grid
        The windows of the raster.
    n_classes
        Number of classes of the model.
    unknown
        Whether it is kept which windows are known.
    size, reduce_first
        How the model takes images; see `overfly.runtime.images.reading.ImageSpec`.
    cell_pixels
        Side of a cell in thumbnails, in pixels.
    """

    grid: WindowGrid
    n_classes: int
    unknown: bool
    size: int
    reduce_first: bool
    cell_pixels: int

    @property
    def n_values(self) -> int:
        """The number of values that are kept of a window: the probability of each class, and whether it is known."""
        return self.n_classes + self.unknown

    def read(self, source: RasterSource, block: Block, wanted: npt.NDArray[np.bool_]) -> BlockImages:
        """Read the images of a block; `wanted` is that of `overfly.runtime.mapping.blocks.read_block`.

        Raises
        ------
        RasterError
            If the raster can't be read there.
        """
        return read_block(source, self.grid, block, size=self.size, reduce_first=self.reduce_first, wanted=wanted)

    def result(self, images: BlockImages, logits: Sequence[Logits]) -> BlockResult:
        """Return the result of a block.

        Parameters
        ----------
        images
            Its images.
        logits
            float32, shape ``[n_values]``: for each window that is classified, row by row. If `unknown`, the last value
            is the margin of the known score.
        """
        if not logits:
            nothing = np.zeros((0, self.n_values), np.uint16)
            return BlockResult(images.classified, images.present, nothing, None)
        rows = np.stack(logits)
        probabilities = quantized_probabilities(rows[:, : self.n_classes])
        if self.unknown:
            probabilities = np.column_stack([probabilities, quantized_known(rows[:, -1])])
        return BlockResult(images.classified, images.present, probabilities, images.thumbnail(self.cell_pixels))

    def parse(self, data: bytes, block: Block) -> BlockResult:
        """Return the result of a block that `BlockResult.to_bytes` gave."""
        return BlockResult.from_bytes(data, block, n_values=self.n_values, cell_pixels=self.cell_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockClassifier:
    """Classifies the windows of one raster.

    Attributes
    ----------
    source
        The raster.
    spec
        Its windows, and what the model takes and gives.
    wanted
        bool, shape ``[n_rows, n_columns]`` of the grid: the windows that are of interest.
    runner
        The model.
    """

    source: RasterSource
    spec: BlockSpec
    wanted: npt.NDArray[np.bool_]
    runner: Runner

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
                    finished.append((index, self.spec.result(images, ())))
                else:
                    pending.append((index, images))
                    yield from images.windows()

        with ThreadPool(1) as pool:
            for row in self.runner.stream(windows(pool), known_margin=self.spec.unknown):
                logits.append(row)
                if len(logits) == np.count_nonzero(pending[0][1].classified):
                    index, images = pending.popleft()
                    finished.append((index, self.spec.result(images, logits)))
                    logits.clear()
                yield from finished
                finished.clear()
        yield from finished

    def _read(self, index: int, block: Block) -> tuple[int, BlockImages | RasterError]:
        try:
            return index, self.spec.read(self.source, block, self.wanted[block.cells])
        except RasterError as error:
            return index, error
