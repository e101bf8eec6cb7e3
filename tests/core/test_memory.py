"""Where the memory comes from: memfd, else O_TMPFILE, else an unlinked file, else an error."""

from __future__ import annotations

import errno
import mmap
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import sandbox
from core.crew import Crew
from core.kit import EACCES, EMFILE, ENOSPC, EROFS, OK, PAGE, Kit

needs_refusal = pytest.mark.skipif(
    not sandbox.can_refuse(), reason="no table of system calls for this machine"
)
SIZE = 4 * PAGE


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The three directories that the environment names."""
    found = [tmp_path / name for name in ("dir", "run", "tmp")]
    for place, name in zip(found, ("ALTSEM_DIR", "XDG_RUNTIME_DIR", "TMPDIR"), strict=True):
        place.mkdir()
        monkeypatch.setenv(name, str(place))
    return found


def describe(kit: Kit, size: int = SIZE) -> tuple[Any, ...]:
    """Takes memory, tries it out, and gives it back: what it was, or the error."""
    fd, source = kit.memory(size)
    if fd < 0:
        return fd, source
    with mmap.mmap(fd, size) as memory:
        clean = not any(memory[:])
        memory[:] = b"x" * size
    status = os.fstat(fd)
    told = (
        source, os.readlink(f"/proc/self/fd/{fd}"), status.st_size, status.st_nlink,
        os.get_inheritable(fd), clean, status.st_mode & 0o777,
    )  # fmt: skip
    os.close(fd)
    return told


def in_a_child(crew: Crew, work: Callable[[], Any]) -> Any:
    return crew.child(work).result()


def all_places_are(kind: str, places: list[Path]) -> bool:
    """In a namespace of this process: every candidate lies on a tmpfs with these options."""
    try:
        sandbox.own_mounts()
    except OSError:
        return False
    for place in [*map(str, places), "/var/tmp", "/tmp"]:
        # /tmp last: it may hide the others, which then are not there, and that is as good.
        if os.path.isdir(place):
            sandbox.mount_tmpfs(place, kind)
    os.chdir("/tmp")
    return True


def test_memfd_comes_first_and_is_not_inherited(kit: Kit) -> None:
    source, path, size, _, inheritable, clean, _ = describe(kit)
    assert (source, size, inheritable, clean) == ("memfd", SIZE, False, True)
    assert path.startswith("/memfd:altsem")


@pytest.mark.parametrize("size", [1, 100, PAGE, PAGE + 1, 64 * PAGE, 40 << 20])
def test_all_of_it_is_allocated_at_once(kit: Kit, size: int) -> None:
    """Where there is no memory left this is an error, and the first touch of a page is none."""
    fd, source = kit.memory(size)
    status = os.fstat(fd)
    os.close(fd)
    assert (source, status.st_size) == ("memfd", size)
    assert status.st_blocks * 512 >= size


@pytest.mark.parametrize("source", ["memfd", "O_TMPFILE", "unlinked file"])
@needs_refusal
@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM])
def test_without_fallocate_it_is_allocated_by_writing(
    kit: Kit, crew: Crew, places: list[Path], source: str, error: int
) -> None:
    def work() -> Any:
        sandbox.refuse("fallocate", error)
        if source != "memfd":
            sandbox.refuse("memfd_create", errno.ENOSYS)
        if source == "unlinked file":
            sandbox.refuse_tmpfile(errno.EOPNOTSUPP)
        told = []
        for size in (SIZE, SIZE + 1):
            fd, found = kit.memory(size)
            status = os.fstat(fd)
            told.append((found, status.st_size == size, status.st_blocks * 512 >= size))
            os.close(fd)
        return told, describe(kit)[2], kit.raw_new(1, 0)[0]

    assert in_a_child(crew, work) == ([(source, True, True)] * 2, SIZE, OK)


@needs_refusal
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.ENOMEM])
def test_memory_that_is_not_to_be_had_is_an_error_of_whoever_asks(
    kit: Kit, crew: Crew, places: list[Path], error: int
) -> None:
    """Such as that which strict overcommit denies.  Not one of whoever touches it first."""

    def work() -> Any:
        before = len(os.listdir("/proc/self/fd"))
        sandbox.refuse("fallocate", error)
        answers = kit.memory(PAGE), kit.raw_new(1, 0)[0], kit.named("create", "n", 1, 0, 1)[0]
        # The child may have let go of what it has inherited.
        return answers, max(0, len(os.listdir("/proc/self/fd")) - before)

    expected = ((-error, "unlinked file"), -error, -error), 0
    assert in_a_child(crew, work) == expected
    assert not any(list(place.iterdir()) for place in places)


@needs_refusal
@pytest.mark.limit(60)
def test_signals_that_interrupt_an_allocation_do_not_stop_it(kit: Kit, crew: Crew) -> None:
    """Older kernels undo what the call has allocated so far.  With a timer that is faster than
    the call, only shorter calls succeed."""
    size = (20 << 20) + 1

    def work() -> Any:
        sandbox.refuse("fallocate", errno.EINTR, 3, bits=0xFFFF0000)  # of 64 kB and more
        fd, source = kit.memory(size)
        status = os.fstat(fd)
        return source, status.st_size, status.st_blocks * 512 >= size

    assert in_a_child(crew, work) == ("memfd", size, True)


def test_the_source_need_not_be_asked_for(kit: Kit) -> None:
    fd = kit.lib.altsem_memory_new(PAGE, kit.ffi.NULL)
    assert fd >= 0
    os.close(fd)


@needs_refusal
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM, errno.ENOMEM])
def test_without_memfd_a_nameless_file_in_the_first_directory(
    kit: Kit, crew: Crew, places: list[Path], error: int
) -> None:
    def work() -> Any:
        sandbox.refuse("memfd_create", error)
        return describe(kit)

    source, path, size, links, inheritable, clean, mode = in_a_child(crew, work)
    assert (source, size, links, inheritable, clean) == ("O_TMPFILE", SIZE, 0, False, True)
    assert path.startswith(f"{places[0]}/") and mode == 0o600


@needs_refusal
@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT])
def test_without_o_tmpfile_a_file_that_loses_its_name_at_once(
    kit: Kit, crew: Crew, places: list[Path], error: int
) -> None:
    def work() -> Any:
        sandbox.refuse("memfd_create", errno.ENOSYS)
        sandbox.refuse_tmpfile(error)
        return describe(kit)

    source, path, size, links, inheritable, clean, mode = in_a_child(crew, work)
    assert (source, size, links, inheritable, clean) == ("unlinked file", SIZE, 0, False, True)
    assert path.startswith(f"{places[0]}/altsem-") and mode == 0o600
    assert not any(list(place.iterdir()) for place in places)


@needs_refusal
def test_a_directory_that_does_not_work_is_passed_over(
    kit: Kit, crew: Crew, places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> Any:
        sandbox.refuse("memfd_create", errno.ENOSYS)
        return describe(kit)[:2]

    monkeypatch.setenv("ALTSEM_DIR", str(places[0] / "missing"))
    assert in_a_child(crew, work)[1].startswith(f"{places[1]}/")
    (places[0] / "file").touch()
    monkeypatch.setenv("ALTSEM_DIR", str(places[0] / "file"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "x" * 5000)
    assert in_a_child(crew, work)[1].startswith(f"{places[2]}/")
    for name in ("ALTSEM_DIR", "XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, "")
    assert in_a_child(crew, work)[1].startswith("/tmp/")


@needs_refusal
@pytest.mark.parametrize("tmpfile", [True, False])
def test_a_segment_in_a_file_works_like_any_other(
    kit: Kit, crew: Crew, places: list[Path], tmpfile: bool
) -> None:
    def work() -> None:
        sandbox.refuse("memfd_create", errno.ENOSYS)
        if not tmpfile:
            sandbox.refuse_tmpfile(errno.EOPNOTSUPP)
        sem = kit.sem()
        assert str(places[0]) in os.readlink(
            f"/proc/self/fd/{kit.lib.altsem_segment_fd(sem.segment)}"
        )
        child = crew_of_child.child(sem.wait)
        sem.post()
        assert child.result() == 0

    crew_of_child = Crew()
    in_a_child(crew, work)
    assert not any(list(place.iterdir()) for place in places)


@needs_refusal
def test_a_full_filesystem_is_an_error_and_not_a_sigbus(
    kit: Kit, crew: Crew, places: list[Path]
) -> None:
    def work() -> Any:
        if not all_places_are(f"size={8 * PAGE}", places):
            return None
        sandbox.refuse("memfd_create", errno.ENOSYS)
        small = describe(kit)
        big = describe(kit, 64 * PAGE)
        sandbox.refuse_tmpfile(errno.EOPNOTSUPP)
        things = []
        while True:  # fills it
            fd, source = kit.memory(PAGE)
            if fd < 0:
                break
            things.append(fd)
        made = kit.raw_new(1, 0)[0]  # a fresh process has no segment to take a slot from
        return small[0], big, (fd, source, len(things) <= 64), made, os.listdir("/tmp")

    answer = in_a_child(crew, work)
    if answer is None:
        pytest.skip("no mount namespace to be had here")
    small, big, full, made, left = answer
    assert (small, big) == ("O_TMPFILE", (ENOSPC, "unlinked file"))
    assert (full, made, left) == ((ENOSPC, "unlinked file", True), ENOSPC, [])


@needs_refusal
def test_with_nowhere_to_go_the_last_error_is_told(
    kit: Kit, crew: Crew, places: list[Path]
) -> None:
    def work() -> Any:
        if not all_places_are("ro", places):
            return None
        sandbox.refuse("memfd_create", errno.ENOSYS)
        return describe(kit), kit.raw_new(1, 0)[0], kit.lib.altsem_segment_count()

    before = kit.lib.altsem_segment_count()
    answer = in_a_child(crew, work)
    if answer is None:
        pytest.skip("no mount namespace to be had here")
    assert answer[:2] == ((EROFS, "unlinked file"), EROFS)
    assert answer[2] <= before


def test_a_descriptor_is_one_also_if_it_is_the_first(kit: Kit, crew: Crew) -> None:
    """A program without a standard input."""

    def work() -> Any:
        os.close(0)
        return kit.memory(PAGE), kit.memory(PAGE)[0] > 0

    assert in_a_child(crew, work) == ((0, "memfd"), True)


def test_no_descriptor_left_is_said_as_such(program, places: list[Path]) -> None:
    """Trying directories would not help, and must not hide the reason.

    In a program of its own: a child would first give back what it has inherited, a descriptor too.
    """
    code = """
