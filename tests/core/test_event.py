"""The flag to wait for."""

from __future__ import annotations

import signal

import pytest

from core.crew import Crew, until
from core.kit import EINTR, EINVAL, ETIMEDOUT, EVENT, FOREVER, NOW, OK, PAST, Kit, Thing


def wait(event: Thing, deadline: int = FOREVER) -> int:
    return int(event.persist("event_wait", event.event_now(), deadline))


@pytest.mark.parametrize("value", [-1, 2, 2**63 - 1])
def test_an_event_is_born_set_or_not_and_nothing_else(kit: Kit, value: int) -> None:
    assert kit.raw_new(EVENT, value) == (EINVAL, None)


def test_set_and_clear_say_what_it_is(kit: Kit) -> None:
    assert kit.event(1).event_is_set() == 1
    event = kit.event()
    assert event.event_is_set() == 0
    for _ in range(3):
        assert (event.event_set(), event.event_set(), event.event_is_set()) == (OK, OK, 1)
        event.event_clear()
        event.event_clear()
        assert event.event_is_set() == 0


@pytest.mark.parametrize("deadline", [NOW, PAST, 0, FOREVER])
def test_a_set_event_is_not_waited_for(kit: Kit, deadline: int) -> None:
    event = kit.event(1)
    assert wait(event, deadline) == OK and event.waiters() == 0


@pytest.mark.parametrize("deadline", [NOW, PAST, 0])
def test_a_passed_deadline_only_looks(kit: Kit, deadline: int) -> None:
    event = kit.event()
    before = event.image()
    assert wait(event, deadline) == ETIMEDOUT and event.image() == before


def test_a_deadline_ends_the_wait_and_leaves_nothing(kit: Kit) -> None:
    event, deadline = kit.event(), kit.deadline(0.05)
    before = event.image()
    assert wait(event, deadline) == ETIMEDOUT
    assert kit.lib.altsem_clock() >= deadline and event.image() == before


def test_set_wakes_all_in_all_processes(kit: Kit, crew: Crew) -> None:
    event = kit.event()
    work = kit.telling(wait)
    everybody = [crew.child(work, event) for _ in range(3)] + [
        crew.task(work, event) for _ in range(3)
    ]
    until(lambda: event.waiters() == 6 and all(one.asleep() for one in everybody))
    assert event.event_set() == OK
    assert kit.woken(*everybody) == [OK] * 6
    assert event.waiters() == 0


def test_a_pulse_wakes_those_who_waited_even_if_none_of_them_ran_between(
    kit: Kit, crew: Crew
) -> None:
    event = kit.event()
    children = [crew.child(wait, event) for _ in range(2)]
    until(lambda: event.waiters() == 2 and all(child.asleep() for child in children))
    for child in children:
        child.stop()
    event.event_set()
    event.event_clear()
    for child in children:
        child.signal(signal.SIGCONT)
    assert [child.result() for child in children] == [OK, OK]
    assert event.event_is_set() == 0


def test_a_pulse_between_looking_and_waiting_is_seen(kit: Kit) -> None:
    event = kit.event()
    since = event.event_now()
    event.event_set()
    event.event_clear()
    assert event.event_wait(since, NOW) == OK
    assert event.event_wait(event.event_now(), NOW) == ETIMEDOUT


def test_the_count_of_sets_wraps_and_still_tells_a_pulse(kit: Kit) -> None:
    event = kit.event()
    event.poke("word", 0xFFFFFFFE)
    since = event.event_now()
    event.event_set()
    assert (event.event_is_set(), event.waiters()) == (1, 0)
    event.event_clear()
    assert event.event_wait(since, NOW) == OK


def test_a_signal_ends_the_sleep_and_leaves_nothing(kit: Kit, crew: Crew) -> None:
    crew.handle(signal.SIGUSR1)
    event = kit.event()
    before = event.image()
    for _ in range(20):
        task = crew.task(lambda: event.event_wait(0, FOREVER))
        until(lambda task=task: event.waiters() == 1 and task.asleep())
        task.signal(signal.SIGUSR1)
        assert task.result() == EINTR and event.image() == before


def test_set_in_a_signal_handler_of_the_waiter_ends_its_wait(kit: Kit, crew: Crew) -> None:
    event = kit.event()

    def work() -> int:
        signal.signal(signal.SIGUSR1, lambda *_: event.event_set())
        return wait(event)

    child = crew.child(work)
    until(lambda: event.waiters() == 1 and child.asleep())
    child.signal(signal.SIGUSR1)
    assert child.result() == OK


def test_set_while_a_signal_ends_the_sleep_it_was_set(kit: Kit, crew: Crew) -> None:
    """A sleep that failed is answered only after one more look."""
    crew.handle(signal.SIGUSR1)
    event = kit.event()
    child = crew.child(lambda: event.event_wait(0, FOREVER))
    until(lambda: event.waiters() == 1 and child.asleep())
    child.stop()
    event.event_set()
    child.signal(signal.SIGUSR1)
    child.signal(signal.SIGCONT)
    assert child.result() == OK and event.waiters() == 0


def test_set_makes_no_system_call_unless_somebody_has_to_be_woken(kit: Kit, crew: Crew) -> None:
    event = kit.event()
    assert kit.wakes(event.event_set) == 0
    event.event_clear()
    child = crew.child(wait, event)
    until(lambda: event.waiters() == 1 and child.asleep())
    child.stop()
    # The second time it is set already, and its waiter is on its way.
    assert [kit.wakes(event.event_set) for _ in range(2)] == [1, 0]
    child.signal(signal.SIGCONT)
    assert child.result() == OK


def test_a_killed_waiter_stays_counted_and_blocks_nobody(kit: Kit, crew: Crew) -> None:
    event = kit.event()
    dead, alive = crew.child(wait, event), crew.child(kit.telling(wait), event)
    until(lambda: event.waiters() == 2 and dead.asleep() and alive.asleep())
    dead.kill()
    event.event_set()
    assert kit.woken(alive) == [OK] and event.waiters() == 1
    event.event_clear()
    assert wait(event, kit.deadline(0.01)) == ETIMEDOUT


def test_what_was_written_before_set_is_there_for_who_finds_it_set(kit: Kit, crew: Crew) -> None:
    """Ping-pong: each side writes, sets the other's event, and reads what the other wrote."""
    ping, pong, box, rounds = kit.event(), kit.event(), kit.sem(), 300

    def work() -> None:
        for number in range(rounds):
            assert wait(ping) == OK
            ping.event_clear()
            assert box.peek("holder") == number
            box.poke("holder", number + 1000)
            pong.event_set()

    child = crew.child(work)
    for number in range(rounds):
        box.poke("holder", number)
        ping.event_set()
        assert wait(pong) == OK
        pong.event_clear()
        assert box.peek("holder") == number + 1000
    child.result()
