"""Several interpreters in a process, each with a GIL of its own; and the end of an interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import altsem
from support import GENEROUS, fork, reap, wait_for_waiters, wait_until

pytestmark = pytest.mark.limit(90)

Script = Callable[..., "subprocess.CompletedProcess[str]"]

several = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="interpreters share one GIL before 3.12"
)

# `run(code)` runs it in an interpreter of its own, and raises what that raised.
HEAD = """
import os, pickle, sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import altsem

def run(number, code):
    failed = interpreters.run_string(number, code)
    if failed is not None:
        raise RuntimeError(failed)

def all_at_once(*codes):
    failures = []
    def body(code):
        number = interpreters.create()
        try:
            run(number, code)
        except BaseException as error:
            failures.append(error)
        interpreters.destroy(number)
    threads = [threading.Thread(target=body, args=(code,)) for code in codes]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    if failures:
        raise failures[0]
"""
COUNTING = """
memory = os.memfd_create("counter")
os.truncate(memory, 4096)
lock = getattr(altsem, sys.argv[1])()
code = f'''
import mmap, pickle
lock, counter = pickle.loads({pickle.dumps(lock)!r}), mmap.mmap({memory}, 4096)
for _ in range(3000):
    with lock:
        counter[:8] = (int.from_bytes(counter[:8], "little") + 1).to_bytes(8, "little")
'''
all_at_once(code, code, code)
assert lock.acquire(False)
print(int.from_bytes(os.pread(memory, 8, 0), "little"))
"""
HANDING = """
there, back, event = altsem.Semaphore(0), altsem.Semaphore(0), altsem.Event()
sent = pickle.dumps((there, back, event))
all_at_once(
    f'''
import pickle
there, back, event = pickle.loads({sent!r})
for _ in range(500):
    assert there.acquire(timeout=30)
    back.release()
assert event.wait(30)
''',
    f'''
import pickle
there, back, event = pickle.loads({sent!r})
for _ in range(500):
    there.release()
    assert back.acquire(timeout=30)
event.set()
''')
print("good")
"""
ENDING = """
lock = altsem.Lock()
number = interpreters.create()
run(number, f"import pickle; kept = pickle.loads({pickle.dumps(lock)!r}); assert kept.acquire()")
got = []
thread = threading.Thread(target=lambda: got.append(lock.acquire(timeout=30)))
thread.start()
interpreters.destroy(number)
# It has gone without releasing.  That is not the end of the process, so the lock is held.
assert not lock.acquire(False) and lock.owner.alive
lock.release()
thread.join()
print(got, altsem._core.segments())
"""


@several
@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
def test_interpreters_with_a_gil_each_exclude_each_other(run_script: Script, kind: str) -> None:
    done = run_script(HEAD + COUNTING, kind)
    assert (done.returncode, done.stdout, done.stderr) == (0, "9000\n", ""), done


@several
def test_interpreters_wake_each_other(run_script: Script) -> None:
    done = run_script(HEAD + HANDING)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good\n", ""), done


@several
def test_an_interpreter_that_ends_leaves_what_others_use(run_script: Script) -> None:
    done = run_script(HEAD + ENDING)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[True] 1\n", ""), done


# --- the end of the process's interpreter ---------------------------------------------------------

HELD_AND_WAITED_FOR = """
import sys, threading, time
import altsem
from support import wait_for_waiters

lock, rlock, semaphore, event = altsem.Lock(), altsem.RLock(), altsem.Semaphore(0), altsem.Event()
condition, barrier = altsem.Condition(altsem.Lock()), altsem.Barrier(2)
lock.acquire(), rlock.acquire()

def in_condition():
    with condition:
        condition.wait()

waits = lock.acquire, rlock.acquire, semaphore.acquire, event.wait, in_condition, barrier.wait
for wait in waits:
    threading.Thread(target=wait, daemon=True).start()
for thing in (lock, rlock, semaphore, event, condition, barrier):
    wait_for_waiters(thing)
print("ends", flush=True)
"""


@pytest.mark.parametrize("backend", ["futex", "sysv", "filelock"])
def test_a_program_ends_while_its_threads_hold_and_wait(run_script: Script, backend: str) -> None:
    path = os.pathsep.join(filter(None, (os.path.dirname(os.path.dirname(__file__)),
                                         os.environ.get("PYTHONPATH"))))  # fmt: skip
    env = {"ALTSEM_BACKEND": backend, "PYTHONPATH": path}
    done = run_script(HELD_AND_WAITED_FOR, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", ""), done


# --- a fork while threads hold and wait -----------------------------------------------------------


def in_condition(condition: altsem.Condition) -> None:
    with condition:
        condition.wait(GENEROUS)


def notify(condition: altsem.Condition) -> None:
    with condition:
        condition.notify()


def held() -> altsem.Lock:
    lock = altsem.Lock()
    lock.acquire()
    return lock


WAITS: dict[str, tuple[Callable[[], Any], Callable[[Any], object], Callable[[Any], object]]] = {
    "Lock": (held, lambda lock: lock.acquire(timeout=GENEROUS), lambda lock: lock.release()),
    "Semaphore": (
        lambda: altsem.Semaphore(0),
        lambda semaphore: semaphore.acquire(timeout=GENEROUS),
        lambda semaphore: semaphore.release(),
    ),
    "Event": (altsem.Event, lambda event: event.wait(GENEROUS), lambda event: event.set()),
    "Condition": (lambda: altsem.Condition(altsem.Lock()), in_condition, notify),
    "Barrier": (
        lambda: altsem.Barrier(2),
        lambda barrier: barrier.wait(GENEROUS),
        lambda barrier: barrier.wait(GENEROUS),
    ),
}


@pytest.mark.parametrize("kind", WAITS)
def test_the_child_of_a_fork_wakes_a_thread_that_waits_in_its_parent(kind: str) -> None:
    """Beside a thread that holds a lock, which is not the child's."""
    make, wait, wake = WAITS[kind]
    thing, other, let_go = make(), altsem.RLock(), altsem.Event()
    ended: list[float] = []

    def hold() -> None:
        with other:
            assert let_go.wait(GENEROUS)

    def waiting() -> None:
        wait(thing)
        ended.append(time.monotonic())

    threads = [threading.Thread(target=hold), threading.Thread(target=waiting)]
    for thread in threads:
        thread.start()
    wait_for_waiters(thing)
    wait_until(lambda: other.owner is not None)

    def child() -> None:
        assert not other.acquire(False)
        with pytest.raises(AssertionError):
            other.release()
        wake(thing)

    begun = time.monotonic()
    try:
        assert reap(fork(child)) == 0
        threads[1].join(GENEROUS)
    finally:
        let_go.set()
        for thread in threads:
            thread.join()
    assert ended and ended[0] - begun < GENEROUS
    assert other.acquire(False)


# --- handlers -------------------------------------------------------------------------------------


def test_a_handler_uses_what_it_has_interrupted_and_nothing_is_lost() -> None:
    """A semaphore and an event, in the middle of any of their calls."""
    semaphore, event, given, taken = altsem.Semaphore(0), altsem.Event(), 0, 0

    def handler(*_: object) -> None:
        nonlocal given
        semaphore.release()
        given += 1
        event.clear() if event.is_set() else event.set()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        deadline = time.monotonic() + GENEROUS
        while taken < 500:
            taken += semaphore.acquire(timeout=0.001)
            taken += semaphore.acquire(False)
            event.set()
            event.wait(0.0001)
            event.clear()
            assert time.monotonic() < deadline
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    while semaphore.acquire(False):
        taken += 1
    assert taken == given
