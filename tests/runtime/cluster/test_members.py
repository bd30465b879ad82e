"""The client's view of the workers: who hangs, who is left out, and when to give up."""

import pytest

from overfly.runtime.cluster import members as module
from overfly.runtime.cluster.members import Members
from overfly.runtime.cluster.request import Answer
from overfly.runtime.errors import ClusterError
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
        members.look_after({"k1", "k2"}, "map")
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


def test_a_lost_scheduler_is_a_sentence(look, world):
    members = look(0, a=())
    world.tasks = None
    with pytest.raises(ClusterError, match=r"connection to the scheduler is lost.*--resume"):
        members.check_scheduler()
