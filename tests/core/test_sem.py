"""The counting semaphore."""

from __future__ import annotations

import signal
import threading

import pytest

from core.crew import Child, Crew, idle_on_one_cpu, on_one_cpu, state_of, until
from core.kit import (
    EAGAIN,
    EINTR,
    EINVAL,
    EOVERFLOW,
    ETIMEDOUT,
    FOREVER,
    NOW,
    OK,
    PAST,
    SEM,
    VALUE_MAX,
    Kit,
    Thing,
)


@pytest.mark.parametrize("value", [0, 1, 2, 1000, VALUE_MAX])
def test_the_value_it_was_made_with_is_the_value_it_has(kit: Kit, value: int) -> None:
    sem = kit.sem(value)
    assert (sem.sem_value(), sem.slot_type(), sem.waiters()) == (value, SEM, 0)


@pytest.mark.parametrize("value", [-1, VALUE_MAX + 1, 2**32, -(2**63), 2**63 - 1])
def test_a_value_that_does_not_fit_is_refused(kit: Kit, value: int) -> None:
    assert kit.raw_new(SEM, value) == (EINVAL, None)


@pytest.mark.parametrize("maxvalue", [2**31, -(2**31) - 1, 2**63 - 1])
def test_a_bound_that_does_not_fit_is_refused(kit: Kit, maxvalue: int) -> None:
    assert kit.raw_new(SEM, 0, maxvalue) == (EINVAL, None)


def test_a_value_above_the_bound_is_accepted_and_the_bound_kept(kit: Kit) -> None:
    sem = kit.sem(5, 3)
    assert (sem.sem_value(), sem.slot_maxvalue()) == (5, 3)
    assert sem.sem_post(3) == EOVERFLOW


def test_try_takes_what_there_is_and_no_more(kit: Kit) -> None:
    sem = kit.sem(2)
    assert [sem.sem_try() for _ in range(4)] == [OK, OK, EAGAIN, EAGAIN]
    assert sem.sem_value() == 0


@pytest.mark.parametrize("deadline", [NOW, PAST, 0, -1])
def test_a_passed_deadline_tries_once(kit: Kit, deadline: int) -> None:
    sem = kit.sem(1)
    assert sem.sem_wait(deadline) == OK
    assert sem.sem_wait(deadline) == ETIMEDOUT
    assert (sem.sem_value(), sem.waiters()) == (0, 0)


def test_a_deadline_ends_the_wait_and_leaves_nothing(kit: Kit) -> None:
    sem = kit.sem()
    deadline = kit.deadline(0.05)
    assert sem.wait(deadline) == ETIMEDOUT
    assert kit.lib.altsem_clock() >= deadline
    assert sem.image() == kit.sem().image()


@pytest.mark.parametrize("bound", [1, 3, VALUE_MAX])
def test_post_never_passes_the_bound(kit: Kit, bound: int) -> None:
    sem = kit.sem(bound - 1)
    assert [sem.sem_post(bound) for _ in range(3)] == [OK, EOVERFLOW, EOVERFLOW]
    assert sem.sem_value() == bound


@pytest.mark.parametrize("bound", [0, -1, -(2**63)])
def test_a_bound_below_one_refuses_every_post(kit: Kit, bound: int) -> None:
    sem = kit.sem()
    assert sem.sem_post(bound) == EOVERFLOW and sem.sem_value() == 0


@pytest.mark.parametrize("bound", [VALUE_MAX + 1, 2**32, 2**63 - 1])
def test_no_bound_lets_the_value_leave_its_half_of_the_word(kit: Kit, bound: int) -> None:
    sem = kit.sem(VALUE_MAX)
    assert sem.sem_post(bound) == EOVERFLOW
    assert (sem.sem_value(), sem.waiters()) == (VALUE_MAX, 0)


def test_posts_wake_a_waiter_of_another_process(kit: Kit, crew: Crew) -> None:
    sem, answer = kit.sem(), kit.sem()
    child = crew.child(kit.telling(lambda: (sem.wait(), answer.post())))
    until(lambda: sem.waiters() == 1 and child.asleep())
    assert sem.post() == OK
    assert kit.woken(child) == [(OK, OK)]
    assert answer.sem_value() == 1
    assert (sem.sem_value(), sem.waiters()) == (0, 0)


