"""Processes attached to one lock: those that do nothing cost nothing, and all get their turn."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import statistics
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import altsem

from ..measuring.memory import shared_bytes
from .clock import OPERATIONS, ROUNDS, pair, sized
from .series import CONSTANT, LINEAR, Chart, Column, Point, Series

SIZES = (1, 2, 5, 10, 20, 50, 100, 200)
TAKE, NATIVE, ANSWER, END = b"t", b"n", b"a", b"e"


def _mapped(pid: int) -> dict[str, int]:
    """Bytes of the mappings of altsem in that process: resident, and of these its own alone."""
    found = {"Rss": 0, "Private": 0}
    ours = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        what, _, rest = line.partition(":")
        if " " in what:  # the line that opens a mapping
            ours = "memfd:altsem" in line
        elif ours:
            for name in found:
                if what.startswith(name):
                    found[name] += int(rest.split()[0]) * 1024
    return found


class Attached:
    """Processes that hold one lock and sleep in the kernel, not on the lock, until they are told.

    One write of n bytes tells n of them.  Rounds use two pipes in turn, so that one that is quick
    cannot take the byte of another's turn for its own next one.
    """

    def __init__(self, most: int) -> None:
        self._context: Any = altsem.get_context("fork")
        self.lock = self._context.Lock()
        self._native = multiprocessing.get_context("fork").Lock()
        self._told = (os.pipe(), os.pipe())
        self._done = os.pipe()
        self._round = 0
        self._finished: Any = (ctypes.c_double * most).from_buffer(mmap.mmap(-1, 8 * most))
        self._taken: Any = ctypes.c_long.from_buffer(mmap.mmap(-1, 8))
        self.children: list[Any] = []

    def add(self) -> None:
        arguments = (len(self.children), self._round)
        child = self._context.Process(target=self._serve, args=arguments, daemon=True)
        child.start()
        self.children.append(child)

    def _serve(self, me: int, first: int) -> None:
        for number in count(first):
            command = os.read(self._told[number % 2][0], 1)
            if command == END:
                return
            if command != ANSWER:
                with self.lock if command == TAKE else self._native:
                    self._taken.value += 1
            self._finished[me] = perf_counter()  # of CLOCK_MONOTONIC: the same in all processes
            os.write(self._done[1], b".")

    def tell(self, command: bytes) -> float:
        """Seconds until the last of them has done it."""
        n = len(self.children)
        before = self._taken.value
        start = perf_counter()
        os.write(self._told[self._round % 2][1], command * n)
        self._round += 1
        left = n
        while left:
            left -= len(os.read(self._done[0], left))
        if command != ANSWER and self._taken.value != before + n:
            raise RuntimeError("the lock let two in at once")
        return float(max(self._finished[:n])) - start

    def close(self) -> None:
        os.write(self._told[self._round % 2][1], END * len(self.children))
        for child in self.children:
            child.join()
        for end in (*self._told[0], *self._told[1], *self._done):
            os.close(end)


def measure(quick: bool) -> list[Point]:
    sizes = [n for n in SIZES if not quick or n <= 50]
    crowd = Attached(sizes[-1])

    def at(n: int) -> Point:
        while len(crowd.children) < n:
            crowd.add()
        crowd.tell(ANSWER)  # all have started
        spans: dict[bytes, list[float]] = {TAKE: [], NATIVE: [], ANSWER: []}
        for _ in range(2 * ROUNDS + 1):
            for command, seen in spans.items():
                seen.append(crowd.tell(command))
        took = statistics.median(spans[TAKE])
        in_child = _mapped(crowd.children[-1].pid)
        return {
            "idle": pair(lambda: [crowd.lock] * OPERATIONS),
            "all": took,
            "per process": took / n,
            "native": statistics.median(spans[NATIVE]),
            "answer": statistics.median(spans[ANSWER]),
            "shared bytes": shared_bytes(),
            "child resident": in_child["Rss"],
            "child private": in_child["Private"],
        }

    points = [sized(at, n) for n in sizes]
    crowd.close()
    return points


SERIES = Series(
    name="processes",
    title="Processes attached to one lock",
    of="processes",
    columns=(
        Column("idle", "take and release while all are idle", at_most=CONSTANT, paced=True),
        Column("all", "all told at once, each takes it once", at_most=LINEAR),
        Column("per process", "told at once, per process"),
        Column("native", "all told at once, each takes the native lock"),
        Column("answer", "all told at once, nobody takes it"),
        Column("shared bytes", "shared memory of all", "B", CONSTANT),
        Column("child resident", "of it resident in a child", "B", CONSTANT),
        Column("child private", "private to a child", "B"),
    ),
    charts=(Chart("times", "Time", "time", ("idle", "all", "native", "answer", "per process")),),
    text=(
        "Processes that hold the lock and do nothing do not slow down the one that uses it.  Told "
        "at once, they come one after the other, for there are more of them than CPUs.  Much of "
        "that time is the system's, which wakes each of them and gives it a CPU whose cache knows "
        "nothing of it: see the rows for the native lock and for none.  All of them have the same "
        "memory of the lock: another process adds nothing to it."
    ),
    measure=measure,
)
