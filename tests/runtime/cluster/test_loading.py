"""What travels is data and the name of one function; a worker loads nothing else."""

import pickle
import pickletools
import subprocess
import sys
from types import SimpleNamespace

# Loads pickles as a worker does, and prints what becomes of each.
LOAD = """
import os, pickle, sys
from distributed.protocol import pickle as dask_pickle
from overfly.runtime.cluster.loading import load_only

class Opens:
    def __reduce__(self):
        return open, (sys.argv[1], "w")

plain = dask_pickle.dumps({"a": [1, b"2", ("3", None)]})
function, call = dask_pickle.dumps(os.getcwd), dask_pickle.dumps(Opens())
code = dask_pickle.dumps(lambda: os.getcwd())
load_only(("builtins", "bytes"))
print(dask_pickle.loads(plain))
for data in (function, call, code):
    try:
        print(dask_pickle.loads(data)())
    except PermissionError as error:
        print(error)
"""


def test_a_pickle_can_call_nothing_that_is_not_allowed(tmp_path):
    target = tmp_path / "written"
    done = subprocess.run([sys.executable, "-c", LOAD, target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str({"a": [1, b"2", ("3", None)]})
    assert lines[1].startswith("a worker of overfly does not run ")
    assert lines[1].endswith(".getcwd")
    assert all("does not run" in line for line in lines[1:])
    assert len(lines) == 4
    assert not target.exists()


def test_the_task_travels_by_its_name():
    from dask._task_spec import Task

    from overfly.runtime.cluster.tasks import classify_block

    task = Task("key", classify_block, "0.1.0", "{}", "{}", (0, 0, 1, 1), b"1")
    data = pickle.dumps(task)
    strings = [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]
    assert {"overfly.runtime.cluster.tasks", "classify_block"} <= set(strings)
    assert not any("cloudpickle" in text for text in strings)
    assert pickle.loads(data).func is classify_block  # noqa: S301


def test_a_worker_has_no_handler_that_runs_or_writes(cluster):
    _, (worker,) = cluster(None)
    refused = {"run", "run_coroutine", "upload_file", "plugin-add", "actor_execute", "benchmark_disk"}
    assert refused.isdisjoint(worker.handlers)
    assert "gather" in worker.handlers


def test_a_worker_of_dask_itself_refuses_with_the_remedy(monkeypatch):
    from overfly.runtime.cluster import tasks

    monkeypatch.setattr(tasks, "get_worker", lambda: SimpleNamespace(name=1, address="tcp://127.0.0.1:99"))
    answer = tasks.classify_block("0.1.0", "{}", "{}", (0, 0, 1, 1), None)
    assert (answer["worker"], answer["address"], answer["scope"]) == ("1", "tcp://127.0.0.1:99", "model")
    assert "overfly worker" in answer["refused"]
