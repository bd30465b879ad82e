"""The client's side of a cluster: blocks go out, answers come back, and what is lost goes out again."""

import asyncio
import contextlib
import itertools
import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker

from overfly.runtime.cluster.local_workers import LocalWorkers
from overfly.runtime.cluster.members import INTERVAL_S, RESUME, Members, explain_lost_scheduler
from overfly.runtime.cluster.request import (
    Answer,
    FileRequest,
    ModelRequest,
    RasterRequest,
    overfly_version,
    parse_answer,
)
from overfly.runtime.cluster.service import pack_wanted
from overfly.runtime.cluster.tasks import classify_block
from overfly.runtime.errors import ClusterError, RasterError, first_line
from overfly.runtime.files.names import utf8_text
from overfly.runtime.mapping.blocks import open_raster
from overfly.runtime.mapping.engine import BlockOutcome, MapWork
from overfly.runtime.mapping.grid import Block
from overfly.runtime.mapping.record import ModelRecord
from overfly.runtime.reporter import Reporter

# How many answers to fetch at once, which take 8 MB, and how long to wait for them, in seconds.
_BATCH = 256
_MAX_GATHER_S = 10.0


@dataclass(slots=True)
class _Item:
    """A block that is to be classified.

    Attributes
    ----------
    work, index, block
        The block.
    future
        Of Dask, while it is in progress.
    workers
        The only ones that may do it; None for all.
    """

    work: MapWork
    index: int
    block: Block
    future: Any = None
    workers: frozenset[str] | None = None


