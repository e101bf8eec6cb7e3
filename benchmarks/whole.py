"""What the primitives are for: queues, pools, many waiters, and what an import costs."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import altsem

from .measure import Row, Rows, Timing, paired, scaled

FORK = multiprocessing.get_context("fork")
OURS = altsem.get_context("fork")
WAITERS = 100


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


def _same(x: int) -> int:
    return x


def pool_map(pool: Any, n: int) -> Timing:
    def go() -> float:
        start = perf_counter()
        pool.map(_same, range(n), chunksize=1)
        return (perf_counter() - start) / n

    return go


def notify_all(ctx: Any) -> tuple[Timing, Any]:
    """100 threads wait; a round is notify_all and all of them back."""
    condition, back, stop = ctx.Condition(), threading.Semaphore(0), threading.Event()
    waiting = 0

    def wait() -> None:
        nonlocal waiting
        while not stop.is_set():
            with condition:
                waiting += 1
                condition.wait()
            back.release()

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(WAITERS)]
    for thread in threads:
        thread.start()

    def all_in() -> None:
        nonlocal waiting
        while True:
            with condition:
                if waiting == WAITERS:
                    waiting = 0
                    return

    def go() -> float:
        all_in()
        start = perf_counter()
        with condition:
            condition.notify_all()
        for _ in range(WAITERS):
            back.acquire()
        return perf_counter() - start

    def close() -> None:
        stop.set()
        go()
        for thread in threads:
            thread.join()

    return go, close


def imports(code: str) -> Timing:
    """Seconds from before to after `code`, in an interpreter that has imported multiprocessing."""
    program = (
        "import multiprocessing\nfrom time import perf_counter as now\nstart = now()\n"
        f"{code}\nprint(now() - start)"
    )

    def go() -> float:
        return float(subprocess.check_output([sys.executable, "-c", program]))

    return go


def queues() -> Iterator[Row]:
    for kind in ("Queue", "SimpleQueue"):
        n = scaled(1000)
        ours, theirs = Through(OURS, kind, n), Through(FORK, kind, n)
        yield paired(
            f"{kind}, an item to another process", "native", ours, theirs, None, scaled(15)
        )
        ours.close()
        theirs.close()


def rows() -> Rows:
    yield from queues()
    with OURS.Pool(2) as ours, FORK.Pool(2) as theirs:
        n = scaled(1000)
        yield paired(
            "Pool(2).map, a task",
            "native",
            pool_map(ours, n),
            pool_map(theirs, n),
            None,
            scaled(15),
        )
    (ours_all, ours_close), (theirs_all, theirs_close) = notify_all(OURS), notify_all(FORK)
    yield paired(
        f"Condition.notify_all to {WAITERS} threads",
        "native",
        ours_all,
        theirs_all,
        None,
        scaled(15),
    )
    ours_close()
    theirs_close()
    yield paired(
        "`import altsem` after multiprocessing",
        "importing multiprocessing.synchronize",
        imports("import altsem"),
        imports("import multiprocessing.synchronize"),
        None,
        scaled(15),
    )
