"""A worker's model shares the machine with other workers."""

import dataclasses

import pytest

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.cluster.job import lead
from overfly.runtime.cluster.model import compile_request
from overfly.runtime.mapping.job import MapJob


@pytest.mark.parametrize(
    ("properties", "n_threads"), [({}, 1), ({"INFERENCE_NUM_THREADS": "2", "ENABLE_CPU_PINNING": "NO"}, 2)]
)
def test_it_has_a_number_of_threads_that_are_bound_to_no_core(make_bundle, tmp_path, properties, n_threads):
    job = MapJob(bundle=make_bundle(), rasters=(), out=tmp_path / "map", scene_m=16.0, device="CPU")
    _, request = lead(job, Bundle.open(job.bundle))
    model = compile_request(dataclasses.replace(request, properties=properties, cache=False), job.bundle, n_threads=1)
    assert model.runner._compiled.get_property("INFERENCE_NUM_THREADS") == n_threads
    assert model.runner._compiled.get_property("ENABLE_CPU_PINNING") is False
