"""Deadlines, slices, the choice of a backend, and the contract that every backend keeps."""

from __future__ import annotations

import errno
import math
import os
import signal
from pathlib import Path
from types import ModuleType

import pytest

from core import sandbox
from core.backend import Child as Fork
from core.backend import of
from core.crew import Crew, until
from core.kit import (
    EINTR,
    EINVAL,
    ENOSYS,
    EPERM,
    ETIMEDOUT,
    FOREVER,
    LOCK,
    NOW,
    OK,
    PAST,
    SEM,
    Kit,
    Thing,
)

WORD, WORD2 = 0, 1


def names(kit: Kit) -> list[str]:
    found = []
    while name := kit.lib.altsem_backend_name(len(found)):
        found.append(kit.ffi.string(name).decode())
    return found


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, -0.0, -1e-9, -1.0, -1e300, -math.inf, math.nan])
def test_no_time_at_all_is_now(kit: Kit, seconds: float) -> None:
    assert kit.deadline(seconds) == NOW


@pytest.mark.parametrize("seconds", [1e9, 1e10, 1e300, math.inf])
def test_a_very_long_time_is_for_ever(kit: Kit, seconds: float) -> None:
    assert kit.deadline(seconds) == FOREVER


@pytest.mark.parametrize("seconds", [5e-324, 1e-9, 0.5, 1.0, 86400.0, 999_999_999.0])
def test_any_other_time_is_counted_from_now(kit: Kit, seconds: float) -> None:
    before = kit.lib.altsem_clock()
    deadline = kit.deadline(seconds)
    after = kit.lib.altsem_clock()
    assert before <= deadline - int(seconds * 1e9) <= after


# --- sleeping -------------------------------------------------------------------------------------


@pytest.mark.limit(60)
def test_every_sleep_ends_after_a_slice_and_leaves_nothing(kit: Kit, crew: Crew) -> None:
    """The promise that bounds how long the death of somebody else can be overslept."""
    ticket, index = kit.out("uint32_t"), kit.out("uint32_t")
    sem, lock, event, cond = kit.sem(), kit.lock(0), kit.event(), kit.cond()
    barrier, full = kit.barrier(2), kit.barrier(1)
    cond.cond_enter(ticket)
    assert barrier.barrier_arrive(0, NOW, index, index) == 0
    assert full.barrier_arrive(1, NOW, index, index) == 1
    sleepers = {
        sem: lambda: sem.sem_wait(FOREVER),
        lock: lambda: lock.lock_wait(kit.deadline(1000.0)),
        event: lambda: event.event_wait(0, FOREVER),
        cond: lambda: cond.cond_sleep(ticket[0], FOREVER),
        barrier: lambda: barrier.barrier_wait(0, FOREVER),
        full: lambda: full.barrier_arrive(1, FOREVER, index, index),
    }
    before = {thing: thing.image() for thing in sleepers}
    tasks = [crew.task(sleep) for sleep in sleepers.values()]
    assert [task.result() for task in tasks] == [EINTR] * len(tasks)
    assert {thing: thing.image() for thing in sleepers} == before


def test_a_deadline_between_slices_is_kept(kit: Kit) -> None:
    sem = kit.sem()
    deadline = kit.deadline(1.2)
    assert sem.sem_wait(deadline) == EINTR
    assert kit.lib.altsem_clock() < deadline
    assert sem.wait(deadline) == ETIMEDOUT
    assert kit.lib.altsem_clock() >= deadline


@pytest.mark.parametrize("which", [WORD, WORD2])
def test_sleep_returns_at_once_if_the_word_is_not_as_expected(kit: Kit, which: int) -> None:
    sem = kit.sem(5)
    sem.poke("word2", 5)
    assert sem.sleep(which, 4, FOREVER) == OK
    assert sem.sleep(which, 5, PAST) == sem.sleep(which, 5, NOW) == ETIMEDOUT
    assert sem.sleep(which, 5, kit.deadline(0.01)) == ETIMEDOUT


def test_only_the_low_half_of_the_word_is_compared(kit: Kit) -> None:
    sem = kit.sem()
    sem.poke("word", 7 << 32 | 3)
    assert sem.sleep(WORD, 7, FOREVER) == OK
    assert sem.sleep(WORD, 3, kit.deadline(0.01)) == ETIMEDOUT


