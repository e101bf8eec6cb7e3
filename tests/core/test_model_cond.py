"""The wait queue of a condition, searched through: every order in which its steps can come."""

from __future__ import annotations

from typing import Any

import pytest

from .model_cond import ALL, Faults, violations

LEFT_OVER = [(0, 0), (-1, 1)]  # a token that nobody of the group before the last has taken


@pytest.mark.parametrize(
    ("notifications", "world"),
    [
        ([(1,)], {"early": 2, "timeouts": 2}),
        ([(1, 1)], {"early": 2, "timeouts": 1}),
        ([(1,), (1,)], {"early": 2, "timeouts": 1}),
        ([(1, 1)], {"early": 1, "later": 1}),
        ([(1,)], {"early": 1, "later": 1, "timeouts": 1}),
        ([(1,)], {"early": 2, "words": LEFT_OVER}),
    ],
    ids=[
        "they time out",
        "one times out",
        "two notifiers",
        "one comes late",
        "late, times out",
        "a token left over",
    ],
)
def test_as_many_as_are_notified_go_whoever_times_out_and_nobody_sleeps_on(
    notifications: list[tuple[int, ...]], world: dict[str, Any]
) -> None:
    states, wrong = violations(*notifications, **world)
    assert states > 500
    assert wrong == []


@pytest.mark.parametrize(
    ("killed", "survivor", "world"),
    [
        ((1,), (ALL,), {"early": 2}),
        ((2,), (ALL,), {"early": 2}),
        ((1,), (1,), {"early": 2}),
        ((2,), (1,), {"early": 2, "timeouts": 1}),
        ((1,), (ALL,), {"early": 1, "later": 1}),
    ],
)
def test_a_notifier_killed_after_any_step_keeps_no_later_notification_from_the_waiters(
    killed: tuple[int, ...], survivor: tuple[int, ...], world: dict[str, Any]
) -> None:
    who = world["early"] + world.get("later", 0)
    victims = frozenset([who])
    states, wrong = violations(killed, survivor, kills=1, slices=True, victims=victims, **world)
    assert states > 500
    assert wrong == []


@pytest.mark.parametrize(
    ("fault", "world"),
    [
        ("tokens_first", {"early": 2, "timeouts": 2}),
        ("word_read_late", {"early": 2, "later": 1, "numbers": (1, 1)}),
        ("closes_not", {"early": 2, "timeouts": 2}),
        ("tokens_without_group", {"early": 2, "words": LEFT_OVER}),
        ("leaves_without_looking", {"early": 2, "timeouts": 2}),
        ("blind_leave", {"early": 2, "timeouts": 2}),
        ("goes_only_with_token", {"early": 2, "timeouts": 2}),
    ],
)
def test_the_search_finds_what_is_forbidden(fault: str, world: dict[str, Any]) -> None:
    numbers = world.pop("numbers", (1,))
    _, wrong = violations(numbers, faults=Faults(**{fault: True}), **world)
    assert wrong
