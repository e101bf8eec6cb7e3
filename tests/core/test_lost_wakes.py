"""Every primitive where slices never end and nobody spins: whoever is not woken hangs.

So these tests see each wake that is missing, late or for too few, which elsewhere a slice of a
second, or a look at the word before the sleep, would make good.
"""

from __future__ import annotations

import select
import signal
from typing import Any

import pytest

from core.crew import Crew, until
from core.kit import EPIPE, ETIMEDOUT, FOREVER, LOCK, NOW, OK, RLOCK, Kit
from core.patient import EVERYBODY, LIMIT, Gather, Room
from core.test_barrier import arrive, party
from core.test_event import wait as wait_for

pytestmark = pytest.mark.limit(60)


@pytest.fixture
def kit(patient: Kit) -> Kit:
    return patient


def test_here_a_sleep_has_no_end_but_a_wake_or_its_deadline(kit: Kit, crew: Crew) -> None:
    """Or nothing below would show anything."""
    sem = kit.sem()
    child = crew.child(kit.telling(lambda: sem.sem_wait(kit.deadline(1.5))))
    answer, sleeps = child.result(LIMIT)
    assert answer == ETIMEDOUT
    assert (sleeps.ended["slice"], sleeps.ended["deadline"]) == (0, 1)


@pytest.mark.parametrize("kind", ["sem", "lock", "cond"])
def test_nobody_is_woken_in_vain(kit: Kit, crew: Crew, kind: str) -> None:
    """What can serve one wakes one: everybody sleeps once, and comes back once."""
    thing, lock = getattr(kit, kind)(), kit.lock()

    def work() -> Any:
        if kind != "cond":
            return thing.wait()
        ticket = kit.out("uint32_t")
        assert (lock.wait(), thing.cond_enter(ticket), lock.lock_release()) == (OK, OK, OK)
        kit.sleeps(forget=True)
        return thing.persist("cond_sleep", ticket[0], FOREVER)

    def waiting() -> int:
        return int(thing.cond_waiters() if kind == "cond" else thing.waiters())

    wake = {"sem": thing.post, "lock": thing.lock_release, "cond": lambda: thing.cond_notify(1)}
    if kind == "lock":
        thing.lock_try()
    people = [crew.child(kit.telling(work)) for _ in range(4)]
    until(lambda: waiting() == 4 and all(child.asleep() for child in people))
    told, left = [], list(people)
    while left:
        wake[kind]()
        until(lambda: any(select.select([c._pipe], [], [], 0)[0] for c in left))
        (child,) = (c for c in left if select.select([c._pipe], [], [], 0)[0])
        left.remove(child)
        told.append(child.result(LIMIT))
        until(lambda: all(c.asleep() for c in left), "the others sleep")
    assert [answer for answer, _ in told] == [OK] * 4
    assert [sleeps.ended["woken"] for _, sleeps in told] == [1] * 4


# --- semaphores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("posts", [1, 3])
def test_each_post_wakes_one(kit: Kit, gather: Gather, posts: int) -> None:
    sem = kit.sem()
    people = gather(*[sem.wait] * 3)
    until(lambda: sem.waiters() == 3 and people.asleep())
    for left in range(3 - posts, -1, -posts):
        assert [sem.post() for _ in range(posts)] == [OK] * posts
        until(lambda left=left: sem.waiters() == left, "they take the tokens")
    assert people.results() == [OK] * 3
    assert sem.sem_value() == 0


def test_a_semaphore_handed_round_and_round_reaches_everybody(kit: Kit, gather: Gather) -> None:
    sem, rounds = kit.sem(2), 150

    def work() -> None:
        for _ in range(rounds):
            assert sem.wait() == OK
            assert sem.sem_post(2) == OK

    gather(*[work] * 5).results()
    assert (sem.sem_value(), sem.waiters()) == (2, 0)


def test_two_that_hand_a_token_to_and_fro_never_stop(kit: Kit, gather: Gather) -> None:
    ping, pong, rounds = kit.sem(), kit.sem(), 300

    def answer() -> None:
        for _ in range(rounds):
            assert (ping.wait(), pong.post()) == (OK, OK)

    def ask() -> None:
        for _ in range(rounds):
            assert (ping.post(), pong.wait()) == (OK, OK)

    gather(answer, ask).results()


# --- locks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (LOCK, "lock_release"),
        (RLOCK, "lock_release"),
        (RLOCK, "rlock_release"),
        (RLOCK, "rlock_release_all"),
    ],
    ids=["lock", "rlock-freed", "rlock", "rlock-all"],
)
def test_each_release_passes_the_lock_to_a_waiter(
    kit: Kit, gather: Gather, kind: int, how: str
) -> None:
    lock = kit.new(kind, 1, 1)

    def release() -> Any:
        return getattr(lock, how)(*[kit.out("uint32_t")] * (how == "rlock_release_all"))

    assert lock.lock_try() == OK
    people = gather(*[lambda: (lock.wait(), release())] * 3)
    until(lambda: lock.waiters() == 3 and people.asleep())
    assert release() == OK
    assert people.results() == [(OK, OK)] * 3
    assert (lock.lock_is_free(), lock.waiters()) == (1, 0)


