"""The lock, searched through: every order in which its steps can come."""

from __future__ import annotations

from dataclasses import fields

import pytest

from .model_lock import Faults, violations


@pytest.mark.parametrize(("threads", "rounds", "signals"), [(2, 3, 2), (3, 1, 1), (3, 2, 0)])
def test_one_is_inside_and_nobody_sleeps_for_ever(threads: int, rounds: int, signals: int) -> None:
    """Mutual exclusion, and no lost wake-up, also when sleeps are interrupted."""
    states, wrong = violations(threads, rounds, signals, Faults())
    assert states > 1000
    assert wrong == []


@pytest.mark.parametrize(("threads", "rounds"), [(2, 2), (3, 1)])
def test_whoever_is_killed_while_it_waits_or_wakes_stops_nobody_for_good(
    threads: int, rounds: int
) -> None:
    """Also one that had reserved the lock, or for whom it was reserved."""
    states, wrong = violations(threads, rounds, 0, Faults(), kills=1)
    assert states > 1000
    assert wrong == []


FORBIDDEN = {
    "sleeps_on_owner_only": "asleep, and nobody left",
    "keeps_woken": "asleep, and nobody left",
    "announces_late": "asleep, and nobody left",
    "takes_without_looking": "two inside",
    "ignores_reservation": "took what was reserved",
    "reserves_blindly": "asleep, and nobody left",
}


@pytest.mark.parametrize("fault", FORBIDDEN)
def test_the_search_finds_what_is_forbidden(fault: str) -> None:
    """Each liberty that word.h calls illegal is found out."""
    _, wrong = violations(2, 3, 0, Faults(**{fault: True}))
    assert any(each.startswith(FORBIDDEN[fault]) for each in wrong), wrong[:3]


def test_every_fault_is_tried() -> None:
    assert {field.name for field in fields(Faults)} == set(FORBIDDEN)
