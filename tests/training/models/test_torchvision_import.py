"""torchvision's models can be imported with any build of PyTorch, and no floor is ever imported under its bare name."""

import subprocess
import sys

import pytest

from overfly.training.models.torchvision_import import torchvision_models

SCRIPT = """
import importlib, pkgutil, sys
import overfly.runtime, overfly.training
for package in (overfly.runtime, overfly.training):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
from overfly.training.models.torchvision_import import torchvision_models
print(torchvision_models().mobilenet_v2.__module__)
print(*sorted(name for name in sys.modules if "." not in name))
print(*sorted(name for name in sys.modules if name.startswith("overfly.training.")))
"""


def test_the_models_are_there():
    models = torchvision_models()
    assert models.__name__ == "torchvision.models"
    assert models.resnet18.__module__ == "torchvision.models.resnet"
    assert torchvision_models() is models
    assert sys.modules["torchvision"].models is models


@pytest.mark.slow
def test_training_is_never_imported_bare(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=300
    )
    origin, roots, modules = done.stdout.splitlines()
    assert origin == "torchvision.models.mobilenetv2"
    assert set(roots.split()).isdisjoint({"cli", "training", "export", "runtime", "benchmarks"})
    assert {"torch", "overfly"} <= set(roots.split())
    assert {"overfly.training.job", "overfly.training.models.weights"} <= set(modules.split())
