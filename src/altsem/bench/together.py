"""What is timed between processes.  Each object is what one child does, once it is there.

The children of a crew get the same order, each does its part of the round, then waits for the next.
So nobody has to be killed to be stopped.
"""

from __future__ import annotations

import os
from time import perf_counter, sleep
from typing import Any


class Pair:
    """One of two that pass something to each other, `n` times a round; on the given CPU, if one is
    given.  Raises OSError if this process may not choose it."""

    def __init__(self, there: Any, back: Any, cpu: int | None) -> None:
        self._there, self._back = there, back
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})


class Ping(Pair):
    """Gives the turn away and waits to get it back, `n` times; returns the seconds it took."""

    def __call__(self, n: int) -> float:
        there, back = self._there, self._back
        start = perf_counter()
        for _ in range(n):
            there.release()
            back.acquire()
        return perf_counter() - start


class Pong(Pair):
    """The other one: waits for the turn and gives it back."""

    def __call__(self, n: int) -> float:
        there, back = self._there, self._back
        for _ in range(n):
            there.acquire()
            back.release()
        return 0.0


class Asker(Pair):
    """Sets an event and waits for the answer, `n` times; returns the seconds it took."""

    def __call__(self, n: int) -> float:
        there, back = self._there, self._back
        start = perf_counter()
        for _ in range(n):
            there.set()
            back.wait()
            back.clear()
        return perf_counter() - start


class Answerer(Pair):
    """Waits for the event and answers with the other one."""

    def __call__(self, n: int) -> float:
        there, back = self._there, self._back
        for _ in range(n):
            there.wait()
            there.clear()
            back.set()
        return 0.0


class Contender:
    """Takes and releases a lock as fast as it can, from `begin` to `end` of perf_counter(), which
    is the same clock in all processes; returns how often it had it, at least once."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __call__(self, begin: float, end: float) -> int:
        lock, now, mine = self._lock, perf_counter, 0
        sleep(max(0.0, begin - now()))
        while True:
            with lock:
                mine += 1
            if now() >= end:
                return mine