def test_a_wake_reaches_only_sleepers_of_that_word_of_that_slot(kit: Kit, crew: Crew) -> None:
    one, two = kit.sem(), kit.sem()
    places = [(one, WORD), (one, WORD2), (two, WORD), (two, WORD2)]
    done = [kit.sem() for _ in places]

    def sleep(number: int) -> None:
        thing, which = places[number]
        # Wakes are hints; what was changed before the right one is not.
        while done[number].peek("holder") == 0:
            thing.sleep(which, 0, FOREVER)
        done[number].post()

    children = [crew.child(kit.telling(sleep), number) for number in range(4)]
    until(lambda: all(child.asleep() for child in children))
    for number in (3, 0, 2, 1):
        thing, which = places[number]
        done[number].poke("holder", 1)
        thing.wake(which, 1)
        kit.woken_bare(children[number])
        assert done[number].sem_value() == 1


@pytest.mark.parametrize("n", [1, 2, 2**31, 2**32 - 1])
def test_a_wake_may_name_more_than_there_are(kit: Kit, crew: Crew, n: int) -> None:
    sem = kit.sem()
    sem.wake(WORD, n)  # nobody at all
    child = crew.child(kit.telling(lambda: sem.sleep(WORD, 0, FOREVER)))
    until(child.asleep)
    sem.wake(WORD, n)
    assert kit.woken_bare(child)[0] in (OK, EINTR)  # EINTR: a slice had just ended


def test_wake_preserves_errno(kit: Kit) -> None:
    """A post may run in a signal handler, between a failed call and the look at its errno."""
    sem = kit.sem()
    kit.ffi.errno = errno.EXDEV
    sem.wake(WORD, 1)
    assert kit.ffi.errno == errno.EXDEV


BACKENDS = pytest.mark.parametrize("backend", ["futex", "sysv", "filelock"])


@BACKENDS
def test_a_wake_that_comes_after_the_primitive_and_its_memory_went_harms_nobody(
    core: ModuleType, tmp_path: Path, backend: str
) -> None:
    """The step that releases a lock lets another thread take it, and free it, before the wake."""

    def work() -> int:
        its = of(core, backend, tmp_path)
        first = its.slot(LOCK, 0, 1)
        others = [its.slot() for _ in range(100)]  # further slots come from another segment
        assert others[-1].segment != first.segment
        while others[0].segment == first.segment:
            others.pop(0).free()
        first.free()
        for n in (1, 2**32 - 1):
            its.lib.altsem_wake(first.segment, first.slot, WORD, n)
            its.lib.altsem_wake(first.segment, first.slot, WORD2, n)
        return sum(other.post() for other in others)

    assert Fork(work).result() == OK


@BACKENDS
def test_segments_that_come_and_go_use_the_same_addresses(
    core: ModuleType, tmp_path: Path, backend: str
) -> None:
    def work() -> int:
        its = of(core, backend, tmp_path)
        template = its.slot()
        fd = template.fd()
        size = its.lib.altsem_segment_size(template.segment)
        addresses = set()
        for number in range(60):
            data = bytearray(os.pread(fd, size, 0))
            data[16:32] = os.urandom(16)  # another identity
            copy, segment = os.memfd_create("copy"), its.ffi.new("altsem_segment **")
            os.write(copy, data)
            took = its.ffi.new("int *")
            assert its.lib.altsem_segment_attach(copy, its.ffi.NULL, segment, took) == 0
            slot = its.ffi.new("altsem_slot **")
            assert its.lib.altsem_slot_at(segment[0], template.number * 32, SEM, slot) == 0
            assert its.lib.altsem_sem_value(slot[0]) == number
            its.lib.altsem_slot_free(segment[0], slot[0])
            its.lib.altsem_segment_decref(segment[0])
            template.post()
            addresses.add(int(its.ffi.cast("uintptr_t", slot[0])))
        return len(addresses)

    assert Fork(work).result() < 10


@pytest.mark.skipif(not sandbox.can_refuse(), reason="no table of system calls for this machine")
def test_an_address_range_that_cannot_be_used_again_is_an_error_once(
    core: ModuleType, tmp_path: Path
) -> None:
    """Of the backend that uses them again."""
    fixed = 0x10

    def work() -> list[int]:
        its = of(core, "sysv", tmp_path)
        kit = Kit(its)
        crowd = [its.slot() for _ in range(62)]  # the first segment is full
        keep = its.slot()
        sandbox.refuse("mmap", errno.ENOMEM, 3, bits=fixed)
        for slot in crowd:
            slot.free()
        answers = [kit.raw_new(SEM, 0)[0] for _ in range(62)]  # the second is, too
        return [answers.count(0), answers.count(-errno.ENOMEM), keep.post(), kit.raw_new(SEM, 7)[0]]

    assert Fork(work).result() == [61, 1, 0, 0]


# --- the choice of a backend ----------------------------------------------------------------------


def test_every_backend_has_one_name_and_the_list_ends(kit: Kit) -> None:
    found = names(kit)
    assert found and len(set(found)) == len(found)
    assert kit.lib.altsem_backend_name(len(found)) == kit.ffi.NULL
    assert kit.lib.altsem_backend_name(2**32 - 1) == kit.ffi.NULL


