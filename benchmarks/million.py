"""A million locks alive at once: time, memory, mappings.  `python -m benchmarks.million [N]`."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from time import perf_counter

import altsem
from altsem import _core


def mappings() -> int:
    return sum("memfd:altsem" in line for line in Path("/proc/self/maps").read_text().splitlines())


def shared_bytes() -> int:
    # The descriptor of the listing itself is closed by the time it is looked at.
    there = (fd for fd in Path("/proc/self/fd").iterdir() if fd.exists() or fd.is_symlink())
    ours = (fd for fd in there if "memfd:altsem" in str(fd.readlink()))
    return sum(os.stat(int(fd.name)).st_blocks * 512 for fd in ours)


def main(n: int) -> dict[str, float]:
    """Seconds per lock to create, take and drop, and what they occupy."""
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


if __name__ == "__main__":
    for what, figure in main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000).items():
        print(f"{what:55} {figure:12,.1f}")
