"""Rounds in one process: each is `n` times the same, in a loop in one function."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from .paired import Timing

N = 50_000


def bound(lock: Any, n: int = N) -> Timing:
    """`a(); r()`: the methods, looked up once."""
    acquire, release = lock.acquire, lock.release

    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            acquire()
            release()
        return (perf_counter() - start) / n

    return go


def attribute(lock: Any, n: int = N) -> Timing:
    """`L.acquire(); L.release()`."""

    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            lock.acquire()
            lock.release()
        return (perf_counter() - start) / n

    return go


def with_statement(lock: Any, n: int = N) -> Timing:
    """`with L: pass`."""

    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            with lock:
                pass
        return (perf_counter() - start) / n

    return go


def calls(function: Callable[..., Any], n: int = N, *arguments: Any) -> Timing:
    """`function(*arguments)`; what it returns is dropped at once."""

    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            function(*arguments)
        return (perf_counter() - start) / n

    return go
