"""Mutual exclusion between processes: what the whole thing is for.

Eight processes are started once for each start method, and put the primitives to the test one after
the other; the tests look at what they report.
"""

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
INSIDE = 3
BOUNDS = (1, 4)


def count(lock: Any, counter: Any) -> None:
    for _ in range(INCREMENTS // PROCESSES):
        with lock:
            counter.value += 1


class Census:
    """How many are inside, and the most that ever were, kept under a file lock: counted by other
    means than those that are tested."""

    def __init__(self, path: str) -> None:
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
    census.close()


def race(semaphore: Any) -> tuple[int, int, int, int]:
    """Releases, mostly once too often, while the others do; takes as often."""
    most = taken = released = refused = 0
    for number in range(10_000):
        try:
            semaphore.release()
            released += 1
        except ValueError:
            refused += 1
        most = max(most, semaphore.get_value())
        if number % 3 and semaphore.acquire(False):
            taken += 1
            most = max(most, semaphore.get_value())
    return most, taken, released, refused


def work(
    barrier: Any, locks: list[Any], counters: list[Any], inside: Any, path: str, bounded: list[Any],
    report: Any,
) -> None:  # fmt: skip
    for lock, counter in zip(locks, counters, strict=True):
        barrier.wait()
        count(lock, counter)
    barrier.wait()
    crowd(inside, path)
    for semaphore in bounded:
        barrier.wait()
        report.send((semaphore.maxvalue, race(semaphore)))


class Outcome:
    def __init__(self, method: str, path: str) -> None:
        ctx = get_context(method)
        locks = [ctx.Lock(), ctx.RLock(), ctx.Semaphore(1)]
        counters = [ctx.RawValue("Q", 0) for _ in locks]
        self.inside = ctx.Semaphore(INSIDE)
        self.bounded = [ctx.BoundedSemaphore(bound) for bound in BOUNDS]
        reader, writer = ctx.Pipe(duplex=False)
        arguments = (
            ctx.Barrier(PROCESSES), locks, counters, self.inside, path, self.bounded, writer
        )  # fmt: skip
        processes = [ctx.Process(target=work, args=arguments) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        self.codes = join(*processes)
        self.counts = [counter.value for counter in counters]
        census = Census(path)
        self.most_inside = census.most()
        census.close()
        self.reports = []
        while reader.poll():
            self.reports.append(reader.recv())
        reader.close()
        writer.close()


@pytest.fixture(scope="module", params=METHODS)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome = Outcome(request.param, str(tmp_path_factory.mktemp("census") / "file"))
    assert outcome.codes == [0] * PROCESSES
    return outcome


def test_nothing_is_lost(outcome: Outcome) -> None:
    """200,000 increments, under each of Lock, RLock and Semaphore(1)."""
    assert outcome.counts == [INCREMENTS] * 3


def test_never_more_than_three_inside(outcome: Outcome) -> None:
    assert 1 <= outcome.most_inside <= INSIDE
    assert outcome.inside.get_value() == INSIDE


def test_never_above_its_bound(outcome: Outcome) -> None:
    for semaphore, bound in zip(outcome.bounded, BOUNDS, strict=True):
        reports = [numbers for of, numbers in outcome.reports if of == bound]
        assert len(reports) == PROCESSES
        most, taken, released, refused = map(list, zip(*reports, strict=True))
        assert max(most) <= bound
        assert bound + sum(released) - sum(taken) == semaphore.get_value() <= bound
        assert sum(refused) > 0
