"""Several processes, or threads in them, that want the same lock all the time."""

from __future__ import annotations

import ctypes
import statistics
import threading
from time import perf_counter, sleep
from typing import Any

from .peers import FORK


class Crowd:
    """`count` processes that take and release one lock as fast as they can, when told to.

    One round: they run for a while; its time is seconds per operation, over all of them.  The
    smallest share divided by the largest is kept, for the median over the rounds.

    A round lasts 0.3 s unless nobody looks at the shares.  Where there are more processes than
    CPUs, each runs for slices of some 4 ms and then waits for all the others' slices: in a much
    shorter round eight processes on two CPUs get so few slices each that the shares tell of the
    scheduler alone.  Of 32 processes that is true at 0.3 s as well.
    """

    def __init__(self, lock: Any, count: int, threads: int = 1, seconds: float = 0.3) -> None:
        self._seconds = seconds
        self._shares: list[float] = []
        # [0] the round that is running, 0 none; [1] how often the lock was taken; a counter each.
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
        self._shares.append(min(mine) / max(mine))
        return elapsed / sum(mine)

    def close(self) -> None:
        self._board[0] = -1
        for _ in range(self._count):
            self._begin.release()
        for child in self._children:
            child.join()

    def share(self) -> float:
        """The median over the rounds, the first of which was for warming up."""
        return statistics.median(self._shares[1:] or self._shares)
