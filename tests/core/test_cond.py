"""The waiting room of a condition variable."""

from __future__ import annotations

import itertools
import signal
from dataclasses import dataclass, field

import pytest

from core.crew import Child, Crew, Task, until
from core.kit import EAGAIN, EINTR, ETIMEDOUT, FOREVER, LOCK, NOW, OK, PAST, Kit, Thing


def enter(cond: Thing) -> int:
    ticket = cond.kit.out("uint32_t")
    assert cond.cond_enter(ticket) == OK
    return int(ticket[0])


def wait(cond: Thing, lock: Thing, entered: Thing | None = None, deadline: int = FOREVER) -> bool:
    """What a binding does.  Lock held on entry and on return."""
    ticket = enter(cond)
    if entered is not None:
        entered.post()
    lock.lock_release()
    answer = cond.persist("cond_sleep", ticket, deadline)
    assert lock.wait() == OK
    return answer == OK or cond.cond_leave(ticket) == 1


def waiter(cond: Thing, lock: Thing, entered: Thing | None = None) -> bool:
    assert lock.wait() == OK
    good = wait(cond, lock, entered)
    assert lock.lock_release() == OK
    return good


def notify(cond: Thing, lock: Thing, n: int) -> int:
    assert lock.wait() == OK
    done = cond.cond_notify(n)
    assert lock.lock_release() == OK
    return int(done)


def test_the_word_carries_its_group_in_both_halves(kit: Kit) -> None:
    """As the table in cond.c has it: in the low half, which the kernel compares, modulo 4096."""
    for group in (1, 2, 3, 2047, 2048, 4095, 4096, 4099):
        cond = kit.cond()
        cond.poke("current", (group - 1) << 32)
        cond.poke("joining", group << 32)
        assert [enter(cond), enter(cond)] == [group, group]
        assert cond.cond_notify(2) == 2
        found = cond.peek("word2" if group % 2 else "word")
        assert found == group << 32 | group % 4096 << 20 | 2


# --- against a model ------------------------------------------------------------------------------


@dataclass
class Room:
    """What a waiting room must do, without a word of how.

    A notification is owed to the generation of those that had entered when it was given: it does
    not matter which of them acts on it, but never one who came later.
    """

    waiting: list[int] = field(default_factory=list)  # in order of arrival
    inside: int = 0

    def enter(self) -> int:
        self.inside += 1
        self.waiting.append(self.inside)
        return self.inside


STEPS = ("enter", "notify 1", "notify 2", "notify all", "sleep first", "sleep last", "leave first")


def run_against_model(cond: Thing, steps: tuple[str, ...]) -> None:
    """Every answer is what the promise allows.

    `notified - taken` notifications are owed.  Each was given when certain people were inside; an
    answer "notified" must be matched with one of those (Hall's condition: for every moment, those
    who entered before it and are notified are at least the notifications given before it, in the
    end), so here: all notifications must in the end have been taken by people who had entered
    before them, and by exactly as many.
    """
    tickets: dict[int, int] = {}
    given: list[int] = []  # for each notification: how many had entered when it was given
    taken: list[int] = []  # for each "notified": the number of the one who was
    room = Room()

    def owed() -> int:
        return len(given) - len(taken)

    def asked(person: int, answer: bool) -> None:
        if answer:
            taken.append(person)
            room.waiting.remove(person)

    for step in steps:
        what, _, which = step.partition(" ")
        if what == "enter":
            person = room.enter()
            tickets[person] = enter(cond)
        elif what == "notify":
            n = 2**32 - 1 if which == "all" else int(which)
            expected = min(n, len(room.waiting) - owed())
            assert cond.cond_notify(n) == expected, steps
            given += [room.inside] * expected
        elif room.waiting:
            person = room.waiting[0 if which == "first" else -1]
            if what == "sleep":
                answer = cond.cond_sleep(tickets[person], NOW)
                assert answer in (OK, ETIMEDOUT), steps
                asked(person, answer == OK)
            else:
                answer = cond.cond_leave(tickets[person])
                assert answer in (0, 1), steps
                if answer:
                    asked(person, True)
                else:
                    room.waiting.remove(person)
        assert cond.cond_waiters() == len(room.waiting) - owed(), steps
        # Never one who came later: even the latest takers find notifications given after they came.
        for moment in range(room.inside + 1):
            late_takers = sum(person > moment for person in taken)
            assert late_takers <= sum(inside > moment for inside in given), steps
    # In the end everybody who is owed a notification gets it, and nobody else.
    answers = {person: cond.cond_sleep(tickets[person], NOW) == OK for person in room.waiting}
    assert sum(answers.values()) == owed(), steps
    for person, answer in answers.items():
        asked(person, answer)
    for moment in range(room.inside + 1):
        late_takers = sum(person > moment for person in taken)
        assert late_takers <= sum(inside > moment for inside in given), steps
    for person in room.waiting:
        assert cond.cond_leave(tickets[person]) == 0, steps
    assert cond.cond_waiters() == 0, steps


