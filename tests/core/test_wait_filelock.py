"""The filelock backend: the front waiter polls quickly, the others slowly, and nobody is lost."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from core.backend import EINTR, ETIMEDOUT, EVENT, FOREVER, Backend, Child, Slot, children, of, until

FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module")
def library(core: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Backend]:
    return lambda: of(core, "filelock", tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="module")
def filelock(library: Callable[[], Backend]) -> Backend:
    return library()


@pytest.fixture
def slot(filelock: Backend) -> Iterator[Slot]:
    with filelock.slots() as (slot,):
        yield slot


def front(slot: Slot, fd: int = -1) -> int:
    """The process that holds the byte of the slot's word, 0 if none does."""
    asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, slot.number, 1, 0)
    answer = fcntl.fcntl(slot.fd() if fd < 0 else fd, fcntl.F_GETLK, asked)
    kind, _, _, _, pid = struct.unpack(FLOCK, answer)
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def wakeups(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("voluntary"))
    return int(line.split()[1])


def wakeups_in_a_second(pids: list[int]) -> list[int]:
    before = [wakeups(pid) for pid in pids]
    time.sleep(1)
    return [wakeups(pid) - one for pid, one in zip(pids, before, strict=True)]


# --- sleeping and waking --------------------------------------------------------------------------


def test_a_process_is_woken(slot: Slot) -> None:
    with children((slot.wait,)) as (child,):
        until(lambda: front(slot) == child.pid, "the child at the front")
        assert slot.post() == 0
        assert child.result() == 0
        assert (front(slot), slot.waiters()) == (0, 0)


def test_all_are_woken_at_once(filelock: Backend) -> None:
    event, lib = filelock.slot(EVENT), filelock.lib

    def wait() -> float:
        while lib.altsem_event_wait(event.segment, event.slot, 0, FOREVER) == EINTR:
            pass
        return time.monotonic()

    with children(*[(wait,)] * 10) as made:
        until(lambda: event.waiters() == 10, "ten waiters")
        time.sleep(0.1)
        start = time.monotonic()
        lib.altsem_event_set(event.segment, event.slot)
        assert min(child.result() for child in made) - start < 0.5
    assert event.waiters() == 0
    event.free()


@pytest.mark.parametrize("seconds", [0.003, 0.05, 0.3])
@pytest.mark.parametrize("at_front", [True, False])
def test_a_deadline_is_kept(slot: Slot, seconds: float, at_front: bool) -> None:
    with children(*[(slot.wait,)] * (not at_front)) as other:
        for child in other:
            until(lambda pid=child.pid: front(slot) == pid, "another at the front")
        late = []
        for _ in range(5):
            start = time.monotonic()
            assert slot.wait(slot.backend.deadline(seconds)) == ETIMEDOUT
            late.append(time.monotonic() - start - seconds)
        assert min(late) >= 0, "too early"
        assert min(late) < 0.02


def test_returns_about_once_a_second(slot: Slot) -> None:
    start = time.monotonic()
    assert slot.once() == EINTR
    assert 0.9 < time.monotonic() - start < 5
    assert (front(slot), slot.waiters()) == (0, 0)


@pytest.mark.parametrize("at_front", [True, False])
def test_a_signal_ends_the_sleep_and_leaves_nothing(slot: Slot, at_front: bool) -> None:
    def wait() -> int:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        return slot.once()

    with children(*[(slot.wait,)] * (not at_front)) as others:
        for other in others:
            until(lambda pid=other.pid: front(slot) == pid, "another at the front")
        with children((wait,)) as (child,):
            until(lambda: slot.waiters() == 1 + len(others), "a waiter")
            time.sleep(0.1)  # before the sleep, the signal would be noticed at the slice's end
            os.kill(child.pid, signal.SIGUSR1)
            assert child.result() == EINTR
            assert slot.waiters() == len(others)
            assert at_front == (front(slot) == 0)


def test_ping_pong(filelock: Backend) -> None:
    def player(mine: Slot, other: Slot) -> int:
        slices = 0
        for _ in range(300):
            other.post()
            while mine.once() == EINTR:
                slices += 1
        return slices

    with filelock.slots(2) as (a, b), children((player, a, b), (player, b, a)) as both:
        assert [child.result() for child in both] == [0, 0]


# --- the queue ------------------------------------------------------------------------------------