def test_a_signal_ends_the_sleep_and_leaves_nothing(kit: Kit, crew: Crew) -> None:
    crew.handle(signal.SIGUSR1)
    sem = kit.sem()
    before = sem.image()
    # The slice says -EINTR as well: what only a signal does is that it comes at once, every time.
    for _ in range(20):
        task = crew.task(lambda: sem.sem_wait(FOREVER))
        until(lambda task=task: sem.waiters() == 1 and task.asleep())
        task.signal(signal.SIGUSR1)
        assert task.result() == EINTR
        assert sem.image() == before


def test_a_token_that_comes_while_a_signal_ends_the_sleep_is_taken(kit: Kit, crew: Crew) -> None:
    """A sleep that failed is answered only after one more look."""
    crew.handle(signal.SIGUSR1)
    sem = kit.sem()
    child = crew.child(lambda: sem.sem_wait(FOREVER))
    until(lambda: sem.waiters() == 1 and child.asleep())
    child.stop()
    sem.post()
    child.signal(signal.SIGUSR1)
    child.signal(signal.SIGCONT)
    assert child.result() == OK
    assert (sem.sem_value(), sem.waiters()) == (0, 0)


def test_an_interrupted_wait_goes_on_with_the_same_deadline(kit: Kit, crew: Crew) -> None:
    crew.handle(signal.SIGUSR1)
    sem = kit.sem()
    deadline = kit.deadline(0.3)
    task = crew.task(sem.wait, deadline)
    while task.running():
        task.signal(signal.SIGUSR1)
    assert task.result() == ETIMEDOUT
    assert kit.lib.altsem_clock() >= deadline


def test_a_post_in_a_signal_handler_of_the_waiter_ends_its_wait(kit: Kit, crew: Crew) -> None:
    sem = kit.sem()

    def work() -> int:
        signal.signal(signal.SIGUSR1, lambda *_: sem.post())
        return sem.wait()

    child = crew.child(work)
    until(lambda: sem.waiters() == 1 and child.asleep())
    child.signal(signal.SIGUSR1)
    assert child.result() == OK
    assert (sem.sem_value(), sem.waiters()) == (0, 0)


@pytest.mark.limit(60)
def test_two_sleepers_two_posts_before_the_first_runs_both_wake(kit: Kit, crew: Crew) -> None:
    """A post that wakes only on the step 0 -> 1 leaves the second asleep, with a token there.

    The sleepers run only when this process does not want their CPU, so they are seen between their
    wake and their next step.  A round in which one was quicker shows nothing.
    """

    def work(sem: Thing) -> int:
        idle_on_one_cpu()
        return int(sem.wait())

    polls = kit.ffi.string(kit.lib.altsem_backend(kit.out("int"))) == b"filelock"
    shown = 0
    for _ in range(10):
        sem = kit.sem()
        children = [crew.child(work, sem) for _ in range(2)]
        until(lambda s=sem, c=children: s.waiters() == 2 and all(x.asleep() for x in c))
        with on_one_cpu():
            first, second = sem.post(), sem.post()
            states = [state_of(child.pid) for child in children]
            undisturbed = (sem.sem_value(), sem.waiters()) == (2, 2)
        assert first == second == OK
        if undisturbed and not polls:
            assert "S" not in states, "asleep, although there is a token and nobody else to wake it"
            shown += 1
        assert [child.result() for child in children] == [OK, OK]
        assert (sem.sem_value(), sem.waiters()) == (0, 0)
        if shown == 3:
            break


def test_two_stopped_waiters_two_posts_both_get_theirs(kit: Kit, crew: Crew) -> None:
    sem = kit.sem()
    children = [crew.child(sem.wait) for _ in range(2)]
    until(lambda: sem.waiters() == 2 and all(child.asleep() for child in children))
    for child in children:
        child.stop()
    assert sem.post() == sem.post() == OK
    for child in children:
        child.signal(signal.SIGCONT)
    assert [child.result() for child in children] == [OK, OK]
    assert (sem.sem_value(), sem.waiters()) == (0, 0)


