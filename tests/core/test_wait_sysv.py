"""The sysv backend: no wake is missed, none piles up, and the sets go with their users."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from core.backend import (
    BARRIER,
    COND,
    EINTR,
    ETIMEDOUT,
    EVENT,
    FOREVER,
    LOCK,
    PATIENCE,
    Backend,
    Child,
    Slot,
    children,
    of,
    until,
)
from core.conftest import build

Script = Callable[..., "subprocess.CompletedProcess[str]"]

CSRC = Path(__file__).resolve().parents[2] / "csrc"
FAMILY, MODE = 0x616C, 0o711
IPC_CREAT, IPC_NOWAIT, IPC_RMID, GETVAL, GETNCNT = 0o1000, 0o4000, 0, 12, 14
CLONE_NEWIPC = 0x08000000

libc = ctypes.CDLL(None, use_errno=True)


def sets() -> dict[int, int]:
    """Id and number of semaphores of the sets that altsem made, whoever uses them."""
    rows = (row.split() for row in Path("/proc/sysvipc/sem").read_text().splitlines()[1:])
    return {
        int(row[1]): int(row[3])
        for row in rows
        if int(row[0]) >> 16 == FAMILY and int(row[2], 8) == MODE and int(row[4]) == os.geteuid()
    }


def own_namespace() -> None:
    """SysV sets that nobody else sees, and limits of one's own."""
    if libc.unshare(CLONE_NEWIPC) != 0:
        raise PermissionError(ctypes.get_errno(), "unshare")


def possible(work: Callable[[], None]) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


needs_namespace = pytest.mark.skipif(
    not possible(own_namespace), reason="no IPC namespace to be had here"
)


@pytest.fixture(scope="module")
def library(core: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Backend]:
    """A fresh copy of the core, in a child: it has no segment yet."""
    return lambda: of(core, "sysv", tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="module", params=["semtimedop", "polling"])