def test_the_backend_in_use_is_one_that_works(kit: Kit) -> None:
    name = kit.ffi.string(kit.lib.altsem_backend(kit.out("int"))).decode()
    assert name in names(kit)
    assert kit.lib.altsem_backend_probe(name.encode()) == OK
    assert os.environ.get("ALTSEM_BACKEND", "") in ("", name)


@pytest.mark.parametrize("name", [b"", b"none", b"futex2", b"FUTEX"])
def test_the_probe_of_what_does_not_exist_is_an_error(kit: Kit, name: bytes) -> None:
    assert kit.lib.altsem_backend_probe(name) == EINVAL


SHOW = """
error = ffi.new("int *")
name = lib.altsem_backend(error)
print(ffi.string(name).decode() if name else error[0], kit.raw_new(SEM, 0)[0])
"""


def test_an_unknown_name_in_the_environment_is_an_error_at_the_first_use(program) -> None:
    assert program(SHOW, env={"ALTSEM_BACKEND": "none"}).split() == [str(EINVAL)] * 2


def test_an_empty_name_in_the_environment_is_none(program) -> None:
    chosen, error = program(SHOW, env={"ALTSEM_BACKEND": ""}).split()
    assert chosen != str(EINVAL) and error == "0"


def test_each_backend_that_works_can_be_asked_for(kit: Kit, program) -> None:
    for name in names(kit):
        works = kit.lib.altsem_backend_probe(name.encode()) == OK
        expected = [name, "0"] if works else [str(ENOSYS)] * 2
        assert program(SHOW, env={"ALTSEM_BACKEND": name}).split() == expected


def test_the_choice_is_made_once(program) -> None:
    code = "import os; a = lib.altsem_backend(ffi.new('int *')); os.environ['ALTSEM_BACKEND'] = 'x'"
    assert program(code + "; print(a == lib.altsem_backend(ffi.new('int *')))") == "True\n"


@pytest.mark.skipif(not sandbox.can_refuse(), reason="no table of system calls for this machine")
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_a_refused_futex_is_not_chosen(kit: Kit, program, error: int) -> None:
    code = f"refuse_futex({error}); print(lib.altsem_backend_probe(b'futex'))\n" + SHOW
    probe, chosen, made = program(code, env={"ALTSEM_BACKEND": "futex"}).split()
    assert (int(probe), int(chosen), int(made)) == (-error, ENOSYS, ENOSYS)
    probe, chosen, made = program(code, env={"ALTSEM_BACKEND": ""}).split()
    if len(names(kit)) == 1:
        assert (chosen, made) == (str(ENOSYS), str(ENOSYS))
    else:
        assert chosen in names(kit)[1:] and made == "0"


def test_the_reason_of_the_choice_is_told(kit: Kit, program) -> None:
    code = """
assert lib.altsem_backend_reason() == ffi.NULL
lib.altsem_backend(ffi.new("int *"))
print(ffi.string(lib.altsem_backend_reason()).decode())
"""
    name = kit.ffi.string(kit.lib.altsem_backend(kit.out("int"))).decode()
    asked = program(code, env={"ALTSEM_BACKEND": name})
    assert "ALTSEM_BACKEND" in asked
    assert asked != program(code, env={"ALTSEM_BACKEND": ""}) != ""


def test_cleaning_touches_nothing_that_lives(kit: Kit, crew: Crew) -> None:
    sem = kit.sem()
    child = crew.child(kit.telling(sem.wait))
    until(lambda: sem.waiters() == 1 and child.asleep())
    removed = kit.out("unsigned")
    assert kit.lib.altsem_clean(removed) in (OK, ENOSYS, EPERM)
    sem.post()
    assert kit.woken(child) == [OK]


def test_a_probe_is_quick_to_give_up_nothing(kit: Kit) -> None:
    """Makes the backend's own calls, but keeps no descriptor and starts no process."""
    before = os.listdir("/proc/self/fd"), os.listdir("/proc/self/task")
    for name in names(kit):
        kit.lib.altsem_backend_probe(name.encode())
    assert (os.listdir("/proc/self/fd"), os.listdir("/proc/self/task")) == before


# --- signals --------------------------------------------------------------------------------------


def test_a_stopped_and_continued_sleeper_sleeps_on(kit: Kit, crew: Crew) -> None:
    sem: Thing = kit.sem()
    child = crew.child(kit.telling(sem.wait))
    until(lambda: sem.waiters() == 1 and child.asleep())
    for _ in range(3):
        child.stop()
        child.signal(signal.SIGCONT)
        until(child.asleep)
    sem.post()
    assert kit.woken(child) == [OK] and sem.waiters() == 0