def test_who_has_been_at_the_front_can_be_there_again(filelock: Backend, slot: Slot) -> None:
    with filelock.slots() as (first,):

        def work() -> list[int]:
            return [slot.wait(filelock.deadline(0.05)), first.post(), slot.wait()]

        with children((work,)) as (child,):
            assert first.wait() == 0
            until(lambda: front(slot) == child.pid, "the child at the front again")
            slot.post()
            assert child.result() == [ETIMEDOUT, 0, 0]


def test_only_the_front_one_polls_quickly(slot: Slot) -> None:
    with children(*[(slot.wait,)] * 4) as made:
        until(lambda: slot.waiters() == 4, "four waiters")
        time.sleep(0.1)
        first, *others = sorted(wakeups_in_a_second([c.pid for c in made]), reverse=True)
    # The front changes hands when its slice is over, once in this second.
    assert sum(others) < 1.5 * first + 3 * 100
    assert min(others) < 150


def test_when_the_front_one_is_killed_the_next_moves_up(slot: Slot) -> None:
    with children(*[(slot.wait,)] * 5) as made:
        until(lambda: slot.waiters() == 5, "five waiters")
        for _ in range(4):
            until(lambda: front(slot) in [c.pid for c in made if c.pid], "one at the front")
            (first,) = (c for c in made if c.pid == front(slot))
            first.kill()
        (last,) = (c for c in made if c.pid)
        until(lambda: front(slot) == last.pid, "the last one at the front")
        slot.post()
        assert last.result() == 0


