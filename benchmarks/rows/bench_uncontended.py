"""One process, nobody else there: the path that every program takes most."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import altsem

from ..measuring.rounds import N, attribute, bound, calls, with_statement
from ..workloads.peers import FORK, nothing, posix_semaphore, semlock, sysv_semaphore
from .conftest import Pair

PART = "One process, nobody else there"
EMPTY = "an empty C object"  # whose methods do nothing: what the interpreter itself costs

# Calling a native method became cheap in 3.13: from there on what can be asked is how little is
# ours above the calls themselves.
CHEAP_CALLS = sys.version_info >= (3, 13)
FLOOR = 1.15 if CHEAP_CALLS else None

kinds = pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])


def ours(kind: str) -> Any:
    return getattr(altsem, kind)()


def theirs(kind: str) -> Any:
    return getattr(FORK, kind)()


@kinds
def test_bound(pair: Pair, kind: str) -> None:
    at_most = None if CHEAP_CALLS else 0.85
    pair(f"bound `a(); r()`, {kind}", "native", bound(ours(kind)), bound(semlock(kind)), at_most)


@kinds
def test_bound_floor(pair: Pair, kind: str) -> None:
    pair(f"bound `a(); r()`, {kind}", EMPTY, bound(ours(kind)), bound(nothing()), FLOOR)


@kinds
def test_attribute(pair: Pair, kind: str) -> None:
    work = f"`L.acquire(); L.release()`, {kind}"
    at_most = None if CHEAP_CALLS else 0.65
    pair(work, "native", attribute(ours(kind)), attribute(theirs(kind)), at_most)


@kinds
def test_attribute_floor(pair: Pair, kind: str) -> None:
    work = f"`L.acquire(); L.release()`, {kind}"
    pair(work, EMPTY, attribute(ours(kind)), attribute(nothing()), FLOOR)


@kinds
def test_with(pair: Pair, kind: str) -> None:
    work = f"`with L:`, {kind}"
    pair(work, "native", with_statement(ours(kind)), with_statement(theirs(kind)), 0.42)


@kinds
def test_with_floor(pair: Pair, kind: str) -> None:
    work = f"`with L:`, {kind}"
    pair(work, EMPTY, with_statement(ours(kind)), with_statement(nothing()), 1.10)


def test_with_threading(pair: Pair) -> None:
    lock, peer = with_statement(altsem.Lock()), with_statement(threading.Lock())
    # Since 3.14 `with` makes no bound methods, so threading.Lock has become as cheap as can be.
    at_most = 0.65 if sys.version_info < (3, 14) else 1.0
    pair("`with L:`, Lock", "threading.Lock", lock, peer, at_most)


def test_bound_threading(pair: Pair) -> None:
    pair("bound `a(); r()`, Lock", "threading.Lock", bound(altsem.Lock()), bound(threading.Lock()))


def test_with_posix_ipc(pair: Pair) -> None:
    semaphore, peer = with_statement(altsem.Semaphore()), with_statement(posix_semaphore())
    pair("`with L:`, Semaphore", "posix_ipc", semaphore, peer)


def test_with_sysv_ipc(pair: Pair) -> None:
    peer = sysv_semaphore()
    try:
        semaphore = with_statement(altsem.Semaphore())
        pair("`with L:`, Semaphore", "sysv_ipc", semaphore, with_statement(peer, N // 10))
    finally:
        peer.remove()


def test_attribute_filelock(pair: Pair, tmp_path: Path) -> None:
    import filelock

    peer = attribute(filelock.FileLock(tmp_path / "lock"), 500)
    pair("`L.acquire(); L.release()`, Lock", "filelock", attribute(altsem.Lock()), peer)


def test_attribute_manager(pair: Pair) -> None:
    with multiprocessing.Manager() as manager:
        lock, peer = attribute(altsem.Lock()), attribute(manager.Lock(), 300)
        pair("`L.acquire(); L.release()`, Lock", "Manager().Lock()", lock, peer, 0.005, 15)


# Only of locks is a figure asked.
@pytest.mark.parametrize(
    ("kind", "at_most"),
    [("Lock", 0.01), ("RLock", 0.01), ("Semaphore", None), ("Event", None), ("Condition", None)],
)
def test_create(pair: Pair, kind: str, at_most: float | None) -> None:
    mine, peer = calls(getattr(altsem, kind), N // 5), calls(getattr(FORK, kind), 100)
    pair(f"create and drop, {kind}", "native", mine, peer, at_most)


def test_try(pair: Pair) -> None:
    mine, peer = altsem.Lock(), FORK.Lock()
    with mine, peer:
        work = "`acquire(False)` on a held Lock"
        pair(work, "native", calls(mine.acquire, N, False), calls(peer.acquire, N, False))


def test_zero_timeout(pair: Pair) -> None:
    mine, peer = altsem.Lock(), FORK.Lock()
    with mine, peer:
        work = "`acquire(timeout=0)` on a held Lock"
        ours, theirs = calls(mine.acquire, N, True, 0), calls(peer.acquire, 300, True, 0)
        pair(work, "native", ours, theirs, 0.005)


def test_is_set(pair: Pair) -> None:
    mine, peer = altsem.Event(), FORK.Event()
    pair("`Event.is_set()`", "native", calls(mine.is_set), calls(peer.is_set, N // 10), 0.08)


def test_set(pair: Pair) -> None:
    mine, peer = altsem.Event(), FORK.Event()
    pair("`Event.set()` on a set one", "native", calls(mine.set), calls(peer.set, N // 10))