def sysv(
    request: pytest.FixtureRequest, core: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp("sysv")
    if request.param == "semtimedop":
        yield of(core, "sysv", folder)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CFLAGS", "-DALTSEM_NO_SEMTIMEDOP")
            library = build(folder)
        backend = Backend(library, "sysv", folder)
        backend.blocks = False
        yield backend


def asleep(slot: Slot, n: int = 1) -> None:
    """Until n wait for a token, in the kernel or polling."""
    until(lambda: slot.sleepers >= n, f"{n} sleepers")
    time.sleep(0.01)


def tokens(slot: Slot) -> int:
    value = libc.semctl(slot.set, slot.number, GETVAL)
    assert value >= 0
    return int(value)


# --- sleeping and waking -------------------------------------------------------------------------


def test_a_process_is_woken(sysv: Backend) -> None:
    with sysv.slots() as (slot,), children((slot.wait,)) as (child,):
        asleep(slot)
        assert slot.post() == 0
        assert child.result() == 0
        assert (slot.sleepers, slot.waiters()) == (0, 0)


def test_threads_are_woken(sysv: Backend) -> None:
    with sysv.slots() as (slot,):
        threads = [threading.Thread(target=slot.wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        asleep(slot, 5)
        for _ in threads:
            slot.post()
        for thread in threads:
            thread.join()
        assert (slot.sleepers, slot.waiters(), tokens(slot)) == (0, 0, 0)


def test_all_are_woken_at_once(sysv: Backend) -> None:
    event = sysv.slot(EVENT)
    lib = sysv.lib

    def wait() -> int:
        while True:
            result = lib.altsem_event_wait(event.segment, event.slot, 0, FOREVER)
            if result != EINTR:
                return int(result)

    with children(*[(wait,)] * 10) as made:
        asleep(event, 10)
        lib.altsem_event_set(event.segment, event.slot)
        assert [child.result() for child in made] == [0] * 10
    assert (event.sleepers, event.waiters()) == (0, 0)
    event.free()


def test_no_wake_is_missed(sysv: Backend) -> None:
    """A missed one would show as a sleep that lasts its whole slice."""
    rounds = 3000 if sysv.blocks else 100

    def player(mine: Slot, other: Slot) -> int:
        slices = 0
        for _ in range(rounds):
            other.post()
            while mine.once() == EINTR:
                slices += 1
        return slices

    with sysv.slots(2) as (a, b), children((player, a, b), (player, b, a)) as both:
        assert [child.result() for child in both] == [0, 0]


def test_accounts_are_even_after_timeouts_and_signals(sysv: Backend) -> None:
    """Whoever gives up takes itself, or the token that was meant for it, along."""

    def waiter(slot: Slot, seed: int) -> int:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        rng, got = random.Random(seed), 0
        for _ in range(300):
            got += slot.once(sysv.deadline(rng.random() * 0.002)) == 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        return got

    with sysv.slots() as (slot,), children(*[(waiter, slot, n) for n in range(4)]) as made:
        posted = 0
        stop = time.monotonic() + 0.5
        while time.monotonic() < stop:
            slot.post()
            posted += 1
            time.sleep(0.0003)
        got = sum(child.result() for child in made)
        assert got + slot.lib.altsem_sem_value(slot.slot) == posted
        assert slot.waiters() == 0
        assert slot.sleepers + tokens(slot) == 0


@pytest.mark.parametrize("seconds", [0.003, 0.05, 0.3])
def test_a_deadline_is_kept(sysv: Backend, seconds: float) -> None:
    with sysv.slots() as (slot,):
        late = []
        for _ in range(5):
            start = time.monotonic()
            assert slot.wait(sysv.deadline(seconds)) == ETIMEDOUT
            late.append(time.monotonic() - start - seconds)
        assert min(late) >= 0, "too early"
        assert min(late) < 0.02
        assert (slot.waiters(), slot.sleepers) == (0, 0)


def test_returns_about_once_a_second(sysv: Backend) -> None:
    with sysv.slots() as (slot,):
        start = time.monotonic()
        assert slot.once(FOREVER) == EINTR
        assert 0.9 < time.monotonic() - start < 5
        assert (slot.waiters(), slot.sleepers) == (0, 0)


def test_a_signal_ends_the_sleep_and_leaves_nothing(sysv: Backend) -> None:
    def wait(slot: Slot) -> int:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        slot.post()
        slot.wait()
        return slot.once()

    with sysv.slots() as (slot,), children((wait, slot)) as (child,):
        asleep(slot)
        os.kill(child.pid, signal.SIGUSR1)
        assert child.result() == EINTR
        assert (slot.waiters(), slot.sleepers, tokens(slot)) == (0, 0, 0)


def test_killed_sleepers_harm_nobody(sysv: Backend) -> None:
    with sysv.slots() as (slot,):
        with children(*[(slot.wait,)] * 5):
            asleep(slot, 5)
        assert slot.sleepers == 5
        for _ in range(20):  # each of the dead is handed a token once, and no more
            slot.post()
        assert slot.sleepers + tokens(slot) == 5
        for _ in range(20):
            assert slot.once() == 0
        for _ in range(20):
            with children((slot.wait,)) as (child,):
                until(lambda: slot.waiters() == 6, "a waiter")
                slot.post()
                assert child.result() == 0
        assert slot.sleepers + tokens(slot) == 5


def test_more_tokens_than_a_semaphore_holds(sysv: Backend) -> None:
    with sysv.slots() as (slot,), children((slot.wait,)) as (child,):
        asleep(slot)
        slot.sleepers = 100_000
        for _ in range(3):
            slot.sleepers = 100_000
            sysv.lib.altsem_event_set(slot.segment, slot.slot)  # wakes all who sleep on the word
            sysv.lib.altsem_event_clear(slot.slot)
        assert 0 < tokens(slot) <= 32767
        slot.sleepers = 0
        slot.post()
        assert child.result() == 0


def test_nobody_asleep_means_no_system_call(sysv: Backend) -> None:
    with sysv.slots() as (slot,):
        for _ in range(10):
            assert slot.post() == 0
            assert slot.once() == 0
        assert slot.once(sysv.deadline(-1)) == ETIMEDOUT
        assert slot.set is None


# --- the set -------------------------------------------------------------------------------------


def test_a_set_is_there_from_the_first_sleep_to_the_last_primitive(sysv: Backend) -> None:
    with sysv.slots(3) as (slot, *_):
        assert slot.set is None
        slot.doze()
        new = slot.set
        size = sysv.lib.altsem_segment_size(slot.segment)
        assert new is not None and sets()[new] == 2 * size // 64
        slot.doze()
        assert slot.set == new
    assert new not in sets()


def test_all_who_make_it_at_once_get_the_same(sysv: Backend) -> None:
    for _ in range(30):
        with sysv.slots(2) as (go, slot):

            def race(go: Slot = go, slot: Slot = slot) -> int | None:
                while go.lib.altsem_sem_value(go.slot) == 0:
                    pass
                assert slot.wait() == 0
                return slot.set

            with children(*[(race,)] * 4) as made:
                go.post()
                asleep(slot, 4)
                assert libc.semctl(slot.set, 0, GETVAL) == 4  # users
                for _ in made:
                    slot.post()
                assert {child.result() for child in made} == {slot.set}


def test_a_set_that_was_removed_is_made_again(sysv: Backend) -> None:
    with sysv.slots() as (slot,), children((slot.wait,)) as (child,):
        asleep(slot)
        old = slot.set
        assert libc.semctl(old, 0, IPC_RMID) == 0
        until(lambda: slot.set not in (None, old), "another set")
        asleep(slot)
        slot.post()
        assert child.result() == 0


def test_a_process_that_only_wakes_finds_the_new_set(sysv: Backend) -> None:
    def wake(slot: Slot, go: Slot) -> int:
        slot.post()
        go.wait(go.backend.deadline(30))
        return slot.post()

    def sleep_twice(slot: Slot) -> int:
        slot.wait()
        return slot.wait()

    with sysv.slots(2) as (slot, go), children((sleep_twice, slot)) as (sleeper,):
        asleep(slot)
        with children((wake, slot, go)) as (waker,):
            until(
                lambda: slot.lib.altsem_sem_value(slot.slot) == 0 and slot.sleepers, "asleep again"
            )
            time.sleep(0.01)
            old = slot.set
            assert libc.semctl(old, 0, IPC_RMID) == 0
            until(lambda: slot.set not in (None, old), "another set")
            asleep(slot)
            go.post()
            assert (waker.result(), sleeper.result()) == (0, 0)


# --- a header that somebody has written into ------------------------------------------------------

GETPID, GETALL, SETALL = 11, 13, 17
STRANGE = 0x616C5EED


class Stranger:
    """A set that altsem has not made, or not for this segment."""

    def __init__(self, key: int, mode: int, size: int) -> None:
        self.key, self.size = key, size
        self.id = libc.semget(key, size, IPC_CREAT | 0o2000 | mode)
        assert self.id >= 0
        users = int((key >> 16, mode) == (FAMILY, MODE))  # or it would be swept
        assert libc.semctl(self.id, 0, SETALL, self._values([users, 1, *[3] * (size - 2)])) == 0
        self.before = self.look()

    def _values(self, values: list[int]) -> ctypes.Array[ctypes.c_ushort]:
        return (ctypes.c_ushort * self.size)(*values)

    def look(self) -> tuple[list[int], list[int]]:
        """The values, and who has operated on them last."""
        values = self._values([0] * self.size)
        assert libc.semctl(self.id, 0, GETALL, values) == 0, "it was removed"
        return list(values), [libc.semctl(self.id, n, GETPID) for n in range(self.size)]

    def remove(self) -> None:
        libc.semctl(self.id, 0, IPC_RMID)


@pytest.fixture(
    params=[
        (STRANGE, 0o600, 0),
        (STRANGE, 0o777, 0),
        (0x616D5EED, MODE, 0),
        (STRANGE, MODE, 2),
        (STRANGE, MODE, -64),
    ],
    ids=["mode", "all modes", "family", "larger", "smaller"],
)
def stranger(request: pytest.FixtureRequest, sysv: Backend) -> Iterator[Stranger]:
    key, mode, more = request.param
    with sysv.slots() as (slot,):
        size = sysv.lib.altsem_segment_size(slot.segment) // 64 * 2
    one = Stranger(key, mode, size + more)
    yield one
    one.remove()


def doze_in_another(slot: Slot, old: int | None) -> None:
    """Waits in vain, and not in the set that the header names now."""

    def dozed() -> bool:
        assert slot.doze() == ETIMEDOUT
        return slot.set not in (old, None)

    until(dozed, "a sleep in another set")


def test_a_set_of_a_stranger_is_neither_slept_in_nor_removed(
    sysv: Backend, stranger: Stranger
) -> None:
    with sysv.slots() as (slot,):
        slot.name_set(stranger.id, stranger.key)
        doze_in_another(slot, stranger.id)
        assert stranger.look() == stranger.before
        slot.name_set(stranger.id, stranger.key)
        slot.sleepers = 5
        slot.lib.altsem_wake(slot.segment, slot.slot, 0, 3)
        assert stranger.look() == stranger.before
        slot.sleepers = 0
        slot.name_set(stranger.id, stranger.key)
    # The last primitive of its segment has gone.
    assert stranger.look() == stranger.before


@pytest.mark.parametrize(
    ("identifier", "key"),
    [(-1, STRANGE), (-1, 0), (0, 0), (2**31 - 1, STRANGE), (-(2**31), STRANGE), (7, -1)],
)
def test_a_set_that_cannot_be_is_made_anew(sysv: Backend, identifier: int, key: int) -> None:
    with sysv.slots() as (slot,):
        assert slot.doze() == ETIMEDOUT
        first = slot.set
        slot.name_set(identifier, key)
        doze_in_another(slot, slot.set)
        assert first not in sets()  # where this process was the only user
        slot.name_set(identifier, key)
        with children((slot.wait,)) as (child,):
            asleep(slot)
            assert slot.set is not None and slot.set in sets()
            slot.post()
            assert child.result() == 0
        slot.name_set(identifier, key)


# --- who is a user --------------------------------------------------------------------------------


def users(identifier: int | None) -> int:
    return int(libc.semctl(identifier, 0, GETVAL))


def test_a_set_goes_with_the_last_primitive_also_when_the_segment_is_referred_to(
    sysv: Backend,
) -> None:
    """By somebody who is about to send it to another process, and does not."""
    slot = sysv.slot()
    assert slot.doze() == ETIMEDOUT
    old = slot.set
    sysv.lib.altsem_segment_incref(slot.segment)
    slot.free()
    assert old in sets()
    sysv.lib.altsem_segment_decref(slot.segment)
    assert old not in sets()


def test_the_child_of_a_fork_does_not_leave_for_its_parent(
    library: Callable[[], Backend],
) -> None:
    def work() -> tuple[int, int, int]:
        slot = library().slot()
        with children((slot.wait,)):
            asleep(slot)
            old = slot.set
            slot.free()  # its segment stays, as the one that the next slot is taken from
            # What a release still does in another thread at that moment: it joins, as a waker.
            slot.lib.altsem_wake(slot.segment, slot.slot, 0, 1)
            asleep(slot)
            before = users(old)
            there = Child(lambda: users(old)).result()
            after = users(old)
        slot = slot.backend.slot()
        slot.doze()
        slot.free()  # and leaves nothing
        return before, there, after

    assert Child(work).result() == (2, 2, 2)


# --- at the end of a process ----------------------------------------------------------------------

ENDING = """
import ctypes, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from core.backend import Backend
backend = Backend(Path({library!r}), "sysv", Path(sys.argv[2]))
late = ctypes.CDLL(sys.argv[1])
slot, lib, ffi = backend.slot(), backend.lib, backend.ffi
what = ctypes.c_char_p(sys.argv[3].encode())
names = "sem_wait", "sem_post", "deadline_in"
functions = [ffi.addressof(lib, "altsem_" + name) for name in names]
pointers = [*functions, slot.segment, slot.slot, lib.start_of(slot.segment) + 64]
work = (ctypes.c_void_p * 7)(*(int(ffi.cast("uintptr_t", one)) for one in pointers))
work[6] = ctypes.cast(what, ctypes.c_void_p)
if sys.argv[3] != "fork":
    assert slot.doze() == -110
    print(slot.set, flush=True)
late.begin(work)
while sys.argv[3] != "fork" and slot.sleepers == 0:
    pass
"""


@pytest.fixture(scope="module")
def ends_late(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library that does something after the core's own end, and a core that is linked to it."""
    folder = tmp_path_factory.mktemp("late")
    late, source = folder / "late.so", Path(__file__).with_name("late.c")
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-shared", "-fPIC", "-pthread", "-o", late, source], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDFLAGS", f"-Wl,--no-as-needed {late}")
        return late, build(folder)


@pytest.mark.parametrize(
    ("what", "answer"), [("timeout", ETIMEDOUT), ("post", 0)], ids=["timeout", "post"]
)
def test_a_wait_that_outlasts_the_end_of_the_process_still_ends(
    ends_late: tuple[Path, Path], run_script: Script, tmp_path: Path, what: str, answer: int
) -> None:
    """With its timeout, or when somebody releases; a destructor that joins the thread gets on."""
    late, library = ends_late
    code = ENDING.format(tests=str(CSRC.parent / "tests"), library=str(library))
    done = run_script(code, late, tmp_path, what, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    old, said = map(int, done.stdout.split())
    assert said == answer
    assert old not in sets()  # and is not made again for it


def test_a_child_that_is_forked_at_the_end_of_its_parent_sleeps_as_others_do(
    ends_late: tuple[Path, Path], run_script: Script, tmp_path: Path, sysv: Backend
) -> None:
    late, library = ends_late
    code = ENDING.format(tests=str(CSRC.parent / "tests"), library=str(library))
    done = run_script(code, late, tmp_path, "fork", timeout=30)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "0\n")
    clean(sysv)


def clean(backend: Backend) -> int:
    removed = backend.ffi.new("unsigned *")
    assert backend.lib.altsem_clean(removed) == 0
    return int(removed[0])


def sleep_in_a_segment_of_its_own(library: Callable[[], Backend], told: int) -> None:
    """Writes down which set it sleeps in."""
    slot = library().slot()
    slot.doze()
    assert slot.set is not None
    os.write(told, struct.pack("=q", slot.set))
    slot.wait()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def one_told(pipe: tuple[int, int]) -> int:
    assert select.select([pipe[0]], [], [], PATIENCE)[0], "nobody wrote down a set"
    return int(struct.unpack("=q", os.read(pipe[0], 8))[0])


def test_sets_of_the_killed_are_swept_and_no_others(
    sysv: Backend, library: Callable[[], Backend], pipe: tuple[int, int]
) -> None:
    work = (sleep_in_a_segment_of_its_own, library, pipe[1])
    with children(work) as (one,), children(work, work) as (two, three):
        of_all = {one_told(pipe) for _ in range(3)}
        one.kill()
        two.kill()
        assert len(of_all & set(sets())) == 3
        clean(sysv)
        (last,) = of_all & set(sets())
        clean(sysv)
        assert last in sets()
        three.kill()
        clean(sysv)
        assert last not in sets()


def test_whoever_needs_a_set_sweeps(library: Callable[[], Backend], pipe: tuple[int, int]) -> None:
    with children((sleep_in_a_segment_of_its_own, library, pipe[1])):
        old = one_told(pipe)
    assert old in sets()

    def need_one() -> bool:
        slot = library().slot()
        slot.doze()
        gone = old not in sets()
        slot.free()
        return gone

    assert Child(need_one).result()


def test_what_was_swept_is_made_again_for_the_living(sysv: Backend) -> None:
    """The parent has never slept, so it is no user of the set that its child left."""
    with sysv.slots() as (slot,):
        with children((slot.wait,)):
            asleep(slot)
        old = slot.set
        assert old in sets()
        clean(sysv)
        assert old not in sets()
        assert slot.doze() == ETIMEDOUT
        with children((slot.wait,)) as (child,):
            until(lambda: slot.waiters() == 2, "a waiter")
            slot.post()
            assert child.result() == 0


@pytest.mark.parametrize("mode", [0o600, 0o711])
def test_a_set_of_another_family_is_never_touched(sysv: Backend, mode: int) -> None:
    key = (FAMILY << 16 | 0x1234) if mode == 0o600 else 0x616D1234
    foreign = libc.semget(key, 4, IPC_CREAT | mode)
    assert foreign >= 0
    try:
        clean(sysv)
        assert libc.semctl(foreign, 0, GETVAL) == 0
    finally:
        assert libc.semctl(foreign, 0, IPC_RMID) == 0


def test_a_set_half_made_is_swept(sysv: Backend) -> None:
    """Its maker was killed before the first operation."""
    half = libc.semget(FAMILY << 16 | 0x4321, 128, IPC_CREAT | MODE)
    assert half in sets()
    assert clean(sysv) >= 1
    assert half not in sets()


@needs_namespace
def test_the_very_first_set_of_a_system_is_swept_too(library: Callable[[], Backend]) -> None:
    """Its number is 0."""

    def work() -> tuple[int, int, list[int]]:
        own_namespace()
        first = libc.semget(FAMILY << 16 | 0x4321, 128, IPC_CREAT | MODE)
        backend = library()
        return first, clean(backend), sorted(sets())

    first, _, left = Child(work).result()
    assert first == 0 and left == []


PROGRAM = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from core.backend import Backend, Child
backend = Backend(Path({library!r}), "sysv", Path(sys.argv[1]))
slot = backend.slot()
how = sys.argv[2]
if how != "children only":
    slot.doze()
if how != "alone":
    Child(slot.doze).result()
if how == "thread":
    import threading
    threading.Thread(target=slot.wait, daemon=True).start()
    backend.lib.altsem_event_wait(slot.segment, backend.slot(4).slot, 0, backend.deadline(0.05))
print(slot.set)
"""


@pytest.mark.parametrize("how", ["alone", "children", "children only", "thread"])
def test_nothing_is_left_at_a_normal_end(core: ModuleType, tmp_path: Path, how: str) -> None:
    code = PROGRAM.format(tests=str(CSRC.parent / "tests"), library=core.__file__)
    command = [sys.executable, "-c", code, str(tmp_path), how]
    said = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout
    assert int(said) not in sets()


# --- what the system denies ----------------------------------------------------------------------


def limit(text: str) -> None:
    own_namespace()
    Path("/proc/sys/kernel/sem").write_text(text)


def in_namespace(work: Callable[..., object], *args: object) -> object:
    def inside() -> object:
        own_namespace()
        return work(*args)

    return Child(inside).result()


needs_limits = pytest.mark.skipif(
    not possible(lambda: limit("250 32000 32 128")), reason="kernel.sem cannot be set here"
)


@needs_limits
def test_no_room_is_an_error_that_leaves_nothing(library: Callable[[], Backend]) -> None:
    def work() -> list[object]:
        own_namespace()
        backend = library()
        lib = backend.lib
        sem, event = backend.slot(), backend.slot(EVENT)
        lock, cond = backend.slot(LOCK, 0, 1), backend.slot(COND)
        barrier = backend.slot(BARRIER, 0, 2)
        meet = barrier.segment, barrier.slot
        ticket, index, generation = (backend.ffi.new("uint32_t *") for _ in range(3))
        Path("/proc/sys/kernel/sem").write_text("250 32000 32 0")
        assert lib.altsem_cond_enter(cond.slot, ticket) == 0
        assert lib.altsem_barrier_arrive(*meet, 0, FOREVER, index, generation) == 0
        answers = [
            sem.once(),
            lib.altsem_lock_wait(lock.segment, lock.slot, FOREVER),
            lib.altsem_event_wait(event.segment, event.slot, 0, FOREVER),
            lib.altsem_cond_sleep(cond.segment, cond.slot, ticket[0], FOREVER),
            lib.altsem_barrier_wait(*meet, generation[0], FOREVER),
        ]
        assert answers == [-errno.ENOSPC] * 5, answers
        assert lib.altsem_cond_leave(cond.slot, ticket[0]) == 0
        lib.altsem_barrier_withdraw(*meet, generation[0])
        left = [s.waiters() for s in (sem, lock, event)] + [s.sleepers for s in (sem, lock, event)]
        left += [lib.altsem_cond_waiters(cond.slot), lib.altsem_barrier_waiting(barrier.slot)]
        assert not any(left), left
        # What is there to be taken is still taken, and with room again all is well.
        sem.post()
        assert sem.once() == 0
        Path("/proc/sys/kernel/sem").write_text("250 32000 32 1")
        assert sem.doze() == ETIMEDOUT
        return answers

    assert Child(work).result()


@needs_limits
def test_a_leftover_makes_room(library: Callable[[], Backend]) -> None:
    def work() -> int:
        own_namespace()
        backend = library()
        slot = backend.slot()
        assert slot.doze() == ETIMEDOUT  # sweeps; not again within a second
        slot.free()
        slot = backend.slot()
        Path("/proc/sys/kernel/sem").write_text("250 32000 32 1")
        assert libc.semget(FAMILY << 16 | 0x4321, 128, IPC_CREAT | MODE) >= 0
        return slot.doze()

    assert Child(work).result() == ETIMEDOUT


@needs_limits
@pytest.mark.parametrize("limits", ["40 32000 32 128", "250 32000 3 128"])
def test_small_limits_make_small_segments(library: Callable[[], Backend], limits: str) -> None:
    def work() -> list[int]:
        own_namespace()
        Path("/proc/sys/kernel/sem").write_text(limits)
        backend = library()
        slots = [backend.slot() for _ in range(100)]
        with children(*[(slot.wait,) for slot in slots]) as made:
            for slot in slots:
                asleep(slot)
                slot.post()
            return [child.result() for child in made]

    assert Child(work).result() == [0] * 100


@needs_limits
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("0 0 0 0", {errno.ENOSPC, errno.E2BIG}),
        ("250 32000 32 0", {errno.ENOSPC}),
        ("4 32000 32 128", {errno.E2BIG}),
        ("250 32000 2 128", {errno.E2BIG}),
        ("250 3 32 128", {errno.ENOSPC}),
    ],
)
def test_probe_says_what_is_lacking(core: ModuleType, limits: str, said: set[int]) -> None:
    def work() -> int:
        own_namespace()
        Path("/proc/sys/kernel/sem").write_text(limits)
        return -int(core.lib.altsem_backend_probe(b"sysv"))

    assert Child(work).result() in said


@needs_namespace
def test_another_namespace_is_refused(sysv: Backend) -> None:
    with sysv.slots() as (slot,):
        assert slot.doze() == ETIMEDOUT
        assert in_namespace(slot.once) == -errno.EXDEV
        assert (slot.waiters(), slot.sleepers) == (0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_set_of_another_user_is_refused(sysv: Backend) -> None:
    def work(slot: Slot) -> int:
        os.setuid(65534)
        return slot.once()

    with sysv.slots() as (slot,):
        assert slot.doze() == ETIMEDOUT
        assert Child(work, slot).result() == -errno.EACCES
        assert (slot.waiters(), slot.sleepers) == (0, 0)


def test_probe_is_quick(core: ModuleType) -> None:
    times = []
    for _ in range(50):
        start = time.perf_counter()
        assert core.lib.altsem_backend_probe(b"sysv") == 0
        times.append(time.perf_counter() - start)
    assert min(times) < 0.0002