class ClusterEngine:
    """Lets workers classify blocks; see `overfly.runtime.mapping.engine.BlockEngine`.

    While the last blocks of a map are in progress, and while its files are written, the workers do those of the next
    maps.

    Parameters
    ----------
    client
        Dask's connection to the scheduler.
    model
        What classifies; also an attribute.
    request
        The same for the workers.
    timeout_s
        How long a worker may take for a block, and how long to wait for a worker, in seconds.
    reporter
        Receives notes.
    local
        The workers, if they are on this machine.
    """

    def __init__(
        self,
        client: Client,
        *,
        model: ModelRecord,
        request: ModelRequest,
        timeout_s: float,
        reporter: Reporter,
        local: LocalWorkers | None = None,
    ) -> None:
        self.model = model
        self._client = client
        self._request = request.to_text()
        self._members = Members(client, timeout_s, reporter, local)
        self._expected: Iterator[MapWork] = iter(())
        self._in_progress: dict[str, _Item] = {}
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # By the names of the maps: those that were begun, and what waits and what is finished of those that are not
        # complete.
        self._begun: set[str] = set()
        self._waiting: dict[str, deque[_Item]] = {}
        self._ready: dict[str, list[BlockOutcome]] = {}
        self._rasters: dict[str, str] = {}
        self._keys = (f"overfly-{os.urandom(8).hex()}-{number}" for number in itertools.count())

    def expect(self, works: Iterable[MapWork]) -> None:
        """Learn which maps are to be made, in their order: those of which no block is done yet."""
        self._expected = iter(works)

    def results(self, work: MapWork, blocks: Iterable[tuple[int, Block]]) -> Iterator[BlockOutcome]:
        """Classify blocks of a map.

        Raises
        ------
        ClusterError
            If the scheduler is lost, no worker can do the work, or a block ends every worker that tries it.
        RefusedRasterError
            If no worker can do this map, while one may do others.
        """
        missing = dict(blocks)
        if work.name not in self._ready:
            self._begin(work, missing.items())
        try:
            while missing:
                for outcome in self._take_ready(work.name):
                    del missing[outcome.index]
                    yield outcome
                if missing:
                    self._advance(work)
        finally:
            for of_each_map in (self._ready, self._rasters, self._waiting):
                of_each_map.pop(work.name)
            self._drop([key for key, item in self._in_progress.items() if item.work.name == work.name])

    def close(self) -> None:
        """Drop what is in progress."""
        self._drop(list(self._in_progress))

    def _drop(self, keys: list[str]) -> None:
        """Give up blocks in progress for good."""
        futures = [self._in_progress.pop(key).future for key in keys]
        if futures:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                self._client.cancel(futures, force=True)

    def _begin(self, work: MapWork, blocks: Iterable[tuple[int, Block]]) -> None:
        """Line up the blocks of a map."""
        self._begun.add(work.name)
        self._ready[work.name] = []
        self._rasters[work.name] = raster_request(work)
        self._waiting[work.name] = deque(_Item(work, index, block) for index, block in blocks)

    def _begin_next(self) -> bool:
        """Line up the blocks of the next map that is expected; return whether there is one."""
        work = next((each for each in self._expected if each.name not in self._begun), None)
        if work is not None:
            self._begin(work, enumerate(work.spec.grid.blocks()))
        return work is not None

    def _take_ready(self, name: str) -> list[BlockOutcome]:
        """Return what is finished of a map."""
        ready, self._ready[name] = self._ready[name], []
        return ready

    def _advance(self, current: MapWork) -> None:
        """Send out blocks, and wait a moment for answers."""
        self._members.look_after(self._in_progress, current.name, current.path)
        for item in self._lost_items():
            self._again(item)
        self._send(current)
        futures = []
        with contextlib.suppress(queue.Empty):
            futures.append(self._finished.get(timeout=INTERVAL_S))
            while len(futures) < _BATCH:
                futures.append(self._finished.get_nowait())
        # Not those that were given up meanwhile.
        futures = [future for future in futures if future.key in self._in_progress]
        answers = self._gather(futures)
        for future in futures:
            if future.key not in answers and future.status == "finished":
                self._finished.put(future)  # its data did not come in time: once more
                continue
            item = self._in_progress.pop(future.key)
            item.future = None
            if item.work.name in self._ready:
                self._receive(item, future, answers.get(future.key))

    def _lost_items(self) -> list[_Item]:
        """Return the blocks in progress that have to go to another worker."""
        hanging = self._members.hanging()
        return [
            item
            for key, item in self._in_progress.items()
            if key in hanging or (item.workers is not None and not item.workers & self._members.alive)
        ]

    def _again(self, item: _Item) -> None:
        """Give up a block in progress and line it up again."""
        self._in_progress.pop(item.future.key)
        with explain_lost_scheduler():
            item.future.cancel(force=True)
        item.future = None
        self._waiting[item.work.name].appendleft(item)

    def _send(self, current: MapWork) -> None:
        """Send out enough blocks to keep every worker busy; those of later maps do not pile up here."""
        limit = self._members.capacity
        n_ahead = sum(len(ready) for name, ready in self._ready.items() if name != current.name)
        while len(self._in_progress) < limit:
            others = [name for name in self._waiting if name != current.name] if n_ahead < limit else []
            if (item := self._next_item([current.name, *others])) is not None:
                self._submit(item)
            # Nor do maps pile up that no worker can do.
            elif n_ahead >= limit or len(others) >= limit or not self._begin_next():
                return

    def _next_item(self, names: Iterable[str]) -> _Item | None:
        """Take the first block that may go out from those that wait for some maps; None if there is none."""
        for name in names:
            if (waiting := self._waiting[name]) and (workers := self._members.allowed(name)) != frozenset():
                item = waiting.popleft()
                item.workers = workers
                return item
        return None

    def _submit(self, item: _Item) -> None:
        """Send out a block."""
        block, key = item.block, next(self._keys)
        place = block.row, block.column, block.n_rows, block.n_columns
        wanted = pack_wanted(item.work.wanted[block.cells])
        arguments = overfly_version(), self._request, self._rasters[item.work.name], place, wanted
        where = {} if item.workers is None else {"workers": sorted(item.workers)}
        with explain_lost_scheduler():
            item.future = self._client.submit(classify_block, *arguments, key=key, **where)
        self._in_progress[key] = item
        item.future.add_done_callback(self._finished.put)

    def _gather(self, futures: list[Any]) -> dict[str, Answer]:
        """Return the answers of finished futures by their keys, those that come in time."""
        finished = [future for future in futures if future.status == "finished"]
        if not finished:
            return {}
        with explain_lost_scheduler():
            try:
                # If the worker that holds an answer is lost, Dask does the block again, and waits for its end. Without
                # workers, that would be for good.
                answers = self._client.sync(
                    self._client.gather, finished, errors="skip", callback_timeout=_MAX_GATHER_S
                )
            except (TimeoutError, asyncio.TimeoutError):
                return {}
        if len(answers) < len(finished):
            return {}
        return {future.key: parse_answer(answer) for future, answer in zip(finished, answers, strict=True)}

    def _receive(self, item: _Item, future: Any, answer: Answer | None) -> None:  # noqa: ANN401 - Dask has no stubs
        """Take what came back for a block."""
        if answer is None:
            self._explain_failure(item, future)
            self._waiting[item.work.name].appendleft(item)
            return
        self._members.learn(answer)
        if answer.data is not None:
            result = item.work.spec.parse(answer.data, item.block)
            self._ready[item.work.name].append(BlockOutcome(item.index, result, answer.machine_record()))
        elif answer.unreadable is not None and (error := _read_here(item)) is not None:
            self._ready[item.work.name].append(BlockOutcome(item.index, error))
        else:
            reason = answer.refused or f"it can't read what the client can: {answer.unreadable}"
            self._members.refuse(answer, reason, item.work.name)
            self._waiting[item.work.name].appendleft(item)

    def _explain_failure(self, item: _Item, future: Any) -> None:  # noqa: ANN401 - Dask has no stubs
        """Raise ClusterError if a block can't be classified; a worker that was lost meanwhile is no failure."""
        if future.status in {"cancelled", "lost"}:
            self._members.check_scheduler()
        if future.status != "error":
            return
        error = future.exception()
        where = f"the block at row {item.block.row}, column {item.block.column} of {item.work.path}"
        if isinstance(error, KilledWorker):
            raise ClusterError(
                f"{where} ended each worker that tried it ({first_line(error)}): look at what they wrote, and at their "
                f"memory; {RESUME}"
            )
        raise ClusterError(f"a worker failed with {where} ({type(error).__name__}: {first_line(error)}); {RESUME}")


def raster_request(work: MapWork) -> str:
    """Return what workers have to know of a raster."""
    return RasterRequest(
        path=utf8_text(work.path.absolute()),
        sha256=work.sha256,
        files=tuple(FileRequest(path=utf8_text(file.absolute()), state=state) for file, state in work.states.items()),
        options=work.options,
        grid=work.spec.grid,
        cell_pixels=work.spec.cell_pixels,
    ).to_text()


def _read_here(item: _Item) -> RasterError | None:
    """Return why a block can't be read here either; None if it can."""
    try:
        with open_raster(item.work.path, item.work.options) as source:
            item.work.spec.read(source, item.block, item.work.wanted[item.block.cells])
    except RasterError as error:
        return error
    return None
