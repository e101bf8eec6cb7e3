"""A pool of workers, kept busy with tasks that do nothing."""

from __future__ import annotations

from time import perf_counter
from typing import Any


def _same(x: int) -> int:
    return x


class Mapped:
    """A pool of two: seconds per task, `n` tasks a round."""

    def __init__(self, ctx: Any, n: int) -> None:
        self._pool, self._n = ctx.Pool(2), n

    def __call__(self) -> float:
        start = perf_counter()
        self._pool.map(_same, range(self._n), chunksize=1)
        return (perf_counter() - start) / self._n

    def close(self) -> None:
        self._pool.close()
        self._pool.join()
