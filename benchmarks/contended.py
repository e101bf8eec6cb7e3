"""Several processes want the same thing: throughput, fairness, and how fast a wake-up travels."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from time import perf_counter, sleep
from typing import Any

import altsem

from .measure import Rows, paired, scaled

FORK = multiprocessing.get_context("fork")
OURS = altsem.get_context("fork")


class Crowd:
    """`count` processes that take and release one lock as fast as they can, when told to.

    One round: they run for `seconds`; its time is seconds per operation, over all of them.  The
    smallest share divided by the largest is kept, for the median over the rounds.
    """

    def __init__(self, lock: Any, count: int, seconds: float = 0.15, threads: int = 1) -> None:
        self._seconds = seconds
        self.shares: list[float] = []
        # [0] the round that is running, 0 none; [1] how many have stopped; then a counter each.
        self._board = FORK.RawArray(ctypes.c_long, 2 + count * threads)
        self._begin, self._done = FORK.Semaphore(0), FORK.Semaphore(0)
        self._count = count * threads
        self._children = [
            FORK.Process(target=self._child, args=(lock, number * threads, threads), daemon=True)
            for number in range(count)
        ]
        for child in self._children:
            child.start()

    def _child(self, lock: Any, first: int, threads: int) -> None:
        workers = [
            threading.Thread(target=self._work, args=(lock, first + i)) for i in range(1, threads)
        ]
        for worker in workers:
            worker.start()
        self._work(lock, first)

    def _work(self, lock: Any, me: int) -> None:
        board = self._board
        while True:
            self._begin.acquire()
            if board[0] < 0:
                return
            mine = 0
            while board[0]:
                with lock:
                    board[1] += 1  # some work under the lock: a cache line that all share
                mine += 1
            board[2 + me] = mine
            self._done.release()

    def __call__(self) -> float:
        self._board[0] = 1
        start = perf_counter()
        for _ in range(self._count):
            self._begin.release()
        sleep(self._seconds)
        self._board[0] = 0
        elapsed = perf_counter() - start
        for _ in range(self._count):
            self._done.acquire()
        mine = list(self._board[2:])
        self.shares.append(min(mine) / max(mine))
        return elapsed / sum(mine)

    def close(self) -> None:
        self._board[0] = -1
        for _ in range(self._count):
            self._begin.release()
        for child in self._children:
            child.join()

    def share(self) -> float:
        return sorted(self.shares)[len(self.shares) // 2]


def throughput(count: int, threads: int = 1) -> Iterator[Any]:
    ours, theirs = (
        Crowd(OURS.Lock(), count, 0.15, threads),
        Crowd(FORK.Lock(), count, 0.15, threads),
    )
    who = f"{count} processes" if threads == 1 else f"{count} processes x {threads} threads"
    try:
        yield paired(
            f"contended Lock, {who}",
            "native",
            ours,
            theirs,
            0.67 if threads == 1 else None,
            scaled(15),
            lambda: f"smallest/largest share {ours.share():.2f}, native {theirs.share():.2f}",
        )
    finally:
        ours.close()
        theirs.close()


class Partner:
    """A process that answers: one round is `n` round trips."""

    def __init__(self, answer: Callable[[], None], ask: Callable[[], None], n: int) -> None:
        self._ask, self._n = ask, n
        self._child = FORK.Process(target=self._serve, args=(answer,), daemon=True)
        self._child.start()

    @staticmethod
    def _serve(answer: Callable[[], None]) -> None:
        while True:
            answer()

    def __call__(self) -> float:
        start = perf_counter()
        for _ in range(self._n):
            self._ask()
        return (perf_counter() - start) / self._n

    def close(self) -> None:
        self._child.kill()
        self._child.join()


def ping_pong(ctx: Any, n: int) -> Partner:
    there, back = ctx.Semaphore(0), ctx.Semaphore(0)

    def answer() -> None:
        there.acquire()
        back.release()

    def ask() -> None:
        there.release()
        back.acquire()

    return Partner(answer, ask, n)


def event_trip(ctx: Any, n: int) -> Partner:
    there, back = ctx.Event(), ctx.Event()

    def answer() -> None:
        there.wait()
        there.clear()
        back.set()

    def ask() -> None:
        there.set()
        back.wait()
        back.clear()

    return Partner(answer, ask, n)


def condition_trip(ctx: Any, n: int) -> Partner:
    condition = ctx.Condition()
    turn = FORK.RawValue(ctypes.c_int, 0)

    def step(mine: int) -> None:
        with condition:
            while turn.value != mine:
                condition.wait()
            turn.value = 1 - mine
            condition.notify()

    def ask() -> None:
        step(0)
        with condition:
            while turn.value != 0:
                condition.wait()

    return Partner(lambda: step(1), ask, n)


def trips(
    work: str, make: Callable[[Any, int], Partner], at_most: float | None, n: int = 400
) -> Iterator[Any]:
    ours, theirs = make(OURS, n), make(FORK, n)
    try:
        yield paired(work, "native", ours, theirs, at_most, scaled(21))
    finally:
        ours.close()
        theirs.close()


@contextlib.contextmanager
def one_cpu() -> Iterator[None]:
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


@contextlib.contextmanager
def busy_cpus() -> Iterator[None]:
    def spin() -> None:
        while True:
            pass

    children = [FORK.Process(target=spin, daemon=True) for _ in range(len(os.sched_getaffinity(0)))]
    for child in children:
        child.start()
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.join()


def rows() -> Rows:
    for count in (2, 4, 8, 32):
        yield from throughput(count)
    yield from throughput(2, threads=8)
    yield from trips("hand-off ping-pong of two processes", ping_pong, 0.5)
    with one_cpu():
        yield from trips("the same with one usable CPU", ping_pong, 1.1)
    with busy_cpus():
        yield from trips("the same with every CPU busy", ping_pong, 1.1, 20)
    yield from trips("Event set, wait round trip", event_trip, 0.5)
    yield from trips("Condition notify, wait round trip", condition_trip, 0.5)
