"""A box without PyTorch: the wheel with its core dependencies, in a virtual environment of its own."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.wheel]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """Return a function that runs Python in a new environment with overfly and what its core needs."""
    folder = tmp_path_factory.mktemp("box")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    apart = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def call(*arguments, code=0):
        command = [str(python), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=apart)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    install(call, "")
    call.python = python
    return call


def install(box, extra):
    """Install the wheel that these tests run against, with an extra."""
    (wheel,) = (ROOT / ".venv" / "wheels").glob("*.whl")
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", ROOT / "constraints.txt")
    box(*pip, f"{wheel}{extra}")


def test_there_is_no_torch_and_every_command_of_the_box_works(box, tiny_bundle, tiny_data, tmp_path):
    overfly = ("-m", "overfly.cli")
    box("-c", "import torch", code=1)
    assert box(*overfly, "devices").stdout.startswith("CPU")
    lines = box(*overfly, "check", tiny_bundle, "--device", "CPU").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["VALID", "fp32"], ["VALID", "fp16"], ["VALID", "int8"]]
    images = sorted((tiny_data / "harbor").iterdir())
    answers = box(*overfly, "predict", tiny_bundle, tiny_data / "harbor", "--json").stdout.splitlines()
    assert [json.loads(line)["path"] for line in answers] == list(map(str, images))
    failed = box(*overfly, "train", tiny_data, "--out", tmp_path / "run", code=1)
    assert "overfly[train]" in failed.stderr
    failed = box(*overfly, "bench", tiny_bundle, "--data", tiny_data, "--out", tmp_path / "report", code=1)
    assert "overfly[bench]" in failed.stderr
    install(box, "[bench]")
    box(*overfly, "bench", tiny_bundle, "--data", tiny_data, "--out", tmp_path / "report", "--quick")
    rows = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["rows"]
    # ONNX Runtime first.
    assert [row["spec"]["variant"] for row in rows] == ["fp32", "fp32", "fp16", "int8"]
    assert {row["status"] for row in rows} == {"ok"}
    side = box(*overfly, "compare", tmp_path / "report", tmp_path / "report" / "report.json", "--json").stdout
    names = [line["name"] for line in json.loads(side)["lines"]]
    assert names == ["ONNX Runtime fp32", "OpenVINO fp32 CPU", "OpenVINO fp16 CPU", "OpenVINO int8 CPU"]
    box("-c", "import torch", code=1)
