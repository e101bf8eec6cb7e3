"""Somebody waits for what somebody else gives: round trips."""

from __future__ import annotations

from contextlib import closing, nullcontext

import pytest

from ..workloads.apart import PAIRS, Apart, Make, Place
from ..workloads.partner import barrier_of, condition_trip, event_trip, ping_pong, thread_ping_pong
from ..workloads.places import busy_cpus, can_set_quota, one_busy_cpu, one_cpu, quota_of_one_cpu
from .conftest import Pair

PART = "To and fro"


def trips(
    pair: Pair,
    work: str,
    make: Make,
    at_most: float | None,
    place: Place = nullcontext,
    n: int = 400,
) -> None:
    with closing(Apart(make, n, place)) as apart:
        pair(work, "native", apart.ours, apart.theirs, at_most, 6 * PAIRS)


def test_ping_pong(pair: Pair) -> None:
    trips(pair, "hand-off ping-pong of two processes", ping_pong, 0.5)


if can_set_quota():  # else there is no such row

    def test_ping_pong_with_a_quota(pair: Pair) -> None:
        work = "the same with a quota of one CPU"
        trips(pair, work, ping_pong, 1.1, quota_of_one_cpu)


# Rounds are short where a hog may have the CPU for milliseconds between two steps.
@pytest.mark.parametrize(
    ("circumstance", "place", "at_most", "n"),
    [
        ("one usable CPU", one_cpu, 1.1, 400),
        ("one usable CPU and it is busy", one_busy_cpu, None, 100),
        ("every CPU busy", busy_cpus, 1.1, 100),
    ],
)
def test_ping_pong_where(
    pair: Pair, circumstance: str, place: Place, at_most: float | None, n: int
) -> None:
    trips(pair, f"the same with {circumstance}", ping_pong, at_most, place, n)


def test_ping_pong_threads(pair: Pair) -> None:
    trips(pair, "the same of two threads of a process", thread_ping_pong, None)


def test_event_trip(pair: Pair) -> None:
    trips(pair, "Event set, wait round trip", event_trip, 0.5)


def test_condition_trip(pair: Pair) -> None:
    trips(pair, "Condition notify, wait round trip", condition_trip, 0.5)


@pytest.mark.parametrize(("parties", "n"), [(2, 200), (8, 50)])
def test_barrier(pair: Pair, parties: int, n: int) -> None:
    trips(pair, f"Barrier of {parties} processes, a generation", barrier_of(parties), None, n=n)
