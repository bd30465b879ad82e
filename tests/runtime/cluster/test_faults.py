"""Two machines with a cable between them: whatever ends, hangs or differs, the map is that of one process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.netns]

ADDRESSES = ("192.0.2.1", "192.0.2.2")
SCENE_M = 8 * 2 / 0.9996
# A processor may compute in bf16 by default. A worker that is limited to old instructions can't compile that.
VARIANT, EXECUTION_PRECISION = "fp16", "f32"

# The command, with a fault: another version, or a block that never ends, or blocks that take a while.
WORKER = """
import sys, time
from pathlib import Path
from overfly.cli import main
from overfly.runtime.cluster import service

fault, flag = sys.argv.pop(1), Path(sys.argv.pop(1))
classify = service.BlockService._classify

def begin(self, *arguments):
    flag.touch()
    time.sleep({"hangs": 1000, "slow": 0.2}.get(fault, 0))
    return classify(self, *arguments)

service.BlockService._classify = begin
if fault == "version":
    service.overfly_version = lambda: "9.9"
main()
"""


@pytest.fixture(scope="module")
def begin():
    """A function that starts a command with its streams open; what still runs at the end dies."""
    processes = []

    def call(*command, **environment):
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        processes.append(process)
        return process

    yield call
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def machines(begin):
    """Functions that return a command for machine 0 or 1: network namespaces with a cable between them."""
    holders = [
        begin("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 900") for _ in ADDRESSES
    ]
    for holder in holders:
        assert holder.stdout.readline() == "up\n", holder.stderr.read()
    cable = ["ip", "link", "add", "cable0", "netns", str(holders[0].pid), "type", "veth"]
    subprocess.run([*cable, "peer", "name", "cable1", "netns", str(holders[1].pid)], check=True)

    def inside(number):
        return lambda *command: ("nsenter", f"--net=/proc/{holders[number].pid}/ns/net", *map(str, command))

    for number, address in enumerate(ADDRESSES):
        for command in (f"addr add {address}/24 dev cable{number}", f"link set cable{number} up"):
            subprocess.run(inside(number)("ip", *command.split()), check=True)
    return [inside(0), inside(1)]


def wait_for_line(process, *words):
    """Read standard error up to a line with all words; return the lines."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if all(word in line for word in words):
            return lines
    pytest.fail(f"no {words} in {lines}")


@pytest.fixture(scope="module")
def start_scheduler(begin, machines):
    """A function that starts a scheduler on machine 0."""

    def call(port, *options, protocol="tcp"):
        place = (f"--host={protocol}://{ADDRESSES[0]}", f"--port={port}")
        command = (sys.executable, "-m", "distributed.cli.dask_scheduler", *place, "--no-dashboard")
        process = begin(*machines[0](*command, *options))
        wait_for_line(process, "Scheduler at:")
        return process

    return call


@pytest.fixture(scope="module")
def scheduler(start_scheduler):
    """The address of a scheduler."""
    start_scheduler(8786)
    return f"{ADDRESSES[0]}:8786"


@pytest.fixture
def start_worker(begin, machines, scheduler, tmp_path):
    """A function that starts a worker on a machine and returns it and its flag; it waits until the worker has joined.

    `mounts` are pairs of paths: the first appears in place of the second, for this worker alone.
    """
    started = []

    def call(
        machine=1,
        fault="none",
        address=None,
        mounts=(),
        roots=(tmp_path,),
        options=("--insecure",),
        waits=True,
        **environment,
    ):
        flag = tmp_path / f"flag{len(started)}"
        command = [sys.executable, "-c", WORKER, fault, flag, "worker", address or scheduler, *options]
        command += [part for root in roots for part in ("--root", root)]
        if mounts:
            script = " && ".join([f"mount --bind {source} {target}" for source, target in mounts] + ['exec "$@"'])
            command = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
        process = begin(*machines[machine](*command), **environment)
        started.append(process)
        if waits:
            wait_for_line(process, "waits for blocks")
        return process, flag

    yield call
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def bundle(make_bundle):
    """The hand-made bundle."""
    return make_bundle()