@pytest.mark.parametrize("kind", [LOCK, RLOCK], ids=["lock", "rlock"])
def test_a_lock_that_many_want_reaches_everybody(kit: Kit, gather: Gather, kind: int) -> None:
    lock, rounds = kit.new(kind, 1, 1), 150

    def work() -> None:
        for _ in range(rounds):
            assert (lock.wait(), lock.lock_release()) == (OK, OK)

    gather(*[work] * 5).results()
    assert (lock.lock_is_free(), lock.waiters()) == (1, 0)


def test_who_was_woken_too_late_does_not_keep_others_from_being_woken(kit: Kit, crew: Crew) -> None:
    """WOKEN goes when a waiter goes back to sleep on a lock that was taken over its head."""
    lock = kit.lock()
    lock.lock_try()
    people = [crew.child(lambda: (lock.wait(), lock.lock_release())) for _ in range(2)]
    until(lambda: lock.waiters() == 2 and all(child.asleep() for child in people))
    for child in people:
        child.stop()
    assert (lock.lock_release(), lock.lock_try()) == (OK, OK)
    for child in people:
        child.signal(signal.SIGCONT)
    until(lambda: not lock.peek("word") & 0x40000000, "whoever looks takes WOKEN away")
    until(lambda: all(child.asleep() for child in people))
    assert lock.lock_release() == OK
    assert [child.result(LIMIT) for child in people] == [(OK, OK)] * 2
    assert (lock.lock_is_free(), lock.waiters()) == (1, 0)


def test_a_waiter_that_leaves_does_not_take_the_wake_along(kit: Kit, crew: Crew) -> None:
    """It is stopped, the lock is freed and taken over its head, and its deadline passes."""
    lock = kit.lock()
    for _ in range(2):
        lock.lock_try()
        leaving = crew.child(lambda: lock.wait(kit.deadline(0.3)))
        until(lambda c=leaving: lock.waiters() == 1 and c.asleep())
        staying = crew.child(lambda: (lock.wait(), lock.lock_release()))
        until(lambda c=staying: lock.waiters() == 2 and c.asleep())
        leaving.stop()
        staying.stop()
        assert (lock.lock_release(), lock.lock_try()) == (OK, OK)
        end = kit.deadline(0.3)
        until(lambda end=end: kit.lib.altsem_clock() > end)
        leaving.signal(signal.SIGCONT)
        assert leaving.result(LIMIT) == ETIMEDOUT
        staying.signal(signal.SIGCONT)
        assert lock.lock_release() == OK
        assert staying.result(LIMIT) == (OK, OK)
        assert (lock.lock_is_free(), lock.waiters()) == (1, 0)


# --- events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pulse", [False, True], ids=["set", "pulse"])
def test_setting_an_event_wakes_all(kit: Kit, gather: Gather, pulse: bool) -> None:
    event = kit.event()
    for _ in range(3):
        people = gather(*[lambda: wait_for(event)] * 4)
        until(lambda p=people: event.waiters() == 4 and p.asleep())
        event.event_set()
        if pulse:
            event.event_clear()
        assert people.results() == [OK] * 4
        event.event_clear()
    assert event.waiters() == 0


def test_two_that_set_each_others_event_never_stop(kit: Kit, gather: Gather) -> None:
    ping, pong, rounds = kit.event(), kit.event(), 300

    def answer() -> None:
        for _ in range(rounds):
            assert wait_for(ping) == OK
            ping.event_clear()
            pong.event_set()

    def ask() -> None:
        for _ in range(rounds):
            ping.event_set()
            assert wait_for(pong) == OK
            pong.event_clear()

    gather(answer, ask).results()


# --- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, EVERYBODY])
def test_notify_wakes_as_many_as_it_says(kit: Kit, gather: Gather, n: int) -> None:
    """Several rounds: the two words of a condition take turns."""
    room, back = Room(kit), 0
    for _ in range(4):
        people = gather(*[room.waiter] * 4)
        room.full(4, people)
        for _ in range(0, 4, min(n, 4)):
            woken = room.notify(n)
            assert woken == min(n, 4)
            back += woken
            until(lambda back=back: room.back.sem_value() == back, "they come back")
        assert people.results() == [True] * 4


def test_notifications_for_two_groups_at_once_wake_both(kit: Kit, gather: Gather) -> None:
    """The rest of a group that is being notified, and those who came after it had begun."""
    room = Room(kit)
    for _ in range(3):
        first = gather(*[room.waiter] * 2)
        room.full(2, first)
        assert room.notify(1) == 1
        until(lambda: room.back.sem_value() == 1, "one of the first comes back")
        later = gather(*[room.waiter] * 2)
        room.full(3, later)
        assert room.notify(3) == 3
        assert first.results() + later.results() == [True] * 4
        while room.back.sem_try() == OK:
            pass


