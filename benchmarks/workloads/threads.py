"""Threads of one process that take and release locks as fast as they can."""

from __future__ import annotations

import sysconfig
import threading
from time import perf_counter
from typing import Any

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


# A round must last a good deal longer than the scheduler takes to spread the threads over the CPUs,
# which is some 20 ms: until then they share one.
EACH = 500_000
EACH_OF_ONE = 50_000  # where they wait for each other


class Threads:
    """A round: thread i does `n` times `acquire(); release()` of lock i modulo their number.

    Its time is seconds per operation, over all of them: from the start of the first to the end of
    the last.  On two CPUs and without the GIL it can fall to half of what one thread needs.
    """

    def __init__(self, locks: list[Any], threads: int, n: int = EACH) -> None:
        self._locks, self._threads, self._n = locks, threads, n

    def __call__(self) -> float:
        begin = threading.Barrier(self._threads)
        spans: list[tuple[float, float]] = []

        def work(number: int) -> None:
            lock = self._locks[number % len(self._locks)]
            acquire, release = lock.acquire, lock.release
            begin.wait()
            start = perf_counter()
            for _ in range(self._n):
                acquire()
                release()
            spans.append((start, perf_counter()))

        crew = [threading.Thread(target=work, args=(i,)) for i in range(self._threads)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        elapsed = max(end for _, end in spans) - min(start for start, _ in spans)
        return elapsed / (self._n * self._threads)
