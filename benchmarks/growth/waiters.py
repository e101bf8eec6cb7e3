"""Waiters asleep on one primitive: how long the waking call takes, and until the last is awake."""

from __future__ import annotations

import ctypes
import mmap
import statistics
import threading
from collections.abc import Callable
from time import perf_counter, sleep
from typing import Any

import altsem

from .clock import ROUNDS, sized
from .series import LINEAR, Chart, Column, Point, Series

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
PROCESSES = 4
STACK = 128 * 1024
SETTLE = 0.02  # seconds from "everybody has announced itself" to "everybody is asleep"


class Sleepers:
    """n threads in a few processes that wait for a semaphore, an event and a condition, in turn.

    Each says when it woke up on a board in shared memory, so nothing but the primitive itself is
    between the call and the time that counts, except the interpreter's lock of their process.
    """

    def __init__(self, n: int) -> None:
        context: Any = altsem.get_context("fork")
        self.n = n
        self.semaphore = context.Semaphore(0)
        self.event = context.Event()
        self.condition = context.Condition()
        self._awake: Any = (ctypes.c_double * n).from_buffer(mmap.mmap(-1, 8 * n))
        self._stop: Any = ctypes.c_int.from_buffer(mmap.mmap(-1, 4))
        shares = [range(n)[number::PROCESSES] for number in range(PROCESSES)]
        self._children = [
            context.Process(target=self._serve, args=(share,), daemon=True)
            for share in shares
            if share
        ]
        for child in self._children:
            child.start()

    def _serve(self, share: range) -> None:
        threading.stack_size(STACK)
        threads = [threading.Thread(target=self._sleep, args=(number,)) for number in share]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _sleep(self, me: int) -> None:
        awake = self._awake
        while True:
            self.semaphore.acquire()
            awake[me] = perf_counter()
            if self._stop.value:
                return
            self.event.wait()
            awake[me] = perf_counter()
            with self.condition:
                self.condition.wait()
                awake[me] = perf_counter()

    def _all_in(self, primitive: Any) -> None:
        while primitive.waiters < self.n:
            sleep(0.001)
        sleep(SETTLE)
        for number in range(self.n):
            self._awake[number] = 0.0

    def _woken(self, start: float) -> float:
        while not all(self._awake):
            sleep(0.001)
        return float(max(self._awake)) - start

    def release_each(self) -> tuple[float, float]:
        self._all_in(self.semaphore)
        release = self.semaphore.release
        start = perf_counter()
        for _ in range(self.n):
            release()
        called = perf_counter()
        return called - start, self._woken(start)

    def set_once(self) -> tuple[float, float]:
        self._all_in(self.event)
        start = perf_counter()
        self.event.set()
        called = perf_counter()
        return called - start, self._woken(start)

    def notify_all(self) -> tuple[float, float]:
        self._all_in(self.condition)
        self.event.clear()  # nobody waits for it any more
        with self.condition:
            start = perf_counter()
            self.condition.notify_all()
            called = perf_counter()
        return called - start, self._woken(start)

    def close(self) -> None:
        self._all_in(self.semaphore)
        self._stop.value = 1
        for _ in range(self.n):
            self.semaphore.release()
        for child in self._children:
            child.join()


def _at(n: int, rounds: int) -> Point:
    sleepers = Sleepers(n)
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "semaphore": sleepers.release_each,
        "event": sleepers.set_once,
        "condition": sleepers.notify_all,
    }
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seen[name].append(way())
    sleepers.close()
    point: Point = {}
    for name, times in seen.items():
        point[f"{name} call"] = statistics.median(call for call, _ in times)
        point[f"{name} last"] = statistics.median(last for _, last in times)
        point[f"{name} each"] = point[f"{name} last"] / n
    return point


def measure(quick: bool) -> list[Point]:
    rounds = 3 if quick else 2 * ROUNDS + 1
    return [sized(lambda n: _at(n, rounds), n) for n in SIZES if not quick or n <= 200]


SERIES = Series(
    name="waiters",
    title="Waiters asleep on one primitive",
    of="waiters",
    columns=(
        Column("semaphore call", "Semaphore: release(), n times", at_most=LINEAR),
        Column("semaphore last", "Semaphore: until the last is awake", at_most=LINEAR),
        Column("semaphore each", "Semaphore: the same per waiter"),
        Column("event call", "Event: set()", at_most=LINEAR),
        Column("event last", "Event: until the last is awake", at_most=LINEAR),
        Column("event each", "Event: the same per waiter"),
        Column("condition call", "Condition: notify_all()", at_most=LINEAR),
        Column("condition last", "Condition: until the last is awake", at_most=LINEAR),
        Column("condition each", "Condition: the same per waiter"),
    ),
    charts=(
        Chart(
            "calls",
            "The call that wakes all",
            "time of the call",
            ("semaphore call", "event call", "condition call"),
        ),
        Chart(
            "last",
            "From the beginning of the call until the last is awake",
            "time",
            ("semaphore last", "event last", "condition last"),
        ),
    ),
    text=(
        "The waiters are threads of four processes, so those of one process also wait for its "
        "interpreter's lock: of the time until the last is awake that is a part which no primitive "
        "can take away.  A waiter of the condition is awake when it has the lock again, which "
        "lets in one at a time."
    ),
    measure=measure,
)