@pytest.mark.limit(60)
def test_every_short_sequence_of_calls_does_what_the_model_does(kit: Kit) -> None:
    """Exactly n of those who were waiting, never one who came later: all sequences of 6 calls."""
    for steps in itertools.product(STEPS, repeat=5):
        # Nothing can happen before the first has entered.
        cond = kit.cond()
        run_against_model(cond, ("enter", *steps))
        cond.free()


@pytest.mark.limit(60)
def test_sequences_of_many_groups_do_what_the_model_does(kit: Kit) -> None:
    """The two words are used in turn, and over again."""
    cond = kit.cond()
    cycles = ("enter", "enter", "notify 1", "enter", "sleep last", "sleep first", "notify 1")
    for start in range(len(cycles)):
        turned = cycles[start:] + cycles[:start]
        run_against_model(cond, ("enter", *turned * 8))
    # Numbers of groups wrap in the word (12 bits) and in the slot (32 bits).
    for _ in range(5000):
        ticket = enter(cond)
        assert cond.cond_notify(1) == 1
        assert cond.cond_sleep(ticket, NOW) == OK
    run_against_model(cond, ("enter", *cycles * 8))


def test_a_latecomer_does_not_get_a_notification_given_before(kit: Kit) -> None:
    cond = kit.cond()
    early = enter(cond)
    assert cond.cond_notify(1) == 1
    late = enter(cond)
    assert cond.cond_sleep(late, NOW) == ETIMEDOUT
    assert cond.cond_sleep(early, NOW) == OK
    assert cond.cond_sleep(late, NOW) == ETIMEDOUT


def test_notifications_with_nobody_there_are_not_kept(kit: Kit) -> None:
    cond = kit.cond()
    assert [cond.cond_notify(n) for n in (0, 1, 2**32 - 1)] == [0, 0, 0]
    assert cond.cond_sleep(enter(cond), NOW) == ETIMEDOUT


@pytest.mark.parametrize("deadline", [NOW, PAST, 0])
def test_a_passed_deadline_only_looks(kit: Kit, deadline: int) -> None:
    cond = kit.cond()
    ticket = enter(cond)
    assert cond.cond_sleep(ticket, deadline) == ETIMEDOUT
    cond.cond_notify(1)
    assert cond.cond_sleep(ticket, deadline) == OK


def test_leaving_tells_whether_a_notification_was_used_up(kit: Kit) -> None:
    cond = kit.cond()
    first, second = enter(cond), enter(cond)
    assert (cond.cond_leave(first), cond.cond_waiters()) == (0, 1)
    cond.cond_notify(1)
    assert (cond.cond_leave(second), cond.cond_waiters()) == (1, 0)


def test_the_room_has_a_bound(kit: Kit) -> None:
    cond, ticket = kit.cond(), kit.out("uint32_t")
    call, slot = kit.lib.altsem_cond_enter, cond.slot
    most = 2**20 - 1
    assert not any(call(slot, ticket) for _ in range(most))
    assert (call(slot, ticket), cond.cond_waiters()) == (EAGAIN, most)
    assert cond.cond_leave(ticket[0]) == 0
    assert (call(slot, ticket), call(slot, ticket)) == (OK, EAGAIN)
    # All of them at once are as many tokens as the word can hold.
    assert cond.cond_notify(2**32 - 1) == most
    assert [cond.cond_sleep(ticket[0], NOW) for _ in range(most)] == [OK] * most
    assert cond.cond_sleep(enter(cond), NOW) == ETIMEDOUT


