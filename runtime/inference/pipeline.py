"""Start work ahead of time and return the results in order, with a limited number of items in progress."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Pending(Protocol[T_co]):
    """Work in progress, such as a `concurrent.futures.Future`."""

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