def test_threads_of_a_process_share_one_place(slot: Slot) -> None:
    def crowd() -> None:
        threads = [threading.Thread(target=slot.wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with children((crowd,)) as (child,):
        until(lambda: slot.waiters() == 4, "four waiters")
        time.sleep(0.1)
        tasks = [int(name) for name in os.listdir(f"/proc/{child.pid}/task")]
        waiting = [tid for tid in tasks if tid != child.pid]
        first, *others = sorted(wakeups_in_a_second(waiting), reverse=True)
        assert min(others) < 150
        assert sum(others) < 1.5 * first + 3 * 100
        for _ in range(4):
            slot.post()
        child.result()
    assert slot.waiters() == 0


def test_a_lock_that_vanishes_harms_nobody(slot: Slot) -> None:
    """POSIX locks of a file are gone when the process closes any descriptor of it."""

    def lose() -> int:
        thread = threading.Thread(target=slot.wait)
        thread.start()
        until(lambda: slot.waiters() == 1, "a waiter")
        time.sleep(0.05)
        os.close(os.dup(slot.fd()))
        thread.join()
        return 0

    with children((lose,)) as (child,):
        until(lambda: slot.waiters() == 1, "a waiter")
        until(lambda: front(slot) == 0, "the lock to vanish")
        with children((slot.wait,)) as (other,):
            until(lambda: front(slot) == other.pid, "another at the front")
            slot.post()
            slot.post()
            assert (child.result(), other.result()) == (0, 0)


def test_the_child_of_a_waiting_process_waits_for_itself(slot: Slot) -> None:
    """The flags of the parent's threads and its lock are not the child's."""

    def parent() -> int:
        thread = threading.Thread(target=slot.wait)
        thread.start()
        until(lambda: slot.waiters() == 1, "a waiter")
        time.sleep(0.05)
        grandchild = Child(slot.wait)
        thread.join()
        return int(grandchild.result())

    with children((parent,)) as (child,):
        until(lambda: slot.waiters() == 2, "two waiters")
        until(lambda: front(slot) == child.pid, "the parent at the front")
        slot.post()
        slot.post()
        assert child.result() == 0


def test_nothing_is_left_open(slot: Slot) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(50):
        slot.wait(slot.backend.deadline(0.0002))
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_the_file_of_a_stranger_is_not_locked(
    library: Callable[[], Backend], tmp_path: Path
) -> None:
    """A daemon has closed all its descriptors, and opened files of its own."""
    path = tmp_path / "of-a-stranger"
    path.write_bytes(b"x" * 65536)
    reader, writer = os.pipe()

    def daemon() -> int:
        backend = library()
        slot = backend.slot()
        fd = slot.fd()
        os.close(fd)
        stranger = os.open(path, os.O_RDWR)
        os.dup2(stranger, fd)
        threading.Timer(0.5, slot.post).start()
        os.write(writer, struct.pack("i", slot.number))
        return slot.wait()

    with children((daemon,)) as (child,), path.open("r+b") as file:
        (number,) = struct.unpack("i", os.read(reader, 4))
        time.sleep(0.2)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # all of it: nobody holds any byte
        assert number > 0
        assert child.result() == 0
    os.close(reader)
    os.close(writer)


# --- a semaphore with a name, which keeps no descriptor -------------------------------------------


@pytest.fixture
def named(
    filelock: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Slot, Path]]:
    monkeypatch.setenv("ALTSEM_DIR", str(tmp_path))
    slot = filelock.named("n")
    path = tmp_path / f"altsem-{os.geteuid()}" / "sem.n"
    assert slot.fd() == -errno.EBADF
    yield slot, path
    slot.free()
    filelock.lib.altsem_named_unlink(b"n")


def front_of_file(slot: Slot, path: Path) -> int:
    with path.open("r+b") as file:
        return front(slot, file.fileno())


def open_on(path: Path, pid: int | str = "self") -> list[str]:
    """The descriptors of that process that are open on that file."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if os.path.samefile(f"/proc/{pid}/fd/{name}", path):
                found.append(name)
    return found


def test_waiters_of_a_name_queue_on_its_file_and_leave_it_closed(
    named: tuple[Slot, Path],
) -> None:
    slot, path = named
    assert open_on(path) == []
    with children(*[(slot.wait,)] * 4) as made:
        until(lambda: slot.waiters() == 4, "four waiters")
        until(lambda: front_of_file(slot, path) in [c.pid for c in made], "one at the front")
        time.sleep(0.1)
        first, *others = sorted(wakeups_in_a_second([c.pid for c in made]), reverse=True)
        assert sum(others) < 1.5 * first + 3 * 100
        assert min(others) < 150
        # Killed at the front, it makes room there.
        (at_front,) = (c for c in made if c.pid == front_of_file(slot, path))
        at_front.kill()
        rest = [c for c in made if c.pid]
        until(lambda: front_of_file(slot, path) in [c.pid for c in rest], "the next at the front")
        for _ in rest:
            slot.post()
        assert [c.result() for c in rest] == [0] * 3
    for _ in range(20):
        assert slot.wait(slot.backend.deadline(0.0005)) == ETIMEDOUT
    assert front_of_file(slot, path) == 0 and open_on(path) == []


def alone_at_the_front(slot: Slot, others: int) -> None:
    """Two processes that do not see each other's lock both poll quickly, and both are woken."""
    with children(*[(slot.wait,)] * others) as made:
        until(lambda: slot.waiters() == others, "waiters")
        time.sleep(0.05)
        for _ in made:
            slot.post()
        assert [c.result() for c in made] == [0] * others


def test_waiters_of_a_name_that_was_removed_are_woken(named: tuple[Slot, Path]) -> None:
    slot, path = named
    path.unlink()
    alone_at_the_front(slot, 2)


def test_the_file_that_has_the_name_now_is_not_locked(named: tuple[Slot, Path]) -> None:
    slot, path = named
    path.unlink()
    path.write_bytes(bytes(65536))
    with children((slot.wait,), (slot.wait,)) as made, path.open("r+b") as file:
        until(lambda: slot.waiters() == 2, "two waiters")
        time.sleep(0.1)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # all of it: nobody holds any byte
        assert all(open_on(path, c.pid) == [] for c in made)
        slot.post()
        slot.post()
        assert [c.result() for c in made] == [0, 0]


def test_waiters_of_a_name_without_a_descriptor_to_be_had_are_woken(
    named: tuple[Slot, Path],
) -> None:
    slot, _ = named

    def work() -> int:
        import resource

        lowest = os.open("/", os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, lowest + 1))
        with contextlib.suppress(OSError):
            while True:
                os.open("/", os.O_RDONLY)
        return slot.wait()

    with children((work,), (work,)) as made:
        until(lambda: slot.waiters() == 2, "two waiters")
        slot.post()
        slot.post()
        assert [c.result() for c in made] == [0, 0]


def test_a_descriptor_that_was_opened_to_queue_is_not_left_to_a_child_nor_a_stranger_s_closed(
    named: tuple[Slot, Path], tmp_path: Path
) -> None:
    slot, path = named
    stranger = tmp_path / "stranger"
    stranger.write_bytes(bytes(65536))

    def work() -> tuple[object, ...]:
        thread = threading.Thread(target=slot.wait)
        thread.start()
        until(lambda: open_on(path), "a descriptor")
        inherited = Child(lambda: open_on(path)).result()
        (number,) = open_on(path)
        fd = os.open(stranger, os.O_RDWR)
        os.dup2(fd, int(number))  # as who closes all descriptors, and opens files of its own
        os.close(fd)
        slot.post()
        thread.join()
        return inherited, open_on(stranger) == [number]

    assert Child(work).result() == ([], True)
    assert slot.waiters() == 0