# --- asleep ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 3, 6, 9])
def test_notify_wakes_exactly_n_sleepers_of_any_process(kit: Kit, crew: Crew, n: int) -> None:
    cond, lock, done = kit.cond(), kit.lock(), kit.sem()

    def work() -> bool:
        good = waiter(cond, lock)
        done.post()
        return good

    everybody: list[Child | Task] = [crew.child(kit.telling(work)) for _ in range(3)]
    everybody += [crew.task(kit.telling(work)) for _ in range(3)]
    until(lambda: cond.cond_waiters() == 6 and all(one.asleep() for one in everybody))
    assert notify(cond, lock, n) == min(n, 6)
    until(lambda: done.sem_value() == min(n, 6))
    # Those who were woken are done; the others are the only ones left to be notified.
    assert cond.cond_waiters() == 6 - min(n, 6)
    assert done.sem_value() == min(n, 6)
    assert notify(cond, lock, 2**32 - 1) == 6 - min(n, 6)
    assert kit.woken(*everybody) == [True] * 6


def test_a_signal_ends_the_sleep_and_the_place_is_kept(kit: Kit, crew: Crew) -> None:
    crew.handle(signal.SIGUSR1)
    cond = kit.cond()
    ticket = enter(cond)
    before = cond.image()
    for _ in range(20):
        task = crew.task(lambda: cond.cond_sleep(ticket, FOREVER))
        until(task.asleep)
        while task.running():
            task.signal(signal.SIGUSR1)
        assert task.result() == EINTR and cond.image() == before
    cond.cond_notify(1)
    assert cond.cond_sleep(ticket, NOW) == OK


def test_a_deadline_ends_the_sleep(kit: Kit) -> None:
    cond, lock, deadline = kit.cond(), kit.lock(), kit.deadline(0.05)
    lock.lock_try()
    assert not wait(cond, lock, None, deadline)
    assert kit.lib.altsem_clock() >= deadline
    assert (cond.cond_waiters(), lock.lock_is_mine()) == (0, 1)


@pytest.mark.limit(60)
def test_a_dead_waiter_never_blocks_a_notifier(kit: Kit, crew: Crew) -> None:
    """One notification may be spent on the dead; with as many more as died all others wake."""
    cond, lock = kit.cond(), kit.lock()
    dead = [crew.child(waiter, cond, lock) for _ in range(2)]
    until(lambda: cond.cond_waiters() == 2 and all(child.asleep() for child in dead))
    for child in dead:
        child.kill()
    alive = [crew.child(kit.telling(waiter), cond, lock) for _ in range(2)]
    until(lambda: cond.cond_waiters() == 4 and all(child.asleep() for child in alive))
    assert [notify(cond, lock, 1) for _ in range(5)] == [1, 1, 1, 1, 0]
    assert kit.woken(*alive) == [True, True]
    # What the dead left behind is nothing to those who come later.
    late = crew.child(kit.telling(waiter), cond, lock)
    until(lambda: cond.cond_waiters() == 1 and late.asleep())
    assert notify(cond, lock, 1) == 1
    assert kit.woken(late) == [True]


@pytest.mark.limit(60)
def test_a_waiter_killed_after_it_was_notified_strands_no_other(kit: Kit, crew: Crew) -> None:
    cond, lock = kit.cond(), kit.lock()
    first = crew.child(waiter, cond, lock)
    until(lambda: cond.cond_waiters() == 1 and first.asleep())
    first.stop()
    second = crew.child(kit.telling(waiter), cond, lock)
    until(lambda: cond.cond_waiters() == 2 and second.asleep())
    assert notify(cond, lock, 2) == 2
    first.kill()
    assert kit.woken(second) == [True]
    assert cond.cond_waiters() == 0


@pytest.mark.limit(60)
def test_producers_and_consumers_lose_nothing(kit: Kit, crew: Crew) -> None:
    """A bounded buffer between processes, one notification per item: nobody sleeps for ever."""
    lock, filled, emptied = kit.new(LOCK, 1, 1), kit.cond(), kit.cond()
    box, items, room = kit.sem(), 300, 2

    def produce() -> None:
        for _ in range(items):
            assert lock.wait() == OK
            while box.peek("holder") == room:
                wait(emptied, lock)
            box.poke("holder", box.peek("holder") + 1)
            filled.cond_notify(1)
            lock.lock_release()

    def consume() -> None:
        for _ in range(items):
            assert lock.wait() == OK
            while box.peek("holder") == 0:
                wait(filled, lock)
            box.poke("holder", box.peek("holder") - 1)
            emptied.cond_notify(1)
            lock.lock_release()

    children = [crew.child(work) for work in (produce, consume) * 3]
    for child in children:
        child.result()
    assert box.peek("holder") == 0
    assert (filled.cond_waiters(), emptied.cond_waiters()) == (0, 0)
