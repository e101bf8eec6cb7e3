"""What a SemLock on a counting slot knows of itself: how often it was acquired, by which thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import altsem
from altsem import SemLock, _core
from support import FORKS, fork, reap

RECURSIVE, SEMAPHORE = 0, 1
NOT_MINE = r"^attempt to release recursive lock not owned by thread$"

every_fork = pytest.mark.parametrize("how", FORKS)


def make(kind: int, value: int, maxvalue: int) -> SemLock:
    return SemLock(kind, value, maxvalue, "/unused", True)


def in_a_thread(work: Callable[[], Any]) -> Any:
    answer = []
    thread = threading.Thread(target=lambda: answer.append(work()))
    thread.start()
    thread.join()
    return answer[0]


@every_fork
def test_a_fork_leaves_the_parents_counts_as_they_are(how: Callable[[], int]) -> None:
    """Recursive and not; acquired before the fork, and not."""
    held, other = make(SEMAPHORE, 3, 3), make(RECURSIVE, 2, 3)
    held.acquire()
    held.acquire()
    other.acquire()
    assert reap(fork(lambda: None, how)) == 0
    assert (held._count(), held._is_mine()) == (2, True)
    assert (other._count(), other._is_mine()) == (1, True)
    held.release()
    other.release()
    assert (held._count(), held._get_value()) == (1, 2)
    assert (other._count(), other._get_value()) == (0, 2)
    held.release()


@every_fork
def test_a_child_has_acquired_nothing(how: Callable[[], int]) -> None:
    untouched, used, given = (make(SEMAPHORE, 3, 9) for _ in range(3))
    recursive = make(RECURSIVE, 2, 3)
    for one in (untouched, used, given, recursive):
        one.acquire()

    def child() -> None:
        assert (untouched._count(), untouched._is_mine()) == (0, False)
        used.acquire()
        assert (used._count(), used._is_mine()) == (1, True)
        given.release()
        assert (given._count(), given._is_mine()) == (-1, False)
        assert (recursive._count(), recursive._is_mine()) == (0, False)
        with pytest.raises(AssertionError, match=NOT_MINE):
            recursive.release()

    assert reap(fork(child, how)) == 0
    assert [one._count() for one in (untouched, used, given, recursive)] == [1, 1, 1, 1]


@every_fork
def test_a_child_loses_no_token_of_a_recursive_mutex_that_counts(how: Callable[[], int]) -> None:
    lock = make(RECURSIVE, 2, 3)
    lock.acquire()

    def child() -> None:
        lock.acquire()
        lock.acquire()
        assert lock._get_value() == 0
        lock.release()
        assert lock._get_value() == 0
        lock.release()
        assert lock._get_value() == 1

    assert reap(fork(child, how)) == 0
    lock.release()
    assert (lock._get_value(), lock._count()) == (2, 0)


@every_fork
def test_a_condition_on_a_semaphore_releases_it_after_a_fork(how: Callable[[], int]) -> None:
    """wait() releases as often as the semaphore says that it was acquired."""
    context = altsem.get_context("fork")
    condition = context.Condition(context.Semaphore(1))
    assert reap(fork(lambda: None, how)) == 0

    def notify() -> None:
        with condition:
            condition.notify()

    with condition:
        child = fork(notify, how)
        assert condition.wait(30)
    assert reap(child) == 0


def test_after_fork_begins_anew() -> None:
    for kind in (SEMAPHORE, RECURSIVE):
        lock = make(kind, 2, 3)
        lock.acquire()
        lock._after_fork()
        assert (lock._count(), lock._is_mine(), lock._get_value()) == (0, False, 1)


def test_an_earlier_thread_is_not_who_comes_after_it() -> None:
    lock = make(RECURSIVE, 1, 2)
    in_a_thread(lock.acquire)
    assert (lock._count(), lock._is_mine()) == (1, False)
    assert in_a_thread(lambda: (lock._is_mine(), lock.acquire(False))) == (False, False)


@pytest.mark.parametrize("depth", [1, 2])
def test_threads_that_share_a_recursive_mutex_that_counts_lose_no_token(depth: int) -> None:
    lock, inside, failed = make(RECURSIVE, 1, 2), [0], []
    start = threading.Barrier(4)
    # With a GIL nothing can come between; without, the old way lost one in tens of thousands.
    rounds = 500 if getattr(sys, "_is_gil_enabled", lambda: True)() else 200_000

    def work() -> None:
        start.wait()
        for _ in range(rounds):
            for _ in range(depth):
                if not lock.acquire(timeout=20):
                    failed.append("timed out")
                    return
            inside[0] += 1
            if inside[0] != 1:
                failed.append("not alone")
            inside[0] -= 1
            for _ in range(depth):
                lock.release()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed and not any(thread.is_alive() for thread in threads)
    assert (lock._get_value(), lock._count(), lock._is_mine()) == (1, 0, False)


def test_threads_that_share_a_semaphore_count_together() -> None:
    lock, start = make(SEMAPHORE, 0, 10**6), threading.Barrier(4)
    rounds = 5000

    def work() -> None:
        start.wait()
        for _ in range(rounds):
            lock.release()
        for _ in range(rounds - 1):
            lock.acquire()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (lock._get_value(), lock._count()) == (4, -4)


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_a_class_with_methods_for_one_kind_of_slot_is_not_rebuilt_around_another(name: str) -> None:
    other = make(RECURSIVE, 5, 9)
    for made in (getattr(_core, name), type("Mine", (getattr(_core, name),), {})):
        with pytest.raises(TypeError, match="SemLock"):
            made._rebuild(other.handle, RECURSIVE, 9, None)
    assert SemLock._rebuild(other.handle, RECURSIVE, 9, None)._get_value() == 5
