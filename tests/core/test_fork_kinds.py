"""Forks of every kind, at every moment: with handlers and without, in handlers of signals."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core import backend, sandbox
from core.crew import SILENT, Child, Crew, bare_clone, fork_of_c, load, until
from core.kit import EAGAIN, EPERM, ETIMEDOUT, OK, Kit

Fork = Callable[[], int]

every_fork = pytest.mark.parametrize("fork", [os.fork, fork_of_c, *SILENT])
silent_fork = pytest.mark.parametrize("fork", SILENT)


@every_fork
def test_a_child_however_made_owns_nothing_of_its_parents(kit: Kit, crew: Crew, fork: Fork) -> None:
    locks = [kit.lock(), kit.rlock()]
    for lock in locks:
        lock.lock_try()

    def work() -> list[tuple[int, ...]]:
        return [
            (
                lock.lock_is_mine(), lock.lock_is_ours(), lock.lock_try(), lock.rlock_depth(),
                lock.rlock_release(),
            )
            for lock in locks
        ]  # fmt: skip

    assert crew.child(work, fork=fork).result() == [(0, 0, EAGAIN, 0, EPERM)] * 2
    assert [(lock.lock_is_mine(), lock.lock_release()) for lock in locks] == [(1, OK)] * 2


@every_fork
def test_a_child_however_made_is_known_by_its_own_numbers(kit: Kit, crew: Crew, fork: Fork) -> None:
    lock = kit.rlock()
    lock.lock_try()
    lock.lock_release()

    def work(deeper: bool) -> list[tuple[int, ...]]:
        took = lock.lock_try(), lock.lock_is_mine()
        pid = os.getpid()
        named = lock.lock_owner_tid() == lock.lock_owner_pid() == kit.lib.altsem_tid() == pid
        seen = [(*took, named, lock.rlock_release())]
        return seen + (Child(work, False, fork=fork).result() if deeper else [])

    assert crew.child(work, True, fork=fork).result() == [(OK, 1, True, OK)] * 2


@every_fork
def test_a_child_however_made_takes_slots_that_its_parent_does_not(
    kit: Kit, crew: Crew, fork: Fork
) -> None:
    kit.sem()
    go, told = kit.sem(), kit.sem()

    def work() -> tuple[bytes, int]:
        mine = kit.sem()
        told.post()
        go.wait()
        return kit.identity(mine.segment), mine.sem_value()

    child = crew.child(work, fork=fork)
    told.wait()
    ours = [kit.sem(7) for _ in range(100)]
    go.post()
    theirs, value = child.result()
    assert value == 0 and theirs not in {kit.identity(one.segment) for one in ours}


@silent_fork
def test_a_silent_fork_is_counted_by_the_child(kit: Kit, crew: Crew, fork: Fork) -> None:
    kit.sem()
    before = kit.lib.altsem_fork_count()
    assert crew.child(kit.lib.altsem_fork_count, fork=fork).result() == before + 1


@silent_fork
def test_a_slot_that_a_child_knows_is_not_used_again_once_it_has_said_that_it_is_there(
    kit: Kit, crew: Crew, fork: Fork
) -> None:
    sem, go, told = kit.sem(), kit.sem(), kit.sem()

    def work() -> int:
        told.post()
        kit.sem()
        told.post()
        go.wait()
        return int(sem.post())

    child = crew.child(work, fork=fork)
    assert told.wait() == told.wait() == OK
    sem.free()
    others = [kit.sem() for _ in range(200)]
    go.post()
    assert child.result() == OK
    assert [one.sem_value() for one in others] == [0] * 200


@silent_fork
def test_threads_of_a_child_notice_a_silent_fork_each_for_itself(
    kit: Kit, crew: Crew, fork: Fork
) -> None:
    """The thread that forked remembers who it was, also if others have noticed long before."""
    lock = kit.rlock()
    lock.lock_try()

    def work() -> tuple[int, int, int]:
        thread = threading.Thread(target=kit.sem)
        thread.start()
        thread.join()
        return lock.lock_is_mine(), lock.rlock_release(), kit.lib.altsem_tid() - os.getpid()

    assert crew.child(work, fork=fork).result() == (0, EPERM, 0)


def test_where_pages_are_not_wiped_the_handlers_do_it(core, tmp_path: Path, crew: Crew) -> None:
    if not sandbox.can_refuse():
        pytest.skip("no system call can be refused here")
    copy = tmp_path / Path(core.__file__).name
    shutil.copy(core.__file__, copy)

    def work() -> tuple[tuple[int, ...], bool, list[int]]:
        sandbox.refuse_wiping(22)
        kit = Kit(load(copy))
        lock, before = kit.rlock(), kit.lib.altsem_generation()
        lock.lock_try()

        def child() -> tuple[tuple[int, ...], bytes, int]:
            seen = lock.lock_is_mine(), lock.rlock_release(), kit.lib.altsem_tid() - os.getpid()
            return seen, kit.identity(kit.sem().segment), kit.lib.altsem_generation()

        def silent() -> int:
            return int(kit.lib.altsem_generation())

        seen, segment, generation = Child(child).result()
        unnoticed = Child(silent, fork=bare_clone).result()
        apart = segment != kit.identity(lock.segment)
        return seen, apart, [generation - before, unnoticed - before]

    # The last number shows that nothing was wiped.
    assert crew.child(work).result() == ((0, EPERM, 0), True, [1, 0])


# --- at bad moments -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(out), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture
def moment(program: Callable[..., str], shim: Path) -> Callable[..., str]:
    """`program`, with `set(name, value)` and `get(name)` for the variables of shim.c; it is killed
    if it hangs."""
    head = """
