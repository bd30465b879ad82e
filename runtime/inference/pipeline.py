"""Start work ahead of time and return the results in order, with a limited number of items in progress."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Pending(Protocol[T_co]):
    """Something under way; a `concurrent.futures.Future` is one."""

    def done(self) -> bool:
        """Return whether `result` would answer at once."""

    def result(self) -> T_co:
        """Wait for the answer and return it, or raise what went wrong."""


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
    """Yield the answers in the order in which the work was started.

    Parameters
    ----------
    started
        Asking it for the next item starts the work. It is asked no sooner than there is room.
    limit
        How many items may be under way at once, at least 1.

    Yields
    ------
    object
        Each answer as soon as it and all before it are there; when the source is slow, that is when
        the source gives its next item.
    """
    window: deque[Pending[T]] = deque()
    for item in started:
        window.append(item)
        while window and (len(window) >= limit or window[0].done()):
            yield window.popleft().result()
    while window:
        yield window.popleft().result()
