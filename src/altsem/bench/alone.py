"""What is timed in one process: the path that every program takes most.

A process makes what it needs when it is first asked for it, and keeps it.
"""

from __future__ import annotations

import multiprocessing
import threading
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    # Does something `n` times; returns the seconds that all of it took.
    Times = Callable[[int], float]

ALTSEM, NATIVE, THREADING = "altsem", "native", "threading.Lock"


def acquire_release(lock: Any) -> Times:
    def go(n: int) -> float:
        start = perf_counter()
        for _ in range(n):
            lock.acquire()
            lock.release()
        return perf_counter() - start

    return go


def with_statement(lock: Any) -> Times:
    def go(n: int) -> float:
        start = perf_counter()
        for _ in range(n):
            with lock:
                pass
        return perf_counter() - start

    return go


def try_held(lock: Any) -> Times:
    lock.acquire()
    acquire = lock.acquire

    def go(n: int) -> float:
        start = perf_counter()
        for _ in range(n):
            acquire(timeout=0)
        return perf_counter() - start

    return go


def calls(function: Callable[[], object]) -> Times:
    def go(n: int) -> float:
        start = perf_counter()
        for _ in range(n):
            function()
        return perf_counter() - start

    return go


@dataclass(frozen=True)
class Job:
    """`make` gets a context, or for THREADING the module `threading`."""

    title: str
    make: Callable[[Any], Times]
    peer: str = NATIVE


# By their keys in the JSON, in the order of the table.
JOBS: dict[str, Job] = {
    "acquire-lock": Job("acquire(); release(), Lock", lambda c: acquire_release(c.Lock())),
    "acquire-rlock": Job("acquire(); release(), RLock", lambda c: acquire_release(c.RLock())),
    "acquire-semaphore": Job(
        "acquire(); release(), Semaphore", lambda c: acquire_release(c.Semaphore())
    ),
    "with-lock": Job("with lock:, Lock", lambda c: with_statement(c.Lock())),
    "with-rlock": Job("with lock:, RLock", lambda c: with_statement(c.RLock())),
    "with-semaphore": Job("with lock:, Semaphore", lambda c: with_statement(c.Semaphore())),
    "with-threading": Job(
        "with lock:, to threading.Lock", lambda c: with_statement(c.Lock()), THREADING
    ),
    "create-drop": Job("create and drop a Lock", lambda c: calls(c.Lock)),
    "try-held": Job("acquire(timeout=0), held Lock", lambda c: try_held(c.Lock())),
    "event-is-set": Job("Event.is_set()", lambda c: calls(c.Event().is_set)),
}


class Alone:
    """In the child: `alone(key, side, n)` does a job `n` times, on the side of ALTSEM or a peer.

    Raises what the side raises if it does not work here.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._made: dict[tuple[str, str], Times] = {}

    def __call__(self, key: str, side: str, n: int) -> float:
        times = self._made.get((key, side))
        if times is None:
            times = self._made[key, side] = JOBS[key].make(context(side, self._method))
        return times(n)


def context(side: str, method: str) -> Any:
    """What the primitives of a side are made by."""
    if side == THREADING:
        return threading
    if side == NATIVE:
        return multiprocessing.get_context(method)
    from .. import get_context

    return get_context(method)
