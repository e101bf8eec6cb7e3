"""Threads of one process on the same primitives: nothing is lost, with the GIL or without."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest

import altsem

pytestmark = pytest.mark.limit(60)

THREADS = 8
TIMES = 5_000


def together(work: Callable[[int], None], threads: int = THREADS) -> None:
    """Runs work(number) in so many threads at once, and raises what they raised."""
    start = threading.Barrier(threads)

    def body(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(body, range(threads)))


def recursive(lock: Any) -> Any:
    """A `with` that takes it twice."""

    class Twice:
        def __enter__(self) -> None:
            lock.acquire()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()
            lock.release()

    return Twice()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "RLock twice", "Semaphore", "BoundedSemaphore"])
def test_one_lock_loses_nothing(kind: str) -> None:
    lock = getattr(altsem, kind.partition(" ")[0])()
    guard = recursive(lock) if "twice" in kind else lock
    counter = [0]

    def work(_: int) -> None:
        for _ in range(TIMES):
            with guard:
                counter[0] += 1

    together(work)
    assert counter == [THREADS * TIMES]
    assert lock.acquire(block=False)  # free again
    lock.release()
    # By the count that SemLock keeps of what this process holds.
    assert lock._semlock._count() == 0


def test_a_lock_each_loses_nothing() -> None:
    """The slots of these locks are neighbours in one segment."""
    locks = [altsem.Lock() for _ in range(THREADS)]
    counters = [0] * THREADS

    def work(number: int) -> None:
        for _ in range(TIMES):
            with locks[number]:
                counters[number] += 1

    together(work)
    assert counters == [TIMES] * THREADS


def test_locks_come_and_go_in_all_threads() -> None:
    """Each is alone in its slot, whoever had the slot before."""
    made = altsem._core.segments()

    def work(_: int) -> None:
        for _ in range(TIMES // 10):
            locks = [altsem.Lock() for _ in range(5)]
            for lock in locks:
                assert lock.acquire(block=False)
            for lock in locks:
                assert not lock.acquire(block=False)
                lock.release()

    together(work)
    assert altsem._core.segments() <= made + 1


def test_every_item_is_handed_over_once() -> None:
    """Through a Condition, by half of the threads to the other half."""
    condition = altsem.Condition()
    items: list[int] = []
    got: list[list[int]] = [[] for _ in range(THREADS)]
    each = TIMES // 10

    def work(number: int) -> None:
        for i in range(each):
            with condition:
                if number % 2:
                    items.append(number * each + i)
                    condition.notify()
                else:
                    assert condition.wait_for(lambda: items, 30)
                    got[number].append(items.pop())

    together(work)
    expected = [n * each + i for n in range(1, THREADS, 2) for i in range(each)]
    assert sorted(chain(*got)) == expected
    assert items == []
    assert condition.waiters == 0


def test_a_barrier_lets_all_pass_together() -> None:
    barrier = altsem.Barrier(THREADS)
    rounds = 200
    seen: list[list[int]] = [[] for _ in range(rounds)]

    def work(_: int) -> None:
        for number in range(rounds):
            seen[number].append(barrier.wait(30))

    together(work)
    assert all(sorted(indices) == list(range(THREADS)) for indices in seen)


def test_an_event_wakes_all() -> None:
    rounds = 200
    events = [altsem.Event() for _ in range(rounds)]

    def work(number: int) -> None:
        for i, event in enumerate(events):
            if i % THREADS == number:
                event.set()
            assert event.wait(30)

    together(work)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "Event", "Condition", "Barrier"])
def test_all_threads_may_do_anything_with_one_object(kind: str) -> None:
    """Also what looks at it, sends it, and makes others of it."""
    thing = getattr(altsem, kind)(*((2,) if kind == "Barrier" else ()))
    use = {
        "Event": lambda: (thing.set(), thing.wait(30), thing.clear(), thing.is_set()),
        "Barrier": lambda: (thing.reset(), thing.broken, thing.n_waiting, thing.abort()),
        "Condition": lambda: (thing.acquire(), thing.notify_all(), thing.release()),
    }.get(kind, lambda: (thing.acquire(), thing.release()))

    def work(_: int) -> None:
        for _ in range(THREADS * 25):
            use()
            repr(thing)
            assert type(copy.copy(thing)) is type(thing)
            assert type(pickle.loads(pickle.dumps(thing))) is type(thing)
            vars(thing)["mark"] = vars(thing).get("mark", 0) + 1

    together(work)
    assert getattr(thing, "waiters", 0) == 0
    if kind in ("Lock", "RLock", "Semaphore", "Condition"):
        assert thing.acquire(False)
        thing.release()


def test_importing_it_leaves_the_gil_off() -> None:
    """Where the interpreter can do without; where it cannot, the question has only one answer."""
    can = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    code = "import sys, altsem; print(getattr(sys, '_is_gil_enabled', lambda: True)())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(not can)
