"""Lock(robust=True), RLock(robust=True): the next holder is told that the one before it died."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import random
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import pytest

import altsem
from altsem import _core
from conftest import Script
from support import GENEROUS, fork, reap, state, wait_until

CTX = altsem.get_context("fork")
KINDS = [altsem.Lock, altsem.RLock]


@pytest.fixture(params=KINDS, ids=["Lock", "RLock"])
def lock(request: pytest.FixtureRequest) -> Any:
    return request.param(robust=True)


def take_and_die(lock: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def die_with(lock: Any) -> int:
    """Has a process die while it holds the lock; its pid."""
    pid: int = fork(lambda: take_and_die(lock))
    assert reap(pid) == -signal.SIGKILL
    return pid


@contextlib.contextmanager
def zombie_with(lock: Any) -> Iterator[int]:
    pid: int = fork(lambda: take_and_die(lock))
    wait_until(lambda: state(pid) == "Z")
    try:
        yield pid
    finally:
        reap(pid)


@contextlib.contextmanager
def told(*pids: int) -> Iterator[None]:
    """Of these deaths and no other, with a warning that is of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [each.category for each in caught] == [altsem.OwnerDiedWarning] * len(pids)
    for each, pid in zip(caught, pids, strict=True):
        assert f"(pid {pid}, thread {pid}" in str(each.message)
        assert each.filename == __file__


TAKING: dict[str, Callable[[Any], bool]] = {
    "acquire": lambda lock: lock.acquire(),
    "acquire(False)": lambda lock: lock.acquire(False),
    "acquire(timeout=0.01)": lambda lock: lock.acquire(timeout=0.01),
    "acquire(timeout=60)": lambda lock: lock.acquire(timeout=60),
    "with": lambda lock: lock.__enter__(),
}


@pytest.mark.parametrize("way", TAKING)
def test_the_next_holder_is_told(lock: Any, way: str) -> None:
    pid = die_with(lock)
    with told(pid):
        assert TAKING[way](lock) is True
    assert lock.owner_died == altsem.Death(pid, pid, None)
    lock.release()
    assert lock.owner_died is None
    with told(), lock:
        assert lock.owner_died is None
    assert _core.deaths(lock) == 1


def test_the_command_of_a_zombie_is_told(lock: Any) -> None:
    with zombie_with(lock) as pid, told(pid), lock:
        assert lock.owner_died.command == f"[{Path('/proc/self/comm').read_text().strip()}]"
        assert str(lock.owner_died) == f"pid {pid}, thread {pid}, {lock.owner_died.command}"


def test_a_warning_that_is_an_error_leaves_it_free_and_the_death_untold(lock: Any) -> None:
    pid = die_with(lock)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(altsem.OwnerDiedWarning):
                lock.acquire()
            assert (lock.locked(), lock.owner_died) == (False, None)
    with told(pid), lock:
        assert lock.owner_died.pid == pid
    with told(), lock:
        pass


def test_the_warning_is_of_who_reads_a_shared_value(lock: Any) -> None:
    value = CTX.Value("i", 5, lock=lock)
    pid = die_with(lock)
    with told(pid):
        assert value.value == 5


def test_whoever_inherits_and_dies_is_told_in_its_turn(lock: Any) -> None:
    die_with(lock)
    pid = die_with(lock)
    with told(pid), lock:
        assert lock.owner_died.pid == pid
    assert _core.deaths(lock) == 2


def test_an_rlock_that_is_inherited_is_held_once() -> None:
    lock = altsem.RLock(robust=True)
    pid = fork(lambda: [lock.acquire() for _ in range(5)] and os._exit(0))
    assert reap(pid) == 0
    with told(pid):
        lock.acquire()
    with told():
        lock.acquire()
    assert lock._count() == 2
    lock.release()
    assert lock.owner_died.pid == pid
    lock.release()
    assert not lock.locked()


def test_only_the_holder_sees_the_death(lock: Any) -> None:
    pid = die_with(lock)
    with told(pid):
        lock.acquire()
    assert reap(fork(lambda: os._exit(lock.owner_died is not None))) == 0
    lock.release()


def test_only_the_process_that_holds_it_releases_it(lock: Any) -> None:
    def release() -> None:
        with pytest.raises(AssertionError, match="not owned by"):
            lock.release()

    with lock:
        assert reap(fork(release)) == 0
        assert lock.locked()
    with pytest.raises((ValueError, AssertionError)):
        lock.release()


def test_a_copy_and_a_pickled_one_are_as_robust(lock: Any) -> None:
    for other in (copy.copy(lock), pickle.loads(pickle.dumps(lock))):
        assert (type(other), other.robust) == (type(lock), True)
        with other:
            assert (lock.locked() and not lock.acquire(False)) or type(lock) is altsem.RLock
    assert not type(lock)().robust


