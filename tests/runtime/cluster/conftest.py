"""Workers in this process, and a map that one process made."""

import asyncio
import threading

import pytest

from overfly.runtime.files.hashing import sha256_file

SIZE = 8


@pytest.fixture(scope="session")
def hashes():
    """A function that returns the SHA-256 of each file below a folder, by path."""

    def call(folder):
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}

    return call


@pytest.fixture
def archive(write_raster, pixels):
    """A raster of noise of 35 x 50 windows in a folder of its own."""
    return write_raster(pixels(35 * SIZE, 50 * SIZE), "rasters/field.tif")


@pytest.fixture
def cluster():
    """A function that starts a scheduler and a number of workers in this process; it returns the workers.

    Each is a `MapWorker` with the attribute `service`.
    """
    from distributed import LocalCluster

    from overfly.runtime.cluster.worker import MapWorker

    started = []

    def begin(address, service):
        loop, ready, box = asyncio.new_event_loop(), threading.Event(), []

        async def work():
            async with MapWorker(address, service=service, host="127.0.0.1") as worker:
                box.append(worker)
                ready.set()
                await worker.finished()

        thread = threading.Thread(target=loop.run_until_complete, args=(work(),), daemon=True)
        thread.start()
        assert ready.wait(60)
        started.append((loop, thread, box[0]))
        return box[0]

    with LocalCluster(
        n_workers=0, host="127.0.0.1", protocol="tcp://", scheduler_port=0, dashboard_address="127.0.0.1:0"
    ) as scheduler:

        def call(*services):
            return scheduler.scheduler_address, [begin(scheduler.scheduler_address, service) for service in services]

        yield call
        for loop, thread, worker in started:
            asyncio.run_coroutine_threadsafe(worker.close(), loop)
            thread.join(30)
            loop.close()
