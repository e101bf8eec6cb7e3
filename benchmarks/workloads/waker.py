"""From a release to the moment when the one who slept has got the lock."""

from __future__ import annotations

import random
from time import perf_counter, sleep
from typing import Any

from .peers import FORK


class Waker:
    """Somebody sleeps in acquire(); how long after the release has he got the lock?"""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._here, there = FORK.Pipe()
        lock.acquire()
        self._child = FORK.Process(target=self._wait, args=(there,), daemon=True)
        self._child.start()

    def _wait(self, there: Any) -> None:
        while True:
            there.recv()
            self._lock.acquire()
            at = perf_counter()  # of CLOCK_MONOTONIC: the same in all processes
            self._lock.release()
            there.send(at)

    def __call__(self) -> float:
        self._here.send(None)
        sleep(random.uniform(0.01, 0.03))
        start = perf_counter()
        self._lock.release()
        took = float(self._here.recv()) - start
        self._lock.acquire()
        return took

    def close(self) -> None:
        self._child.kill()
        self._child.join()
        self._lock.release()
