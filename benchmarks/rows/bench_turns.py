"""A lock that is held for a while and wanted by many: throughput, evenness, and how long one waits.

Such rows take long, for a wait of half a second is only seen in a round that is longer.  Those that
are asked something have the more rounds.
"""

from __future__ import annotations

from contextlib import closing, nullcontext

import pytest

from ..measuring.row import Limits
from ..measuring.shares import fared
from ..workloads.peers import FORK, OURS
from ..workloads.places import hogs
from ..workloads.turns import Turns
from .conftest import Pair

PART = "Several processes, one Lock"
US = 1e-6
HOGS = 4


def limits_of(count: int, hold: float, busy: bool) -> Limits:
    if busy:
        return Limits(at_most=1.05, jain_behind_at_most=0.02, longest_at_most=1.0)
    if not hold:
        return Limits(
            at_most=0.67,
            longest_at_most=1.0,
            share_at_least=0.5 if count <= 8 else None,
            share_behind_at_most=0.0 if count == 32 else None,
        )
    if hold >= 20 * US and count >= 8:
        return Limits(at_most=1.0, jain_at_least=0.94, jain_behind_at_most=0.0, longest_at_most=0.6)
    return Limits()


def name_of(count: int, hold: float, busy: bool) -> str:
    what = f"Lock held {hold / US:g} µs" if hold < 1e-3 else f"Lock held {hold * 1e3:g} ms"
    beside = f" beside {HOGS} that compute" if busy else ""
    return f"{what if hold else 'contended Lock'}, {count} processes{beside}"


def turns(pair: Pair, count: int, hold: float, busy: bool = False) -> None:
    limits = limits_of(count, hold, busy)
    seconds, rounds = (1.0 if hold else 0.7, 5) if limits != Limits() else (0.3, 3)
    with (
        hogs(HOGS) if busy else nullcontext(),
        closing(Turns(OURS.Lock(), count, hold, seconds)) as ours,
        closing(Turns(FORK.Lock(), count, hold, seconds)) as theirs,
    ):
        pair(
            name_of(count, hold, busy),
            "native",
            ours,
            theirs,
            rounds=rounds,
            limits=limits,
            how=lambda: fared(ours.rounds, theirs.rounds),
        )


def counts(*values: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("count", values, ids=[f"{n}p" for n in values])


def holds(*values: int) -> pytest.MarkDecorator:
    """In microseconds: `make bench ARGS="-k '20us and 8p'"`."""
    ids = [f"{us}us" for us in values]
    return pytest.mark.parametrize("hold", [us * US for us in values], ids=ids)


@counts(2, 4, 8, 32)
@holds(0, 1, 20, 100, 1000)
def test_turns(pair: Pair, hold: float, count: int) -> None:
    turns(pair, count, hold)


@counts(8, 32)
@holds(20, 1000)
def test_turns_beside_others(pair: Pair, hold: float, count: int) -> None:
    turns(pair, count, hold, busy=True)
