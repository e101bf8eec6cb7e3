"""Processes of sibling PID namespaces, and threads one after the other, that have the same numbers:
none must be taken for another.

All in programs of their own: a segment that several namespaces have used is of no use to tests that
ask for owners, and a child has all those of its parent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import sandbox
from core.crew import Child, Task
from core.kit import EAGAIN, EPERM, OK, Kit, Thing

ROUNDS = 20


def alone(work: Callable[..., Any], *args: Any) -> Any:
    """What `work` returns as the first process of a PID namespace; None where there is none."""
    try:
        sandbox.unshare(sandbox.NEW_PID)
    except OSError:
        return None
    return Child(work, *args).result()


def run(program: Callable[..., str], work: str, *args: object) -> Any:
    """The result of a function of this file, called with a kit in an interpreter of its own."""
    told = program(
        f"from core import {Path(__file__).stem} as file\nprint(file.{work}(kit, *{args}))"
    )
    if told == "None\n":
        pytest.skip("not permitted here")
    return told.removesuffix("\n")


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


def siblings(kit: Kit, rounds: int) -> int | None:
    """How often both were inside, or anything else was wrong."""
    lock, taken, done = kit.rlock(), kit.sem(), kit.sem()
    wrong = 0
    for _ in range(rounds):
        holder = Child(alone, hold, lock, taken, done)
        intruder = Child(alone, intrude, lock, taken, done)
        told = holder.result()
        if told is None:
            intruder.kill()
            return None
        wrong += (told, intruder.result()) != (OK, (EAGAIN, 0, EPERM, 0))
    return wrong


def test_the_first_processes_of_sibling_pid_namespaces_never_own_one_lock_together(
    program: Callable[..., str],
) -> None:
    """Both are process 1 and thread 1, mostly born in one tick of the clock."""
    assert run(program, "siblings", ROUNDS) == "0"


def reused(kit: Kit) -> bool | None:
    lock = kit.rlock()

    def take() -> int:
        lock.lock_try()
        return threading.get_native_id()

    def look() -> tuple[int, int, int, int]:
        mine = lock.lock_is_mine(), lock.lock_is_ours(), lock.rlock_release()
        return threading.get_native_id(), *mine

    def work() -> bool | None:
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
                return bool(seen == (tid, 0, 1, EPERM))
        raise AssertionError("the number is never given again")

    return alone(work)  # type: ignore[no-any-return]


def test_a_thread_that_gets_the_number_of_an_ended_one_does_not_own_its_lock(
    program: Callable[..., str],
) -> None:
    """In a PID namespace of its own, where a process may say which number comes next."""
    assert run(program, "reused") == "True"
