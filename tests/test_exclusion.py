"""Mutual exclusion between processes: what the whole thing is for."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support import METHODS, get_context, join

pytestmark = pytest.mark.limit(60)

PROCESSES = 8
INCREMENTS = 200_000


def count(barrier: Any, locks: list[Any], counters: list[Any]) -> None:
    for lock, counter in zip(locks, counters, strict=True):
        barrier.wait()
        for _ in range(INCREMENTS // PROCESSES):
            with lock:
                counter.value += 1


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_lost(method: str) -> None:
    """200,000 increments by 8 processes, under each kind of lock."""
    ctx = get_context(method)
    locks = [ctx.Lock(), ctx.RLock(), ctx.Semaphore(1)]
    counters = [ctx.RawValue("Q", 0) for _ in locks]
    barrier = ctx.Barrier(PROCESSES)
    processes = [
        ctx.Process(target=count, args=(barrier, locks, counters)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    assert join(*processes) == [0] * PROCESSES
    assert [counter.value for counter in counters] == [INCREMENTS] * 3


class Census:
    """How many are inside, and the most that ever were, kept under a file lock: counted by other
    means than those that are tested."""

    def __init__(self, path: Any) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._fd, mmap.PAGESIZE)

    def _add(self, change: int) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            inside, most = struct.unpack("qq", os.pread(self._fd, 16, 0))
            inside += change
            os.pwrite(self._fd, struct.pack("qq", inside, max(most, inside)), 0)
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def inside(self) -> Iterator[None]:
        self._add(1)
        yield
        self._add(-1)

    def most(self) -> int:
        return int(struct.unpack("qq", os.pread(self._fd, 16, 0))[1])

    def close(self) -> None:
        os.close(self._fd)


def crowd(semaphore: Any, path: str) -> None:
    census = Census(path)
    for _ in range(300):
        with semaphore, census.inside():
            os.sched_yield()


@pytest.mark.parametrize("method", METHODS)
def test_never_more_than_three_inside(method: str, tmp_path: Any) -> None:
    ctx = get_context(method)
    semaphore = ctx.Semaphore(3)
    path = str(tmp_path / "census")
    census = Census(path)
    processes = [ctx.Process(target=crowd, args=(semaphore, path)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    assert join(*processes) == [0] * PROCESSES
    most = census.most()
    census.close()
    assert 1 <= most <= 3
    assert semaphore.get_value() == 3


def race(semaphore: Any, barrier: Any, report: Any) -> None:
    """Releases, mostly once too often, while the others do; takes as often."""
    most = taken = released = refused = 0
    barrier.wait()
    for number in range(20_000):
        try:
            semaphore.release()
            released += 1
        except ValueError:
            refused += 1
        most = max(most, semaphore.get_value())
        if number % 3 and semaphore.acquire(False):
            taken += 1
            most = max(most, semaphore.get_value())
    report.send((most, taken, released, refused))


@pytest.mark.parametrize(
    ("method", "bound"), [("fork", 1), ("fork", 4), ("spawn", 4), ("forkserver", 4)]
)
def test_never_above_its_bound(method: str, bound: int) -> None:
    ctx = get_context(method)
    semaphore, barrier = ctx.BoundedSemaphore(bound), ctx.Barrier(PROCESSES)
    reader, writer = ctx.Pipe(duplex=False)
    processes = [
        ctx.Process(target=race, args=(semaphore, barrier, writer)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    assert join(*processes) == [0] * PROCESSES
    reports = [reader.recv() for _ in processes]
    reader.close()
    writer.close()
    most, taken, released, refused = map(list, zip(*reports, strict=True))
    assert max(most) <= bound
    assert bound + sum(released) - sum(taken) == semaphore.get_value() <= bound
    assert sum(refused) > 0
