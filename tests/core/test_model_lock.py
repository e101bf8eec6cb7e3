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


@pytest.mark.parametrize(
    ("tokens", "rounds", "kills"), [((1, 2), 2, 2), ((1, 2, 3), 1, 1), ((1, 2, 3), 1, 2)]
)
def test_a_robust_lock_outlives_its_owner(tokens: tuple[int, ...], rounds: int, kills: int) -> None:
    """Killed after any step, those that take it over included: the others get it."""
    states, wrong = violations(len(tokens), rounds, 1, Faults(), kills, tokens)
    assert states > 1000
    assert wrong == []


@pytest.mark.parametrize(("tokens", "rounds"), [((1, 2, 1), 1), ((1, 2, 1), 2)])
def test_one_that_has_the_number_of_a_dead_owner_is_not_robbed(
    tokens: tuple[int, ...], rounds: int
) -> None:
    """Nor two inside."""
    states, wrong = violations(len(tokens), rounds, 1, Faults(), 1, tokens)
    assert states > 1000
    assert wrong == []


FORBIDDEN_WHEN_ROBUST = {
    "judges_first": (1, 2, 1),
    "keeps_suspect": (1, 2, 1),
    "does_not_judge": (1, 2),
    "judges_another": (1, 2, 3),
    "leaves_the_name": (1, 2, 3),
}


@pytest.mark.parametrize("fault", FORBIDDEN_WHEN_ROBUST)
def test_the_search_finds_who_robs_the_living(fault: str) -> None:
    tokens = FORBIDDEN_WHEN_ROBUST[fault]
    _, wrong = violations(len(tokens), 1, 1, Faults(**{fault: True}), 1, tokens)
    robbed = "robbed one that lives", "took the name of one that lives"
    assert any(each.startswith(robbed) for each in wrong), wrong[:3]


def test_every_fault_is_tried() -> None:
    tried = {*FORBIDDEN, *FORBIDDEN_WHEN_ROBUST}
    assert {field.name for field in fields(Faults)} == tried
