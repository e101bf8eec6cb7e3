"""The program whose instructions are counted; runner.py runs it in callgrind.

Between two calls of getppid(), at which callgrind writes a part of its profile, is one loop of one
length.  Each case loops FEW times and then MANY times, so that the difference is MANY - FEW turns
and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from itertools import repeat
from types import FunctionType
from typing import Any

FEW, MANY = 1_000, 3_000
PARTS = 3  # of a case: what comes before, the FEW, the MANY

KINDS = ("Lock", "RLock", "Semaphore")
FORMS = ("bound", "with")
CASES = tuple(
    (form, kind, whose)
    for form in FORMS
    for kind in KINDS
    for whose in ("altsem", "SemLock", "multiprocessing")
    # Bound, multiprocessing's methods are those of its SemLock.
    if form == "with" or whose != "multiprocessing"
)


def bound(lock: Any, n: int) -> None:
    acquire, release = lock.acquire, lock.release
    for _ in repeat(None, n):
        acquire()
        release()


def with_statement(lock: Any, n: int) -> None:
    for _ in repeat(None, n):
        with lock:
            pass


def make(kind: str, whose: str) -> Any:
    """Raises OSError where native semaphores do not work."""
    if whose == "altsem":
        import altsem

        return getattr(altsem, kind)()
    if whose == "multiprocessing":
        return getattr(multiprocessing.get_context("fork"), kind)()
    from ..workloads.peers import semlock

    return semlock(kind)


def fresh(function: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    """A copy with a code object of its own: the interpreter adapts code to what it meets."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__.replace(), function.__globals__)


def main() -> None:
    for form, kind, whose in CASES:
        loop = fresh(bound if form == "bound" else with_statement)
        try:
            lock: Any = make(kind, whose)
        except OSError:
            lock = None  # its parts are empty, as the reader of them will see
        for n in (FEW, FEW, None, FEW, None, MANY, None):
            if n is None:
                os.getppid()
            elif lock is not None:
                loop(lock, n)


if __name__ == "__main__":
    main()
