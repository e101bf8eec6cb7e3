"""Nobody starves: a waiter that was woken for nothing reserves it (word.h, fair.h)."""

from __future__ import annotations

import mmap
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.crew import Child, Crew, Task, until
from core.kit import EAGAIN, EINTR, ETIMEDOUT, LOCK, NOW, OK, RLOCK, SEM, Kit, Thing

LONG_AGO, WOKEN, WAITER = 1, 1 << 30, 1 << 32


class Shared(NamedTuple):
    """A lock, or a semaphore with one token, as one thing."""

    kit: Kit
    thing: Thing
    hungry: int  # the bit

    @property
    def reserved(self) -> bool:
        return bool(self.thing.peek("word") & self.hungry)

    @property
    def takers(self) -> str:
        return "sem" if self.thing.slot_type() == SEM else "lock"

    def take(self) -> Any:
        return getattr(self.thing, f"{self.takers}_try")()

    def wait(self, deadline: int) -> Any:
        return getattr(self.thing, f"{self.takers}_wait")(deadline)

    def give(self) -> Any:
        return self.thing.post() if self.takers == "sem" else self.thing.lock_release()

    def reserve(self, waiters: int = 0, since: int | None = None) -> None:
        """Makes it free and reserved, as a starving waiter and a release would."""
        self.thing.poke("word2", int(self.kit.lib.altsem_clock()) if since is None else since)
        self.thing.poke("word", self.hungry | (self.takers == "sem") | waiters * WAITER)

    def rest(self) -> tuple[bool, int]:
        return self.reserved, self.thing.waiters()


@pytest.fixture(
    params=[(LOCK, 1 << 29), (RLOCK, 1 << 29), (SEM, 1 << 31)], ids=["lock", "rlock", "sem"]
)
def shared(request: pytest.FixtureRequest, kit: Kit) -> Shared:
    kind, bit = request.param
    return Shared(kit, kit.new(kind, 1, 1), bit)


def test_who_does_not_wait_takes_what_is_there(shared: Shared) -> None:
    """As natively: "no" means that there is nothing.  The reservation stands for the next time."""
    for _ in range(2):
        shared.reserve(waiters=1)
        assert (shared.take(), shared.take()) == (OK, EAGAIN)
        assert shared.rest() == (True, 1)
        assert shared.give() == OK
        assert shared.rest() == (True, 1)
        assert shared.wait(NOW) == OK


def test_a_new_waiter_gets_what_is_reserved_for_the_dead(shared: Shared) -> None:
    shared.reserve(waiters=1)
    assert shared.thing.wait() == OK
    assert shared.rest() == (False, 1)


def test_a_new_waiter_sleeps_before_it_takes_what_is_reserved(shared: Shared) -> None:
    """Those that have slept come first."""

    shared.reserve(waiters=1)
    shared.kit.sleeps(forget=True)
    assert shared.thing.wait() == OK
    assert shared.kit.sleeps().last != "none"


def test_a_short_timeout_gets_what_is_reserved_and_free(shared: Shared) -> None:
    """A timeout is answered after one more look."""
    shared.reserve(waiters=1)
    assert shared.thing.wait(shared.kit.deadline(1e-4)) == OK


def test_of_several_tokens_one_is_reserved(kit: Kit) -> None:
    sem = Shared(kit, kit.sem(0), 1 << 31)
    sem.reserve(waiters=1)
    assert (sem.thing.post(), sem.thing.sem_value()) == (OK, 2)
    assert (sem.take(), sem.reserved, sem.thing.sem_value()) == (OK, True, 1)
    sem.thing.post()
    assert (sem.thing.wait(), sem.rest()) == (OK, (True, 1)), "it has not slept"
    assert sem.thing.wait() == OK
    assert (sem.rest(), sem.thing.sem_value()) == ((False, 1), 0)


def test_the_bound_and_the_value_do_not_see_the_reservation(kit: Kit) -> None:
    sem = Shared(kit, kit.sem(0, 2), 1 << 31)
    sem.reserve(waiters=1)
    assert sem.thing.sem_value() == 1
    assert [sem.thing.sem_post(2) for _ in range(3)] == [OK, -75, -75]
    assert (sem.thing.sem_value(), sem.reserved) == (2, True)


def look_again(shared: Shared) -> None:
    """Wakes those who sleep.  The waiters of `filelock` look only at a changed word."""
    if shared.takers == "lock":
        shared.thing.poke("word", shared.thing.peek("word") | WOKEN)
    elif polls(shared.kit):
        pytest.skip("`filelock` has no wakes, and a semaphore's word does not change by one")
    shared.kit.lib.altsem_wake(shared.thing.segment, shared.thing.slot, 0, 1)


def polls(kit: Kit) -> bool:
    return bool(kit.ffi.string(kit.lib.altsem_backend(kit.out("int"))) == b"filelock")


def starve(shared: Shared, waiter: Child | Task) -> None:
    """It is woken, and finds it taken: until it has reserved it."""
    until(waiter.asleep)
    assert not shared.reserved, "it has not slept"
    shared.thing.poke("word2", LONG_AGO)  # nobody has been served for long

    def again() -> bool:
        look_again(shared)
        return shared.reserved

    until(again, "a starving waiter reserves")
    until(waiter.asleep)