def test_probe_is_quick(core: ModuleType) -> None:
    times = []
    for _ in range(50):
        start = time.perf_counter()
        assert core.lib.altsem_backend_probe(b"filelock") == 0
        times.append(time.perf_counter() - start)
    assert min(times) < 0.0002


# --- where the memory comes from ------------------------------------------------------------------


def refuse(name: str, error: int, argument: tuple[int, int] | None = None) -> None:
    import pyseccomp

    rules = [pyseccomp.Arg(argument[0], pyseccomp.EQ, argument[1])] if argument else []
    rule = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    rule.add_rule(pyseccomp.ERRNO(error), name, *rules)
    rule.load()


def two_meet(library: Callable[[], Backend]) -> str:
    """Two processes on memory of this process's own; what the file behind it is."""
    slot = library().slot()
    with children((slot.wait,), (slot.wait,)) as made:
        until(lambda: slot.waiters() == 2, "two waiters")
        until(lambda: front(slot) in [c.pid for c in made], "one at the front")
        slot.post()
        slot.post()
        assert [c.result() for c in made] == [0, 0]
    return os.readlink(f"/proc/self/fd/{slot.fd()}")


def overlay(place: Path) -> None:
    """Mounts one in a namespace of our own; PermissionError where that is not allowed."""
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        raise PermissionError(ctypes.get_errno(), "unshare")
    # On a tmpfs, since an overlay cannot lie on another.
    if libc.mount(b"x", bytes(place), b"tmpfs", 0, None) != 0:
        raise PermissionError(ctypes.get_errno(), "mount")
    for name in ("lower", "upper", "scratch", "merged"):
        (place / name).mkdir()
    options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/scratch"
    if libc.mount(b"x", bytes(place / "merged"), b"overlay", 0, options.encode()) != 0:
        raise PermissionError(ctypes.get_errno(), "mount overlay")


@pytest.mark.parametrize("kind", ["memfd", "ext4", "tmpfs", "overlay", "unlinked file"])
def test_works_with_memory_from(library: Callable[[], Backend], kind: str, tmp_path: Path) -> None:
    place = {"tmpfs": Path("/dev/shm")}.get(kind, tmp_path)
    if kind in ("tmpfs", "ext4"):
        said = subprocess.run(["stat", "-fc", "%T", place], capture_output=True, text=True).stdout
        if kind not in said.replace("ext2/ext3", "ext4"):
            pytest.skip(f"{place} is {said.strip() or 'not there'}, not {kind}")

    def work() -> str:
        try:
            if kind == "overlay":
                overlay(place)
        except PermissionError as error:
            return f"skip: {error}"
        os.environ["ALTSEM_DIR"] = str(place / "merged" if kind == "overlay" else place)
        os.environ["TMPDIR"] = os.environ["ALTSEM_DIR"]
        if kind != "memfd":
            refuse("memfd_create", errno.EPERM)
        if kind == "unlinked file":
            refuse_tmpfile()
        return two_meet(library)

    said = str(Child(work).result())
    if said.startswith("skip"):
        pytest.skip(said)
    if kind == "memfd":
        assert said.startswith("/memfd:")
    else:
        assert said.endswith("(deleted)") and "memfd" not in said
        if kind == "unlinked file":
            assert "altsem-" in said


def refuse_tmpfile() -> None:
    import pyseccomp

    rule = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    flag = 0o20000000
    rule.add_rule(
        pyseccomp.ERRNO(errno.EOPNOTSUPP),
        "openat",
        pyseccomp.Arg(2, pyseccomp.MASKED_EQ, flag, flag),
    )
    rule.load()


def test_works_on_a_filesystem_without_locks(filelock: Backend) -> None:
    def work() -> int:
        refuse("fcntl", errno.ENOLCK, (1, fcntl.F_SETLK))
        with filelock.slots() as (slot,), children((slot.wait,), (slot.wait,)) as made:
            until(lambda: slot.waiters() == 2, "two waiters")
            slot.post()
            slot.post()
            return sum(c.result() for c in made)

    assert Child(work).result() == 0
