"""Locks between sibling PID namespaces, whose first processes have the same numbers."""

from __future__ import annotations

from typing import Any

import pytest

ROUNDS = 10

# In a program of its own: a segment that several namespaces have used is judged by nobody any more.
CODE = """
import ctypes, os, sys
import altsem
from support import fork, reap

NEW_PID, NOT_PERMITTED = 0x20000000, 77
context = altsem.get_context("fork")
lock, taken, done = context.RLock(), context.Semaphore(0), context.Semaphore(0)

def hold():
    with lock:
        taken.release()
        assert done.acquire(timeout=30)

def intrude():
    assert os.getpid() == 1 and taken.acquire(timeout=30)
    try:
        assert not lock.acquire(False)
        try:
            lock.release()
        except AssertionError as error:
            assert "not owned by thread" in str(error)
        else:
            raise RuntimeError("it could release it")
    finally:
        done.release()

def first_of_a_namespace(work):
    if ctypes.CDLL(None).unshare(NEW_PID) != 0:
        os._exit(NOT_PERMITTED)
    os._exit(reap(fork(work)))

wrong = 0
for _ in range(int(sys.argv[1])):
    both = [fork(lambda work=work: first_of_a_namespace(work)) for work in (hold, intrude)]
    codes = [reap(pid) for pid in both]
    if NOT_PERMITTED in codes:
        print("not permitted")
        break
    wrong += codes != [0, 0]
print(wrong)
"""


def test_the_first_processes_of_sibling_pid_namespaces_never_own_one_rlock_together(
    run_script: Any,
) -> None:
    path = {"PYTHONPATH": __file__.rpartition("/primitives")[0]}
    done = run_script(CODE, ROUNDS, env=path)
    if "not permitted" in done.stdout:
        pytest.skip("no PID namespaces are permitted here")
    assert done.stdout == "0\n", done.stderr