def test_it_stays_as_it_was_made(lock: Any) -> None:
    lock.__init__()
    assert lock.robust
    with pytest.raises(ValueError, match="stays as robust"):
        lock.__init__(robust=False)
    plain = type(lock)()
    plain.__init__()
    with pytest.raises(ValueError, match="stays as robust"):
        plain.__init__(robust=True)
    assert not plain.robust


def test_in_a_subclass_too() -> None:
    class Mine(altsem.Lock):
        def __init__(self) -> None:
            super().__init__(robust=True)

    lock = Mine()
    pid = die_with(lock)
    with told(pid), lock:
        pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: altsem.Semaphore(robust=True),
        lambda: altsem.BoundedSemaphore(1, robust=True),
        lambda: CTX.Semaphore(1, robust=True),
        lambda: CTX.BoundedSemaphore(1, robust=True),
        lambda: altsem.SemLock(1, 1, 2, "/any", True)._make_robust(),
    ],
)
def test_a_semaphore_cannot_be(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="cannot be robust: only a Lock or RLock"):
        make()
    assert not altsem.Semaphore(robust=False)._robust


def test_a_note_that_nobody_can_go_on_is_for_robust_ones() -> None:
    lock = altsem.Lock()
    with pytest.raises(ValueError, match="cannot be robust"):
        lock._midway = True
    assert not lock._midway


def test_contexts_make_them() -> None:
    for method in ("fork", "spawn", "forkserver"):
        ctx = altsem.get_context(method)
        assert ctx.Lock(robust=True).robust and ctx.RLock(robust=True).robust
        assert not ctx.Lock().robust and not ctx.RLock().robust


def test_a_condition_tells_it_when_wait_has_the_lock_again() -> None:
    cond = altsem.Condition(altsem.RLock(robust=True))

    def notify_and_die() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cond.acquire()
        cond.acquire()
        cond.notify()
        os.kill(os.getpid(), signal.SIGKILL)

    with cond:
        cond.acquire()
        pid = fork(notify_and_die)
        with told(pid):
            assert cond.wait(GENEROUS) is True
        assert (cond.owner_died.pid, cond._lock._count()) == (pid, 2)
        cond.release()
    reap(pid)
    with told(), cond:
        assert cond.owner_died is None


def test_a_condition_whose_warning_is_an_error_hands_the_notification_on() -> None:
    cond = altsem.Condition(altsem.Lock(robust=True))

    def notify_and_die() -> None:
        cond.acquire()
        cond.notify()
        os.kill(os.getpid(), signal.SIGKILL)

    cond.acquire()
    pid = fork(notify_and_die)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(altsem.OwnerDiedWarning):
            cond.wait(GENEROUS)
    reap(pid)
    assert not cond._lock.locked() and cond.waiters == 0
    with told(pid), cond:
        pass


def test_a_lock_that_is_not_robust_stays_with_the_dead() -> None:
    """And is named."""
    lock = altsem.Lock()
    pid = die_with(lock)
    assert (lock.acquire(False), lock.acquire(timeout=0.01)) == (False, False)
    assert (lock.owner.pid, lock.owner.state, lock.owner_died) == (pid, "dead", None)
    assert lock.acquire(timeout=1.5) is False
    lock.release()  # anybody may


def test_all_of_a_program_with_a_variable(run_script: Script) -> None:
    code = """
import altsem, multiprocessing
from multiprocessing import synchronize
ctx = multiprocessing.get_context("altsem")
class Mine(synchronize.Lock):
    pass
class Other(synchronize.BoundedSemaphore):
    pass
made = altsem.Lock(), altsem.RLock(), ctx.Lock(), altsem.Condition()._lock, Mine(ctx=ctx)._semlock
print(*(each._robust for each in made))
plain = altsem.Lock(robust=False), altsem.BoundedSemaphore(1), Other(1, ctx=ctx)._semlock
print(*(each._robust for each in plain))
queue = ctx.Queue()
print(queue._rlock.robust, queue._wlock.robust, queue._sem._robust)
multiprocessing.set_start_method("altsem-fork")
print(multiprocessing.Lock().robust)
"""
    for value, robust in ("1", True), ("0", False), ("", False), ("yes", False):
        done = run_script(code, env={"ALTSEM_ROBUST": value})
        assert done.stderr == ""
        expected = [robust] * 5 + [False] * 3 + [robust, robust, False, robust]
        assert done.stdout.split() == [str(each) for each in expected]


