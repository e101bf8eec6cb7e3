"""Everything at once, while waiters are killed and interrupted."""

from __future__ import annotations

import random
import signal
import time

import pytest

from core.crew import Child, Crew, until
from core.kit import EINTR, ETIMEDOUT, FOREVER, OK, VALUE_MAX, Kit
from core.patient import EVERYBODY, Gather, Room
from core.test_barrier import party
from core.test_event import wait as wait_for

SECONDS = 1.2


def interrupting(children: list[Child], seconds: float = SECONDS) -> None:
    """Signals that change nothing, at random."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        random.choice(children).signal(signal.SIGUSR1)
        time.sleep(0.0005)


@pytest.mark.limit(90)
def test_workers_lose_nothing_while_waiters_beside_them_are_killed(kit: Kit, crew: Crew) -> None:
    """Processes of threads pass a lock and three tokens around; victims only ever wait.

    A victim sleeps on an event, a condition, a barrier or a semaphore that nobody gives it, or on
    the lock with a deadline that has it leave again; it is killed there, never as a holder.
    """
    crew.handle(signal.SIGUSR1)
    lock, sem, inside, counter = kit.lock(), kit.sem(3), kit.sem(), kit.sem()
    never, event, cond, barrier = kit.sem(), kit.event(), kit.cond(), kit.barrier(1000)
    stop = kit.event()

    def work() -> int:
        def turn() -> int:
            rounds = 0
            while not stop.event_is_set():
                assert sem.wait() == OK
                assert inside.sem_post(3) == OK  # never more than three inside
                assert inside.sem_try() == OK
                assert sem.sem_post(3) == OK
                assert lock.wait() == OK
                counter.poke("holder", counter.peek("holder") + 1)
                cond.cond_notify(1)
                assert lock.lock_is_mine() and lock.lock_release() == OK
                event.event_set()
                event.event_clear()
                rounds += 1
            return rounds

        tasks = [Crew().task(turn) for _ in range(2)]
        return sum(task.result() for task in tasks) + turn()

    def suffer(number: int) -> None:
        index, ticket = kit.out("uint32_t"), kit.out("uint32_t")
        if number % 4 == 1:
            assert lock.wait() == OK
            assert cond.cond_enter(ticket) == OK
            assert lock.lock_release() == OK
        while True:
            if number % 4 == 0:
                assert never.sem_wait(FOREVER) == EINTR
            elif number % 4 == 1:
                cond.cond_sleep(ticket[0], FOREVER)
            elif number % 4 == 2:
                event.event_wait(event.event_now(), FOREVER)
            else:
                if index[0] == 0:
                    barrier.persist("barrier_arrive", FOREVER, index, ticket)
                    index[0] = 1
                assert barrier.barrier_wait(ticket[0], FOREVER) == EINTR

    workers = [crew.child(work) for _ in range(3)]
    end, killed = time.monotonic() + SECONDS, 0
    victims = [crew.child(suffer, number) for number in range(4)]
    while time.monotonic() < end:
        random.choice(workers).signal(signal.SIGUSR1)
        number = random.randrange(4)
        # Cond victims hold the lock for an instant: those are killed only when they cannot.
        if number == 1:
            assert lock.wait() == OK
            victims[1].kill()
            assert lock.lock_release() == OK
        else:
            victims[number].kill()
        killed += 1
        victims[number] = crew.child(suffer, number)
    stop.event_set()
    rounds = sum(worker.result() for worker in workers)
    assert lock.wait() == OK  # now none of them can hold it
    for victim in victims:
        victim.kill()
    assert lock.lock_release() == OK
    assert killed > 4 and rounds > 0
    assert (sem.sem_value(), inside.sem_value(), lock.lock_is_free()) == (3, 0, 1)
    assert counter.peek("holder") == rounds
    assert (never.sem_value(), barrier.barrier_broken()) == (0, 0)
    # All of them still serve.
    assert (sem.sem_try(), lock.lock_try(), event.event_set(), never.post()) == (OK,) * 4
    lock.lock_release()


@pytest.mark.limit(90)
def test_tokens_are_neither_lost_nor_made_while_takers_are_interrupted(
    kit: Kit, crew: Crew
) -> None:
    crew.handle(signal.SIGUSR1)  # here, so that no child is ever without it
    sem, stop, all_given = kit.sem(), kit.event(), kit.event()

    def take() -> int:
        got = 0
        while True:
            last = all_given.event_is_set()
            answer = sem.sem_wait(kit.deadline(0.02))
            got += answer == OK
            assert answer in (OK, EINTR, ETIMEDOUT)
            if answer == ETIMEDOUT and last:
                return got

    def give() -> int:
        given = 0
        while not stop.event_is_set():
            given += sem.sem_post(VALUE_MAX) == OK
            time.sleep(0)
        return given

    takers = [crew.child(take) for _ in range(3)]
    givers = [crew.child(give) for _ in range(2)]
    interrupting(takers, 0.8)
    stop.event_set()
    given = sum(giver.result() for giver in givers)
    all_given.event_set()
    assert sum(taker.result() for taker in takers) == given > 0
    assert (sem.sem_value(), sem.waiters()) == (0, 0)


@pytest.mark.limit(90)
def test_waiters_killed_at_any_moment_strand_nobody_else(kit: Kit, crew: Crew) -> None:
    """Whether the wake was for the one that is killed, or for the one that lives, or for none."""
    sem = kit.sem()
    for _ in range(12):
        # One after the other, because most backends wake the first to have come.
        dying = crew.child(sem.wait)
        until(dying.asleep)
        living = crew.child(sem.wait)
        until(living.asleep)
        sem.post()
        end = time.monotonic() + random.random() * 0.0002
        while time.monotonic() < end:
            pass
        dying.kill()
        if sem.sem_value() == 0:  # one of them has taken it, perhaps the dead one
            sem.post()
        assert living.result() == OK
        while sem.sem_try() == OK:
            pass


@pytest.mark.limit(90)
def test_a_lock_waiter_killed_after_it_was_woken_strands_nobody(kit: Kit, crew: Crew) -> None:
    """Also not by what it leaves in the word: WOKEN, and a waiter too many."""
    for _ in range(6):
        lock = kit.lock()
        lock.lock_try()

        def take(lock=lock) -> int:
            answer = lock.wait()
            lock.lock_release()
            return int(answer)

        first = crew.child(lock.wait)
        until(lambda c=first, k=lock: k.waiters() == 1 and c.asleep())
        others = [crew.child(take) for _ in range(2)]
        until(lambda o=others, k=lock: k.waiters() == 3 and all(c.asleep() for c in o))
        first.stop()
        lock.lock_release()
        first.kill()
        assert [other.result() for other in others] == [OK, OK]
        assert lock.lock_is_free() and lock.waiters() == 1


@pytest.mark.limit(90)
def test_where_slices_never_end_nobody_is_left_asleep(patient: Kit, gather: Gather) -> None:
    """A wake that is lost hangs."""
    kit = patient
    room, barrier, sem, event, rounds, people = (
        Room(kit), kit.barrier(4), kit.sem(2), kit.event(), 40, 4,
    )  # fmt: skip

    def work() -> None:
        for _ in range(rounds):
            assert sem.wait() == OK
            assert room.lock.wait() == OK
            # The last of a round lets the others go; who waits for it has left the semaphore.
            room.back.post()
            last = room.back.sem_value() % people == 0
            assert sem.post() == OK
            if last:
                assert room.cond.cond_notify(EVERYBODY) == people - 1
                event.event_set()
            else:
                assert room.wait()
            assert room.lock.lock_release() == OK
            assert wait_for(event) == OK
            if party(barrier) == people - 1:
                event.event_clear()
            party(barrier)

    gather(*[work] * people).results()