import ctypes, os, signal
signal.alarm(30)
def variable(name):
    return ctypes.c_int.in_dll(ctypes.CDLL(None), "shim_" + name)
def get(name):
    return variable(name).value
def set(name, value):
    variable(name).value = value
"""

    def run(code: str, **env: str) -> str:
        env = {"LD_PRELOAD": str(shim), "ALTSEM_BACKEND": "futex", **env}
        return program(head + code, env=env)

    return run


def test_a_child_forked_while_another_thread_takes_the_first_slot_works(moment) -> None:
    code = """
set("hold", 1)
thread = Task(kit.sem)
until(lambda: get("held"))
child = Child(lambda: signal.alarm(10) or kit.sem().post())
set("go", 1)
print(child.result(), thread.result().post())
"""
    assert moment(code) == "0 0\n"


def test_a_child_forked_without_handlers_while_another_thread_takes_a_slot_works(moment) -> None:
    """The mutex is held there, by a thread that is not there, and what it guards is half done."""
    code = """
old = kit.sem(3)
set("hold", 2)
thread = Task(lambda: [kit.sem() for _ in range(100)])
until(lambda: get("held"))
def work():
    signal.alarm(10)
    new = [kit.sem() for _ in range(100)]
    apart = kit.identity(old.segment) not in {kit.identity(one.segment) for one in new}
    seen = [one.post() for one in (old, *new)]
    kit.close()
    return set_of(seen), apart
set_of = lambda things: sorted(dict.fromkeys(things))
children = [Child(work, fork=fork) for fork in SILENT]
set("go", 1)
print([child.result() for child in children], len(thread.result()), old.sem_value())
"""
    assert moment(code) == f"{[([0], True)] * len(SILENT)} 100 {3 + len(SILENT)}\n"


def test_a_child_that_forgets_what_is_half_done_knows_of_what_it_makes(moment) -> None:
    code = """
kit.sem()
set("hold", 2)
thread = Task(lambda: [kit.sem() for _ in range(100)])
until(lambda: get("held"))
def work():
    signal.alarm(10)
    before = kit.lib.altsem_segment_count()
    kit.sem()
    return before, kit.lib.altsem_segment_count()
