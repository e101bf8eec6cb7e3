"""The semaphore, searched through: every order in which its steps can come."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from core.model_sem import Faults, World, search, steps

WORLDS = {
    "two take, one posts twice": World(2, (2,)),
    "three take, two post": World(3, (2, 1)),
    "two take, two post, one more comes": World(3, (1, 1, 1)),
    "one token to begin with": World(2, (1, 1), value=1),
    "more posts than takers, and a bound": World(1, (2, 2), bound=2),
    "racing posts at the bound": World(0, (1, 1, 1), bound=1),
    "sleeps that end by themselves": World(2, (1, 1), slices=True),
    "the last taker frees it": World(2, (1, 1), frees=True),
    "one is killed": World(3, (1, 1), kills=1),
    "one is killed, sleeps end": World(2, (2,), kills=1, slices=True),
}


@pytest.mark.parametrize("name", WORLDS)
def test_nothing_is_lost_in_any_order(name: str) -> None:
    """No lost wake-up, no token lost or made, never above the bound, nothing touched once free.

    Where one is killed, sleepers may be left beside a token only if it died on its way from a wake
    to the token (or from the token to the wake); the slice then helps: there is always a way out.
    """
    states, wrong = search(WORLDS[name])
    assert states > 10
    assert wrong == []


@pytest.mark.parametrize(
    ("fault", "name", "found"),
    [
        ("announces_not", "two take, one posts twice", "asleep, a token there, nobody to wake"),
        ("wakes_only_from_zero", "two take, one posts twice", "asleep, a token there"),
        ("sleeps_without_comparing", "two take, one posts twice", "asleep, a token there"),
        ("reads_waiters_later", "the last taker frees it", "touched after it was freed"),
        ("repairs_the_count", "three take, two post", "asleep, a token there"),
        ("ignores_reservation", "two take, two post, one more comes", "took what was reserved"),
        ("reserves_blindly", "two take, two post, one more comes", "tokens came or went"),
        ("sleeps_on_what_was", "one is killed, sleeps end", "no way out"),
        ("checks_bound_before", "racing posts at the bound", "value outside its bounds"),
    ],
)
def test_the_search_finds_what_is_forbidden(fault: str, name: str, found: str) -> None:
    """Each liberty that word.h calls illegal is found out."""
    _, wrong = search(replace(WORLDS[name], faults=Faults(**{fault: True})))
    assert any(each.startswith(found) for each in wrong), wrong


def test_leaving_without_a_last_look_is_found_where_nobody_comes_back() -> None:
    """Here everybody does, so the token is found: the look only saves a round."""
    world = replace(
        WORLDS["sleeps that end by themselves"], faults=Faults(leaves_without_looking=True)
    )
    assert search(world)[1] == []


def test_a_death_between_wake_and_token_does_strand_the_others() -> None:
    """Why no sleep may last longer than a slice: without it there are states with no way out."""
    world = World(2, (1,), kills=1)
    assert search(world)[1] == []
    strict = 0
    todo, known = [world.start()], {world.start()}
    while todo:
        state = todo.pop()
        following = list(steps(state, world))
        if state.stranded and state.word.value and not following:
            strict += any(thread.at == "asleep" for thread in state.threads)
        for _, each in following:
            if each not in known:
                known.add(each)
                todo.append(each)
    assert strict > 0


def test_every_fault_is_tried() -> None:
    assert {field.name for field in fields(Faults)} == {
        "announces_not", "wakes_only_from_zero", "sleeps_without_comparing",
        "reads_waiters_later", "repairs_the_count", "checks_bound_before",
        "leaves_without_looking", "ignores_reservation", "reserves_blindly", "sleeps_on_what_was",
    }  # fmt: skip