@pytest.fixture
def start_map(begin, machines, scheduler, bundle, archive, tmp_path):
    """A function that starts a map on machine 0."""
    command = (sys.executable, "-m", "overfly.cli", "map", bundle)
    model = ("--device", "CPU", "--variant", VARIANT, "--execution-precision", EXECUTION_PRECISION)
    choices = ("--out", tmp_path / "shared", "--scene-m", SCENE_M, *model)

    def call(*arguments, rasters=(archive,), address=None, options=("--insecure",)):
        where = ("--scheduler", address or scheduler)
        return begin(*machines[0](*command, *rasters, *choices, *where, *options, *arguments))

    return call


@pytest.fixture
def make_alone(make_map, archive, bundle):
    """A function that makes the same map in this process, or one of more rasters."""
    return lambda out, *more, **choices: make_map(
        archive, *more, out=out, variant=VARIANT, execution_precision=EXECUTION_PRECISION, bundle_path=bundle, **choices
    )


@pytest.fixture
def assert_same(make_alone, hashes, tmp_path):
    """A function that checks that the map of the cluster is that of one process."""
    make_alone(tmp_path / "alone")
    expected = hashes(tmp_path / "alone")

    def check():
        assert hashes(tmp_path / "shared") == expected

    return check


def wait_for(condition, seconds=60):
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finish(process):
    """Wait for the end of a command that succeeds; return its standard error."""
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return err


def test_workers_killed_in_the_middle_of_a_block_lose_nothing(start_worker, start_map, assert_same):
    slow, begun = start_worker(fault="slow")
    hanging, in_the_middle = start_worker(fault="hangs")
    client = start_map()
    wait_for(in_the_middle.exists)
    hanging.send_signal(signal.SIGKILL)
    wait_for(begun.exists)
    slow.send_signal(signal.SIGKILL)
    start_worker(machine=0)
    start_worker(machine=1)
    finish(client)
    assert_same()


@pytest.fixture
def others(make_bundle, write_raster, pixels, tmp_path):
    """Another bundle, another raster, and an empty folder."""
    bundle = make_bundle("other", images=np.zeros((6, 8, 8, 3), np.uint8))
    (tmp_path / "empty").mkdir()
    return bundle, write_raster(pixels(35 * 8, 50 * 8, seed=1), "others/field.tif"), tmp_path / "empty"


def test_each_worker_that_differs_is_left_out_by_name(start_worker, start_map, assert_same, bundle, archive, others):
    other_bundle, other_raster, empty = others
    start = partial(start_worker, waits=False)  # all at once
    faulty = {
        "overfly 9.9": start(fault="version"),
        "another bundle": start(mounts=[(other_bundle, bundle)]),
        "computes otherwise": start(ONEDNN_MAX_CPU_ISA="SSE41"),
        "another file": start(mounts=[(other_raster, archive)]),
        "does not exist": start(mounts=[(empty, archive.parent)]),
        "is outside of": start(roots=[bundle]),
    }
    for process, _ in faulty.values():
        wait_for_line(process, "waits for blocks")
    client = start_map()
    reasons = {}
    while len(reasons) < len(faulty):
        line = wait_for_line(client, "is left out")[-1]
        reasons |= {reason: line for reason in faulty if reason in line}
    start_worker(machine=0)
    finish(client)
    for reason, (process, _) in faulty.items():
        assert f"-{process.pid} at tcp://{ADDRESSES[1]}:" in reasons[reason]
    assert_same()


@pytest.fixture
def outside(write_raster, pixels):
    """A small raster in another folder than the archive."""
    return write_raster(pixels(9 * 8, 9 * 8, seed=2), "elsewhere/hidden.tif")


