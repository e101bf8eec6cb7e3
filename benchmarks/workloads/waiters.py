"""Many who wait on one condition."""

from __future__ import annotations

import ctypes
import threading
from time import perf_counter
from typing import Any

from .peers import FORK


class Waiters:
    """`threads` threads in each of `processes` processes wait, with 0 processes threads of this
    one.  A round is notify_all and all of them back; its time is that of the whole."""

    def __init__(self, ctx: Any, threads: int, processes: int = 0) -> None:
        self._condition = ctx.Condition()
        self._back = FORK.Semaphore(0)
        self._waiting, self._stop = FORK.RawValue(ctypes.c_int), FORK.RawValue(ctypes.c_int)
        self._count = threads * max(processes, 1)
        self._everybody: list[Any] = [
            FORK.Process(target=self._child, args=(threads,), daemon=True) for _ in range(processes)
        ]
        if not processes:
            self._everybody = [threading.Thread(target=self._wait) for _ in range(threads)]
        for one in self._everybody:
            one.start()

    def _child(self, threads: int) -> None:
        others = [threading.Thread(target=self._wait) for _ in range(threads)]
        for one in others:
            one.start()
        for one in others:
            one.join()

    def _wait(self) -> None:
        while not self._stop.value:
            with self._condition:
                self._waiting.value += 1
                self._condition.wait()
            self._back.release()

    def _all_in(self) -> None:
        while True:
            with self._condition:
                if self._waiting.value == self._count:
                    self._waiting.value = 0
                    return

    def __call__(self) -> float:
        self._all_in()
        return self._wake()

    def _wake(self) -> float:
        start = perf_counter()
        with self._condition:
            self._condition.notify_all()
        for _ in range(self._count):
            self._back.acquire()
        return perf_counter() - start

    def close(self) -> None:
        self._all_in()  # else one that is on its way back would stop before it waits
        self._stop.value = 1
        self._wake()
        for one in self._everybody:
            one.join()
