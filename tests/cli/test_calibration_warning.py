"""A bundle whose probabilities are not calibrated still runs, with a warning."""

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.bundle.manifest import TemperatureScaling


@pytest.fixture
def image(tmp_path):
    """A noisy image."""
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("command", ["check", "predict", pytest.param("bench", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("scaling", "warned"), [(None, True), (TemperatureScaling(0.5, "val", 9), False)])
def test_who_runs_an_uncalibrated_bundle_reads_what_to_do(
    overfly, scaled_bundle, image, tiny_data, tmp_path, command, scaling, warned
):
    bundle = scaled_bundle(scaling)
    bench = ("--data", tiny_data, "--out", tmp_path / "report", "--quick")
    arguments = {"check": ("--variant", "fp32"), "predict": (image,), "bench": bench}[command]
    result = overfly(command, bundle, *arguments, "--device", "CPU")
    result.assert_done()
    warning = f"the probabilities of {bundle} are not calibrated: train with a validation part (--val-fraction 0.05, "
    assert (warning in result.err) == warned