def test_those_of_the_drop_in(run_script: Script) -> None:
    code = """
import altsem; altsem.install()
import multiprocessing, os, warnings
warnings.simplefilter("ignore")
def die(lock):
    lock.acquire()
    os.kill(os.getpid(), 9)
def main():
    for method in ("fork", "spawn"):
        ctx = multiprocessing.get_context(method)
        for lock in (ctx.Lock(), ctx.RLock()):
            child = ctx.Process(target=die, args=(lock,))
            child.start(); child.join()
            print(lock._semlock._robust, lock.acquire(timeout=5), lock.release())
        print(ctx.BoundedSemaphore(1)._semlock._robust, ctx.Semaphore()._semlock._robust)
    altsem.uninstall()
    print(multiprocessing.synchronize.Lock.__init__.__module__)
    from multiprocessing import queues
    print(sorted(name for name in vars(queues.Queue) if "bytes" in name))
if __name__ == "__main__":
    main()
"""
    done = run_script(code, env={"ALTSEM_ROBUST": "1", "ALTSEM": "always"})
    lines = done.stdout.splitlines()
    assert lines[:6] == ["True True None", "True True None", "False False"] * 2
    assert lines[6:] == ["multiprocessing.synchronize", "[]"]


def test_the_variable_is_read_once_by_the_drop_in_too(run_script: Script) -> None:
    code = """
import altsem, os
altsem.Lock()
os.environ["ALTSEM_ROBUST"] = sys.argv[1]
altsem.install(force=True)
import multiprocessing
print(altsem.Lock().robust, multiprocessing.Lock()._semlock._robust)
"""
    for before, after in ("0", "1"), ("1", "0"):
        done = run_script("import sys" + code, after, env={"ALTSEM_ROBUST": before})
        assert done.stdout.split() == [str(before == "1")] * 2, done


# --- many deaths ----------------------------------------------------------------------------------

PEOPLE = 8
KILLS = int(os.environ.get("ALTSEM_ROBUST_KILLS", "12"))


def work(lock: Any, name: str, number: int) -> None:
    warnings.simplefilter("ignore")
    memory = shared_memory.SharedMemory(name, track=False) if TRACK else attach(name)
    cells = memory.buf.cast("Q")
    cond = lock if isinstance(lock, altsem.Condition) else None
    pid = os.getpid()
    cells[8 + number] = 1  # at work
    while True:
        with lock:
            cells[0] = pid
            cells[1] += 1  # how often anybody had it
            if cond is not None:
                cells[0] = 0
                if cells[1] % 2:
                    cond.notify()
                    cond.wait(0.001)
                else:
                    cond.notify()
                cells[0] = pid
            if random.random() < 0.2:  # the others wait, and leave the CPUs to who starts
                time.sleep(random.random() / 500)
            for _ in range(random.randrange(50)):
                if cells[0] != pid:
                    cells[2] += 1  # doubled


TRACK = "track" in shared_memory.SharedMemory.__init__.__code__.co_varnames


def attach(name: str) -> Any:
    from multiprocessing import resource_tracker

    before = resource_tracker.register
    resource_tracker.register = lambda *_: None  # it is the parent's to remove
    try:
        return shared_memory.SharedMemory(name)
    finally:
        resource_tracker.register = before


@pytest.mark.limit(900)
@pytest.mark.parametrize("kind", ["Lock", "RLock", "Condition"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_killed_at_random_nobody_is_doubled_or_stranded(
    method: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zombies stay.  ALTSEM_ROBUST_KILLS says how many are killed."""
    ctx = altsem.get_context(method)
    made = ctx.RLock(robust=True) if kind != "Lock" else ctx.Lock(robust=True)
    lock: Any = altsem.Condition(made) if kind == "Condition" else made
    memory = shared_memory.SharedMemory(create=True, size=4096)
    cells = memory.buf.cast("Q")
    people: list[Any] = []

    def start(number: int) -> Any:
        cells[8 + number] = 0
        process = ctx.Process(target=work, args=(lock, memory.name, number), daemon=True)
        process.start()
        return process

    slowest = 0.0
    dead: list[Any] = []
    try:
        people = [start(number) for number in range(PEOPLE)]
        for count in range(KILLS):
            wait_until(lambda: all(cells[8 + n] for n in range(PEOPLE)), "all are at work")
            number = random.randrange(PEOPLE)
            time.sleep(random.random() / 500)
            if count % 4 == 0:  # the one that has it now
                holder = cells[0]
                number = next((n for n in range(PEOPLE) if people[n].pid == holder), number)
            os.kill(people[number].pid, signal.SIGKILL)
            killed, before = time.monotonic(), cells[1]
            wait_until(lambda before=before: cells[1] > before + 1)
            slowest = max(slowest, time.monotonic() - killed)
            dead.append(people[number])
            people[number] = start(number)
            if count % 50 == 49:
                for each in dead:
                    each.join()
                dead.clear()
        assert cells[2] == 0
        deaths = _core.deaths(made)
        with capsys.disabled():
            if KILLS > 100:
                seen = f"{deaths} with the lock, slowest recovery {slowest:.2f} s"
                print(f"\n{method} {kind}: {KILLS} killed, {seen}, {cells[1]} turns, 0 doubled")
    finally:
        for each in people:
            each.kill()
        for each in [*people, *dead]:
            each.join()
        cells.release()
        memory.close()
        memory.unlink()
