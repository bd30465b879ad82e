"""The machine that was measured on, and what it was doing."""

import ctypes
import datetime as dt
import os
import platform
import sys
import time
from pathlib import Path

from overfly.benchmarks.report import Environment
from overfly.runtime.devices import full_name
from overfly.runtime.machine import memory_bytes, usable_cores
from overfly.runtime.versions import installed_versions

_PROC_STAT = Path("/proc/stat")
_POWER_SUPPLY = Path("/sys/class/power_supply")
_LOOK_S = 0.5


def describe_environment(busy: float | None) -> Environment:
    """Return the machine's record; `busy` is what `busy_fraction` said before the work began."""
    return Environment(
        system=platform.platform(),
        cpu=full_name("CPU"),
        n_cores=usable_cores(),
        memory_bytes=memory_bytes(),
        power_source=power_source(),
        busy_fraction=busy,
        versions=installed_versions(),
        timestamp=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
    )


def busy_fraction(stat: Path = _PROC_STAT) -> float | None:
    """Return how much of the processor's time others use right now, in [0, 1]; None where it can't tell.

    On Linux, by looking for half a second: the load average would still count the training that
    ended a moment ago. Elsewhere the load average of the last minute for each core.
    """
    if stat.exists():
        before = _busy_and_total(stat)
        time.sleep(_LOOK_S)
        after = _busy_and_total(stat)
        passed = after[1] - before[1]
        return (after[0] - before[0]) / passed if passed > 0 else None
    if hasattr(os, "getloadavg"):
        return float(min(1.0, os.getloadavg()[0] / usable_cores()))
    return None


def power_source(supplies: Path = _POWER_SUPPLY) -> str | None:
    """Return ``mains`` or ``battery``; None where the machine does not tell."""
    if sys.platform == "win32":
        return _windows_power_source()
    online = [_read(path) for path in sorted(supplies.glob("*/online"))]
    discharging = any(_read(path) == "Discharging" for path in sorted(supplies.glob("BAT*/status")))
    if not online and not discharging:
        return None
    return "battery" if discharging or "1" not in online else "mains"


def _busy_and_total(stat: Path) -> tuple[int, int]:
    """Return the busy and all clock ticks since boot: the first line of /proc/stat, see proc(5)."""
    ticks = [int(field) for field in stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def _read(path: Path) -> str | None:
    """Return the content of a file of the kernel's, None where it can't be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _windows_power_source() -> str | None:
    """Ask GetSystemPowerStatus; the first byte of its structure is 0 on battery and 1 on mains."""
    buffer = ctypes.create_string_buffer(12)
    if not ctypes.windll.kernel32.GetSystemPowerStatus(buffer):  # type: ignore[attr-defined,unused-ignore]
        return None
    return {0: "battery", 1: "mains"}.get(buffer.raw[0])
