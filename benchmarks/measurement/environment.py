"""The machine on which the bench runs, and its state."""

import ctypes
import datetime as dt
import os
import sys
import time
from pathlib import Path
from uuid import UUID

from overfly.benchmarks.results.backends import BACKENDS
from overfly.benchmarks.results.records import Environment
from overfly.runtime.inference.devices import full_name
from overfly.runtime.machine import host_name, memory_bytes, system_name, usable_cores
from overfly.runtime.versions import installed_versions

_PROC_STAT = Path("/proc/stat")
_POWER_SUPPLY = Path("/sys/class/power_supply")
_CPUS = Path("/sys/devices/system/cpu")
_PLATFORM_PROFILE = Path("/sys/firmware/acpi/platform_profile")
_DRIVERS_WITH_PREFERENCE = {"intel_pstate", "amd-pstate-epp", "amd_pstate_epp"}
_SAMPLE_S = 0.5
# The overlay of Windows' power mode "best power efficiency".
_BEST_EFFICIENCY = UUID("961cc777-2547-4f9d-8174-7d86181b8a7a")


def describe_environment(load_before: float | None, load_during: float | None) -> Environment:
    """Return the machine's record, with the load by other programs before and during the measurement."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return Environment(
        host=host_name(),
        system=system_name(),
        cpu=full_name("CPU"),
        n_cores=usable_cores(),
        affinity=tuple(sorted(affinity(0))) if affinity else None,
        memory_bytes=memory_bytes(),
        power_source=power_source(),
        power_saving=power_saving(),
        load_before=load_before,
        load_during=load_during,
        versions=installed_versions(*(facts.package for facts in BACKENDS.values())),
        timestamp=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
    )


def background_load(stat: Path = _PROC_STAT) -> float | None:
    """Return the share of the processor's time that others use right now, in [0, 1]; None if it can't be measured.

    On Linux and Windows it is measured for half a second: a load average would still count a run that ended a
    moment ago. On other systems it is the load average of the last minute per core.
    """
    others = BackgroundLoad(stat)
    time.sleep(_SAMPLE_S)
    load = others.fraction()
    if load is None and hasattr(os, "getloadavg"):
        load = min(1.0, os.getloadavg()[0] / usable_cores())
    return load


class BackgroundLoad:
    """Measures how much of the processor's time other programs use from now on. It works on Linux and Windows."""

    def __init__(self, stat: Path = _PROC_STAT) -> None:
        self._stat = stat
        self._before = self._read_times()

    def fraction(self) -> float | None:
        """Return their share, in [0, 1]: all busy time except that of this process and its children."""
        now = self._read_times()
        if self._before is None or now is None:
            return None
        busy, total, own = (after - before for after, before in zip(now, self._before, strict=True))
        return min(1.0, max(0.0, (busy - own) / total)) if total > 0 else None

    def _read_times(self) -> tuple[float, float, float] | None:
        """Return the machine's busy and total time, and this process's time, in seconds; None if they are unknown."""
        times = _busy_and_total_s(self._stat)
        # User and system time of this process and, on Linux, of its children that ended.
        return None if times is None else (*times, sum(os.times()[:4]))


def power_saving(cpus: Path = _CPUS, profile: Path = _PLATFORM_PROFILE) -> str | None:
    """Describe what saves power at the cost of speed; return None if nothing does, or if nothing is known.

    On Linux this is the kernel's governor, its energy preference, or the firmware's profile; on Windows the battery
    saver or the power mode. With the drivers intel_pstate and amd-pstate-epp, the governor "powersave" is the normal
    one: they follow the energy preference. With any other driver it is the lowest clock.
    """
    if sys.platform == "win32":
        if _windows_power_status()[3:4] == b"\x01":
            return "Windows battery saver"
        return "the Windows power mode best power efficiency" if _windows_power_mode() == _BEST_EFFICIENCY else None
    policy = cpus / "cpu0" / "cpufreq"
    driver, governor = _read(policy / "scaling_driver"), _read(policy / "scaling_governor")
    if governor == "powersave" and driver not in _DRIVERS_WITH_PREFERENCE:
        return f"the governor powersave of the driver {driver or 'unknown'}"
    if _read(policy / "energy_performance_preference") == "power":
        return "the kernel's energy preference power"
    if _read(profile) in {"low-power", "quiet"}:
        return f"the platform profile {_read(profile)}"
    return None


def power_source(supplies: Path = _POWER_SUPPLY) -> str | None:
    """Return ``mains`` or ``battery``; None if the machine does not report it."""
    if sys.platform == "win32":
        return {b"\x00": "battery", b"\x01": "mains"}.get(_windows_power_status()[:1])
    online = [_read(path) for path in sorted(supplies.glob("*/online"))]
    discharging = any(_read(path) == "Discharging" for path in sorted(supplies.glob("BAT*/status")))
    if not online and not discharging:
        return None
    return "battery" if discharging or "1" not in online else "mains"


def _busy_and_total_s(stat: Path) -> tuple[float, float] | None:
    """Return the busy and the total time of all cores since boot, in seconds; None if the system does not report it."""
    if sys.platform == "win32":
        # GetSystemTimes counts in units of 100 ns, and idle time as a part of the kernel's.
        idle, kernel, user = (ctypes.c_uint64() for _ in range(3))
        ctypes.windll.kernel32.GetSystemTimes(ctypes.byref(idle), ctypes.byref(kernel), ctypes.byref(user))
        total = kernel.value + user.value
        return (total - idle.value) * 1e-7, total * 1e-7
    if not stat.exists():
        return None
    # The first line of /proc/stat, in clock ticks; see proc(5).
    ticks = [int(field) for field in stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) * tick_s, sum(ticks) * tick_s


def _read(path: Path) -> str | None:
    """Return the text of one of the kernel's files; None if it can't be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _windows_power_status() -> bytes:
    """Ask GetSystemPowerStatus, 12 bytes: the first is 0 on battery and 1 on mains, the fourth 1 in battery saver."""
    buffer = ctypes.create_string_buffer(12)
    if not ctypes.windll.kernel32.GetSystemPowerStatus(buffer):  # type: ignore[attr-defined,unused-ignore]
        return b""
    return buffer.raw


def _windows_power_mode() -> UUID | None:
    """Ask PowerGetEffectiveOverlayScheme, which Windows has since 10, version 1709; None if it is missing or fails."""
    guid = ctypes.create_string_buffer(16)
    try:
        failed = ctypes.windll.powrprof.PowerGetEffectiveOverlayScheme(guid)  # type: ignore[attr-defined,unused-ignore]
    except (AttributeError, OSError):
        return None
    return None if failed else UUID(bytes_le=guid.raw)
