"""Large images are decoded only as many at a time as fit into the memory."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from overfly.runtime.images.memory import BYTES_PER_PIXEL, MemoryBudget

LARGE = 100_000_000 * BYTES_PER_PIXEL


class Gauge:
    """Counts how many threads are inside at once; each leaves when as many as expected have come, or none comes."""

    def __init__(self, n_expected):
        self._all_here = threading.Barrier(n_expected)
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def visit(self, budget, n_bytes):
        with budget.reserve(n_bytes):
            with self._lock:
                self._inside += 1
                self.most = max(self.most, self._inside)
            try:
                self._all_here.wait(timeout=60)
            finally:
                with self._lock:
                    self._inside -= 1


def most_at_once(budget, n_bytes, *, n_expected):
    """Return how many of eight threads held their part of a budget at the same time."""
    gauge = Gauge(n_expected)
    with ThreadPoolExecutor(8) as pool:
        for visit in [pool.submit(gauge.visit, budget, n_bytes) for _ in range(8)]:
            visit.result()
    return gauge.most


def test_as_many_are_inside_as_fit():
    assert most_at_once(MemoryBudget(4 * LARGE), LARGE, n_expected=4) == 4


def test_one_that_is_larger_than_the_memory_is_alone():
    assert most_at_once(MemoryBudget(LARGE // 2), LARGE, n_expected=1) == 1
    assert most_at_once(MemoryBudget(0), LARGE, n_expected=1) == 1


def test_small_ones_do_not_wait():
    assert most_at_once(MemoryBudget(0), 256 * 256 * BYTES_PER_PIXEL, n_expected=8) == 8


def test_what_failed_gives_its_memory_back():
    budget = MemoryBudget(LARGE)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), budget.reserve(LARGE):
            1 / 0  # noqa: B018 - it raises
    assert most_at_once(budget, LARGE, n_expected=1) == 1


def test_an_interrupt_while_it_is_taken_gives_the_memory_back(monkeypatch):
    class Interrupted(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            raise KeyboardInterrupt

    budget = MemoryBudget(LARGE)
    monkeypatch.setattr(budget, "_taken", Interrupted())
    with pytest.raises(KeyboardInterrupt), budget.reserve(LARGE):
        pass
    monkeypatch.setattr(budget, "_taken", dict(budget._taken))
    assert most_at_once(budget, LARGE, n_expected=1) == 1
