"""What the primitives are for: queues, pools, many waiters; and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pytest

from ..measuring.paired import Timing
from ..measuring.quick import scaled
from ..workloads.apart import Make
from ..workloads.fresh import Fresh
from ..workloads.peers import FORK, OURS
from ..workloads.pool import Mapped
from ..workloads.through import Through
from ..workloads.waiters import Waiters
from .conftest import Pair

PART = "What they are for"


# What an item costs hangs on where the scheduler puts those who hand it over, and that stays as it
# is for as long as they live: so a round is the mean over many that are new.
NEW = 16


def whole(pair: Pair, work: str, make: Make, n: int = 1000) -> None:
    fresh = Fresh(make, scaled(n), max(2, scaled(NEW)))
    pair(work, "native", fresh.ours, fresh.theirs, 1.0, 15)


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_queue(pair: Pair, kind: str) -> None:
    whole(pair, f"{kind}, an item to another process", lambda ctx, n: Through(ctx, kind, n))


def test_pool(pair: Pair) -> None:
    whole(pair, "Pool(2).map, a task", Mapped, 500)


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
