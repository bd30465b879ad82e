"""The client's view of the workers: who hangs, who is left out, and when to give up."""

from pathlib import Path

import pytest

from overfly.runtime.cluster import members as module
from overfly.runtime.cluster.members import Members
from overfly.runtime.cluster.request import Answer
from overfly.runtime.errors import ClusterError, RefusedRasterError
from overfly.runtime.reporter import Reporter

TIMEOUT_S = 60.0


class _Cluster(Reporter):
    """Stands for the scheduler, a clock, and whoever receives notes."""

    def __init__(self):
        self.now, self.tasks, self.notes = 1000.0, {}, []

    def monotonic(self):
        return self.now

    def processing(self):
        if self.tasks is None:
            raise OSError("connection refused")
        return self.tasks

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def world(monkeypatch):
    """The scheduler and the clock."""
    world = _Cluster()
    monkeypatch.setattr(module, "time", world)
    return world


@pytest.fixture
def look(world):
    """A function that looks after the workers some seconds later, and returns the `Members`."""
    members = Members(world, TIMEOUT_S, world, None)

    def call(seconds, **tasks):
        world.now += seconds
        world.tasks = tasks
        members.look_after({"k1", "k2"}, "map", Path("field.tif"))
        return members

    return call


def test_the_time_of_a_block_begins_when_its_worker_gets_it(look, world):
    look(0, a=("k1",), b=())
    look(50, a=("k1",), b=("k2",))
    members = look(11, a=("k1",), b=("k2", "of another client"))
    assert members.hanging() == {"k1"}
    assert members.hanging() == set()
    assert members.allowed("map") == {"b"}
    assert world.notes == ["worker a is left out: it has not finished a block within 60 s"]


def test_a_block_that_moved_to_another_worker_has_time_again(look):
    look(0, a=("k1",), b=())
    look(50, a=(), b=("k1",))
    assert look(50, a=(), b=("k1",)).hanging() == set()


def test_a_refusal_counts_for_the_map_or_for_all(look):
    members = look(0, a=(), b=(), c=())
    assert members.allowed("map") is None
    members.refuse(Answer(address="a", worker="one", refused="no", scope="raster"), "no", "map")
    members.refuse(Answer(address="b", worker="two", refused="no"), "no", "map")
    assert members.allowed("map") == {"c"}
    assert members.allowed("another map") == {"a", "c"}
    assert look(2, c=()).allowed("map") is None


def test_it_waits_for_a_worker_for_a_while(look, world):
    look(0, a=())
    for _ in range(25):  # 50 s
        look(2)
    assert len(world.notes) == 1
    look(2, a=())
    look(500)  # the client was busy meanwhile
    for _ in range(29):
        look(2)
    with pytest.raises(ClusterError, match="no worker"):
        look(2)


@pytest.fixture
def refuse(look):
    """A function that lets workers refuse a map, or all of them."""

    def call(*addresses, scope="raster", reason="no"):
        members = look(0, **dict.fromkeys(addresses, ()))
        for address in addresses:
            answer = Answer(address=address, worker=f"host-{address}", refused=reason, scope=scope)
            members.learn(answer)
            members.refuse(answer, reason, "map")

    return call


def test_a_raster_that_all_refuse_ends_its_map_with_the_reason_of_each(look, refuse):
    workers = dict.fromkeys("abcde", ())
    look(2, **workers)
    refuse("a", "c", "d", "e")
    refuse("b", scope="model", reason="never")
    for _ in range(15):  # 30 s
        look(2, **workers)
    with pytest.raises(RefusedRasterError, match=r"field\.tif: host-a, host-c, host-d, 1 more: no; host-b: never; "):
        look(2, **workers)


def test_workers_that_have_been_there_for_long_are_not_waited_for_at_each_raster(look, refuse):
    for _ in range(20):
        look(2, a=(), b=())
    refuse("a", "b")
    with pytest.raises(RefusedRasterError):
        look(2, a=(), b=())
    look(2, a=())  # others may be about to come


def test_if_nobody_can_do_any_map_the_work_ends(look, refuse):
    look(2, a=(), b=())
    refuse("a", "b", scope="model")
    for _ in range(15):  # 30 s
        look(2, a=(), b=())
    with pytest.raises(ClusterError, match="no worker can do the work; the first one: no") as caught:
        look(2, a=(), b=())
    assert not isinstance(caught.value, RefusedRasterError)


def test_a_lost_scheduler_is_a_sentence(look, world):
    members = look(0, a=())
    world.tasks = None
    with pytest.raises(ClusterError, match=r"connection to the scheduler is lost.*--resume"):
        members.check_scheduler()
