"""Blocks that workers classify, in any order, give the map of one process."""

import threading
import time

import pytest

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.cluster.job import ClusterJob
from overfly.runtime.cluster.request import Answer
from overfly.runtime.cluster.roots import Roots
from overfly.runtime.cluster.service import BlockService
from overfly.runtime.errors import ClusterError, OutputError, RasterError, RefusedRasterError
from overfly.runtime.mapping.classification import BlockSpec
from overfly.runtime.mapping.engine import open_local_engine
from overfly.runtime.mapping.job import MapJob, map_options
from overfly.runtime.mapping.journal import Journal
from overfly.runtime.mapping.plan import plan_maps
from overfly.runtime.reporter import SILENT, Reporter

SIZE = 8
SCENE_M = SIZE * 2 / 0.9996


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Blocks of 5 x 5 windows, so that a small raster has several."""
    monkeypatch.setattr("overfly.runtime.mapping.grid._BLOCK_ROWS", 5)
    monkeypatch.setattr("overfly.runtime.mapping.grid._BLOCK_COLUMNS", 5)


@pytest.fixture
def service(tmp_path):
    """A function that makes what a worker does."""
    return lambda: BlockService(Roots.of([tmp_path]), n_threads=1)


@pytest.fixture
def classify(make_bundle, tmp_path):
    """A function that classifies the blocks of a raster with an engine and returns what became of each, by index."""
    bundle = Bundle.open(make_bundle())

    def call(raster, open_engine=open_local_engine, reporter=SILENT):
        choices = {"scene_m": SCENE_M, "device": "CPU", "variant": "fp32"}
        job = MapJob(bundle=bundle.path, rasters=(raster,), out=tmp_path / "map", **choices)
        (plan,), _ = plan_maps(job, map_options(job, bundle), bundle.manifest, SILENT)
        with open_engine(job, bundle, reporter) as engine:
            outcomes = list(engine.results(plan.work(), enumerate(plan.grid.blocks())))
        return {each.index: _comparable(each.result) for each in outcomes}

    return call


def _comparable(result):
    return str(result) if isinstance(result, RasterError) else result.to_bytes()


class _Notes(Reporter):
    """Keeps the notes."""

    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


class _Answers:
    """Does what another service does, after a look at the block."""

    def __init__(self, service, before):
        self._service, self._before = service, before

    def answer(self, version, model_text, raster_text, place, wanted):
        instead = self._before(place)
        return instead or self._service.answer(version, model_text, raster_text, place, wanted)


@pytest.mark.parametrize(
    "n_workers", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_any_number_of_workers_gives_the_bytes_of_one_process(
    cluster, service, make_map, raster, hashes, tmp_path, n_workers
):
    make_map(raster)
    address, _ = cluster(*(service() for _ in range(n_workers)))
    make_map(raster, out=tmp_path / "shared", open_engine=ClusterJob(scheduler=address).open_engine)
    assert hashes(tmp_path / "shared") == hashes(tmp_path / "map")


def test_unknown_cells_are_the_same(cluster, service, make_map, known_bundle, raster, hashes, tmp_path):
    make_map(raster, bundle_path=known_bundle, unknown=True)
    address, _ = cluster(service(), service())
    make_map(raster, out=tmp_path / "shared", unknown=True, open_engine=ClusterJob(scheduler=address).open_engine)
    assert hashes(tmp_path / "shared") == hashes(tmp_path / "map")


@pytest.mark.slow
def test_the_first_block_may_be_the_last_also_of_many_maps(
    cluster, service, make_map, write_raster, pixels, hashes, tmp_path, monkeypatch
):
    rasters = [write_raster(pixels(n * SIZE, 9 * SIZE, seed=n), f"{n}.tif") for n in (3, 5, 2)]
    make_map(*rasters)
    order, begun, write = [], [], Journal.write
    monkeypatch.setattr(Journal, "write", lambda self, index, data: order.append(index) or write(self, index, data))
    enough = threading.Event()

    def before(place):
        begun.append(place)
        if len(begun) == 1:
            enough.wait(60)
        elif len(begun) > 10:  # more than the first map has: those of the next one are done meanwhile
            enough.set()

    shared = service()
    address, _ = cluster(_Answers(shared, before), _Answers(shared, before))
    make_map(*rasters, out=tmp_path / "shared", open_engine=ClusterJob(scheduler=address).open_engine)
    assert enough.is_set()
    assert order != sorted(order)
    assert hashes(tmp_path / "shared") == hashes(tmp_path / "map")


def test_a_worker_that_refuses_is_left_out_and_named_once(cluster, service, classify, raster):
    address, workers = cluster(_Answers(None, lambda _: Answer(refused="it is Monday")), service())
    notes = _Notes()
    assert classify(raster, ClusterJob(scheduler=address).open_engine, notes) == classify(raster)
    (note,) = [note for note in notes.notes if "left out" in note]
    assert f"{workers[0].name} at {workers[0].address}" in note
    assert note.endswith("it is Monday")


def test_if_all_refuse_it_ends_with_the_reason(cluster, classify, raster):
    address, _ = cluster(_Answers(None, lambda _: Answer(refused="it is Monday", scope="raster")))
    with pytest.raises(ClusterError, match=r"it is Monday.*--resume"):
        classify(raster, ClusterJob(scheduler=address, timeout_s=1.0).open_engine)


class _RefusesOne:
    """Does what another service does, but some blocks of one raster only."""

    def __init__(self, service, path, n_blocks):
        self._service, self._path, self._left = service, path, [None] * n_blocks

    def answer(self, version, model_text, raster_text, place, wanted):
        if self._path.name in raster_text:
            try:
                self._left.pop()
            except IndexError:
                return Answer(refused="it is Monday", scope="raster")
        return self._service.answer(version, model_text, raster_text, place, wanted)


def test_one_refused_raster_of_many_does_not_stop_the_others_and_is_continued(
    cluster, service, make_map, write_raster, pixels, hashes, tmp_path
):
    rasters = [write_raster(pixels(9 * SIZE, 9 * SIZE, seed=n), f"{n}.tif") for n in range(2)]
    make_map(*rasters)
    whole = hashes(tmp_path / "map")
    address, _ = cluster(_RefusesOne(service(), rasters[0], 4), _RefusesOne(service(), rasters[0], 2))
    out, work = tmp_path / "shared", tmp_path / "shared.unfinished"
    engine = ClusterJob(scheduler=address, timeout_s=2.0).open_engine
    notes = _Notes()
    result = make_map(*rasters, out=out, open_engine=engine, reporter=notes)
    (problem,) = result.problems
    assert isinstance(problem, RefusedRasterError)
    assert str(rasters[0]) in str(problem)
    assert result.records.keys() == {work / "1"}
    assert f"{work} holds what is done" in notes.notes[-1]
    assert not out.exists()
    assert hashes(work).items() >= {path: value for path, value in whole.items() if path.startswith("1/")}.items()

    with pytest.raises(RefusedRasterError, match="it is Monday"):
        make_map(rasters[0], out=tmp_path / "single", open_engine=engine)
    n_read, read = [], BlockSpec.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlockSpec, "read", lambda *arguments: n_read.append(1) or read(*arguments))
        make_map(*rasters, out=out, resume=True)
    assert hashes(out) == whole
    assert len(n_read) == 16 - 6


def test_without_a_worker_it_ends_and_without_a_scheduler_as_well(cluster, classify, raster):
    address, _ = cluster()
    with pytest.raises(ClusterError, match="no worker"):
        classify(raster, ClusterJob(scheduler=address, timeout_s=0.9).open_engine)
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:9 "):
        classify(raster, ClusterJob(scheduler="127.0.0.1:9", timeout_s=0.5).open_engine)


@pytest.mark.slow
def test_another_version_of_dask_is_a_note(cluster, classify, raster, monkeypatch):
    address, _ = cluster()
    found = {"warning": "a table", "host": "", "client": ""}
    monkeypatch.setattr("distributed.versions.error_message", lambda *_: found)
    notes = _Notes()
    with pytest.raises(ClusterError, match="no worker"):
        classify(raster, ClusterJob(scheduler=address, timeout_s=0.9).open_engine, notes)
    assert [note for note in notes.notes if "version of Dask" in note]


def test_what_nobody_can_read_is_named_as_one_process_does(cluster, service, classify, write_raster, pixels):
    path = write_raster(pixels(8 * SIZE, 8 * SIZE), compress="deflate", blockysize=SIZE)
    path.write_bytes(path.read_bytes()[:-2000])
    address, (worker,) = cluster(service())
    alone = classify(path)
    assert classify(path, ClusterJob(scheduler=address).open_engine) == alone
    assert len({type(result) for result in alone.values()}) == 2
    # A worker keeps no results, and no open file, which could not be deleted on Windows.
    path.unlink()
    deadline = time.monotonic() + 30
    while worker.data:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_worker_that_cannot_read_what_the_client_can_is_left_out(cluster, service, classify, raster):
    address, _ = cluster(_Answers(None, lambda _: Answer(unreadable="the disk is gone")), service())
    notes = _Notes()
    assert classify(raster, ClusterJob(scheduler=address).open_engine, notes) == classify(raster)
    assert any("the disk is gone" in note for note in notes.notes)


@pytest.mark.slow
def test_what_computes_otherwise_is_in_the_record_also_after_an_interruption(cluster, service, make_map, raster):
    machine = {"device_name": "another", "execution_precision": "f32", "golden_sha256": "0" * 64, "versions": {}}
    real, count = service(), []

    def answer(*arguments):
        count.append(1)
        if len(count) > 3:
            raise MemoryError("no more")
        found = real.answer(*arguments)
        return Answer(data=found.data, machine=machine)

    other = _Answers(None, None)
    other.answer = answer
    address, _ = cluster(other)
    mixed = {"allow_mixed": True, "open_engine": ClusterJob(scheduler=address).open_engine}
    with pytest.raises(ClusterError, match="MemoryError"):
        make_map(raster, **mixed)
    with pytest.raises(OutputError, match=r"another.*--allow-mixed"):
        make_map(raster, resume=True)
    (record,) = make_map(raster, resume=True, allow_mixed=True).records.values()
    assert [found.device_name for found in record.other_machines] == ["another"]
