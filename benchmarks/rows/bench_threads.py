"""Threads of one process: with the GIL they take turns, without it they run at once."""

from __future__ import annotations

import threading

import altsem

from ..workloads.threads import EACH, EACH_OF_ONE, FREE_THREADED, Threads
from .conftest import Pair

PART = "Threads of one process"
THREADS = 8
# Asked of builds without the GIL: with two CPUs, half the time is all there is to gain.
SCALES = 0.7 if FREE_THREADED else None


def locks(kind: type, count: int) -> list[object]:
    return [kind() for _ in range(count)]


def test_a_lock_each(pair: Pair) -> None:
    ours = Threads(locks(altsem.Lock, THREADS), THREADS)
    one = Threads(locks(altsem.Lock, 1), 1, THREADS * EACH)
    pair(f"{THREADS} threads with a Lock each", "one thread with one", ours, one, SCALES, 15)


def test_a_lock_each_to_threading(pair: Pair) -> None:
    ours = Threads(locks(altsem.Lock, THREADS), THREADS)
    theirs = Threads([threading.Lock() for _ in range(THREADS)], THREADS)
    pair(f"{THREADS} threads with a Lock each", "threading.Lock", ours, theirs, None, 15)


def test_one_lock(pair: Pair) -> None:
    ours = Threads(locks(altsem.Lock, 1), THREADS, EACH_OF_ONE)
    theirs = Threads([threading.Lock()], THREADS, EACH_OF_ONE)
    pair(f"{THREADS} threads with one Lock", "threading.Lock", ours, theirs, None, 15)
