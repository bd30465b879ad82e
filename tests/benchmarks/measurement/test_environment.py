"""What the machine was doing: read from copies of the kernel's files."""

import os
import sys

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