import os, resource
lowest = os.open("/", os.O_RDONLY)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, lowest + 1))
try:
    while True:
        os.open("/", os.O_RDONLY)
except OSError:
    print(kit.memory(PAGE)[0], kit.raw_new(1, 0)[0])
"""
    assert program(code) == f"{EMFILE} {EMFILE}\n"


@needs_refusal
@pytest.mark.skipif(os.getuid() != 0, reason="needs to become somebody else")
def test_closed_directories_are_passed_over_for_an_ordinary_user(
    kit: Kit, crew: Crew, places: list[Path]
) -> None:
    def work() -> Any:
        sandbox.refuse("memfd_create", errno.ENOSYS)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        return describe(kit)[:2], kit.memory(PAGE)[0] != EACCES

    (source, path), good = in_a_child(crew, work)
    assert (source, good) == ("O_TMPFILE", True) and path.startswith("/tmp/")


def test_a_limit_on_file_sizes_is_an_error(kit: Kit, crew: Crew, places: list[Path]) -> None:
    def work() -> Any:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, PAGE))
        return kit.memory(PAGE)[1], kit.memory(8 * PAGE)[0]

    assert in_a_child(crew, work) == ("memfd", -errno.EFBIG)
    assert not any(list(place.iterdir()) for place in places)
