"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path


def build() -> str:
    """ " free-threaded" where the interpreter can run without the GIL, and does."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return ""
    enabled: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
    return " free-threaded, but with the GIL" if enabled else " free-threaded"


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
        "Python": f"{platform.python_implementation()} {sys.version.split()[0]}{build()}",
    }
