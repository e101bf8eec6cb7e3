"""What the primitives are for: queues, pools, many waiters; and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from time import perf_counter
from typing import Any

import pytest

from ..measuring.paired import Timing
from ..measuring.quick import scaled
from ..workloads.peers import FORK, OURS
from ..workloads.through import Through
from ..workloads.waiters import Waiters
from .conftest import Pair

PART = "What they are for"


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_queue(pair: Pair, kind: str) -> None:
    n = scaled(1000)
    with closing(Through(OURS, kind, n)) as ours, closing(Through(FORK, kind, n)) as theirs:
        pair(f"{kind}, an item to another process", "native", ours, theirs, None, 15)


def _same(x: int) -> int:
    return x


def pool_map(pool: Any, n: int) -> Timing:
    def go() -> float:
        start = perf_counter()
        pool.map(_same, range(n), chunksize=1)
        return (perf_counter() - start) / n

    return go


def test_pool(pair: Pair) -> None:
    n = scaled(1000)
    with OURS.Pool(2) as ours, FORK.Pool(2) as theirs:
        pair("Pool(2).map, a task", "native", pool_map(ours, n), pool_map(theirs, n), None, 15)


@pytest.mark.parametrize(
    ("whom", "threads", "processes"), [("100 threads", 100, 0), ("4 processes x 25", 25, 4)]
)
def test_notify_all(pair: Pair, whom: str, threads: int, processes: int) -> None:
    ours, theirs = Waiters(OURS, threads, processes), Waiters(FORK, threads, processes)
    with closing(ours), closing(theirs):
        pair(f"Condition.notify_all to {whom}", "native", ours, theirs, None, 15)


def imports(code: str) -> Timing:
    """Seconds from before to after `code`, in an interpreter that has imported multiprocessing."""
    program = (
        "import multiprocessing\nfrom time import perf_counter as now\nstart = now()\n"
        f"{code}\nprint(now() - start)"
    )

    def go() -> float:
        return float(subprocess.check_output([sys.executable, "-c", program]))

    return go


def test_import(pair: Pair) -> None:
    pair(
        "`import altsem` after multiprocessing",
        "importing m.synchronize",
        imports("import altsem"),
        imports("import multiprocessing.synchronize"),
        rounds=21,
        at_most_seconds=0.005,
    )
