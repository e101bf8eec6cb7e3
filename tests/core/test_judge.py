"""Whether an owner lives: only what is proved is said, and nothing that lives is called dead."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from core import sandbox
from core.crew import Child, Crew, Task, state_of, until
from core.kit import Kit, Thing

DEAD, ALIVE, CANNOT_TELL = 0, 1, -1
NOBODY = 65534  # a user
SYS_exit = {"x86_64": 60}.get(os.uname().machine, 93)

Verdict = tuple[int, int, int]


def owner(kit: Kit, lock: Thing) -> tuple[int, int, int]:
    where = kit.lib.altsem_segment_namespace(lock.segment)
    return lock.lock_owner_tid(), lock.lock_owner_id(), where


def judged(kit: Kit, lock: Thing) -> Verdict:
    return kit.judge(*owner(kit, lock))


@pytest.fixture
def held(kit: Kit, crew: Crew) -> tuple[Thing, Child]:
    """A lock, and the process that holds it until it is killed."""
    lock, taken = kit.lock(), kit.sem()

    def hold() -> None:
        lock.lock_try()
        taken.post()
        signal.pause()

    child = crew.child(hold)
    taken.wait()
    return lock, child


def kill(child: Child) -> None:
    child.signal(signal.SIGKILL)
    until(lambda: state_of(child.pid) == "Z")


def test_a_living_process_and_its_threads_are_alive(kit: Kit, held: tuple[Thing, Child]) -> None:
    lock, child = held
    assert judged(kit, lock) == (child.pid, ALIVE, ALIVE)
    child.stop()
    assert judged(kit, lock) == (child.pid, ALIVE, ALIVE)
    child.signal(signal.SIGCONT)


def test_who_is_judged_does_not_feel_it(kit: Kit, crew: Crew) -> None:
    """The kernel is asked with a signal that is none."""
    lock, taken, judgement = kit.lock(), kit.sem(), kit.sem()

    def hold() -> set[signal.Signals]:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        lock.lock_try()
        taken.post()
        judgement.wait()
        return signal.sigpending()

    child = crew.child(hold)
    taken.wait()
    tid, identity, where = owner(kit, lock)
    assert kit.judge(tid, identity, where) == (child.pid, ALIVE, ALIVE)
    assert kit.judge(tid, 0, where) == (child.pid, ALIVE, ALIVE)
    judgement.post()
    assert child.result() == set()


def test_a_zombie_is_dead_and_so_is_who_is_gone(kit: Kit, held: tuple[Thing, Child]) -> None:
    lock, child = held
    kill(child)
    os.kill(child.pid, 0)  # says alive
    assert judged(kit, lock) == (child.pid, DEAD, DEAD)
    child.join()
    assert judged(kit, lock) == (child.pid, DEAD, DEAD)


def test_who_started_at_another_time_is_another(kit: Kit, held: tuple[Thing, Child]) -> None:
    lock, child = held
    tid, real, where = owner(kit, lock)
    start, origin, known = real & 0xFFFFF, 1 << 30, 1 << 41
    assert kit.judge(tid, real ^ origin, where) == (child.pid, DEAD, DEAD)
    # Which thread of the process it was is not asked of /proc.
    assert kit.judge(tid, real ^ start ^ 1, where) == (child.pid, ALIVE, ALIVE)
    # One that could not say when it started.
    assert kit.judge(tid, real ^ known, where) == (child.pid, CANNOT_TELL, CANNOT_TELL)
    kill(child)
    assert kit.judge(tid, real ^ known, where) == (child.pid, DEAD, DEAD)


@pytest.mark.parametrize("where", [0, 1, 2**32 - 1])
def test_another_namespace_is_not_judged(kit: Kit, held: tuple[Thing, Child], where: int) -> None:
    lock, child = held
    tid, real, _ = owner(kit, lock)
    child.kill()
    assert kit.judge(tid, real, where) == (child.pid, CANNOT_TELL, CANNOT_TELL)


@pytest.mark.parametrize("pid", [2**22 - 1, 2**21 + 4711])
def test_nobody_is_dead(kit: Kit, pid: int) -> None:
    if os.path.exists(f"/proc/{pid}"):
        pytest.skip("there is such a process")
    here = kit.lib.altsem_pid_namespace()
    assert kit.judge(pid, kit.lib.altsem_id_from(pid, 1, here), here) == (pid, DEAD, DEAD)
    assert kit.judge(2**30 - 1, 0, here) == (0, DEAD, DEAD)


def test_a_thread_that_ended_in_a_living_process_is_told(kit: Kit, crew: Crew) -> None:
    lock = kit.lock()
    thread = threading.Thread(target=lock.lock_try)
    thread.start()
    thread.join()
    pid = os.getpid()
    until(lambda: not os.path.exists(f"/proc/self/task/{lock.lock_owner_tid()}"))
    assert judged(kit, lock) == (pid, ALIVE, DEAD)


def leader_ends(kit: Kit, lock: Thing, taken: Thing) -> None:
    """The main thread ends, and leaves a thread that holds the lock."""

    def hold() -> None:
        lock.lock_try()
        taken.post()
        threading.Event().wait()

    Task(hold)
    until(lock.lock_owner_id)
    ctypes.CDLL(None).syscall(SYS_exit, 0)


def test_a_process_whose_main_thread_has_ended_is_alive(kit: Kit, crew: Crew) -> None:
    lock, taken = kit.lock(), kit.sem()
    child = crew.child(leader_ends, kit, lock, taken)
    taken.wait()
    until(lambda: state_of(child.pid) == "Z")
    tid, real, where = owner(kit, lock)
    assert tid != child.pid
    assert kit.judge(tid, real, where) == (child.pid, ALIVE, ALIVE)
    assert kit.judge(child.pid, real, where) == (child.pid, ALIVE, DEAD)  # the main thread
    child.signal(signal.SIGKILL)
    until(lambda: judged(kit, lock)[1:] == (DEAD, DEAD), "it is a zombie without threads")


def test_who_has_taken_a_lock_and_not_yet_said_so(kit: Kit, held: tuple[Thing, Child]) -> None:
    """It may be killed in between."""
    lock, child = held
    lock.poke("holder", 0)
    assert judged(kit, lock) == (child.pid, ALIVE, ALIVE)
    kill(child)
    assert judged(kit, lock) == (child.pid, DEAD, DEAD)
    child.join()
    assert judged(kit, lock) == (0, DEAD, DEAD)


def test_a_thread_that_has_taken_a_lock_and_not_yet_said_so(kit: Kit, crew: Crew) -> None:
    lock, go = kit.lock(), threading.Event()
    task = crew.task(lambda: (lock.lock_try(), go.wait()))
    until(lock.lock_owner_id)
    lock.poke("holder", 0)
    seen = judged(kit, lock)
    go.set()
    task.result()
    assert seen == (os.getpid(), ALIVE, ALIVE)


# --- where /proc does not tell --------------------------------------------------------------------


def permitted(work: Callable[..., Any], *args: Any) -> Any:
    """What `work` returns; skips where it may not do what it wants."""

    def attempt() -> tuple[bool, Any]:
        try:
            return True, work(*args)
        except PermissionError as error:
            return False, str(error)

    done, answer = Child(attempt).result()
    if not done:
        pytest.skip(answer)
    return answer


def test_without_proc_nobody_is_judged(kit: Kit, held: tuple[Thing, Child]) -> None:
    """The namespace itself is known by /proc only."""
    lock, child = held
    known = owner(kit, lock)

    def look() -> Verdict:
        sandbox.own_mounts()
        sandbox.mount_tmpfs("/proc", "")
        return kit.judge(*known)

    assert permitted(look) == (child.pid, CANNOT_TELL, CANNOT_TELL)
    child.kill()
    assert permitted(look) == (child.pid, CANNOT_TELL, CANNOT_TELL)


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_who_is_hidden_is_not_dead(kit: Kit, held: tuple[Thing, Child]) -> None:
    """hidepid=2: of other users' processes /proc shows nothing, as if they were gone."""
    lock, child = held

    def look() -> tuple[bool, Verdict]:
        sandbox.own_mounts()
        sandbox.mount_proc("hidepid=2")
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return os.path.exists(f"/proc/{child.pid}"), judged(kit, lock)

    assert permitted(look) == (False, (child.pid, CANNOT_TELL, CANNOT_TELL))
    child.kill()
    assert permitted(look) == (False, (child.pid, DEAD, DEAD))


