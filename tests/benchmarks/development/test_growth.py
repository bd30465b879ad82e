"""Exponents computed by hand, the links, and the commands that are measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from overfly.benchmarks.development import growth
from overfly.benchmarks.development.growth import Growth, link_images, main
from overfly.training.data.dataset import scan

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say how much memory a process used")


@pytest.mark.parametrize(("last", "at_most", "met"), [(100.0, 1.0, True), (110.0, 1.0, False), (10.0, 0.0, True)])
def test_the_exponent_is_that_of_the_largest_numbers(last, at_most, met):
    result = Growth("train, time", "s", (5, 50, 500), (10.0, 10.0, last), at_most)
    assert result.exponents[0] == 0
    assert result.exponents[1] == pytest.approx({100.0: 1.0, 110.0: 1.0414, 10.0: 0.0}[last], abs=1e-4)
    assert result.is_met is met
    assert len(result.cells) == len(result.columns)
    assert result.as_record()["is_met"] is met


def test_links_are_images_of_the_same_classes(tiny_data, tmp_path):
    images = scan(tiny_data).images[::16]
    link_images(tiny_data, images, tmp_path / "data", 4)
    found = scan(tmp_path / "data").images
    assert len(found) == 4 * len(images)
    assert sorted(image.sha256 for image in found) == sorted(4 * [image.sha256 for image in images])
    assert {Path(i.name).parts[0] for i in found} == {Path(i.name).parts[0] for i in images}


def test_a_command_that_fails_is_an_error():
    seconds, megabytes = growth.run(["--version"])
    assert seconds > 0
    assert megabytes > 5
    with pytest.raises(subprocess.CalledProcessError) as caught:
        growth.run(["predict", "nowhere", "nothing"])
    assert caught.value.returncode == 1
    assert "nothing" in caught.value.output


@pytest.mark.full
def test_every_command_runs(tiny_data, monkeypatch, capsys):
    run = growth.run
    monkeypatch.setattr(growth, "_FACTORS", (1, 2))
    monkeypatch.setattr(growth, "run", lambda command: run([*command, *["--quick"] * (command[0] == "bench")]))
    main([str(tiny_data), "--weights", "none", "--image-size", "32", "--images", "16", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert [result["name"].partition(",")[0] for result in printed[::2]] == ["train", "export", "bench", "predict"]
    assert all(result["n_images"] == [16, 32] for result in printed)
    assert all(cost > 0 for result in printed for cost in result["costs"])
