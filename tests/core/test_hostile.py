"""Somebody scribbles over a live segment, its header included, while others use all that is in it:
answers may be wrong, but every call comes back, and nothing outside is touched."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from core.kit import BARRIER, COND, EVENT, LOCK, PAGE, RLOCK, SEM, Kit, Thing
from core.patient import BACKENDS

SECONDS = 1.0
KINDS = (SEM, LOCK, RLOCK, EVENT, COND, BARRIER)


def scribble(kit: Kit, thing: Thing, until: float) -> int:
    """As fast as it goes: single bytes, whole words, and what had been there before."""
    memory = memoryview(kit.ffi.buffer(kit.ffi.cast("char *", thing.slot) - thing.offset, PAGE))
    before, written = bytes(memory), 0
    while time.monotonic() < until:
        at = random.randrange(0, PAGE, 8) if random.random() < 0.3 else random.randrange(128, 1024)
        size = random.choice((1, 4, 8))
        size = min(size, PAGE - at)
        new = random.choice(
            (bytes(size), b"\xff" * size, random.randbytes(size), before[at:][:size])
        )
        memory[at : at + size] = new
        written += 1
    return written


def use(kit: Kit, things: dict[int, Thing], until: float) -> int:
    number, index = kit.out("uint32_t"), kit.out("uint32_t")
    sem, lock, rlock, event, cond, barrier = (things[kind] for kind in KINDS)
    soon, calls = lambda: kit.deadline(0.0005), 0
    while time.monotonic() < until:
        for call in (
            sem.sem_try, lambda: sem.sem_wait(soon()), sem.post, sem.sem_value, sem.waiters,
            lock.lock_try, lambda: lock.lock_wait(soon()), lock.lock_release, lock.lock_is_ours,
            lambda: kit.judge(lock.lock_owner_tid(), lock.lock_owner_id(), 0),
            lambda: rlock.lock_wait(soon()), rlock.rlock_again, rlock.rlock_release,
            lambda: rlock.rlock_release_all(number), rlock.rlock_depth, rlock.lock_disown,
            event.event_set, event.event_clear, lambda: event.event_wait(event.event_now(), soon()),
            lambda: cond.cond_enter(number), lambda: cond.cond_sleep(number[0], soon()),
            lambda: cond.cond_leave(number[0]), lambda: cond.cond_notify(2**32 - 1),
            lambda: barrier.barrier_arrive(1, soon(), index, number),
            lambda: barrier.barrier_trip(number[0]), barrier.barrier_abort, barrier.barrier_reset,
            barrier.barrier_waiting, lambda: kit.lib.altsem_segment_namespace(sem.segment),
        ):  # fmt: skip
            call()
            calls += 1
    return calls


@pytest.mark.limit(90)
@pytest.mark.parametrize("backend", [*BACKENDS, "filelock"])
def test_who_shares_a_segment_with_a_scribbler_gets_an_answer_to_every_call(
    program, backend: str, tmp_path: Path
) -> None:
    code = """
import time
from core.test_hostile import *
things = {kind: kit.new(kind, 1 if kind < EVENT else 0, 3) for kind in KINDS}
crew, end = Crew(), time.monotonic() + SECONDS
scribbler = crew.child(scribble, kit, things[SEM], end)
users = [crew.child(use, kit, things, end) for _ in range(2)]
assert scribbler.result(60) > 0
assert all(user.result(60) > 0 for user in users)
# What is made by a process that has no part in that segment is sound.
def others():
    sem = kit.sem(1)
    return sem.segment != things[SEM].segment, sem.sem_try(), sem.post(), sem.sem_value()
assert crew.child(others).result(60) == (True, OK, OK, 1)
crew.close()
print("good")
"""
    assert program(code, env={"ALTSEM_BACKEND": backend}) == "good\n"