# In programs of their own: a segment that several namespaces have used is never judged any more.


def told_by(program: Callable[..., str], work: str) -> str:
    told = program(f"from core import test_judge as file\nprint(file.{work}(kit))")
    if told == "None\n":
        pytest.skip("not permitted here")
    return told.removesuffix("\n")


def under_a_proc_of_another_namespace(kit: Kit) -> list[list[int]] | None:
    def first() -> list[list[int]]:
        lock, taken = kit.lock(), kit.sem()
        other = Child(lambda: (lock.lock_try(), taken.post(), signal.pause()))
        taken.wait()
        seen = [judged(kit, lock)]
        other.kill()
        seen.append(judged(kit, lock))
        return [[pid - other.pid, *lives] for pid, *lives in seen]

    try:
        sandbox.unshare(sandbox.NEW_PID)
    except OSError:
        return None
    told: list[list[int]] = Child(first).result()
    kit.lib.altsem_clean(kit.out("unsigned"))  # it ended without exit handlers
    return told


def test_a_proc_of_another_namespace_proves_nothing(program: Callable[..., str]) -> None:
    """Process 2 of a PID namespace is not process 2 of the machine, which is what /proc shows."""
    seen = [[0, CANNOT_TELL, CANNOT_TELL], [0, DEAD, DEAD]]
    assert told_by(program, "under_a_proc_of_another_namespace") == str(seen)


def both_namespaces() -> int:
    """What every process of this PID and time namespace must come to, as it stands in segments."""
    pids, times = (os.stat(f"/proc/self/ns/{name}").st_ino for name in ("pid", "time"))
    return (times << 32 | pids) * 0x9E3779B97F4A7C15 % 2**64 >> 32 | 1


def with_a_clock_that_was_shifted(kit: Kit) -> tuple[bool, Verdict] | None:
    lock = kit.lock()
    lock.lock_try()
    known = owner(kit, lock)
    try:
        sandbox.unshare(sandbox.NEW_TIME)
    except OSError:
        return None
    with open("/proc/self/timens_offsets", "w") as file:
        file.write("boottime 100000 0")

    def shifted() -> tuple[bool, Verdict]:
        here = kit.lib.altsem_pid_namespace()
        apart = here == both_namespaces() != known[2]
        pid, *lives = kit.judge(*known)
        return apart, (pid - os.getppid(), *lives)  # type: ignore[return-value]

    return Child(shifted).result()  # type: ignore[no-any-return]


def test_a_clock_that_was_shifted_makes_nobody_dead(program: Callable[..., str]) -> None:
    """In a time namespace all processes seem to have started at other times."""
    seen = (True, (0, CANNOT_TELL, CANNOT_TELL))
    assert told_by(program, "with_a_clock_that_was_shifted") == str(seen)
