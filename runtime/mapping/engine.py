"""Who classifies the blocks of maps: this process, or others that it asks to."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Classifier
from overfly.runtime.errors import RasterError
from overfly.runtime.mapping.blocks import open_raster
from overfly.runtime.mapping.classification import BlockClassifier, BlockResult, BlockSpec
from overfly.runtime.mapping.grid import Block
from overfly.runtime.mapping.record import MachineRecord, MapOptions, ModelRecord
from overfly.runtime.reporter import Reporter

if TYPE_CHECKING:
    from overfly.runtime.mapping.job import MapJob


@dataclass(frozen=True, slots=True, kw_only=True)
class MapWork:
    """What has to be known of a map to classify its blocks.

    Attributes
    ----------
    name
        Of the map; each of a job has another one.
    path, sha256
        The raster, and the SHA-256 of all files that it consists of.
    files
        These files in the order in which they are hashed, with their size and the time of their last change in ns.
    options, spec
        How it is read and classified.
    wanted
        bool, shape ``[n_rows, n_columns]`` of the grid: the windows that are of interest.
    """

    name: str
    path: Path
    sha256: str
    states: Mapping[Path, str]
    options: MapOptions
    spec: BlockSpec
    wanted: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What became of a block.

    Attributes
    ----------
    index
        Of the block.
    result
        Its result, or why it can't be read.
    machine
        The machine that classified it, if it computes otherwise than `BlockEngine.model`.
    """

    index: int
    result: BlockResult | RasterError
    machine: MachineRecord | None = None


class BlockEngine(Protocol):
    """Classifies the blocks of maps."""

    @property
    def model(self) -> ModelRecord:
        """The model, and what it runs on."""

    def expect(self, works: Iterable[MapWork]) -> None:
        """Learn which maps are to be made, in their order: those of which no block is done yet."""

    def results(self, work: MapWork, blocks: Iterable[tuple[int, Block]]) -> Iterator[BlockOutcome]:
        """Classify blocks of a map, each with its index.

        Yields
        ------
        BlockOutcome
            One for each block; not in the order of `blocks`.
        """


# Makes the engine of a job when it is needed, which may compile a model.
OpenEngine = Callable[["MapJob", Bundle, Reporter], AbstractContextManager[BlockEngine]]


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Classifies blocks in this process.

    Attributes
    ----------
    classifier, model
        The model.
    """

    classifier: Classifier
    model: ModelRecord

    def expect(self, works: Iterable[MapWork]) -> None:
        """Do nothing: this process makes one map after the other."""

    def results(self, work: MapWork, blocks: Iterable[tuple[int, Block]]) -> Iterator[BlockOutcome]:
        """Classify blocks of a map; see `BlockEngine.results`."""
        with open_raster(work.path, work.options) as source:
            blocks_of_raster = BlockClassifier(
                source=source, spec=work.spec, wanted=work.wanted, runner=self.classifier.runner
            )
            for index, result in blocks_of_raster.results(blocks):
                yield BlockOutcome(index, result)


@contextmanager
def open_local_engine(job: "MapJob", bundle: Bundle, reporter: Reporter) -> Iterator[LocalEngine]:
    """Compile the model of a job in this process."""
    del reporter
    with open_classifier(job) as classifier:
        yield LocalEngine(classifier, model_record(bundle, classifier))


def open_classifier(job: "MapJob") -> Classifier:
    """Open the bundle of a job and compile a variant for a stream of images."""
    return Classifier.from_bundle(
        job.bundle,
        device=job.device,
        variant=job.variant,
        execution_precision=job.execution_precision,
        hint="throughput",
        cache=job.cache,
        properties=job.properties,
    )


def model_record(bundle: Bundle, classifier: Classifier) -> ModelRecord:
    """Return what classifies, for the record of a map."""
    runner = classifier.runner
    return ModelRecord(
        bundle_sha256=bundle.manifest_sha256(),
        variant=runner.variant,
        device=runner.device,
        device_name=runner.device_name,
        execution_precision=runner.execution_precision,
    )
