"""Locks that are taken over when their owner is proved dead, and never else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from core import sandbox
from core.crew import Child, Crew, state_of, until
from core.kit import EAGAIN, EINTR, EINVAL, EOVERFLOW, EPERM, LOCK, OK, PAST, RLOCK, Kit, Thing
from core.test_judge import leader_ends, permitted
from core.test_namespaces import alone

NOBODY = 65534  # a user
TID, HASH_AT, SUSPECT, HUNGRY, WOKEN = 0x3FFFFF, 22, 1 << 28, 1 << 29, 1 << 30
WAITER = 1 << 32

Death = tuple[int, int, int] | None


def robust(kit: Kit, kind: int = LOCK) -> Thing:
    lock = kit.new(kind, 1, 1)
    assert lock.lock_make_robust() == OK
    return lock


def death(lock: Thing) -> Death:
    """Of whom the holder is to be told."""
    told = lock.kit.out("altsem_death")
    return (told.pid, told.tid, told.is_shown) if lock.lock_death(told) else None


def release(lock: Thing) -> int:
    return int(lock.rlock_release() if lock.slot_type() == RLOCK else lock.lock_release())


def hold(lock: Thing, taken: Thing) -> None:
    assert lock.wait() == OK
    taken.post()
    signal.pause()


@pytest.fixture(params=[LOCK, RLOCK], ids=["Lock", "RLock"])
def lock(request: pytest.FixtureRequest, kit: Kit) -> Thing:
    return robust(kit, request.param)


@pytest.fixture
def held(kit: Kit, lock: Thing, crew: Crew) -> Child:
    """The process that holds the lock until it is killed."""
    taken = kit.sem()
    child = crew.child(hold, lock, taken)
    taken.wait()
    return child


def kill(child: Child) -> None:
    """It stays a zombie."""
    child.signal(signal.SIGKILL)
    until(lambda: state_of(child.pid) == "Z")


# --- of the dead ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reaped", [False, True], ids=["zombie", "gone"])
def test_a_failing_try_takes_it_over(lock: Thing, held: Child, reaped: bool) -> None:
    assert (lock.lock_try(), lock.lock_inherit()) == (EAGAIN, EAGAIN)
    kill(held)
    if reaped:
        held.join()
    assert (lock.lock_try(), lock.lock_inherit()) == (EAGAIN, OK)
    assert lock.lock_is_mine() == 1 and lock.lock_owner_pid() == os.getpid()
    assert death(lock) == (held.pid, held.pid, int(not reaped))
    assert lock.lock_deaths() == 1
    assert (release(lock), lock.lock_is_free(), death(lock)) == (OK, 1, None)


@pytest.mark.parametrize("seconds", [None, 0.001, 0], ids=["slice", "deadline", "now"])
def test_who_waits_takes_it_over_when_it_gives_up(
    lock: Thing, held: Child, seconds: float | None
) -> None:
    kill(held)
    if seconds is None:
        assert lock.wait() == OK
    else:
        assert lock.lock_wait(lock.kit.deadline(seconds)) == OK
    assert (lock.waiters(), lock.lock_is_mine(), death(lock)) == (0, 1, (held.pid, held.pid, 1))
    assert (release(lock), lock.peek("word")) == (OK, 0)


def test_of_many_that_wait_one_at_a_time_has_it(lock: Thing, held: Child, crew: Crew) -> None:
    """Each of them kills itself with it, but the last."""
    count = 6
    inside = robust(lock.kit)

    def inherit(last: bool) -> tuple[int, Death, int]:
        assert lock.wait() == OK
        alone = inside.lock_try() == OK or inside.lock_inherit() == OK
        if not last and lock.lock_deaths() < count:
            os.kill(os.getpid(), signal.SIGKILL)
        return alone, death(lock), lock.lock_deaths()

    children = [crew.child(inherit, False) for _ in range(count - 1)]
    until(lambda: lock.waiters() == count - 1)
    kill(held)
    for child in children:
        until(lambda child=child: state_of(child.pid) == "Z")  # type: ignore[misc]
    alone, told, deaths = crew.child(inherit, True).result()
    assert (alone, deaths) == (True, count)
    assert told is not None and told[0] in {child.pid for child in children}


def test_a_takeover_leaves_reservations_as_taking_does(lock: Thing, held: Child) -> None:
    lock.poke("word", lock.peek("word") | HUNGRY | WOKEN | WAITER)
    kill(held)
    assert lock.lock_inherit() == OK  # it does not wait: what is reserved stays reserved
    mine = lock.lock_owner_token()
    assert lock.peek("word") == WAITER | HUNGRY | WOKEN | mine
    lock.poke("word", lock.peek("word") & ~mine | 1 << HASH_AT | TID)  # nobody's number
    lock.poke("holder", 0)
    assert lock.wait() == OK
    assert lock.peek("word") == WAITER | mine


def test_the_depth_of_the_dead_is_not_inherited(kit: Kit, crew: Crew) -> None:
    lock = robust(kit, RLOCK)

    def deep() -> None:
        lock.lock_try(), lock.rlock_again(), lock.rlock_again()

    crew.child(deep).result()
    assert (lock.peek("again"), lock.lock_inherit(), lock.rlock_depth()) == (2, OK, 1)
    assert (release(lock), lock.lock_is_free()) == (OK, 1)


def test_a_thread_that_has_ended_is_dead_as_the_owner_of_an_rlock_only(
    lock: Thing, crew: Crew
) -> None:
    thread = threading.Thread(target=lock.lock_try)
    thread.start()
    thread.join()
    tid = lock.lock_owner_tid()
    until(lambda: not os.path.exists(f"/proc/self/task/{tid}"))
    if lock.slot_type() == LOCK:
        assert (lock.lock_inherit(), release(lock)) == (EAGAIN, OK)
    else:
        assert (lock.lock_inherit(), death(lock)) == (OK, (os.getpid(), tid, 1))


# --- killed on the way, with no name beside the word ----------------------------------------------


def test_who_had_not_said_who_it_is(lock: Thing, held: Child) -> None:
    lock.poke("holder", 0)
    assert lock.lock_inherit() == EAGAIN
    kill(held)
    assert (lock.lock_inherit(), death(lock)) == (OK, (held.pid, held.pid, 0))


def test_a_number_that_is_used_again_is_not_the_owners(lock: Thing, held: Child) -> None:
    """A living thread has it, but not the hash."""
    kill(held)
    lock.poke("holder", 0)
    mine = lock.kit.lib.altsem_self().token
    other = mine ^ 1 << HASH_AT
    assert mine & TID == os.getpid() and mine >> HASH_AT and other >> HASH_AT
    word = lock.peek("word") & ~(2**28 - 1)
    lock.poke("word", word | mine)  # it might be the owner
    assert lock.lock_inherit() == EAGAIN
    lock.poke("word", word | mine & TID)  # whose hash is not known
    assert lock.lock_inherit() == EAGAIN
    lock.poke("word", word | other)
    assert (lock.lock_inherit(), death(lock)) == (OK, (0, os.getpid(), 0))


def test_the_hash_of_a_thread_is_that_of_its_start(kit: Kit, crew: Crew) -> None:
    def expected() -> tuple[int, int]:
        tid = threading.get_native_id()
        with open(f"/proc/self/task/{tid}/stat") as file:
            start = int(file.read().rpartition(")")[2].split()[19])
        scattered = (kit.lib.altsem_process_id() ^ start) * 0x9E3779B97F4A7C15 % 2**64
        return kit.lib.altsem_self().token, tid | (scattered >> 58 or 1) << HASH_AT

    for seen, right in (expected(), crew.task(expected).result(), crew.child(expected).result()):
        assert seen == right


@pytest.mark.parametrize("suspected", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_a_taker_that_died_on_its_way_is_followed_by_the_next(
    lock: Thing, held: Child, suspected: bool, named: bool
) -> None:
    kill(held)
    if suspected:
        lock.poke("word", lock.peek("word") | SUSPECT)
    if not named:
        lock.poke("holder", 0)
    assert (lock.wait(), lock.lock_is_mine(), lock.peek("word") & SUSPECT) == (OK, 1, 0)


# --- of the living --------------------------------------------------------------------------------


ATTEMPTS = int(os.environ.get("ALTSEM_ROBUST_ATTEMPTS", "20"))  # on each living owner


def refused(lock: Thing, times: int = ATTEMPTS) -> bool:
    return {lock.lock_inherit() for _ in range(times)} == {EAGAIN} and not lock.lock_deaths()


def test_nobody_alive_is_robbed(lock: Thing, held: Child) -> None:
    assert refused(lock)
    assert lock.lock_wait(PAST) != OK
    held.stop()
    assert refused(lock)
    held.signal(signal.SIGCONT)
    assert (lock.lock_owner_tid(), lock.peek("word") & SUSPECT) == (held.pid, SUSPECT)
    kill(held)
    assert lock.lock_inherit() == OK


def test_a_process_whose_main_thread_has_ended_is_not_robbed(lock: Thing, crew: Crew) -> None:
    taken = lock.kit.sem()
    child = crew.child(leader_ends, lock.kit, lock, taken)
    taken.wait()
    until(lambda: state_of(child.pid) == "Z")
    assert refused(lock)
    child.signal(signal.SIGKILL)
    until(lambda: lock.lock_inherit() == OK, "it is a zombie without threads")


def test_the_main_thread_that_ended_has_died_as_the_owner_of_an_rlock(
    lock: Thing, crew: Crew
) -> None:
    other, taken = robust(lock.kit), lock.kit.sem()

    def work() -> None:
        lock.lock_try()
        leader_ends(lock.kit, other, taken)

    child = crew.child(work)
    taken.wait()
    until(lambda: state_of(child.pid) == "Z")
    assert lock.lock_inherit() == (EAGAIN if lock.slot_type() == LOCK else OK)


def test_nobody_in_particular_is_not_robbed(kit: Kit, crew: Crew) -> None:
    born, disowned = kit.new(LOCK, 0, 1), robust(kit)
    born.lock_make_robust()
    crew.child(lambda: (disowned.lock_try(), disowned.lock_disown())).result()
    for lock in (born, disowned):
        assert refused(lock)
        assert (lock.lock_release(), lock.lock_release()) == (OK, EOVERFLOW)


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_who_is_hidden_is_not_robbed(lock: Thing, held: Child) -> None:
    def look() -> bool:
        sandbox.own_mounts()
        sandbox.mount_proc("hidepid=2")
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return refused(lock)

    assert permitted(look)
    kill(held)
    held.join()
    assert lock.lock_inherit() == OK


def test_without_proc_nobody_is_robbed(lock: Thing, held: Child) -> None:
    def look() -> bool:
        sandbox.own_mounts()
        sandbox.mount_tmpfs("/proc", "")
        return refused(lock)

    assert permitted(look)
    kill(held)
    assert permitted(look)


# In programs of their own: a segment that several namespaces have used is never judged any more.


def foreign(kit: Kit, kind: int) -> bool | None:
    lock, taken = robust(kit, kind), kit.sem()
    child = Child(alone, hold, lock, taken)
    try:
        while taken.sem_wait(kit.deadline(0.1)) != OK:
            if state_of(child.pid) in ("Z", ""):
                return None
        seen = refused(lock)
        child.signal(signal.SIGKILL)
        until(lambda: state_of(child.pid) in ("Z", ""))
        return seen and refused(lock)
    finally:
        child.kill()


@pytest.mark.parametrize("kind", [LOCK, RLOCK])
def test_another_pid_namespace_is_never_robbed(program: Callable[..., str], kind: int) -> None:
    assert run_here(program, "foreign", kind) == "True"


def reused(kit: Kit, kind: int, attempts: int) -> str | None:
    """Kills the owner while `holder` is clear, and gives its number to living ones, which take the
    lock: none of them is ever robbed."""

    def next_number(number: int) -> bool:
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(number - 1))
        except OSError:
            return False
        return True

    def work() -> str | None:
        sandbox.own_mounts()
        sandbox.mount_proc("")
        robbed = kept = inherited = 0
        lock, taken = robust(kit, kind), kit.sem()
        child = Child(hold, lock, taken)
        taken.wait()
        for _ in range(attempts):
            number = child.pid
            lock.poke("holder", 0)
            child.kill()
            if not next_number(number):
                return None
            child = Child(hold, lock, taken)
            if child.pid != number:  # the kernel had not let it go yet
                child.kill()
                return "not reused"
            # The new one has the number; whether the hash, is chance.
            until(lambda: lock.waiters() == 1)
            inherited += lock.lock_inherit() == OK
            if lock.lock_is_mine():
                release(lock)
            else:  # the same hash: nothing is proved as long as it lives
                kept += 1
                lock.poke("word", lock.peek("word") & ~(2**32 - 1))
            taken.wait()
            robbed += sum(lock.lock_inherit() == OK for _ in range(ATTEMPTS))
        child.kill()
        return f"{robbed} robbed, {inherited + kept == attempts}"

    return alone(work)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [LOCK, RLOCK])
def test_who_has_the_number_of_a_dead_owner_is_not_robbed(
    program: Callable[..., str], kind: int
) -> None:
    told = run_here(program, "reused", kind, 20)
    if told == "not reused":
        pytest.skip("the kernel gives another number")
    assert told == "0 robbed, True"


def run_here(program: Callable[..., str], work: str, *args: object) -> str:
    told = program(f"from core import test_robust as file\nprint(file.{work}(kit, *{args}))")
    if told == "None\n":
        pytest.skip("not permitted here")
    return told.removesuffix("\n")


# --- what a holder is told, and its release -------------------------------------------------------


def test_a_release_forgets_the_death_unless_nobody_was_told(lock: Thing, held: Child) -> None:
    kill(held)
    assert lock.lock_inherit() == OK
    assert (lock.lock_release_untold(), lock.lock_is_free()) == (OK, 1)
    assert (lock.lock_try(), death(lock)) == (OK, (held.pid, held.pid, 1))
    assert (release(lock), lock.lock_try(), death(lock)) == (OK, OK, None)
    assert (release(lock), lock.lock_deaths()) == (OK, 1)


def test_the_next_is_told_of_an_heir_that_died(lock: Thing, held: Child, crew: Crew) -> None:
    kill(held)
    heir = crew.child(lambda: (lock.lock_inherit(), os.kill(os.getpid(), signal.SIGKILL)))
    until(lambda: state_of(heir.pid) == "Z")
    assert (lock.lock_inherit(), death(lock)) == (OK, (heir.pid, heir.pid, 1))
    assert lock.lock_deaths() == 2


def test_a_place_where_nobody_can_go_on_is_remembered(lock: Thing, held: Child, crew: Crew) -> None:
    kill(held)
    lock.lock_inherit()
    assert lock.lock_is_midway() == 0
    lock.lock_set_midway(1)
    lock.lock_set_midway(0)
    assert (lock.lock_is_midway(), release(lock)) == (0, OK)
    crew.child(lambda: (lock.lock_try(), lock.lock_set_midway(1))).result()
    assert (lock.lock_inherit(), lock.lock_is_midway(), lock.lock_deaths()) == (OK, 1, 2)
    assert (release(lock), lock.lock_is_midway()) == (OK, 1)


def test_only_its_owner_releases_it(lock: Thing, held: Child, crew: Crew) -> None:
    assert release(lock) == EPERM
    assert lock.lock_owner_tid() == held.pid
    kill(held)
    assert lock.lock_inherit() == OK
    of_us = crew.task(lambda: release(lock)).result()
    assert of_us == (OK if lock.slot_type() == LOCK else EPERM)
    if of_us != OK:
        assert release(lock) == OK
    assert release(lock) == (EOVERFLOW if lock.slot_type() == LOCK else EPERM)


def test_of_two_threads_that_release_a_lock_one_does(kit: Kit, crew: Crew) -> None:
    """Natively the second frees it for somebody else, in a race."""
    lock, rounds = robust(kit), 300
    start = threading.Barrier(3)

    def releases() -> int:
        done = 0
        for _ in range(rounds):
            start.wait()
            done += lock.lock_release() == OK
            start.wait()
        return done

    tasks = [crew.task(releases) for _ in range(2)]
    for _ in range(rounds):
        assert lock.lock_try() == OK
        start.wait()
        start.wait()
        assert lock.lock_is_free()
    assert sum(task.result() for task in tasks) == rounds


def test_what_is_no_lock_cannot_be_robust(kit: Kit) -> None:
    for other in (kit.sem(1, 1), kit.event(), kit.cond(), kit.barrier(2)):
        assert (other.lock_make_robust(), other.lock_is_robust()) == (EINVAL, 0)


def test_a_lock_that_is_not_robust_stays_with_the_dead(kit: Kit, crew: Crew) -> None:
    """Unless somebody frees it by hand, who must prove the death all the same."""
    lock, taken = kit.lock(), kit.sem()
    child = crew.child(hold, lock, taken)
    taken.wait()
    assert lock.lock_inherit() == EAGAIN
    kill(child)
    assert lock.lock_wait(kit.deadline(0.001)) != OK
    assert lock.lock_wait(PAST) != OK
    assert (lock.lock_wait(kit.deadline(5)), lock.lock_owner_tid()) == (EINTR, child.pid)
    assert (lock.lock_inherit(), lock.lock_release(), lock.lock_is_free()) == (OK, OK, 1)
    assert (death(lock), lock.lock_deaths()) == (None, 0)


# --- many deaths ----------------------------------------------------------------------------------


def test_killed_at_random_nobody_is_doubled_or_stranded(lock: Thing, crew: Crew) -> None:
    """ALTSEM_ROBUST_KILLS says how many."""
    kills, people = int(os.environ.get("ALTSEM_ROBUST_KILLS", "12")), 4
    inside, done, doubled = lock.kit.lock(), lock.kit.sem(), lock.kit.sem()

    def work() -> None:
        while True:
            lock.wait()
            if lock.lock_owner_tid() != lock.kit.lib.altsem_tid():
                doubled.post()
            inside.poke("word2", os.getpid())
            time.sleep(0)
            if inside.peek("word2") != os.getpid():
                doubled.post()
            done.post()
            release(lock)

    children = [crew.child(work) for _ in range(people)]
    for number in range(kills):
        before = done.sem_value()
        victim = children[number % people]
        until(lambda before=before: done.sem_value() > before + 2)  # type: ignore[misc]
        victim.kill()
        children[number % people] = crew.child(work)
        before = done.sem_value()
        until(lambda before=before: done.sem_value() > before)  # type: ignore[misc]
    assert doubled.sem_value() == 0