def test_a_waiter_woken_for_nothing_reserves_and_gets_it(shared: Shared, crew: Crew) -> None:
    assert shared.take() == OK
    waiter = crew.child(lambda: (shared.thing.wait(), shared.reserved))
    until(lambda: shared.thing.waiters() == 1)
    starve(shared, waiter)
    waiter.stop()
    assert shared.give() == OK
    assert shared.reserved, "a release keeps it"
    before = int(shared.kit.lib.altsem_clock())
    waiter.signal(signal.SIGCONT)
    assert waiter.result() == (OK, False)
    assert shared.rest() == (False, 0)
    assert before < shared.thing.peek("word2") < shared.kit.lib.altsem_clock(), "it is served"


def switches(pid: int) -> int:
    """How often a process has gone to sleep."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_so_shortly_after_another_was_served_nobody_reserves(shared: Shared, crew: Crew) -> None:
    """Whoever runs may use it many times between two hand-offs."""
    assert shared.take() == OK
    waiter = crew.child(shared.thing.wait)
    until(lambda: shared.thing.waiters() == 1 and waiter.asleep())

    def looks_and_sleeps() -> bool:
        shared.thing.poke("word", shared.thing.peek("word") & ~shared.hungry)
        before = switches(waiter.pid)
        shared.thing.poke("word2", int(shared.kit.lib.altsem_clock()))
        look_again(shared)
        until(lambda: switches(waiter.pid) > before and waiter.asleep())
        return not shared.reserved

    until(looks_and_sleeps)  # more than once only where everything is slow
    assert shared.give() == OK
    assert waiter.result() == OK


def test_a_waiter_that_has_to_come_back_finds_what_it_has_reserved(
    shared: Shared, crew: Crew
) -> None:
    """No sleep outlasts a slice; it would never get what is always held for longer."""
    crew.handle(signal.SIGUSR1)
    assert shared.take() == OK
    waiter = crew.child(shared.thing.wait)
    until(lambda: shared.thing.waiters() == 1)
    starve(shared, waiter)
    before = switches(waiter.pid)
    waiter.signal(signal.SIGUSR1)
    until(lambda: switches(waiter.pid) > before and waiter.asleep())
    waiter.stop()
    shared.thing.poke("word2", int(shared.kit.lib.altsem_clock()))
    assert (shared.give(), shared.rest()) == (OK, (True, 1))
    waiter.signal(signal.SIGCONT)
    assert (waiter.result(), shared.rest()) == (OK, (False, 0))


@pytest.mark.parametrize("how", ["timeout", "signal"])
def test_where_nobody_waits_any_more_nothing_is_reserved(
    shared: Shared, crew: Crew, how: str
) -> None:
    crew.handle(signal.SIGUSR1)
    assert shared.take() == OK
    deadline = shared.kit.deadline(3 if how == "timeout" else 60)
    call = getattr(shared.thing, f"{shared.takers}_wait")
    task = crew.task(lambda: call(deadline) if how == "signal" else shared.thing.wait(deadline))
    until(lambda: shared.thing.waiters() == 1)
    starve(shared, task)
    if how == "signal":
        task.signal(signal.SIGUSR1)
    assert task.result() == (EINTR if how == "signal" else ETIMEDOUT)
    assert shared.rest() == (True, 0)
    shared.thing.poke("word2", int(shared.kit.lib.altsem_clock()))
    assert (shared.give(), shared.take(), shared.rest()) == (OK, OK, (False, 0))


def test_of_several_tokens_none_is_reserved_for_nobody(kit: Kit) -> None:
    sem = Shared(kit, kit.sem(0), 1 << 31)
    sem.reserve()
    assert (sem.thing.post(), sem.take(), sem.rest()) == (OK, OK, (False, 0))
    assert (sem.take(), sem.take()) == (OK, EAGAIN)


def test_a_starving_waiter_that_is_killed_costs_a_moment(shared: Shared, crew: Crew) -> None:
    assert shared.take() == OK
    waiter = crew.child(shared.thing.wait)
    until(lambda: shared.thing.waiters() == 1)
    starve(shared, waiter)
    waiter.kill()
    assert (shared.give(), shared.reserved) == (OK, True)
    others = [crew.child(lambda: (shared.thing.wait(), shared.give())) for _ in range(3)]
    assert [other.result() for other in others] == [(OK, OK)] * 3
    assert shared.rest() == (False, 1)
    assert shared.take() == OK


def test_a_lock_given_to_nobody_stays_reserved(kit: Kit) -> None:
    lock = kit.lock()
    assert lock.lock_try() == OK
    lock.poke("word", lock.peek("word") | 1 << 29 | WAITER)
    assert (lock.lock_is_mine(), lock.lock_owner_tid()) == (1, os.getpid())
    assert lock.lock_disown() == 1
    assert (lock.lock_owner_tid(), lock.peek("word") >> 29 & 1) == (0, 1)
    assert (lock.lock_release(), lock.lock_is_free()) == (OK, 1)


@pytest.mark.parametrize("held", [0, 1_000_000], ids=["for nothing", "for a millisecond"])
def test_everybody_gets_turns(shared: Shared, crew: Crew, held: int) -> None:
    """Those who run all the time do not keep it from those who sleep."""
    people, turns, clock = 6, 25, shared.kit.lib.altsem_clock
    counts = memoryview(mmap.mmap(-1, 4096)).cast("Q")  # of each; and how many have had their turns

    def work(number: int) -> int:
        while counts[people] < people:
            assert shared.thing.wait() == OK
            end = clock() + held
            while clock() < end:
                pass
            counts[number] += 1
            if counts[number] == turns:
                counts[people] += 1
            assert shared.give() == OK
        return counts[number]

    done = [child.result() for child in [crew.child(work, n) for n in range(people)]]
    if held and not polls(shared.kit):
        assert max(done) < 8 * turns, done
    assert min(done) >= turns
