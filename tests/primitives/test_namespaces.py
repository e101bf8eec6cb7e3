"""Locks between sibling PID namespaces, whose first processes have the same numbers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import pytest

import altsem
from support import fork, reap

ROUNDS = 10
NEW_PID = 0x20000000
NOT_PERMITTED = 77


def first_of_a_namespace(work: Callable[[], object]) -> Callable[[], None]:
    """Runs `work` in a child of the caller's that is process 1 of a PID namespace of its own."""

    def run() -> None:
        if ctypes.CDLL(None).unshare(NEW_PID) != 0:
            os._exit(NOT_PERMITTED)
        os._exit(reap(fork(work)))

    return run


def test_the_first_processes_of_sibling_pid_namespaces_never_own_one_rlock_together() -> None:
    context = altsem.get_context("fork")
    lock, taken, done = context.RLock(), context.Semaphore(0), context.Semaphore(0)

    def hold() -> None:
        with lock:
            taken.release()
            assert done.acquire(timeout=30)

    def intrude() -> None:
        assert os.getpid() == 1 and taken.acquire(timeout=30)
        try:
            assert not lock.acquire(False)
            with pytest.raises(AssertionError, match="not owned by thread"):
                lock.release()
        finally:
            done.release()

    for _ in range(ROUNDS):
        codes = [reap(pid) for pid in [fork(first_of_a_namespace(w)) for w in (hold, intrude)]]
        if codes[0] == NOT_PERMITTED:
            pytest.skip("no PID namespaces are permitted here")
        assert codes == [0, 0]
