"""Load times and memory: in which order a model is loaded, and a child process that fails."""

import numpy as np
import pytest

from overfly.benchmarks.measurement.probe import measure_loading, peak_rss_bytes, probe
from overfly.benchmarks.models.loaders import LoadSpec

SPEC = LoadSpec(backend="openvino", variant="int8", bundle="bundle")


class Recorder:
    """A loader that notes what is asked of it."""

    def __init__(self, *, has_cache):
        self.has_cache = has_cache
        self.steps = []

    def prepare(self):
        self.steps.append("prepare")

    def load_for_latency(self, *, cached):
        self.steps.append("load cached" if cached else "load cold")
        return lambda images: self.steps.append(f"infer {len(images)}")

    def fill_cache(self):
        self.steps.append("fill cache")
        return self.has_cache


@pytest.mark.parametrize("has_cache", [True, False])
def test_a_model_is_loaded_without_a_cache_and_then_with_a_filled_one_if_it_has_one(monkeypatch, has_cache):
    loader = Recorder(has_cache=has_cache)
    monkeypatch.setattr("overfly.benchmarks.measurement.probe.loader_of", lambda _: loader)
    found = measure_loading(SPEC, np.zeros((2, 4, 4, 3), np.uint8))
    cached = ["load cached"] if has_cache else []
    assert loader.steps == ["prepare", "load cold", "infer 1", "infer 1", "fill cache", *cached]
    assert found.load_ms.cold >= 0
    assert (found.load_ms.cached is None) == (not has_cache)


def test_a_child_process_that_fails_measures_nothing(tmp_path):
    assert probe(LoadSpec(backend="openvino", variant="int8", bundle=str(tmp_path / "missing"))) is None


def test_this_process_has_a_peak_memory():
    assert peak_rss_bytes() > 1_000_000
