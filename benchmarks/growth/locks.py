"""Locks alive at once: what the next one costs, to make, to take, to drop, and to keep."""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable
from functools import partial
from operator import mul
from time import perf_counter
from typing import Any

import altsem

from ..measuring.memory import mappings, shared_bytes
from .clock import OPERATIONS, ROUNDS, clock, descriptors, each, isolated, pair, resident
from .series import CONSTANT, LINEAR, Chart, Column, Point, Series

SIZES = (1, 10, 100, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


class Plain:
    """An object that the collector looks at, as it does at a lock, and nothing more."""


def _created(make: Callable[[], Any], n: int) -> float:
    """Median seconds to make one of n."""
    spans = []
    for _ in range(min(max(OPERATIONS // n, 3), 300)):
        start = perf_counter()
        made = [make() for _ in range(n)]
        spans.append((perf_counter() - start) / n)
        del made
    return statistics.median(spans)


def _at(n: int) -> Point:
    point: Point = {}
    gc.disable()
    reading = clock()
    held_before, open_before = resident(), descriptors()
    made, taken, dropped = [], [], []
    for number in range(min(max(OPERATIONS // n, 3), 1000)):
        start = perf_counter()
        locks = [altsem.Lock() for _ in range(n)]
        made.append(max(perf_counter() - start - reading, 1e-9))
        taken.append(max(each(locks) - reading, 1e-9))
        if number == 0:
            point["process bytes"] = max(resident() - held_before, 0)
            point["shared bytes"] = shared_bytes()
            point["mappings"] = mappings()
            point["descriptors"] = descriptors() - open_before
        start = perf_counter()
        locks.clear()
        dropped.append(max(perf_counter() - start - reading, 1e-9))

    locks = [altsem.Lock() for _ in range(n)]
    one = locks[n // 2]
    point["same"] = pair(partial(mul, [one], OPERATIONS))
    point["random"] = pair(partial(random.choices, locks, k=OPERATIONS))
    more = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(OPERATIONS):
            altsem.Lock()
        more.append((perf_counter() - start) / OPERATIONS)
    point["one more"] = statistics.median(more)
    total = [sum(costs) for costs in zip(made, taken, dropped, strict=True)]
    point["create"] = statistics.median(made) / n
    point["drop"] = statistics.median(dropped) / n
    point["total"] = statistics.median(total)
    del locks, one
    gc.enable()
    point["collected"], point["plain"] = _created(altsem.Lock, n), _created(Plain, n)
    return point


def measure(quick: bool) -> list[Point]:
    return isolated(_at, (n for n in SIZES if not quick or n <= 100_000))


SERIES = Series(
    name="locks",
    title="Locks alive",
    of="locks alive",
    columns=(
        Column("create", "create, each", at_most=CONSTANT, paced=True),
        Column("one more", "create and drop one more", at_most=CONSTANT, paced=True),
        Column("same", "take and release, always the same", at_most=CONSTANT, paced=True),
        Column("random", "take and release, a random one", paced=True),
        Column("drop", "drop, each", at_most=CONSTANT, paced=True),
        Column("collected", "create, the collector running", paced=True),
        Column("plain", "create an empty object, the same way", paced=True),
        Column("total", "create, take once and drop all", at_most=LINEAR, paced=True),
        Column("shared bytes", "shared memory", "B", LINEAR),
        Column("process bytes", "memory of the process", "B", LINEAR),
        Column("mappings", "mappings", ""),
        Column("descriptors", "descriptors", ""),
    ),
    charts=(
        Chart(
            "times",
            "Time per operation",
            "time per operation",
            ("create", "collected", "plain", "same", "random", "drop"),
        ),
        Chart("memory", "Memory", "memory", ("shared bytes", "process bytes")),
    ),
    text=(
        "Each size has a process of its own.  Creating is a loop over all n, so it contains the "
        "segments that are made on the way and the first touch of every page.  Python's collector "
        "is off, but for two rows: it looks at a few objects only once, but at many again and "
        "again, and outside the cache, which makes an empty object dearer as well as a lock.  "
        "Always the same lock stays in the cache; a random one of many does not, nor does its "
        "Python object, and what is added there as n grows is the memory of the machine, which is "
        "why no limit is set for it.  Shared memory comes in pages and segments, so one lock "
        "occupies as much as sixty.  Memory of the process is resident memory: the list of the "
        "locks, their Python objects and the shared part."
    ),
    measure=measure,
)
