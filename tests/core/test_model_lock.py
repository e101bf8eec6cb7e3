"""The lock, searched through: every order in which its steps can come."""

from __future__ import annotations

import pytest

from .model_lock import Faults, violations


@pytest.mark.parametrize(("threads", "rounds", "signals"), [(2, 3, 2), (3, 1, 1), (3, 2, 0)])
def test_one_is_inside_and_nobody_sleeps_for_ever(threads: int, rounds: int, signals: int) -> None:
    """Mutual exclusion, and no lost wake-up, also when sleeps are interrupted."""
    states, wrong = violations(threads, rounds, signals, Faults())
    assert states > 1000
    assert wrong == []


@pytest.mark.parametrize(
    "fault", ["sleeps_on_owner_only", "keeps_woken", "announces_late", "takes_without_looking"]
)
def test_the_search_finds_what_is_forbidden(fault: str) -> None:
    """Each liberty that word.h calls illegal is found out."""
    _, wrong = violations(2, 3, 0, Faults(**{fault: True}))
    assert wrong
