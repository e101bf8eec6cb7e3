"""`__init__` called again while others wait: they stay with what they found, and nothing breaks."""

from __future__ import annotations

from typing import Any

import pytest

import altsem
from altsem import _core

# Each waits for longer than a slice, after which the core is called again.  New slots come from
# another segment than the old ones.
CODE = """
import sys, threading, time
import altsem
from altsem import _core
from support import wait_for_waiters, waiters

context = altsem.get_context("fork")
lock, rlock, event = context.Lock(), context.RLock(), context.Event()
semaphore, bounded = context.Semaphore(0), context.BoundedSemaphore(1)
many = context.BoundedSemaphore(2)
counting = altsem.SemLock(0, 1, 2, "/unused", True)
condition, barrier = context.Condition(), context.Barrier(2)
other = context.Condition(context.Lock())
for one in (lock, rlock, bounded, many, many, counting):
    one.acquire()

def wait_in(condition):
    condition.acquire()
    return condition.wait(1.5)  # and comes back with the lock that it had

def meet():
    try:
        barrier.wait(1.5)
    except threading.BrokenBarrierError:
        return False

def part(thing, kind):
    return next(value for value in vars(thing).values() if isinstance(value, kind))

waits = {
    **{name: lambda one=one: one.acquire(timeout=1.5) for name, one in {
        "lock": lock, "rlock": rlock, "semaphore": semaphore, "bounded": bounded, "many": many,
    }.items()},
    "event": lambda: event.wait(1.5),
    "condition": lambda: wait_in(condition),
    "on a lock": lambda: wait_in(other),
    "barrier": meet,
}
seen = {}
threads = [
    threading.Thread(target=lambda name=name, wait=wait: seen.setdefault(name, wait()))
    for name, wait in waits.items()
]
for thread in threads:
    thread.start()
waited_for = (lock, rlock, semaphore, bounded, many, event, condition, other, barrier)
for one in waited_for:
    wait_for_waiters(one)
padding = [altsem.Lock() for _ in range(500)]
for one in (lock, rlock, semaphore, bounded):
    one.__init__()
many.__init__(2)
event.__init__()
for one in (condition, other):
    part(one, _core.Cond).__init__()
    part(one, _core.SemLock).__init__()
part(barrier, _core.Rendezvous).__init__(2)
many.acquire()
# Taken at once, so that whoever turned to the new ones would have to sleep there.
print([one.acquire(False) for one in (lock, rlock, semaphore, bounded, many)], event.is_set())
for thread in threads:
    thread.join()
print(sorted(name for name in waits if name not in seen), [name for name in seen if seen[name]])
print([waiters(one) for one in waited_for], barrier.broken)
"""


@pytest.mark.parametrize("backend", ["futex", "sysv", "filelock"])
def test_who_waits_goes_on_waiting_where_it_began(run_script: Any, backend: str) -> None:
    if _core.backends().get(backend) != 0:
        pytest.skip("this backend does not work here")
    path = {"PYTHONPATH": __file__.rpartition("/primitives")[0]}
    done = run_script(CODE, env={"ALTSEM_BACKEND": backend, **path})
    assert done.returncode == 0, done.stderr
    assert done.stdout == (f"[True, True, True, True, True] False\n[] []\n{[0] * 9} False\n"), (
        done.stderr
    )


def test_who_is_made_again_is_as_new() -> None:
    for made in (altsem.Lock(), altsem.RLock(), altsem.BoundedSemaphore(1)):
        made.acquire()
        made.__init__()  # type: ignore[misc]
        assert made.acquire(False) and not (made.release() or made._semlock._count())


RACE = """
import threading, altsem
locks = [altsem.Lock(), altsem.RLock(), altsem.Semaphore(0), altsem.Event()]
over = threading.Event()

def use(lock):
    take = lock.wait if isinstance(lock, altsem.Event) else lock.acquire
    while not over.is_set():
        if take(timeout=0.001):
            try:
                lock.clear() if isinstance(lock, altsem.Event) else lock.release()
            except (ValueError, AssertionError):
                pass  # it is another one by now

threads = [threading.Thread(target=use, args=(lock,)) for lock in locks for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(500):
    for lock in locks:
        lock.__init__()
        if not isinstance(lock, altsem.Event):
            lock.acquire(False)
over.set()
for thread in threads:
    thread.join()
print("over")
"""


@pytest.mark.parametrize("backend", ["futex", "sysv", "filelock"])
def test_init_again_and_again_while_threads_use_it(run_script: Any, backend: str) -> None:
    if _core.backends().get(backend) != 0:
        pytest.skip("this backend does not work here")
    done = run_script(RACE, env={"ALTSEM_BACKEND": backend})
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr
