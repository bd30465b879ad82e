"""Floor 0 stands on its own: no torch, no training, under no second name."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import overfly.runtime
names = [f"overfly.runtime.{m.name}" for m in pkgutil.iter_modules(overfly.runtime.__path__)]
for name in names:
    importlib.import_module(name)
print(len(names))
print(*sorted(sys.modules))
"""


def test_the_runtime_imports_no_torch_and_nothing_above_it(tmp_path):
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    count, loaded = done.stdout.splitlines()
    modules = set(loaded.split())
    assert int(count) >= 12
    assert "overfly.runtime.classifier" in modules
    roots = {name.partition(".")[0] for name in modules}
    assert roots.isdisjoint({"torch", "torchvision", "sklearn", "nncf", "onnx", "onnxruntime", "matplotlib", "click"})
    assert roots.isdisjoint({"cli", "training", "export", "runtime", "benchmarks"})
    floors = {name.split(".")[1] for name in modules if name.startswith("overfly.")}
    assert floors == {"runtime"}