def test_places_that_were_given_up_take_no_wake_along(kit: Kit, gather: Gather) -> None:
    room = Room(kit)
    people = gather(*[room.waiter] * 2)
    room.full(2, people)
    assert not gather(lambda: room.waiter(kit.deadline(0.05))).results()[0]
    room.full(2, people)
    assert room.notify(1) == 1
    until(lambda: room.back.sem_value() == 2, "one comes back")
    assert not gather(lambda: room.waiter(kit.deadline(0.05))).results()[0]
    assert room.notify(EVERYBODY) == 1
    assert people.results() == [True] * 2
    assert room.cond.cond_waiters() == 0


def test_a_notification_that_comes_while_one_is_about_to_sleep_is_not_slept_through(
    kit: Kit, gather: Gather
) -> None:
    """Notified with no sleeper yet: the low half of the word has changed."""
    cond, ticket = kit.cond(), kit.out("uint32_t")
    for _ in range(6):
        assert cond.cond_enter(ticket) == OK
        number = ticket[0]
        assert cond.cond_notify(1) == 1
        assert gather(lambda n=number: cond.persist("cond_sleep", n, FOREVER)).results() == [OK]


def test_a_group_that_is_over_lets_go_who_had_not_slept_yet(kit: Kit, gather: Gather) -> None:
    """A member that comes to sleep only after two more groups: their numbers are in the words."""
    cond, ticket = kit.cond(), kit.out("uint32_t")
    for groups in range(1, 6):
        assert cond.cond_enter(ticket) == OK
        late = ticket[0]
        for _ in range(groups):
            assert cond.cond_notify(EVERYBODY) >= 1
            assert cond.cond_enter(ticket) == OK
        assert gather(lambda n=late: cond.persist("cond_sleep", n, FOREVER)).results() == [OK]
        assert cond.cond_notify(EVERYBODY) == 1


def test_producers_and_consumers_never_stop(kit: Kit, gather: Gather) -> None:
    filled, emptied, box, items, most = Room(kit), Room(kit), kit.sem(), 100, 2
    emptied.lock = lock = filled.lock

    def produce() -> None:
        for _ in range(items):
            assert lock.wait() == OK
            while box.peek("holder") == most:
                emptied.wait()
            box.poke("holder", box.peek("holder") + 1)
            filled.cond.cond_notify(1)
            lock.lock_release()

    def consume() -> None:
        for _ in range(items):
            assert lock.wait() == OK
            while box.peek("holder") == 0:
                filled.wait()
            box.poke("holder", box.peek("holder") - 1)
            emptied.cond.cond_notify(1)
            lock.lock_release()

    gather(*[produce, consume] * 3).results()
    assert box.peek("holder") == 0


# --- barriers -------------------------------------------------------------------------------------


def test_the_last_to_come_wakes_all_others(kit: Kit, gather: Gather) -> None:
    barrier = kit.barrier(4)
    for _ in range(3):
        people = gather(*[lambda: party(barrier)] * 3)
        until(lambda p=people: barrier.barrier_waiting() == 3 and p.asleep())
        assert party(barrier) == 3
        assert sorted(people.results()) == [0, 1, 2]


@pytest.mark.parametrize("how", ["abort", "reset", "timeout"])
def test_every_other_end_of_a_generation_wakes_all(kit: Kit, gather: Gather, how: str) -> None:
    barrier = kit.barrier(4)
    people = gather(*[lambda: party(barrier)] * 3)
    until(lambda: barrier.barrier_waiting() == 3 and people.asleep())
    if how == "timeout":
        _, _, generation = arrive(kit.barrier(1))
        barrier.barrier_withdraw(generation + 1)  # not of this generation: nothing
        assert barrier.barrier_wait(0, kit.deadline(0.05)) == ETIMEDOUT
    else:
        getattr(barrier, "barrier_" + how)()
    assert people.results() == [EPIPE] * 3


def test_parties_meet_again_and_again(kit: Kit, gather: Gather) -> None:
    parties, rounds = 4, 60
    barrier = kit.barrier(parties)
    indexes = gather(*[lambda: [party(barrier) for _ in range(rounds)]] * parties).results()
    assert all(sorted(met) == list(range(parties)) for met in zip(*indexes, strict=True))


@pytest.mark.parametrize("how", ["trip", "abort", "reset"])
def test_who_came_too_early_for_the_next_generation_is_woken(
    kit: Kit, gather: Gather, how: str
) -> None:
    """All are there, and the last one is at its action: newcomers wait for its end."""
    barrier = kit.barrier(1)
    answer, _, generation = arrive(barrier)
    assert (answer, arrive(barrier, NOW)[0]) == (1, ETIMEDOUT)
    people = gather(*[lambda: party(barrier)] * 3)
    until(people.asleep)
    if how == "trip":
        assert barrier.barrier_trip(generation) == OK
    else:
        getattr(barrier, "barrier_" + how)()
    assert people.results() == ([EPIPE] * 3 if how == "abort" else [0] * 3)
