"""Processes of sibling PID namespaces, and threads one after the other, that have the same numbers:
none must be taken for another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import sandbox
from core.crew import Child, Crew, Task
from core.kit import EAGAIN, EPERM, OK, Kit, Thing

ROUNDS = 20


def alone(work: Callable[..., Any], *args: Any) -> Any:
    """What `work` returns as the first process of a PID namespace; None where there is none."""
    try:
        sandbox.unshare(sandbox.NEW_PID)
    except OSError:
        return None
    return Child(work, *args).result()


def hold(lock: Thing, taken: Thing, done: Thing) -> int:
    lock.lock_try()
    taken.post()
    done.wait()
    return int(lock.rlock_release())


def intrude(lock: Thing, taken: Thing, done: Thing) -> tuple[int, int, int, int]:
    taken.wait()
    # What an acquire and a release of the recursive lock do, one after the other.
    seen = lock.lock_try(), lock.lock_is_mine(), lock.rlock_release(), lock.rlock_depth()
    done.post()
    return seen


def test_the_first_processes_of_sibling_pid_namespaces_never_own_one_lock_together(
    kit: Kit, crew: Crew
) -> None:
    """Both are process 1 and thread 1, mostly born in one tick of the clock."""
    lock, taken, done = kit.rlock(), kit.sem(), kit.sem()
    for number in range(ROUNDS):
        holder = crew.child(alone, hold, lock, taken, done)
        intruder = crew.child(alone, intrude, lock, taken, done)
        told = holder.result()
        if told is None:
            intruder.kill()
            pytest.skip("no PID namespaces are permitted here")
        assert told == OK, number
        assert intruder.result() == (EAGAIN, 0, EPERM, 0), number
    assert lock.lock_is_free()


def test_a_thread_that_gets_the_number_of_an_ended_one_does_not_own_its_lock(
    kit: Kit, crew: Crew
) -> None:
    """In a PID namespace of its own, where a process may say which number comes next."""
    lock = kit.rlock()

    def take() -> int:
        lock.lock_try()
        return threading.get_native_id()

    def look() -> tuple[int, int, int, int]:
        mine = lock.lock_is_mine(), lock.lock_is_ours(), lock.rlock_release()
        return threading.get_native_id(), *mine

    def work() -> tuple[int, tuple[int, int, int, int]] | None:
        sandbox.own_mounts()
        sandbox.mount_proc("")
        tid = Task(take).result()
        for _ in range(1000):  # the kernel takes its time to forget a number
            try:
                Path("/proc/sys/kernel/ns_last_pid").write_text(str(tid - 1))
            except OSError:
                return None
            seen = Task(look).result()
            if seen[0] == tid:
                return tid, seen
        raise AssertionError("the number is never given again")

    told = crew.child(alone, work).result()
    if told is None:
        pytest.skip("nobody may choose the number of a process here")
    tid, seen = told
    assert seen == (tid, 0, 1, EPERM)
