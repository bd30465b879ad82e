"""What a worker does for a block: check that it would compute what the client would, read it, and classify it."""

import contextlib
import dataclasses
import functools
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.runtime.cluster.model import WorkerModel, compile_request
from overfly.runtime.cluster.request import (
    Answer,
    ModelRequest,
    RasterRequest,
    overfly_version,
    package_versions,
    parse_model,
    parse_raster,
)
from overfly.runtime.cluster.roots import Roots
from overfly.runtime.errors import ClusterError, OverflyError, RasterError
from overfly.runtime.files.names import native_path
from overfly.runtime.mapping.blocks import open_raster
from overfly.runtime.mapping.classification import BlockResult, BlockSpec
from overfly.runtime.mapping.grid import Block
from overfly.runtime.mapping.record import MachineRecord
from overfly.runtime.raster.description import file_states, hash_raster

# Two clients may share a worker.
_MAX_MODELS = 2
_MAX_RASTERS = 1000

# Properties of OpenVINO whose values are paths: CACHE_DIR, CONFIG_FILE, WEIGHTS_PATH.
_NAMES_FILE = re.compile("DIR|FILE|PATH")

# Row, column, number of rows and number of columns of a block.
Place = tuple[int, int, int, int]


class BlockService:
    """Classifies blocks. Two threads may call `answer` at once: one of them reads while the other one infers.

    Nothing but compiled models is kept between two calls.

    Parameters
    ----------
    roots
        What may be opened.
    n_threads
        Number of CPU threads that a model computes with.
    """

    def __init__(self, roots: Roots, n_threads: int) -> None:
        self._roots = roots
        self._n_threads = n_threads
        self._preparation = threading.Lock()
        self._inference = threading.Lock()
        # An error is not kept: the next request tries again.
        self._compiled = functools.lru_cache(maxsize=_MAX_MODELS)(self._compile)
        self._checked = functools.lru_cache(maxsize=_MAX_RASTERS)(self._check_raster)

    def answer(self, version: str, model_text: str, raster_text: str, place: Place, wanted: bytes | None) -> Answer:
        """Classify a block, or say why not.

        Parameters
        ----------
        version
            Of the client's overfly. It is looked at first: another version may have other requests.
        model_text, raster_text
            A `ModelRequest` and a `RasterRequest` as text.
        place
            The block.
        wanted
            Which of its windows are of interest, as bits; None for all.
        """
        try:
            if version != overfly_version():
                raise ClusterError(
                    f"it has overfly {overfly_version()}, and the client {version}: install the same version"
                )
            with self._preparation:
                model = self._compiled(model_text)
            machine = _difference(parse_model(model_text), model)
        except (OverflyError, OSError) as error:
            return Answer(refused=str(error))
        try:
            with self._preparation:
                raster, states = self._checked(raster_text)
        except (OverflyError, OSError) as error:
            return Answer(refused=str(error), scope="raster")
        try:
            result = self._classify(raster, model, Block(*place), wanted)
        except RasterError as error:
            return Answer(unreadable=str(error))
        if not _are_unchanged(states):
            return Answer(refused=f"{raster.path} has changed here while it was mapped", scope="raster")
        return Answer(data=result.to_bytes(), machine=machine)

    def _classify(self, request: RasterRequest, model: WorkerModel, block: Block, wanted: bytes | None) -> BlockResult:
        """Read and classify a block. The raster is open no longer than this takes."""
        image = model.manifest.image
        spec = BlockSpec(
            grid=request.grid,
            n_classes=len(model.manifest.classes),
            unknown=request.options.unknown,
            size=image.size,
            reduce_first=image.reduce_first,
            cell_pixels=request.cell_pixels,
        )
        with open_raster(native_path(request.path), request.options) as source:
            images = spec.read(source, block, unpack_wanted(wanted, block))
        if not images.classified.any():
            return spec.result(images, ())
        with self._inference:
            logits = list(model.runner.stream(images.windows(), known_margin=spec.unknown))
        return spec.result(images, logits)

    def _compile(self, text: str) -> WorkerModel:
        request = parse_model(text)
        for name in request.properties:
            if self._roots.folders is not None and _NAMES_FILE.search(name.upper()):
                raise ClusterError(f"a property such as {name} can make it open other files: leave it out")
        return compile_request(request, self._roots.check(native_path(request.bundle)), self._n_threads)

    def _check_raster(self, text: str) -> tuple[RasterRequest, dict[Path, str]]:
        """Check that the worker may open a raster, and that it is the client's; return the states of its files."""
        request = parse_raster(text)
        path = native_path(request.path)
        self._roots.check_raster(path)
        expected = {self._roots.check(native_path(file.path)): file.state for file in request.files}
        with open_raster(path, request.options) as source:
            states = file_states(source.files)
            real = {file: self._roots.check(file) for file in source.files}
            found = {real[file]: state for file, state in states.items()}
            # A shared disk shows the same times. Those of a copy differ as a rule, and its content decides.
            is_same = found == expected or hash_raster(source) == request.sha256
        if not is_same:
            raise RasterError(f"{path} is another file here: copy that of the client, or mount the same disk")
        return request, states


def _are_unchanged(states: Mapping[Path, str]) -> bool:
    """Whether files are still those that were checked."""
    with contextlib.suppress(OSError):
        return file_states(states) == states
    return False


def _difference(request: ModelRequest, model: WorkerModel) -> dict[str, Any] | None:
    """Return what computes otherwise here than at the client as a `MachineRecord`; None if nothing does.

    Raises
    ------
    ClusterError
        If it must not.
    """
    versions = {name: found for name, found in package_versions().items() if found != request.packages.get(name)}
    is_same = model.golden_sha256 == request.golden_sha256
    if is_same and not versions:
        return None
    runner = model.runner
    if not request.allow_mixed:
        if is_same:
            found, expected = (
                " and ".join(f"{name} {each.get(name)}" for name in versions) for each in (versions, request.packages)
            )
            raise ClusterError(f"it has {found}, and the client {expected}: install the same, or add --allow-mixed")
        raise ClusterError(
            f"it computes otherwise: {runner.device_name} in {runner.execution_precision} gives the golden images "
            f"logits with the SHA-256 {model.golden_sha256[:12]}..., expected {request.golden_sha256[:12]}...; use "
            "machines of one kind, or add --allow-mixed"
        )
    return dataclasses.asdict(
        MachineRecord(
            device_name=runner.device_name,
            execution_precision=runner.execution_precision,
            golden_sha256=model.golden_sha256,
            versions=versions,
        )
    )


def pack_wanted(wanted: npt.NDArray[np.bool_]) -> bytes | None:
    """Return which windows of a block are of interest as bits; None if all are."""
    return None if wanted.all() else np.packbits(wanted).tobytes()


def unpack_wanted(data: bytes | None, block: Block) -> npt.NDArray[np.bool_]:
    """Return what `pack_wanted` was given, shape ``[n_rows, n_columns]`` of the block."""
    shape = block.n_rows, block.n_columns
    if data is None:
        return np.ones(shape, np.bool_)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=shape[0] * shape[1])
    return bits.astype(np.bool_).reshape(shape)
