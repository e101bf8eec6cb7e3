"""What the figures were taken on: benchmarks/measuring/machine.py, and altsem's own choices."""

from __future__ import annotations

import math
import os
import platform
import sys
from typing import Any

from .. import _core, _version, backend
from ..doctor.machine import Machine


def machine(method: str, where: Machine | None = None) -> dict[str, Any]:
    """By their names in the report.  Raises OSError if altsem does not work here."""
    where = where or Machine()
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = _core.cpu_quota() or None
    name = backend()
    return {
        "altsem": _version.__version__,
        "backend": str(name),
        "reason": name.reason,
        "memory": _memory(),
        "processor": where.field("/proc/cpuinfo", "model name") or platform.machine(),
        "CPUs by affinity": affinity or 1,
        "CPUs by quota": limit,
        "usable CPUs": usable(affinity or 1, limit),
        "governor": governor(where),
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "libc": " ".join(platform.libc_ver()).strip() or "not told",
        "Python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "start method": method,
        "load average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def usable(affinity: int, limit: float | None) -> int:
    """How many can work at once, at least 1."""
    return affinity if limit is None else max(1, min(affinity, math.ceil(limit)))


def governor(where: Machine) -> str:
    path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    return (where.text(path) or "").strip() or "not told"


def busy(facts: dict[str, Any]) -> str | None:
    """A hint, if others use this machine so much that it shows."""
    load, cpus = facts["load average"], facts["usable CPUs"]
    if load is None or load <= cpus:
        return None
    return f"The load average is {load:.1f}, above the {cpus} usable CPUs: expect wide spreads."


def _memory() -> str:
    fd, source = _core.memory(1)
    os.close(fd)
    return source
