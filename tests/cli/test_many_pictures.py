"""A folder of any size passes through a bounded amount of memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MEBIBYTE = 1 << 20
N_BEFORE = 1_000
GROWTH_LIMIT = 50 * MEBIBYTE


def resident_bytes(process):
    """Return the resident memory of a running process."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory from /proc")
@pytest.mark.parametrize(
    "n_images", [pytest.param(6_000, marks=pytest.mark.slow), pytest.param(50_000, marks=pytest.mark.full)]
)
def test_memory_stays_flat_and_every_image_gets_its_line(tiny_bundle, tiny_data, tmp_path, n_images):
    originals = [min(folder.iterdir()) for folder in sorted(tiny_data.iterdir())]
    for index in range(n_images):
        folder = tmp_path / "images" / f"{index // 1_000:02}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(originals[index % len(originals)], folder / f"{index:05}.jpg")
    command = [sys.executable, "-m", "overfly.cli", "predict", str(tiny_bundle), str(tmp_path / "images")]
    answers, early, late = [], 0, 0
    with subprocess.Popen(
        [*command, "--device", "CPU", "--format", "csv"], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            answers.append(line.rstrip("\r\n").split(","))
            if len(answers) == N_BEFORE:
                early = resident_bytes(process)
            elif len(answers) % 1_000 == 0:
                late = max(late, resident_bytes(process))
    assert process.returncode == 0
    names = [Path(path).name for path, *_ in answers[1:]]
    assert names == [f"{index:05}.jpg" for index in range(n_images)]
    # The same image has the same answer wherever it stands in the stream.
    labels = [label for _, label, *_ in answers[1:]]
    assert labels == [labels[index % len(originals)] for index in range(n_images)]
    assert early > 0
    assert late - early < GROWTH_LIMIT
