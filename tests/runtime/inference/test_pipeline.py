"""Answers come in the order in which their work was started, with no more of it under way than allowed."""

import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overfly.runtime.inference import pipeline
from overfly.runtime.inference.pipeline import Completed, ThreadPool, ordered_results


class Work:
    """Work on a number that is done after it was looked at `looks` times; counts what is under way."""

    under_way = 0

    def __init__(self, number, looks=0):
        self.number = number
        self.looks = looks
        Work.under_way += 1

    def done(self):
        self.looks -= 1
        return self.looks < 0

    def result(self):
        Work.under_way -= 1
        return self.number


@pytest.fixture(autouse=True)
def _nothing_under_way():
    Work.under_way = 0


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 7))
def test_any_work_is_answered_in_order_and_never_more_is_under_way(looks, limit):
    Work.under_way = 0

    def source():
        for number, n_looks in enumerate(looks):
            assert Work.under_way < limit, "asked for more without room"
            yield Work(number, n_looks)

    assert list(ordered_results(source(), limit)) == list(range(len(looks)))
    assert Work.under_way == 0


def test_known_answers_keep_their_place_among_others():
    with ThreadPool(4) as pool:
        items = (Completed(i) if i % 3 else pool.submit(int, i) for i in range(200))
        assert list(ordered_results(items, 5)) == list(range(200))


def test_what_is_known_is_done_and_may_be_anything():
    known = Completed(None)
    assert known.done()
    assert known.result() is None
    assert list(ordered_results([known], 1)) == [None]


def test_nothing_in_nothing_out():
    assert list(ordered_results([], 3)) == []


def test_an_answer_that_is_there_is_given_before_the_source_is_asked_again():
    asked = []

    def source():
        for i in range(4):
            asked.append(i)
            yield Completed(i)

    for answered, _ in enumerate(ordered_results(source(), 10)):
        assert asked == list(range(answered + 1))


def test_slow_work_fills_the_room_before_it_is_waited_for():
    asked = 0

    def source():
        nonlocal asked
        for i in range(10):
            asked += 1
            yield Work(i, looks=1000)

    answers = ordered_results(source(), 4)
    assert [(next(answers), asked) for _ in range(10)] == [(i, min(i + 4, 10)) for i in range(10)]


def test_with_room_for_one_each_is_answered_before_the_next_is_asked_for():
    events = []

    def source():
        for i in range(3):
            events.append(f"ask {i}")
            yield Work(i, looks=1000)

    for answer in ordered_results(source(), 1):
        events.append(f"answer {answer}")  # noqa: PERF401 - the order among the source's events is what counts
    assert events == ["ask 0", "answer 0", "ask 1", "answer 1", "ask 2", "answer 2"]


def test_an_error_is_raised_in_its_place_after_the_answers_before_it():
    with ThreadPool(2) as pool:
        answers = ordered_results([pool.submit(int, text) for text in ("0", "1", "two", "3")], 10)
        assert [next(answers), next(answers)] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            next(answers)
        assert list(answers) == []


def test_what_the_source_raises_comes_through():
    def source():
        yield Completed(0)
        raise KeyError("camera unplugged")

    answers = ordered_results(source(), 2)
    assert next(answers) == 0
    with pytest.raises(KeyError, match="camera unplugged"):
        next(answers)


def test_an_abandoned_pipeline_asks_for_nothing_more():
    asked = 0

    def source():
        nonlocal asked
        while True:
            asked += 1
            yield Completed(asked)

    answers = ordered_results(source(), 3)
    assert next(answers) == 1
    answers.close()
    assert asked == 1


def test_a_pool_maps_in_order_and_reads_no_item_before_there_is_a_thread_for_it():
    read, answers = [], []
    with ThreadPool(2) as pool:
        assert pool.depth == 4
        for answer in pool.map(str, (read.append(i) or i for i in range(20))):
            answers.append(answer)
            assert len(read) <= len(answers) + 4
    assert answers == [str(i) for i in range(20)]


def test_without_threads_the_caller_makes_each_call():
    with ThreadPool(0) as pool:
        assert pool.submit(threading.get_ident).result() == threading.get_ident()
        failed = pool.submit(int, "x")
        assert list(pool.map(str, range(3))) == ["0", "1", "2"]
    assert failed.done()
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result()


def test_calls_that_have_not_begun_are_dropped_at_the_end_of_the_block():
    begun, go_on, called = threading.Event(), threading.Event(), []

    def wait():
        begun.set()
        go_on.wait()
        called.append("first")

    with ThreadPool(1) as pool:
        first = pool.submit(wait)
        second = pool.submit(called.append, "second")
        begun.wait()
        threading.Timer(0.05, go_on.set).start()
    assert called == ["first"]
    assert first.done()
    assert not second.done()


def test_the_end_of_the_block_does_not_wait_for_ever_for_a_thread_that_is_stuck(monkeypatch):
    monkeypatch.setattr(pipeline, "_MAX_WAIT_S", 0.01)
    release = threading.Event()
    with ThreadPool(2) as pool:
        stuck = pool.submit(release.wait)
    assert not stuck.done()
    release.set()


# Interrupts a pipeline at any place, as Ctrl-C would; with a ThreadPoolExecutor it stops for ever after a few dozen.
# Python prints and drops an interrupt that comes while it destroys an object, so a few pipelines reach their end.
INTERRUPTED = """
import random, signal
from overfly.runtime.inference.pipeline import ThreadPool

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
n_interrupted = 0
for seed in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(0.0005, 0.01))
        with ThreadPool(2) as pool:
            for _ in pool.map(abs, range(10_000)):
                pass
    except KeyboardInterrupt:
        n_interrupted += 1
print(n_interrupted)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a timer that interrupts, which only POSIX has")
def test_an_interrupt_at_any_place_ends_the_block():
    child = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True, timeout=300)
    assert int(child.stdout) > 250
