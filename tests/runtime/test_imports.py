"""The runtime stands on its own: no torch, no training, under no second name."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import overfly.runtime
absent = {"rasterio", "affine", "pyogrio", "shapely", "distributed"}  # an edge box does not have them
sys.modules.update(dict.fromkeys(absent))
names = [module.name for module in pkgutil.walk_packages(overfly.runtime.__path__, "overfly.runtime.")]
for name in list(names):
    try:
        importlib.import_module(name)
    except ImportError as error:
        assert error.name.partition(".")[0] in absent
        names.remove(name)
print(*names)
print(*sorted(sys.modules))
"""


def test_the_runtime_imports_no_torch_and_nothing_above_it(tmp_path):
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    walked, loaded = (set(line.split()) for line in done.stdout.splitlines())
    assert {"overfly.runtime.classifier", "overfly.runtime.inference.runner"} <= walked <= loaded
    roots = {name.partition(".")[0] for name in loaded}
    assert roots.isdisjoint({"torch", "torchvision", "sklearn", "nncf", "onnx", "onnxruntime", "matplotlib", "click"})
    assert roots.isdisjoint({"cli", "training", "export", "runtime", "benchmarks"})
    rooms = {name.split(".")[1] for name in loaded if name.startswith("overfly.")}
    assert rooms == {"runtime"}
