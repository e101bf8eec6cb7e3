"""One work in a process of its own, with the GIL or without it: what its absence costs or gains.

`python -m benchmarks.workloads.gil WORK` is that process: it does a round whenever it is told to.
The same free-threaded interpreter runs both sides, so nothing but the GIL differs.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import altsem

from .. import ROOT
from ..measuring.paired import Timing
from ..measuring.quick import quick
from ..measuring.rounds import N, attribute, bound, calls, with_statement
from .apart import PAIRS
from .crowd import Crowd
from .partner import condition_trip, event_trip, ping_pong
from .peers import OURS
from .threads import EACH, EACH_OF_ONE, Threads

THREADS = 8
CONTROL = "threading.Lock"  # none of ours: what the GIL hides from everybody
ROUND = 0.1 if quick() else 0.3  # seconds that a crowd runs
SHORT, LONG = 100, 400  # round trips in a round, where a hog may have the CPU, and elsewhere


def of(timing: Callable[[Any], Timing], kind: type) -> Timing:
    return timing(kind())


def held(*arguments: object) -> Timing:
    """`acquire(*arguments)` of a Lock that is taken."""
    lock = altsem.Lock()
    lock.acquire()
    return calls(lock.acquire, N, *arguments)


def threads(kind: Callable[[], object], locks: int, n: int) -> Timing:
    return Threads([kind() for _ in range(locks)], THREADS, n)


def crowd(kind: str, count: int, threads: int = 1) -> Timing:
    return Crowd(getattr(OURS, kind)(), count, threads, ROUND)


WORKS: dict[str, Callable[[], Timing]] = {
    **{
        f"{how}, {kind.__name__}": partial(of, timing, kind)
        for how, timing in [
            ("bound `a(); r()`", bound),
            ("`L.acquire(); L.release()`", attribute),
            ("`with L:`", with_statement),
        ]
        for kind in (altsem.Lock, altsem.RLock, altsem.Semaphore)
    },
    "create and drop, Lock": partial(calls, altsem.Lock, N // 5),
    "`acquire(False)` on a held Lock": partial(held, False),
    "`acquire(timeout=0)` on a held Lock": partial(held, True, 0),
    "`Event.is_set()`": lambda: calls(altsem.Event().is_set),
    f"{THREADS} threads with a Lock each": partial(threads, altsem.Lock, THREADS, EACH),
    f"{THREADS} threads with one Lock": partial(threads, altsem.Lock, 1, EACH_OF_ONE),
    f"{THREADS} threads with one {CONTROL}": partial(threads, threading.Lock, 1, EACH_OF_ONE),
    **{
        f"contended Lock, {count} processes": partial(crowd, "Lock", count)
        for count in (2, 4, 8, 32)
    },
    "contended Semaphore, 4 processes": partial(crowd, "Semaphore", 4),
    "contended Lock, 2 processes x 8 threads": partial(crowd, "Lock", 2, THREADS),
    "hand-off ping-pong of two processes": partial(ping_pong, OURS, LONG),
    "the same with one usable CPU": partial(ping_pong, OURS, LONG),
    "the same with every CPU busy": partial(ping_pong, OURS, SHORT),
    "Event set, wait round trip": partial(event_trip, OURS, LONG),
    "Condition notify, wait round trip": partial(condition_trip, OURS, LONG),
}


class Side:
    """The rounds of a work with the GIL, or without it, in a process that is new every few rounds:
    where the scheduler puts it and those it starts is left to chance each time."""

    def __init__(self, work: str, *, gil: bool) -> None:
        self._command = [sys.executable, "-m", "benchmarks.workloads.gil", work]
        self._env = {**os.environ, "PYTHON_GIL": str(int(gil))}
        self._process: subprocess.Popen[str] | None = None
        self._left = 0

    def _start(self) -> subprocess.Popen[str]:
        self.close()
        self._left = PAIRS
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._process

    def __call__(self) -> float:
        process = self._process
        if process is None or not self._left:
            process = self._start()
        self._left -= 1
        assert process.stdin is not None and process.stdout is not None
        print(file=process.stdin, flush=True)
        said = process.stdout.readline()
        if not said:
            raise RuntimeError(f"exit status {process.wait()} of {self._command}")
        return float(said)

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None


def serve(work: str) -> None:
    timing = WORKS[work]()
    with contextlib.ExitStack() as left:
        if hasattr(timing, "close"):
            left.callback(timing.close)
        timing()  # not counted: the first of a process
        for _ in sys.stdin:
            print(timing(), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