children = [Child(work, fork=fork) for fork in SILENT]
set("go", 1)
print([child.result() for child in children], len(thread.result()))
"""
    assert moment(code) == f"{[(0, 1)] * len(SILENT)} 100\n"


def test_a_signal_handler_may_fork_in_the_middle_of_taking_a_slot(moment) -> None:
    code = """
set("fork", 1)
sem = kit.sem()
print(get("child") > 0, os.waitstatus_to_exitcode(os.waitpid(get("child"), 0)[1]), sem.post())
print(kit.sem().post(), Child(lambda: kit.sem().post()).result())
"""
    assert moment(code) == "True 7 0\n0 0\n"


def test_a_child_that_returns_from_such_a_handler_has_another_slot_than_its_parent(moment) -> None:
    code = """
set("fork", 1)
set("returns", 1)
reader, writer = os.pipe()
sem = kit.sem()
known = kit.identity(sem.segment)
if get("child") == 0:
    try:
        new = kit.identity(kit.sem().segment)
        os.write(writer, known + new + bytes([sem.post()]))
    finally:
        os._exit(0)
told = os.read(reader, 100)
print(known not in (told[:16], told[16:32]), list(told[32:]), sem.sem_value())
print(os.waitstatus_to_exitcode(os.waitpid(get("child"), 0)[1]))
"""
    assert moment(code) == "True [0] 0\n0\n"


def test_nothing_is_made_as_long_as_forks_cannot_be_noticed(moment) -> None:
    code = """
import errno
segment = ffi.new("altsem_segment **")
def named():
    return kit.named("create", f"/altsem-{os.getpid()}", 1, 0, 1)[0]
fd = os.memfd_create("none")
failed = [kit.raw_new(1, 0)[0], kit.attach(fd)[0], named()]
print([errno.errorcode[-error] for error in failed], kit.lib.altsem_segment_count())
set("atfork", 0)
sem, before = kit.sem(), lib.altsem_fork_count()
print(Child(lib.altsem_fork_count).result() - before, lib.altsem_fork_count() - before)
"""
    assert moment(code, SHIM_ATFORK="12") == "['ENOMEM', 'ENOMEM', 'ENOMEM'] 0\n1 1\n"


# --- with SysV sets, which count their users ------------------------------------------------------

GETVAL, USERS = 12, 0


@every_fork
def test_a_child_however_made_is_a_user_of_the_set_by_itself(
    core, tmp_path: Path, fork: Fork
) -> None:
    def work() -> list[int]:
        sysv, libc = backend.of(core, "sysv", tmp_path), ctypes.CDLL(None)
        slot = sysv.slot()
        users = lambda: libc.semctl(slot.set, USERS, GETVAL)  # noqa: E731
        assert slot.doze() == ETIMEDOUT
        seen = [users()]
        child = Child(slot.wait, fork=fork)
        until(lambda: slot.sleepers == 1 and child.asleep(), "the child sleeps")
        seen.append(users())
        slot.post()
        assert child.result() == OK
        seen.append(users())
        slot.free()
        return seen

    assert Child(work).result() == [1, 2, 1]


def test_a_child_forked_while_exit_handlers_run_can_wait(kit: Kit, program, shim: Path) -> None:
    code = """
import ctypes
late = ctypes.CDLL(sys.argv[1])
def tell(name, what):
    where = ctypes.c_void_p.in_dll(late, "shim_" + name)
    where.value = int(ffi.cast("intptr_t", what))
slot = kit.sem()
tell("segment", slot.segment)
tell("slot", slot.slot)
tell("wait", ffi.addressof(lib, "altsem_sem_wait"))
"""
    said = program(code, shim, env={"ALTSEM_BACKEND": "sysv"})
    kit.lib.altsem_clean(kit.out("unsigned"))  # the child ended without handlers of its own
    assert said == "timed out\n"
