"""Without the GIL, and the same interpreter with it: nothing may be lost."""

from __future__ import annotations

import contextlib

import pytest

from ..workloads.apart import PAIRS
from ..workloads.gil import CONTROL, WORKS, Side
from ..workloads.places import busy_cpus, one_cpu
from ..workloads.threads import FREE_THREADED
from .conftest import Pair

PART = "Without the GIL"
AT_MOST = 1.2

places = {
    "the same with one usable CPU": one_cpu,
    "the same with every CPU busy": busy_cpus,
}

if FREE_THREADED:  # else there is nothing to compare, and no row is missing

    @pytest.mark.parametrize("work", WORKS)
    def test_without_the_gil(pair: Pair, work: str) -> None:
        rounds = (4 if work.startswith("contended") else 6) * PAIRS
        with (
            places.get(work, contextlib.nullcontext)(),
            contextlib.closing(Side(work, gil=False)) as free,
            contextlib.closing(Side(work, gil=True)) as locked,
        ):
            at_most = None if CONTROL in work else AT_MOST
            pair(work, "with the GIL", free, locked, at_most, rounds)
