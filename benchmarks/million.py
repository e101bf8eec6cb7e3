"""A million locks alive at once: time, memory, mappings.  `python -m benchmarks.million [N]`."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from time import perf_counter
from typing import Any

import altsem
from altsem import _core

from . import ROOT
from .measuring.memory import mappings, shared_bytes

LOCKS = 1_000_000
# What is asked for, by the name of the figure.  A lock has 64 bytes.  The headers of segments and
# the unused end of the last one come on top: its memory is had when it is made, not at the first
# touch, which would kill where there is no more.
AT_LEAST = {"locks": LOCKS}
AT_MOST = {"shared bytes per lock": 66}


def measure(n: int) -> dict[str, float]:
    """Nanoseconds per lock to create, take and drop, and what they occupy."""
    fds = len(os.listdir("/proc/self/fd"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = perf_counter()
    locks = [altsem.Lock() for _ in range(n)]
    made = perf_counter()
    for lock in locks:
        with lock:
            pass
    used = perf_counter()
    figures = {
        "locks": n,
        "create, ns each": (made - start) / n * 1e9,
        "take and release each once, ns each": (used - made) / n * 1e9,
        "segments": _core.segments(),
        "mappings": mappings(),
        "descriptors more": len(os.listdir("/proc/self/fd")) - fds,
        "shared bytes per lock": shared_bytes() / n,
        "process bytes per lock, the Python object included": (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        )
        * 1024
        / n,
    }
    start = perf_counter()
    locks.clear()
    figures["drop, ns each"] = (perf_counter() - start) / n * 1e9
    figures["segments afterwards"] = _core.segments()
    return figures


def run(n: int = LOCKS) -> dict[str, Any]:
    """The figures, from a fresh interpreter: the memory that this one has had at most is no floor
    to count from."""
    command = [sys.executable, "-m", "benchmarks.million", str(n)]
    figures: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=ROOT))
    return figures


def section(figures: dict[str, Any]) -> str:
    """As Markdown."""
    lines = ["### Many locks\n", "| | |", "|---|---|"]
    for what, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
        lines.append(f"| {what} | {shown} |")
    return "\n".join(lines) + "\n"


def missed(figures: dict[str, Any]) -> list[str]:
    """What was aimed at and not reached, a sentence each."""
    few = [
        f"{n}: {figures[n]:,}, of {least:,}" for n, least in AT_LEAST.items() if figures[n] < least
    ]
    return few + [
        f"{name}: {figures[name]:.1f}, at most {most}"
        for name, most in AT_MOST.items()
        if round(figures[name]) > most
    ]


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if sys.argv[1:] else LOCKS), indent=1))
