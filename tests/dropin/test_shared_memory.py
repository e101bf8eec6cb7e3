"""Named shared memory in private files: the contract of _posixshmem, and hostile directories."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from pathlib import Path

import pytest

import altsem
from altsem import _core

CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The first candidate directory, with nothing in it."""
    path = Path(tempfile.mkdtemp(prefix="s"))
    monkeypatch.setenv("ALTSEM_DIR", str(path))
    yield path
    path.rmdir()


@pytest.fixture
def private(folder: Path) -> Path:
    """The path of the private directory, which does not exist yet."""
    return folder / f"altsem-{os.geteuid()}"


def test_what_is_made_is_for_this_user_alone_and_goes_with_its_name(private: Path) -> None:
    fd = _core.shm_open("/name", CREATE, mode=0o666)
    try:
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert stat.S_IMODE((private / "shm.name").stat().st_mode) == 0o600
        assert not os.get_inheritable(fd)
        os.write(fd, b"x")
        again = _core.shm_open("name", os.O_RDONLY)
        assert os.read(again, 2) == b"x"
        os.close(again)
        with pytest.raises(FileExistsError):
            _core.shm_open("/name", CREATE)
        _core.shm_unlink("/name")
        assert not private.exists()
        os.write(fd, b"y")  # it lives on
    finally:
        os.close(fd)
    for call in (lambda: _core.shm_unlink("/name"), lambda: _core.shm_open("/name", os.O_RDWR)):
        with pytest.raises(FileNotFoundError):
            call()


def test_create_without_excl_opens_what_is_there(private: Path) -> None:
    flags = os.O_CREAT | os.O_RDWR
    first, second = _core.shm_open("/n", flags), _core.shm_open("/n", flags)
    os.write(first, b"shared")
    assert os.read(second, 6) == b"shared"
    third = _core.shm_open("/n", os.O_RDWR | os.O_TRUNC)
    assert os.fstat(first).st_size == 0
    for fd in (first, second, third):
        os.close(fd)
    _core.shm_unlink("/n")


@pytest.mark.parametrize("name", ["", "/", "a/b", "/../x", "x" * 256])
def test_what_is_no_name_is_an_oserror(name: str, private: Path) -> None:
    for call in (lambda: _core.shm_open(name, CREATE), lambda: _core.shm_unlink(name)):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at
            call()
        assert caught.value.errno in (errno.EINVAL, errno.ENAMETOOLONG)
    assert not private.exists()


# --- hostile directories: refused with a clear OSError, nothing followed, nothing overwritten -----


def make_link(private: Path) -> None:
    (private.parent / "target").mkdir(mode=0o700)
    private.symlink_to(private.parent / "target")


def make_file(private: Path) -> None:
    private.write_text("mine")


def make_open_to_others(private: Path) -> None:
    private.mkdir()
    private.chmod(0o755)


def make_somebody_elses(private: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory that is somebody else's")
    private.mkdir(mode=0o700)
    os.chown(private, 65534, 65534)


DIRECTORIES = [make_link, make_file, make_open_to_others, make_somebody_elses]


@pytest.mark.parametrize("make", DIRECTORIES)
def test_a_private_directory_that_is_not_private_is_refused(
    make: Callable[[Path], None], private: Path
) -> None:
    make(private)
    before = tree(private.parent)
    for call in (
        lambda: _core.shm_open("/n", CREATE),
        lambda: _core.shm_open("/n", os.O_RDWR),
        lambda: _core.shm_unlink("/n"),
        lambda: altsem.SemLock(1, 1, 1, "/n", False),
        lambda: altsem.sem_unlink("/n"),
    ):
        with pytest.raises(PermissionError, match="not private to this user"):
            call()
    assert tree(private.parent) == before
    clear(private)


def make_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def make_directory(path: Path) -> None:
    path.mkdir(mode=0o700)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "victim")


def make_readable(path: Path) -> None:
    path.write_text("mine")
    path.chmod(0o644)


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        *(("sem", make) for make in (make_fifo, make_directory, make_dangling_link, make_readable)),
        *(("shm", make) for make in (make_fifo, make_directory, make_dangling_link)),
    ],
)
def test_what_is_no_private_file_is_refused(
    kind: str, make: Callable[[Path], None], private: Path
) -> None:
    private.mkdir(mode=0o700)
    make(private / f"{kind}.n")
    before = tree(private.parent)
    if kind == "shm":
        opened: Callable[[], object] = lambda: _core.shm_open("/n", os.O_RDWR)  # noqa: E731
        created: Callable[[], object] = lambda: _core.shm_open("/n", CREATE)  # noqa: E731
    else:
        opened = lambda: altsem.SemLock._rebuild(0, 1, 1, "/n")  # noqa: E731
        created = lambda: altsem.SemLock(1, 1, 1, "/n", False)  # noqa: E731
    with pytest.raises(OSError, match=r"not private|not a file|no semaphore"):
        opened()
    with pytest.raises(FileExistsError):
        created()
    assert tree(private.parent) == before
    clear(private)


@pytest.mark.parametrize("content", [b"", b"altsem", bytes(4096), b"\xff" * 8192])
def test_a_truncated_or_foreign_semaphore_file_is_refused(content: bytes, private: Path) -> None:
    private.mkdir(mode=0o700)
    path = private / "sem.n"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(OSError, match="damaged or is no semaphore"):
        altsem.SemLock._rebuild(0, 1, 1, "/n")
    assert path.read_bytes() == content
    clear(private)


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_uid, content)
    return found


def clear(private: Path) -> None:
    for path in sorted(private.parent.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


# --- the private directory comes and goes ---------------------------------------------------------


def churn(number: int) -> None:
    for i in range(200):
        name = f"/c-{number}-{i}"
        os.close(_core.shm_open(name, CREATE))
        _core.shm_unlink(name)
        lock = altsem.SemLock(1, 1, 1, name, False)
        altsem.SemLock._rebuild(0, 1, 1, name).acquire()
        assert not lock.acquire(False)
        altsem.sem_unlink(name)


def test_processes_that_make_and_remove_names_at_once_do_not_hinder_each_other(
    private: Path,
) -> None:
    children = [multiprocessing.Process(target=churn, args=(n,)) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    assert not private.exists()


def test_a_shared_memory_object_works_on_private_files(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import _posixshmem

    monkeypatch.setattr(_posixshmem, "shm_open", _core.shm_open)
    monkeypatch.setattr(_posixshmem, "shm_unlink", _core.shm_unlink)
    memory = shared_memory.SharedMemory(create=True, size=100)
    try:
        assert private.is_dir()
        other = shared_memory.SharedMemory(memory.name)
        other.buf[0] = 42
        assert memory.buf[0] == 42
        other.close()
    finally:
        memory.close()
        memory.unlink()
    assert not private.exists()
