"""A queue to another process."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from .peers import FORK


def _drain(queue: Any, back: Any) -> None:
    while queue.get() is not None:
        back.release()


class Through:
    """A queue to a process that takes everything out: seconds per item, `n` items a round."""

    def __init__(self, ctx: Any, kind: str, n: int) -> None:
        self._queue = getattr(ctx, kind)()
        self._seen = ctx.Semaphore(0)
        self._n = n
        self._child = FORK.Process(target=_drain, args=(self._queue, self._seen), daemon=True)
        self._child.start()

    def __call__(self) -> float:
        start = perf_counter()
        for number in range(self._n):
            self._queue.put(number)
        for _ in range(self._n):
            self._seen.acquire()
        return (perf_counter() - start) / self._n

    def close(self) -> None:
        self._queue.put(None)
        self._child.join()
