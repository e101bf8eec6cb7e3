"""Timing loops that the series share, and a fresh process for each size."""

from __future__ import annotations

import json
import os
import statistics
import threading
from collections.abc import Callable, Iterable
from functools import partial
from operator import mul
from pathlib import Path
from time import perf_counter
from typing import Any

from .series import Point

OPERATIONS = 20_000
ROUNDS = 5


def each(locks: list[Any]) -> float:
    """Seconds to take and release each of them once."""
    start = perf_counter()
    for lock in locks:
        with lock:
            pass
    return perf_counter() - start


def pair(draw: Callable[[], list[Any]]) -> float:
    """Median seconds per acquire and release.  Every round draws its locks anew, so that those of
    the round before, which are in the cache, are no help."""
    rounds = [draw() for _ in range(ROUNDS)]
    return statistics.median(each(locks) / len(locks) for locks in rounds)


def clock() -> float:
    """What reading the clock adds to a span."""
    spans = []
    for _ in range(1001):
        start = perf_counter()
        spans.append(perf_counter() - start)
    return statistics.median(spans)


def pace() -> float:
    """Seconds to take and release a threading.Lock: how fast the processor is just now.

    An empty loop does not do: a processor that is slower at calls and at atomic steps for a while
    may be as fast as ever at turning round.
    """
    lock = threading.Lock()
    return pair(partial(mul, [lock], OPERATIONS))


def sized(measure: Callable[[int], Point], n: int) -> Point:
    """What `measure(n)` finds, with n and the pace of the processor meanwhile."""
    before = pace()
    point = measure(n)
    return {"n": n, "pace": (before + pace()) / 2, **point}


def resident() -> int:
    """Bytes of memory that this process occupies now, shared ones included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """How many this process has open; that of the listing itself is not counted."""
    return len(os.listdir("/proc/self/fd")) - 1


def isolated(measure: Callable[[int], Point], sizes: Iterable[int]) -> list[Point]:
    """`measure(n)` for each size, in a forked process of its own: what a size leaves in the heap
    and in the pool of segments does not help the next one."""
    points: list[Point] = []
    for n in sizes:
        here, there = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(here)
                with open(there, "w") as answer:
                    json.dump(sized(measure, n), answer)
                status = 0
            finally:
                # Also after an exception: nothing of the parent's may run a second time here.
                if status:
                    import traceback

                    traceback.print_exc()
                os._exit(status)
        os.close(there)
        with open(here) as answer:
            text = answer.read()
        os.waitpid(pid, 0)
        if not text:
            raise RuntimeError(f"the measurement for n = {n} failed")
        points.append(json.loads(text))
    return points
