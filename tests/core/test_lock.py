"""The lock that knows its owner, and its recursive form."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from core.crew import Crew, until
from core.kit import (
    EAGAIN,
    EINTR,
    EINVAL,
    EOVERFLOW,
    EPERM,
    ETIMEDOUT,
    FOREVER,
    LOCK,
    NOW,
    OK,
    PAST,
    RLOCK,
    Kit,
    Thing,
)

KINDS = [LOCK, RLOCK]


@pytest.fixture(params=KINDS, ids=["lock", "rlock"])
def lock(request: pytest.FixtureRequest, kit: Kit) -> Thing:
    return kit.new(request.param, 1, 1)


def owner(lock: Thing) -> tuple[int, int, int, int, int]:
    return (
        lock.lock_is_mine(), lock.lock_is_ours(), lock.lock_is_free(),
        lock.lock_owner_pid(), lock.lock_owner_tid(),
    )  # fmt: skip


FREE_STATE = (0, 0, 1, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [-1, 2, 2**31, 2**63 - 1])
def test_a_lock_is_born_free_or_taken_and_nothing_else(kit: Kit, kind: int, value: int) -> None:
    assert kit.raw_new(kind, value, 1) == (EINVAL, None)


def test_the_holder_is_known_while_it_holds_and_not_after(lock: Thing) -> None:
    assert owner(lock) == FREE_STATE
    assert lock.lock_try() == OK
    assert owner(lock) == (1, 1, 0, os.getpid(), threading.get_native_id())
    assert lock.lock_release() == OK
    assert owner(lock) == FREE_STATE


def test_another_thread_sees_it_held_by_this_process_but_not_by_itself(
    lock: Thing, crew: Crew
) -> None:
    lock.lock_try()
    assert crew.task(owner, lock).result() == (
        0, 1, 0, os.getpid(), threading.get_native_id()
    )  # fmt: skip


def test_another_process_sees_whose_it_is(lock: Thing, crew: Crew) -> None:
    lock.lock_try()
    assert crew.child(owner, lock).result() == (
        0, 0, 0, os.getpid(), threading.get_native_id()
    )  # fmt: skip


def test_held_it_can_be_taken_by_nobody_not_even_its_owner(lock: Thing, crew: Crew) -> None:
    lock.lock_try()

    def attempts() -> list[int]:
        return [lock.lock_try(), *(lock.lock_wait(d) for d in (NOW, PAST, 0, -1))]

    expected = [EAGAIN] + 4 * [ETIMEDOUT]
    assert attempts() == expected
    assert crew.task(attempts).result() == expected
    assert crew.child(attempts).result() == expected
    assert lock.waiters() == 0


@pytest.mark.parametrize("deadline", [NOW, PAST, FOREVER])
def test_a_free_lock_is_taken_whatever_the_deadline(lock: Thing, deadline: int) -> None:
    assert lock.lock_wait(deadline) == OK and lock.lock_is_mine()


def test_a_deadline_ends_the_wait_and_leaves_nothing(kit: Kit, lock: Thing) -> None:
    lock.lock_try()
    before, deadline = lock.image(), kit.deadline(0.05)
    assert lock.wait(deadline) == ETIMEDOUT
    assert kit.lib.altsem_clock() >= deadline and lock.image() == before


def test_anybody_may_release_and_only_once(lock: Thing, crew: Crew) -> None:
    assert lock.lock_release() == EOVERFLOW
    for somebody in (crew.task, crew.child):
        lock.lock_try()
        assert somebody(lock.lock_release).result() == OK
        assert owner(lock) == FREE_STATE
        assert lock.lock_release() == EOVERFLOW


def test_a_lock_born_taken_belongs_to_nobody_until_released(kit: Kit) -> None:
    for kind in KINDS:
        lock = kit.new(kind, 0, 1)
        assert owner(lock) == (0, 0, 0, 0, 0)
        assert (lock.lock_try(), lock.rlock_release(), lock.rlock_depth()) == (EAGAIN, EPERM, 0)
        assert lock.lock_wait(kit.deadline(0.01)) == ETIMEDOUT
        assert (lock.lock_release(), lock.lock_release()) == (OK, EOVERFLOW)
        assert lock.lock_try() == OK and lock.lock_is_mine()


def test_disowned_it_stays_taken_and_belongs_to_nobody(lock: Thing, crew: Crew) -> None:
    assert lock.lock_disown() == 0 and owner(lock) == FREE_STATE
    lock.lock_try()
    assert crew.child(lock.lock_disown).result() == 0 and lock.lock_is_mine()
    lock.lock_release()
    for disown in (lock.lock_disown, lambda: crew.task(lock.lock_disown).result()):
        lock.lock_try()
        assert disown() == 1
        assert owner(lock) == (0, 0, 0, 0, 0) and lock.lock_disown() == 1
        assert (lock.lock_try(), lock.rlock_release(), lock.rlock_depth()) == (EAGAIN, EPERM, 0)
        assert (lock.lock_release(), lock.lock_release()) == (OK, EOVERFLOW)


def test_a_waiter_of_a_disowned_lock_gets_it_when_it_is_released(
    kit: Kit, lock: Thing, crew: Crew
) -> None:
    lock.lock_try()
    child = crew.child(kit.telling(lambda: (lock.wait(), lock.lock_is_mine(), lock.lock_release())))
    until(lambda: lock.waiters() == 1 and child.asleep())
    assert lock.lock_disown() == 1 and lock.waiters() == 1
    assert lock.lock_release() == OK
    assert kit.woken(child) == [(OK, 1, OK)]
    assert owner(lock) == FREE_STATE and lock.waiters() == 0


def test_a_release_wakes_a_waiter_of_another_process(kit: Kit, lock: Thing, crew: Crew) -> None:
    lock.lock_try()
    child = crew.child(kit.telling(lambda: (lock.wait(), lock.lock_is_mine(), lock.lock_release())))
    until(lambda: lock.waiters() == 1 and child.asleep())
    assert lock.lock_release() == OK
    assert kit.woken(child) == [(OK, 1, OK)]
    assert owner(lock) == FREE_STATE and lock.waiters() == 0


def test_a_signal_ends_the_sleep_and_leaves_nothing(lock: Thing, crew: Crew) -> None:
    crew.handle(signal.SIGUSR1)
    lock.lock_try()
    before = lock.image()
    for _ in range(20):
        task = crew.task(lambda: lock.lock_wait(FOREVER))
        until(lambda task=task: lock.waiters() == 1 and task.asleep())
        task.signal(signal.SIGUSR1)
        assert task.result() == EINTR
        assert lock.image() == before


def test_a_lock_freed_while_a_signal_ends_the_sleep_is_taken(lock: Thing, crew: Crew) -> None:
    """A sleep that failed is answered only after one more look."""
    crew.handle(signal.SIGUSR1)
    lock.lock_try()
    child = crew.child(lambda: (lock.lock_wait(FOREVER), lock.lock_is_mine()))
    until(lambda: lock.waiters() == 1 and child.asleep())
    child.stop()
    lock.lock_release()
    child.signal(signal.SIGUSR1)
    child.signal(signal.SIGCONT)
    assert child.result() == (OK, 1)
    assert (lock.waiters(), lock.peek("word") >> 30 & 1) == (0, 0), "neither waiter nor WOKEN"


def test_a_killed_waiter_stays_counted_and_blocks_nobody(kit: Kit, lock: Thing, crew: Crew) -> None:
    lock.lock_try()
    dead = crew.child(lock.wait)
    until(lambda: lock.waiters() == 1 and dead.asleep())
    dead.kill()
    assert lock.lock_release() == OK
    for _ in range(3):
        assert (lock.lock_try(), lock.lock_release()) == (OK, OK)
    assert lock.waiters() == 1
    lock.lock_try()
    alive = crew.child(kit.telling(lock.wait))
    until(lambda: lock.waiters() == 2 and alive.asleep())
    lock.lock_release()
    assert kit.woken(alive) == [OK] and lock.waiters() == 1


def test_a_killed_holder_is_still_named(lock: Thing, crew: Crew) -> None:
    child = crew.child(lambda: (lock.lock_try(), signal.pause()))
    until(lambda: lock.lock_owner_pid() == child.pid)
    child.kill()
    assert owner(lock) == (0, 0, 0, child.pid, child.pid)
    assert lock.lock_release() == OK


def test_a_child_does_not_own_what_its_parent_held_at_the_fork(lock: Thing, crew: Crew) -> None:
    lock.lock_try()
    child = crew.child(
        lambda: (lock.lock_is_mine(), lock.lock_is_ours(), lock.lock_try(), lock.rlock_release())
    )
    assert child.result() == (0, 0, EAGAIN, EPERM)
    assert lock.lock_is_mine()


def test_the_same_thread_id_in_another_process_is_not_the_owner(lock: Thing) -> None:
    """Thread ids mean different threads in different PID namespaces; `holder` tells them apart."""
    lock.lock_try()
    lock.poke("holder", lock.peek("holder") + 1)
    assert (lock.lock_is_mine(), lock.lock_is_ours(), lock.rlock_release()) == (0, 0, EPERM)
    lock.lock_release()


def test_mutual_exclusion_of_processes_and_threads(lock: Thing, kit: Kit, crew: Crew) -> None:
    """Nothing is lost of a counter that is read and written back under the lock, in two steps."""
    counter, rounds = kit.sem(), 400

    def work() -> None:
        for _ in range(rounds):
            assert lock.wait() == OK
            seen = counter.peek("word")
            assert lock.lock_is_mine() and lock.lock_owner_pid() == os.getpid()
            counter.poke("word", seen + 1)
            assert lock.lock_release() == OK

    def hammer() -> None:
        inner = Crew()
        for task in [inner.task(work) for _ in range(3)]:
            task.result()

    for child in [crew.child(hammer) for _ in range(4)]:
        child.result()
    assert counter.sem_value() == 4 * 3 * rounds
    assert owner(lock) == FREE_STATE and lock.waiters() == 0


# --- recursion ------------------------------------------------------------------------------------


def test_depth_counts_takings_and_the_last_release_frees(kit: Kit) -> None:
    lock = kit.rlock()
    assert lock.rlock_depth() == 0
    assert (lock.lock_try(), lock.rlock_depth()) == (OK, 1)
    assert [lock.rlock_again() for _ in range(3)] == [OK] * 3
    for depth in (4, 3, 2, 1):
        assert (lock.rlock_depth(), lock.lock_is_mine()) == (depth, 1)
        assert lock.rlock_release() == OK
    assert owner(lock) == FREE_STATE and lock.rlock_depth() == 0
    assert lock.rlock_release() == EPERM


def test_depth_is_the_owners_for_all_threads_of_its_process_and_zero_for_others(
    kit: Kit, crew: Crew
) -> None:
    lock = kit.rlock()
    lock.lock_try()
    lock.rlock_again()
    assert crew.task(lock.rlock_depth).result() == 2
    assert crew.child(lock.rlock_depth).result() == 0


def test_only_the_owner_undoes_a_taking(kit: Kit, crew: Crew) -> None:
    lock = kit.rlock()
    lock.lock_try()
    lock.rlock_again()
    assert crew.task(lock.rlock_release).result() == EPERM
    assert crew.child(lock.rlock_release).result() == EPERM
    assert lock.rlock_depth() == 2


def test_the_depth_has_a_bound_and_does_not_wrap(kit: Kit) -> None:
    lock = kit.rlock()
    lock.lock_try()
    lock.poke("again", 2**31 - 3)
    assert (lock.rlock_again(), lock.rlock_depth()) == (OK, 2**31 - 1)
    assert (lock.rlock_again(), lock.rlock_depth()) == (EOVERFLOW, 2**31 - 1)
    lock.poke("again", 0)


def test_taken_again_after_it_was_freed_for_a_dead_owner_the_depth_is_one(
    kit: Kit, crew: Crew
) -> None:
    """Whoever frees a lock frees all of it: no later owner inherits the depth of an earlier one."""
    lock = kit.rlock()
    child = crew.child(lambda: (lock.lock_try(), lock.rlock_again(), signal.pause()))
    until(lambda: lock.peek("again") == 1)
    child.kill()
    assert lock.lock_release() == OK
    assert (lock.lock_try(), lock.rlock_depth()) == (OK, 1)
    assert lock.rlock_release() == OK and lock.lock_is_free()


def test_a_condition_frees_all_of_it_and_gets_all_of_it_back(kit: Kit, crew: Crew) -> None:
    lock, depth = kit.rlock(), kit.out("uint32_t")
    assert lock.rlock_release_all(depth) == EPERM
    lock.lock_try()
    for _ in range(4):
        lock.rlock_again()
    assert crew.task(lock.rlock_release_all, depth).result() == EPERM
    assert crew.child(lambda: lock.rlock_release_all(kit.out("uint32_t"))).result() == EPERM
    assert (lock.rlock_depth(), lock.rlock_release_all(depth), depth[0]) == (5, OK, 5)
    assert owner(lock) == FREE_STATE
    assert crew.task(lambda: (lock.lock_try(), lock.rlock_depth(), lock.rlock_release())).result()
    lock.lock_try()
    lock.rlock_restore(depth[0])
    assert [lock.rlock_release() for _ in range(6)] == [OK] * 5 + [EPERM]


def test_the_owner_is_told_so_that_a_reused_pid_is_not_taken_for_it(kit: Kit, crew: Crew) -> None:
    lock = kit.lock()
    assert lock.lock_owner_id() == 0
    lock.lock_try()
    assert lock.lock_owner_id() == kit.lib.altsem_self()
    assert crew.child(lock.lock_owner_id).result() == kit.lib.altsem_self()
    lock.lock_release()
    assert lock.lock_owner_id() == 0


# --- who is woken ---------------------------------------------------------------------------------


def test_a_release_makes_no_system_call_unless_somebody_has_to_be_woken(
    kit: Kit, lock: Thing, crew: Crew
) -> None:
    lock.lock_try()
    assert kit.wakes(lock.lock_release) == 0
    lock.lock_try()
    child = crew.child(lock.wait)
    until(lambda: lock.waiters() == 1 and child.asleep())
    child.stop()
    assert kit.wakes(lock.lock_release) == 1
    # It is on its way, and has not looked yet.
    lock.lock_try()
    assert kit.wakes(lock.lock_release) == 0
    child.signal(signal.SIGCONT)
    assert child.result() == OK


def test_of_two_releases_at_once_one_is_too_many(kit: Kit, crew: Crew) -> None:
    """Both see it held; only one of the two steps is made."""
    lock, turn, done, rounds = kit.lock(), kit.sem(), kit.sem(), 8000

    def other() -> int:
        good = 0
        for number in range(1, rounds + 1):
            while turn.peek("holder") != number:
                os.sched_yield()
            good += lock.lock_release() == OK
            done.poke("holder", number)
        return good

    child, good = crew.child(other), 0
    for number in range(1, rounds + 1):
        assert lock.lock_try() == OK
        turn.poke("holder", number)
        for _ in range(number % 40):  # the other one takes a moment to see it, too
            pass
        good += lock.lock_release() == OK
        while done.peek("holder") != number:
            os.sched_yield()
    assert good + child.result() == rounds
