"""``overfly devices``: what is here by its full name, and why the rest is not."""

import json

import pytest

from overfly.runtime.inference.devices import core
from overfly.runtime.inference.diagnosis import explain_absence


@pytest.fixture(scope="module")
def present():
    return core().available_devices


def kinds(devices):
    return {name.partition(".")[0] for name in devices}


def test_the_cpu_is_listed_with_its_full_name_and_formats(overfly):
    result = overfly("devices")
    result.assert_done()
    first, second, third = result.out.splitlines()[:3]
    assert first == f"CPU    {core().get_property('CPU', 'FULL_DEVICE_NAME')}"
    assert "default precision " in second
    assert "FP32" in third
    assert "INT8" in third


def test_json_holds_every_device_of_openvino_and_the_reasons_for_the_absent(overfly, present):
    result = overfly("devices", "--json")
    result.assert_done()
    printed = json.loads(result.out)
    assert [device["name"] for device in printed["devices"]] == present
    cpu = printed["devices"][0]
    assert cpu["full_name"] == core().get_property("CPU", "FULL_DEVICE_NAME")
    assert cpu["default_precision"] in {"f32", "bf16", "f16"}
    assert printed["absent"].keys() == {"GPU", "NPU"} - kinds(present)
    assert printed["absent"] == {kind: explain_absence(kind) for kind in printed["absent"]}


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_an_absent_device_is_explained_with_a_remedy(overfly, present, kind):
    if kind in kinds(present):
        pytest.skip(f"there is a {kind} here")
    line = next(line for line in overfly("devices").out.splitlines() if line.startswith(kind))
    assert line == f"{kind:<6} absent: {explain_absence(kind)}"
