"""Start work ahead of time, in threads or on a device, and return the results in order."""

import _thread
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Item = TypeVar("Item")
P = ParamSpec("P")

# The longest that a pool waits for one of its threads, in seconds. A thread that an interrupt left without its end
# costs this time once. One that really decodes for longer goes on alone, and nobody reads its result.
_MAX_WAIT_S = 30.0


class Pending(Protocol[T_co]):
    """Work in progress."""

    def done(self) -> bool:
        """Return whether `result` returns without waiting."""

    def result(self) -> T_co:
        """Wait for the result and return it, or raise the error of the work."""


@dataclass(frozen=True, slots=True)
class Completed(Generic[T]):
    """A result that needs no work but must keep its place in the order."""

    answer: T

    def done(self) -> bool:
        """Return True."""
        return True

    def result(self) -> T:
        """Return the answer."""
        return self.answer


@dataclass(slots=True)
class _Call(Generic[T]):
    """A call that a thread makes, and its answer or its error. The queue wakes whoever waits for it."""

    function: Callable[[], T]
    outcome: Completed[T] | BaseException | None = None
    made: "queue.SimpleQueue[None]" = field(default_factory=queue.SimpleQueue)

    def make(self) -> None:
        """Make the call."""
        try:
            self.outcome = Completed(self.function())
        except BaseException as error:  # noqa: BLE001 - result() raises it
            self.outcome = error
        self.made.put(None)

    def done(self) -> bool:
        """Return whether the call was made."""
        return self.outcome is not None

    def result(self) -> T:
        """Wait for the answer and return it, or raise the error."""
        while (outcome := self.outcome) is None:
            self.made.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome.answer


class ThreadPool(AbstractContextManager["ThreadPool"]):
    """Threads that make calls, for a program that Ctrl-C may interrupt at any moment.

    After a Ctrl-C, `concurrent.futures.ThreadPoolExecutor` may wait for its threads without end: if KeyboardInterrupt
    is raised when `threading.Condition` has just taken a lock, nothing releases it (the window that cpython#74174
    closed for plain locks and cpython#148874 reopened). Here threads share nothing but queues written in C.

    At the end of the block, calls that have not begun are dropped.

    Parameters
    ----------
    n_threads
        Number of threads. Without any, `submit` makes the call itself.

    Attributes
    ----------
    depth
        Number of calls to have in progress: two for each thread, so that none waits for the next call.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self.depth = max(1, 2 * n_threads)
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __enter__(self) -> "ThreadPool":  # noqa: PYI034 - Python 3.10 has no Self
        for _ in range(self._n_threads):
            # threading.Thread waits for a threading.Event when it starts, which has the fault above. And a program ends
            # without waiting for these threads, even if an interrupt left one of them without an end.
            _thread.start_new_thread(self._make_calls, ())
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(queue.Empty):
            while True:
                self._calls.get_nowait()
        for _ in range(self._n_threads):
            self._calls.put(None)
        with suppress(queue.Empty):
            for _ in range(self._n_threads):
                self._ended.get(timeout=_MAX_WAIT_S)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Pending[T]:
        """Let a thread call the function."""
        call = _Call(partial(function, *args, **kwargs))
        if self._n_threads:
            self._calls.put(call)
        else:
            call.make()
        return call

    def map(self, function: Callable[[Item], T], items: Iterable[Item]) -> Iterator[T]:
        """Let the threads call the function for each item, and yield the results in order; see `ordered_results`."""
        return ordered_results((self.submit(function, item) for item in items), self.depth)

    def _make_calls(self) -> None:
        """Make calls until the end of the block."""
        while (call := self._calls.get()) is not None:
            call.make()
        self._ended.put(None)


def ordered_results(started: Iterable[Pending[T]], limit: int) -> Iterator[T]:
    """Yield the results in the order in which the work was started.

    Parameters
    ----------
    started
        Starts the work for an item when the item is read. It is read only while fewer than `limit` are in progress.
    limit
        Number of items that may be in progress at once, at least 1.

    Yields
    ------
    object
        Each result. A finished one is yielded when the next item is read, or at the end.
    """
    window: deque[Pending[T]] = deque()
    for item in started:
        window.append(item)
        while window and (len(window) >= limit or window[0].done()):
            yield window.popleft().result()
    while window:
        yield window.popleft().result()