def test_a_raster_outside_of_all_roots_waits_for_a_worker_and_the_others_are_done(
    start_worker, start_map, make_alone, hashes, archive, outside, tmp_path
):
    rasters = [outside, archive]
    workers = [start_worker(machine=machine, roots=[tmp_path / "bundle", archive.parent]) for machine in range(2)]
    client = start_map("--timeout", "12", "--json", rasters=rasters)
    out, err = client.communicate(timeout=120)
    assert client.returncode == 1, err
    (sentence,) = [line for line in err.splitlines() if line.startswith("overfly: ")]
    assert f"{outside} is outside of" in sentence
    assert all(f"-{process.pid}" in sentence for process, _ in workers)
    (line,) = out.splitlines()
    work = tmp_path / "shared.unfinished"
    assert json.loads(line)["map"] == str(work / "field")
    make_alone(tmp_path / "alone", outside)
    assert hashes(work / "field").items() > hashes(tmp_path / "alone" / "field").items()

    start_worker(machine=0)
    finish(start_map("--resume", rasters=rasters))
    assert hashes(tmp_path / "shared") == hashes(tmp_path / "alone")


def test_a_worker_that_hangs_is_left_out(start_worker, start_map, assert_same):
    start_worker(fault="hangs")
    start_worker(machine=0)
    err = finish(start_map("--timeout", "6"))
    assert f"worker tcp://{ADDRESSES[1]}:" in err
    assert "is left out: it has not finished a block within 6 s" in err
    assert_same()


def test_without_the_scheduler_one_process_goes_on(
    start_scheduler, start_worker, start_map, make_alone, assert_same, tmp_path
):
    address = f"{ADDRESSES[0]}:8799"
    scheduler = start_scheduler(8799)
    worker, _ = start_worker(fault="slow", address=address)
    client = start_map(address=address)
    journal = tmp_path / "shared.unfinished" / "journal"
    wait_for(lambda: journal.exists() and journal.stat().st_size > 5000)
    scheduler.send_signal(signal.SIGKILL)
    _, err = client.communicate(timeout=120)
    assert client.returncode == 1, err
    last = err.splitlines()[-1]
    assert last.startswith("overfly: the connection to the scheduler is lost")
    assert last.endswith("--resume")
    assert "Traceback" not in err
    assert journal.stat().st_size > 5000
    worker.communicate(timeout=120)
    assert worker.returncode == 0
    make_alone(tmp_path / "shared", resume=True)
    assert_same()


def test_allowed_to_it_computes_otherwise_and_the_map_says_so(start_worker, start_map, tmp_path):
    start_worker(ONEDNN_MAX_CPU_ISA="SSE41")
    finish(start_map("--allow-mixed"))
    (machine,) = json.loads((tmp_path / "shared" / "map.json").read_text(encoding="utf-8"))["other_machines"]
    assert machine["execution_precision"] == EXECUTION_PRECISION
    assert len(machine["golden_sha256"]) == 64


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """The certificate of an authority, one that it has signed, and its key."""
    if (program := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl")
    folder = tmp_path_factory.mktemp("certificates")
    new = ("-newkey", "rsa:2048", "-nodes")
    sign = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2")
    for arguments in (
        ("req", "-x509", *new, "-days", "2", "-subj", "/CN=authority", "-keyout", "ca-key.pem", "-out", "ca.pem"),
        ("req", *new, "-subj", "/CN=overfly", "-keyout", "key.pem", "-out", "request.pem"),
        ("x509", "-req", "-in", "request.pem", *sign, "-out", "cert.pem"),
    ):
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True)
    return [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]


@pytest.fixture
def stranger(begin, machines, tmp_path):
    """A function that starts a worker without certificate on machine 1."""

    def call(address):
        command = (sys.executable, "-m", "overfly.cli", "worker", address, "--root", tmp_path, "--insecure")
        return begin(*machines[1](*command, "--timeout", 3))

    return call


def test_with_tls_only_those_with_a_certificate_take_part(
    certificates, start_scheduler, start_worker, start_map, stranger, assert_same
):
    ca, cert, key = certificates
    address = f"{ADDRESSES[0]}:8788"
    start_scheduler(8788, f"--tls-ca-file={ca}", f"--tls-cert={cert}", f"--tls-key={key}", protocol="tls")
    ours = ("--tls-ca", ca, "--tls-cert", cert, "--tls-key", key)
    start_worker(address=address, options=ours)
    without = stranger(address)
    finish(start_map(address=address, options=ours))
    assert_same()
    _, err = without.communicate(timeout=60)
    assert without.returncode == 1
    assert "certificates" in err
