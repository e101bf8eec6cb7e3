"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def machine() -> dict[str, str]:
    """The facts that figures depend on, by name; nothing that tells one machine from its like."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "processor": model,
        "usable CPUs": str(len(os.sched_getaffinity(0))),
        "governor": governor.read_text().strip() if governor.exists() else "not told",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "libc": " ".join(platform.libc_ver()) or "not told",
        "Python": f"{platform.python_implementation()} {sys.version.split()[0]}",
    }
