"""The workers of a cluster as the client sees them: which are there, which can't do the work, and which hang."""

import asyncio
import math
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from overfly.runtime.cluster.local_workers import LocalWorkers
from overfly.runtime.cluster.request import Answer
from overfly.runtime.errors import ClusterError, OverflyError, RefusedRasterError
from overfly.runtime.reporter import Reporter

RESUME = "the finished blocks are safe: repeat the command with --resume"

# How often to look after the workers, in seconds.
INTERVAL_S = 1.0
# Blocks in progress for each worker: it does two at once, and two more wait for it.
_BLOCKS_PER_WORKER = 4
_MIN_BLOCKS = 8
# How long to wait for others if all workers that are there are left out, and before a note, in seconds.
_PATIENCE_S = 30.0
_QUIET_S = 5.0
# How many different reasons, and how many workers for each, are in a sentence.
_MAX_NAMED = 3


class Members:
    """The workers that the scheduler has.

    Parameters
    ----------
    client
        Dask's connection to the scheduler.
    timeout_s
        How long a worker may take for a block, and how long to wait for a worker, in seconds.
    reporter
        Receives a note for each worker that is left out, and if there is none.
    local
        The workers, if they are on this machine.

    Attributes
    ----------
    alive : frozenset of str
        Addresses of the workers.
    """

    def __init__(self, client: Client, timeout_s: float, reporter: Reporter, local: LocalWorkers | None) -> None:
        self.alive: frozenset[str] = frozenset()
        self._client = client
        self._timeout_s = timeout_s
        self._reporter = reporter
        self._local = local
        self._names: dict[str, str] = {}
        # Why a worker is left out, by its address and the name of the map; None for all maps.
        self._left_out: dict[tuple[str, str | None], str] = {}
        # Which worker has a block since when, by the key of the block.
        self._since: dict[str, tuple[str, float]] = {}
        self._hanging: set[str] = set()
        self._last_look = -math.inf
        # For how long no worker could do the work, and no worker came or went, in seconds.
        self._without_s = 0.0
        self._steady_s = 0.0
        self._has_noted = False

    @property
    def capacity(self) -> int:
        """The number of blocks to have in progress."""
        return max(_MIN_BLOCKS, _BLOCKS_PER_WORKER * len(self.alive))

    def allowed(self, name: str) -> frozenset[str] | None:
        """Return the workers that may do a map; None if none is left out."""
        refused = {address for address, where in self._left_out if where in {None, name}}
        return self.alive - refused if refused & self.alive else None

    def learn(self, answer: Answer) -> None:
        """Remember the name of a worker."""
        self._names[answer.address] = answer.worker

    def refuse(self, answer: Answer, reason: str, name: str) -> None:
        """Leave out a worker that can't do a map, or any, and say so once."""
        self._leave_out(answer.address, None if answer.scope == "model" and answer.refused else name, reason)

    def hanging(self) -> set[str]:
        """Return the keys of the blocks whose workers hang; each is returned once."""
        hanging, self._hanging = self._hanging, set()
        return hanging

    def look_after(self, keys: Container[str], name: str, path: Path) -> None:
        """Once a second, see which workers are there and what they do.

        Parameters
        ----------
        keys
            Of the blocks in progress.
        name, path
            The map whose blocks are waited for, and its raster.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or no worker came in time that can do any map.
        RefusedRasterError
            If no worker came in time that can do this map, while one may do others.
        """
        now = time.monotonic()
        # While the files of a map are written, nobody looks.
        step = min(now - self._last_look, 2 * INTERVAL_S)
        if step < INTERVAL_S:
            return
        self._last_look = now
        processing = self.check_scheduler()
        self._steady_s = self._steady_s + step if self.alive == processing.keys() else 0.0
        self.alive = frozenset(processing)
        seen = {key: address for address, found in processing.items() for key in found if key in keys}
        before = self._since
        self._since = {
            key: before[key] if before.get(key, ("",))[0] == address else (address, now)
            for key, address in seen.items()
        }
        for key, (address, since) in self._since.items():
            if now > since + self._timeout_s:
                self._hanging.add(key)
                self._leave_out(address, None, f"it has not finished a block within {self._timeout_s:g} s")
        self._check_useful(name, path, step)

    def check_scheduler(self) -> dict[str, tuple[str, ...]]:
        """Return the keys of the tasks of each worker, by its address; raise ClusterError if the scheduler is lost."""
        with explain_lost_scheduler():
            return dict(self._client.processing())

    def _leave_out(self, address: str, name: str | None, reason: str) -> None:
        """Leave out a worker for a map or, if `name` is None, for all."""
        if (address, name) not in self._left_out:
            self._left_out[address, name] = reason
            worker = self._names.get(address)
            self._reporter.note(f"worker {f'{worker} at ' if worker else ''}{address} is left out: {reason}")

    def _check_useful(self, name: str, path: Path, step: float) -> None:
        """Raise ClusterError if there has been no worker for too long that can do a map."""
        reasons = {address: why for (address, where), why in self._left_out.items() if where in {None, name}}
        if self.alive - reasons.keys():
            self._without_s, self._has_noted = 0.0, False
            return
        self._without_s += step
        for_others = {address for address in self.alive if (address, None) not in self._left_out}
        others_may_come = self._local is None or self._local.n_alive > len(self.alive)
        # If all that are there are left out, others may just be starting. For one raster of many, this time is not
        # waited again if all of them have been there for long.
        patience = min(self._timeout_s, _PATIENCE_S) if self.alive else self._timeout_s
        waited = max(self._without_s, self._steady_s) if for_others else self._without_s
        if not others_may_come or waited > patience:
            if for_others:
                found = self._list_reasons({address: reasons[address] for address in self.alive})
                raise RefusedRasterError(f"no worker can do the blocks of {path}: {found}; {RESUME}")
            if self.alive:
                raise ClusterError(
                    f"no worker can do the work; the first one: {next(iter(reasons.values()))}; {RESUME}"
                )
            raise ClusterError(f"there is no worker any more: look at what they wrote, and start others; {RESUME}")
        if not self._has_noted and self._local is None and self._without_s > _QUIET_S:
            self._has_noted = True
            self._reporter.note(f"there is no worker that can do the work: waiting for one, {patience:g} s at most")

    def _list_reasons(self, reasons: Mapping[str, str]) -> str:
        """Return why workers are left out, each reason once with the workers that it holds for."""
        workers: dict[str, list[str]] = {}
        for address, reason in sorted(reasons.items()):
            workers.setdefault(reason, []).append(self._names.get(address) or address)
        texts = [f"{_list_some(names, ', ')}: {reason}" for reason, names in workers.items()]
        return _list_some(texts, "; ")


def _list_some(texts: Sequence[str], separator: str) -> str:
    """Return the first of some texts, and how many more there are."""
    more = [f"{len(texts) - _MAX_NAMED} more"] if len(texts) > _MAX_NAMED else []
    return separator.join([*texts[:_MAX_NAMED], *more])


@contextmanager
def explain_lost_scheduler() -> Iterator[None]:
    """Turn Dask's errors of communication inside the block into one sentence.

    Raises
    ------
    ClusterError
        If the connection to the scheduler is lost.
    """
    try:
        yield
    except (OSError, TimeoutError, asyncio.TimeoutError, CancelledError, RuntimeError) as error:
        if isinstance(error, OverflyError):
            raise
        raise ClusterError(
            f"the connection to the scheduler is lost ({type(error).__name__}): start it and workers again; {RESUME}"
        ) from error
