"""The rows to measure: devices, and a candidate before it is loaded."""

import pytest

from overfly.benchmarks.models.candidates import Candidate, choose_devices
from overfly.benchmarks.models.loaders import LoadSpec
from overfly.runtime.errors import DeviceError


def test_each_device_is_measured_once():
    assert choose_devices(["CPU", "cpu", "CPU"]) == ["CPU"]


@pytest.mark.parametrize("name", ["AUTO", "HETERO:CPU"])
def test_a_device_that_distributes_the_work_is_rejected(name):
    with pytest.raises(DeviceError, match=name):
        choose_devices([name])


def test_a_candidate_says_how_it_is_meant_to_be_computed():
    load = LoadSpec(backend="pytorch", variant="fp32", configuration="compiled", bundle="bundle", path="run")
    candidate = Candidate(load, size_bytes=None)
    assert (candidate.spec.backend, candidate.spec.configuration) == ("pytorch", "compiled")
    execution = candidate.planned_execution
    assert (execution.device, execution.requested_precision, execution.execution_precision) == ("CPU", "f32", None)
