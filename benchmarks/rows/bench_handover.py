"""Somebody waits for what somebody else gives: round trips.

Each twice: settled, in processes that have done a round before; and the first ones of processes
that are new, in which everything counts.
"""

from __future__ import annotations

from contextlib import closing, nullcontext

import pytest

from ..workloads.apart import PAIRS, Apart, Make, Place
from ..workloads.fresh import Fresh
from ..workloads.partner import barrier_of, condition_trip, event_trip, ping_pong, thread_ping_pong
from ..workloads.places import (
    busy_cpus,
    can_set_quota,
    one_busy_cpu,
    one_cpu,
    one_free_cpu,
    quota_of_one_cpu,
)
from .conftest import Pair

PART = "To and fro"


FIRST = 1000  # operations of a new process

settled_and_first = pytest.mark.parametrize("first", [False, True], ids=["settled", "first"])


def trips(
    pair: Pair,
    work: str,
    make: Make,
    at_most: float | None,
    place: Place = nullcontext,
    n: int = 400,
) -> None:
    """The settled ones."""
    with closing(Apart(make, n, place)) as apart:
        pair(work, "native", apart.ours, apart.theirs, at_most, 6 * PAIRS)


def first_trips(
    pair: Pair,
    work: str,
    make: Make,
    at_most: float | None,
    place: Place = nullcontext,
    n: int = FIRST,
) -> None:
    """The first `n` of new processes."""
    fresh = Fresh(make, n)
    with place():
        pair(f"{work}, the first {n:,}", "native", fresh.ours, fresh.theirs, at_most, 8 * PAIRS)


@settled_and_first
def test_ping_pong(pair: Pair, first: bool) -> None:
    work = "hand-off ping-pong of two processes"
    if first:
        first_trips(pair, work, ping_pong, 1.0)
    else:
        trips(pair, work, ping_pong, 0.1)


def test_ping_pong_first_on_one_cpu_of_many(pair: Pair) -> None:
    work = "the same with a hog on every other CPU"
    first_trips(pair, work, ping_pong, 1.0, one_free_cpu)


if can_set_quota():  # else there is no such row

    @settled_and_first
    def test_ping_pong_with_a_quota(pair: Pair, first: bool) -> None:
        work = "the same with a quota of one CPU"
        (first_trips if first else trips)(pair, work, ping_pong, 1.1, quota_of_one_cpu)


# Settled rounds are short where a hog may have the CPU for milliseconds between two steps.
@settled_and_first
@pytest.mark.parametrize(
    ("circumstance", "place", "at_most", "n"),
    [
        ("one usable CPU", one_cpu, 1.1, 400),
        ("one usable CPU and it is busy", one_busy_cpu, None, 100),
        ("every CPU busy", busy_cpus, 1.1, 100),
    ],
)
def test_ping_pong_where(
    pair: Pair, first: bool, circumstance: str, place: Place, at_most: float | None, n: int
) -> None:
    work = f"the same with {circumstance}"
    if first:
        first_trips(pair, work, ping_pong, at_most, place)
    else:
        trips(pair, work, ping_pong, at_most, place, n)


@settled_and_first
def test_ping_pong_threads(pair: Pair, first: bool) -> None:
    work = "the same of two threads of a process"
    (first_trips if first else trips)(pair, work, thread_ping_pong, None)


@settled_and_first
@pytest.mark.parametrize(
    ("work", "make"),
    [
        ("Event set, wait round trip", event_trip),
        ("Condition notify, wait round trip", condition_trip),
    ],
    ids=["event", "condition"],
)
def test_trip(pair: Pair, first: bool, work: str, make: Make) -> None:
    if first:
        first_trips(pair, work, make, 0.7)
    else:
        trips(pair, work, make, 0.1)


@settled_and_first
@pytest.mark.parametrize(("parties", "n"), [(2, 200), (8, 50)])
def test_barrier(pair: Pair, first: bool, parties: int, n: int) -> None:
    work = f"Barrier of {parties} processes, a generation"
    if first:
        first_trips(pair, work, barrier_of(parties), None)
    else:
        trips(pair, work, barrier_of(parties), None, n=n)
