"""What the machine was doing: read from copies of the kernel's files."""

import ctypes
import os
import sys
import time
from types import SimpleNamespace
from uuid import UUID

import pytest

from overfly.benchmarks.measurement.environment import (
    BackgroundLoad,
    background_load,
    describe_environment,
    power_saving,
    power_source,
)

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the files of a Linux kernel")


@pytest.fixture
def saving(tmp_path):
    """A function that says what saves power, given the content of the kernel's files."""

    def call(driver=None, governor=None, preference=None, profile=None):
        policy = tmp_path / "cpu0" / "cpufreq"
        policy.mkdir(parents=True, exist_ok=True)
        names = ("scaling_driver", "scaling_governor", "energy_performance_preference")
        for name, text in zip(names, (driver, governor, preference), strict=True):
            if text is not None:
                (policy / name).write_text(f"{text}\n")
        if profile is not None:
            (tmp_path / "profile").write_text(f"{profile}\n")
        return power_saving(tmp_path, tmp_path / "profile")

    return call


@linux
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, None),
        ({"driver": "acpi-cpufreq", "governor": "schedutil"}, None),
        ({"driver": "acpi-cpufreq", "governor": "powersave"}, "the governor powersave of the driver acpi-cpufreq"),
        ({"driver": "intel_pstate", "governor": "powersave", "preference": "balance_performance"}, None),
        ({"driver": "amd-pstate-epp", "governor": "powersave", "preference": "balance_power"}, None),
        (
            {"driver": "intel_pstate", "governor": "powersave", "preference": "power"},
            "the kernel's energy preference",
        ),
        ({"driver": "intel_pstate", "governor": "powersave", "profile": "low-power"}, "the platform profile low-power"),
        ({"driver": "intel_pstate", "governor": "powersave", "profile": "balanced"}, None),
    ],
)
def test_what_saves_power_is_named_and_the_normal_mode_is_not(saving, files, words):
    found = saving(**files)
    assert found is None if words is None else found.startswith(words)


@linux
def test_others_take_what_is_not_ours(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 0 900 0 0 0 0 0 0\n")
    own = [0.0]
    monkeypatch.setattr(os, "times", lambda: (own[0], 0.0, 0.0, 0.0, 0.0))
    others = BackgroundLoad(stat)
    # A thousand ticks pass, six hundred of them busy, of which we used five seconds.
    stat.write_text("cpu  700 0 0 1300 0 0 0 0 0 0\n")
    own[0] = 5.0
    assert others.fraction() == pytest.approx((600 - 5 * os.sysconf("SC_CLK_TCK")) / 1000)
    own[0] = 50.0
    assert others.fraction() == 0
    assert BackgroundLoad(tmp_path / "none").fraction() is None


@pytest.mark.parametrize(
    ("saver", "overlay", "words"),
    [
        (1, None, "Windows battery saver"),
        (0, "961cc777-2547-4f9d-8174-7d86181b8a7a", "the Windows power mode best power efficiency"),
        (0, "ded574b5-45a0-4f42-8737-46345c09c238", None),  # best performance
        (0, "00000000-0000-0000-0000-000000000000", None),  # balanced
        (0, None, None),
    ],
)
def test_what_saves_power_on_windows(monkeypatch, saver, overlay, words):
    def get_status(buffer):
        buffer.raw = bytes((1, 0, 50, saver)) + bytes(8)
        return 1

    def get_overlay(buffer):
        if overlay is None:
            return 1
        buffer.raw = UUID(overlay).bytes_le
        return 0

    windll = SimpleNamespace(
        kernel32=SimpleNamespace(GetSystemPowerStatus=get_status),
        powrprof=SimpleNamespace(PowerGetEffectiveOverlayScheme=get_overlay),
    )
    monkeypatch.setattr(ctypes, "windll", windll, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert power_saving() == words
    del windll.powrprof.PowerGetEffectiveOverlayScheme  # as before Windows 10, version 1709
    assert power_saving() == ("Windows battery saver" if saver else None)
    assert power_source() == "mains"


def test_on_windows_others_take_what_is_neither_idle_nor_ours(monkeypatch):
    units_per_s = 10**7
    machine = {"idle": 0, "kernel": 0, "user": 0}  # in seconds; Windows counts idle time as the kernel's

    def get_system_times(*pointers):
        for pointer, seconds in zip(pointers, machine.values(), strict=True):
            pointer._obj.value = seconds * units_per_s
        return 1

    own = [0.0]
    monkeypatch.setattr(os, "times", lambda: (own[0], 0.0, 0.0, 0.0, 0.0))
    kernel32 = SimpleNamespace(GetSystemTimes=get_system_times)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel32), raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    others = BackgroundLoad()
    machine |= {"idle": 60, "kernel": 70, "user": 30}
    own[0] = 15.0
    assert others.fraction() == pytest.approx((40 - 15) / 100)

    def work(seconds):
        assert seconds > 0
        machine.update(idle=machine["idle"] + 2, kernel=machine["kernel"] + 5, user=machine["user"] + 5)

    monkeypatch.setattr(time, "sleep", work)
    assert background_load() == pytest.approx(0.8)


@linux
def test_the_power_source_is_that_of_the_supplies(tmp_path):
    assert power_source(tmp_path) is None
    for name, file, text in (("AC", "online", "1"), ("BAT0", "status", "Charging")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
    assert power_source(tmp_path) == "mains"
    (tmp_path / "BAT0" / "status").write_text("Discharging")
    assert power_source(tmp_path) == "battery"


def test_this_machine_can_be_described():
    machine = describe_environment(background_load(), None)
    assert machine.n_cores >= 1
    assert machine.affinity is None or len(machine.affinity) == machine.n_cores
    assert machine.versions["python"]
    assert machine.load_before is None or 0 <= machine.load_before <= 1
