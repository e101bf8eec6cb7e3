"""One process, nobody else there: the path that every program takes most."""

from __future__ import annotations

import multiprocessing
import sysconfig
import tempfile
import threading
from _multiprocessing import SemLock
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from subprocess import run
from time import perf_counter
from typing import Any

import posix_ipc

import altsem

from .measure import Rows, Timing, name, paired, scaled

ROUNDS = 41
N = 50_000


def bound(lock: Any, n: int) -> Timing:
    acquire, release = lock.acquire, lock.release

    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            acquire()
            release()
        return (perf_counter() - start) / n

    return go


def attribute(lock: Any, n: int) -> Timing:
    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            lock.acquire()
            lock.release()
        return (perf_counter() - start) / n

    return go


def with_statement(lock: Any, n: int) -> Timing:
    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            with lock:
                pass
        return (perf_counter() - start) / n

    return go


def calls(function: Callable[[], Any], n: int) -> Timing:
    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            function()
        return (perf_counter() - start) / n

    return go


def held_try(lock: Any, n: int) -> Timing:
    acquire = lock.acquire

    def go() -> float:
        start = perf_counter()
        for _ in range(n):
            acquire(True, 0)
        return (perf_counter() - start) / n

    return go


def nothing() -> Any:
    """An object whose enter and exit are C functions that do nothing: the interpreter's floor."""
    source = Path(__file__).with_name("floor.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "floor.so"
        include = sysconfig.get_path("include")
        run(["cc", "-O2", "-shared", "-fPIC", f"-I{include}", source, "-o", library], check=True)
        loader = ExtensionFileLoader("floor", str(library))
        module = module_from_spec(spec_from_loader("floor", loader))  # type: ignore[arg-type]
        loader.exec_module(module)
    return module.Nothing()


def rows() -> Rows:
    rounds = scaled(ROUNDS)
    native = multiprocessing.get_context("fork")
    kinds = (
        ("Lock", altsem.Lock, native.Lock, (1, 1, 1)),
        ("RLock", altsem.RLock, native.RLock, (0, 1, 1)),
        ("Semaphore", altsem.Semaphore, native.Semaphore, (1, 1, 2**31 - 1)),
        ("BoundedSemaphore", altsem.BoundedSemaphore, native.BoundedSemaphore, (1, 1, 1)),
    )
    for kind, ours, theirs, arguments in kinds:
        peer = SemLock(*arguments, name(), True)
        yield paired(
            f"bound `a(); r()`, {kind}", "native", bound(ours(), N), bound(peer, N), 0.85, rounds
        )
        yield paired(
            f"`L.acquire(); L.release()`, {kind}",
            "native",
            attribute(ours(), N),
            attribute(theirs(), N),
            0.65,
            rounds,
        )
        yield paired(
            f"`with L:`, {kind}",
            "native",
            with_statement(ours(), N),
            with_statement(theirs(), N),
            0.42,
            rounds,
        )
    lock = altsem.Lock()
    yield paired(
        "`with L:`",
        "an empty C object",
        with_statement(lock, N),
        with_statement(nothing(), N),
        1.10,
        rounds,
    )
    yield paired(
        "`with L:`",
        "threading.Lock",
        with_statement(lock, N),
        with_statement(threading.Lock(), N),
        0.65,
        rounds,
    )
    semaphore = posix_ipc.Semaphore(name(), posix_ipc.O_CREX, initial_value=1)
    semaphore.unlink()
    yield paired(
        "`with L:`, Semaphore",
        "posix_ipc",
        with_statement(altsem.Semaphore(), N),
        with_statement(semaphore, N),
        None,
        rounds,
    )
    yield paired(
        "create and drop a Lock",
        "native",
        calls(altsem.Lock, N),
        calls(native.Lock, 200),
        0.01,
        rounds,
    )
    ours_event, theirs_event = altsem.Event(), native.Event()
    yield paired(
        "`Event.is_set()`",
        "native",
        calls(ours_event.is_set, N),
        calls(theirs_event.is_set, N // 10),
        0.08,
        rounds,
    )
    yield paired(
        "`Event.set()` on a set one",
        "native",
        calls(ours_event.set, N),
        calls(theirs_event.set, N // 10),
        None,
        rounds,
    )
    ours_held, theirs_held = altsem.Lock(), native.Lock()
    with ours_held, theirs_held:
        yield paired(
            "`acquire(timeout=0)` on a held Lock",
            "native",
            held_try(ours_held, N),
            held_try(theirs_held, 300),
            0.005,
            rounds,
        )
    with multiprocessing.Manager() as manager:
        yield paired(
            "`L.acquire(); L.release()`, Lock",
            "Manager().Lock()",
            attribute(altsem.Lock(), N),
            attribute(manager.Lock(), 300),
            0.005,
            scaled(15),
        )