def test_a_killed_waiter_stays_counted_and_blocks_nobody(kit: Kit, crew: Crew) -> None:
    sem = kit.sem()
    dead = crew.child(sem.wait)
    until(lambda: sem.waiters() == 1 and dead.asleep())
    dead.kill()
    assert (sem.sem_value(), sem.waiters()) == (0, 1)
    assert [sem.post() for _ in range(3)] == [OK] * 3
    assert [sem.sem_try() for _ in range(4)] == [OK, OK, OK, EAGAIN]
    alive = crew.child(kit.telling(sem.wait))
    until(lambda: sem.waiters() == 2 and alive.asleep())
    assert sem.post() == OK
    assert kit.woken(alive) == [OK]
    assert (sem.sem_value(), sem.waiters()) == (0, 1)


@pytest.mark.limit(60)
def test_a_waiter_killed_after_it_was_woken_strands_nobody(kit: Kit, crew: Crew) -> None:
    """The token it was woken for is found by the other sleeper within a slice."""

    def work(sem: Thing) -> int:
        idle_on_one_cpu()
        return int(sem.wait())

    for _ in range(20):
        sem = kit.sem()
        chosen = crew.child(work, sem)
        until(lambda s=sem, c=chosen: s.waiters() == 1 and c.asleep())
        other = crew.child(work, sem)
        until(lambda s=sem, o=other: s.waiters() == 2 and o.asleep())
        with on_one_cpu():
            sem.post()
            chosen.signal(signal.SIGKILL)
        chosen.kill()
        if sem.sem_value() == 0 and sem.waiters() == 1 and other.asleep():
            # It was quicker, and took the token along.
            sem.post()
            assert other.result() == OK
            continue
        assert other.result() == OK
        assert (sem.sem_value(), sem.waiters()) == (0, 1)
        return
    pytest.skip("the woken waiter was always quicker than its end")


def test_nobody_takes_or_gives_more_than_there_is(kit: Kit, crew: Crew) -> None:
    """Four processes of four threads: what was posted is what was taken, plus what is left."""
    sem, rounds = kit.sem(3), 500

    def hammer() -> int:
        def work() -> None:
            for _ in range(rounds):
                assert sem.wait() == OK
                assert sem.sem_value() <= 2
                assert sem.sem_post(3) == OK

        tasks = [crew_of_child.task(work) for _ in range(4)]
        for task in tasks:
            task.result()
        return len(tasks) * rounds

    crew_of_child = Crew()
    children = [crew.child(hammer) for _ in range(4)]
    assert [child.result() for child in children] == [4 * rounds] * 4
    assert (sem.sem_value(), sem.waiters()) == (3, 0)


def test_racing_posts_of_many_never_pass_the_bound(kit: Kit, crew: Crew) -> None:
    sem, start, tries, bound = kit.sem(), kit.event(), 300, 500

    def work() -> tuple[int, int]:
        start.persist("event_wait", 0, FOREVER)
        answers, highest = [], 0
        for _ in range(tries):
            answers.append(sem.sem_post(bound))
            highest = max(highest, sem.sem_value())
        return answers.count(OK), highest

    children: list[Child] = [crew.child(work) for _ in range(4)]
    until(lambda: start.waiters() == 4)
    start.event_set()
    results = [child.result() for child in children]
    assert sum(good for good, _ in results) == bound == sem.sem_value()
    assert max(highest for _, highest in results) <= bound


def test_a_post_makes_no_system_call_unless_somebody_waits(kit: Kit, crew: Crew) -> None:
    sem = kit.sem()
    assert kit.wakes(sem.post) == 0
    sem.sem_try()
    child = crew.child(sem.wait)
    until(lambda: sem.waiters() == 1 and child.asleep())
    child.stop()
    # Each of them, whether the waiter is on its way or not: a post can serve another.
    assert [kit.wakes(sem.post) for _ in range(3)] == [1, 1, 1]
    child.signal(signal.SIGCONT)
    assert child.result() == OK


def test_a_barging_taker_leaves_the_sleeper_asleep_and_counted(kit: Kit, crew: Crew) -> None:
    sem, stop = kit.sem(), threading.Event()
    task = crew.task(kit.telling(sem.wait))
    until(lambda: sem.waiters() == 1 and task.asleep())
    for _ in range(50):
        sem.post()
        if sem.sem_try() == EAGAIN:
            break
        assert sem.waiters() == 1
    else:
        sem.post()
    stop.set()
    assert kit.woken(task) == [OK]
    assert (sem.sem_value(), sem.waiters()) == (0, 0)
