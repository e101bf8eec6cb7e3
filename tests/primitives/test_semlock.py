"""SemLock by the contract of _multiprocessing.SemLock, as the programs that use it know it."""

from __future__ import annotations

import errno
import inspect
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import altsem
from altsem import SemLock, _core, sem_unlink
from support import fork, reap

RECURSIVE, SEMAPHORE = 0, 1
TOO_MANY = r"^semaphore or lock released too many times$"
NOT_MINE = r"^attempt to release recursive lock not owned by thread$"


def make(kind: int = SEMAPHORE, value: int = 1, maxvalue: int = 1) -> SemLock:
    return SemLock(kind, value, maxvalue, "/unused", True)


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the named semaphores, which does not exist yet."""
    monkeypatch.setenv("ALTSEM_DIR", str(tmp_path))
    return tmp_path / f"altsem-{os.geteuid()}"


def test_by_position_and_by_keyword() -> None:
    by_position = SemLock(1, 2, 3, "/unused", True)
    by_keyword = SemLock(unlink=True, name="unused", maxvalue=3, value=2, kind=1)
    for made in (by_position, by_keyword):
        assert (made.kind, made.maxvalue, made.name, made._get_value()) == (1, 3, None, 2)


def test_joblibs_probe() -> None:
    probe = SemLock(0, 0, 1, name="/joblib-probe", unlink=True)
    assert probe._is_zero()
    assert not probe._is_mine()
    assert not probe.acquire(False)
    with pytest.raises(AssertionError, match=NOT_MINE):
        probe.release()


def test_a_lock_that_starts_taken_by_nobody() -> None:
    lock = make(value=0)
    assert not lock.acquire(timeout=0.01)
    lock.release()
    assert lock.acquire(False)
    assert not lock.acquire(False)


def test_value_above_maxvalue_is_accepted() -> None:
    semaphore = make(value=3, maxvalue=1)
    assert semaphore._get_value() == 3
    with pytest.raises(ValueError, match=TOO_MANY):
        semaphore.release()
    assert [semaphore.acquire(False) for _ in range(4)] == [True, True, True, False]
    semaphore.release()
    with pytest.raises(ValueError, match=TOO_MANY):
        semaphore.release()


def test_the_bound() -> None:
    assert SemLock.SEM_VALUE_MAX == 2**31 - 1
    semaphore = make(value=2**31 - 1, maxvalue=2**31 - 1)
    assert semaphore._get_value() == 2**31 - 1
    with pytest.raises(ValueError, match=TOO_MANY):
        semaphore.release()


def test_handle_can_be_formatted_and_finds_the_semaphore() -> None:
    semaphore = make(value=2, maxvalue=4)
    assert "created semlock with handle %s" % semaphore.handle  # noqa: UP031
    assert f"{semaphore.handle:d}".isdigit()
    same = SemLock._rebuild(semaphore.handle, SEMAPHORE, 4, None)
    assert same.acquire(False)
    assert semaphore._get_value() == 1
    assert (same._count(), semaphore._count()) == (1, 0)


@pytest.mark.parametrize("kind", [RECURSIVE, SEMAPHORE])
def test_with(kind: int) -> None:
    lock = make(kind)
    with lock as got:
        assert got is True
        assert lock._count() == 1
        assert lock._is_mine()
        assert lock._is_zero()
    assert lock._get_value() == 1
    assert lock.__enter__() is True
    assert lock.__exit__() is None
    assert lock.__enter__() is True
    assert lock.__exit__(None, None, None) is None
    assert lock._get_value() == 1


@pytest.mark.parametrize("value", [1, 2])
def test_recursion(value: int) -> None:
    lock = make(RECURSIVE, value, value)
    assert [lock.acquire(), lock.acquire(False), lock.acquire(True, 0)] == [True, True, True]
    assert lock._count() == 3
    assert lock._get_value() == value - 1
    for _ in range(3):
        lock.release()
    with pytest.raises(AssertionError, match=NOT_MINE):
        lock.release()
    assert lock._count() == 0


def test_only_its_thread_may_release_a_recursive_lock() -> None:
    lock = make(RECURSIVE)
    lock.acquire()
    seen: list[object] = []

    def other() -> None:
        seen.extend([lock._is_mine(), lock.acquire(False)])
        try:
            lock.release()
        except AssertionError as error:
            seen.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [False, False, "attempt to release recursive lock not owned by thread"]
    assert lock._is_mine()


def test_any_thread_may_release_a_semaphore() -> None:
    lock = make()
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert lock._get_value() == 1
    with pytest.raises(ValueError, match=TOO_MANY):
        lock.release()


def test_a_subclass() -> None:
    class Mine(SemLock):
        def __init__(self, *args: object, **kwargs: object) -> None:
            self.note = "mine"

        def acquire(self, *args: object) -> bool:  # type: ignore[override]
            return super().acquire(*args)  # type: ignore[arg-type]

    mine = Mine(SEMAPHORE, 1, 1, name="/unused", unlink=True)
    assert isinstance(mine, SemLock)
    assert mine.note == "mine"
    assert mine.acquire()
    assert mine._count() == 1
    assert type(Mine._rebuild(mine.handle, SEMAPHORE, 1, None)) is Mine


def test_after_fork_can_be_called() -> None:
    counting = make(value=2, maxvalue=2)
    counting.acquire()
    counting._after_fork()
    assert counting._count() == 0
    assert make()._after_fork() is None


@pytest.mark.parametrize("kind", [RECURSIVE, SEMAPHORE])
@pytest.mark.parametrize("in_other_thread", [False, True])
def test_after_fork_without_a_fork_forgets_who_holds_it(kind: int, in_other_thread: bool) -> None:
    """The lock stays taken; test_differential.py compares all that follows with the native one."""
    lock = make(kind)
    if in_other_thread:
        thread = threading.Thread(target=lock.acquire)
        thread.start()
        thread.join()
    else:
        lock.acquire()
    assert lock._count() == 1
    lock._after_fork()
    assert (lock._count(), lock._is_mine(), lock._is_zero()) == (0, False, True)
    assert _core.holder(lock) is None
    assert not lock.acquire(timeout=0)
    if kind == RECURSIVE:
        with pytest.raises(AssertionError, match=NOT_MINE):
            lock.release()
    else:
        lock.release()
        assert lock._get_value() == 1
        lock._after_fork()
        with lock:
            assert (lock._count(), lock._is_mine()) == (1, True)


def test_after_fork_of_a_lock_that_the_parent_holds_leaves_it_with_the_parent() -> None:
    lock, rlock = make(SEMAPHORE), make(RECURSIVE)
    with lock, rlock:

        def forget() -> None:
            for one in (lock, rlock):
                one._after_fork()
                assert (one._count(), one._is_mine()) == (0, False)
                assert (_core.holder(one) or (0,))[0] & 0x3FFFFF == os.getppid()

        assert reap(fork(forget)) == 0
        for one in (lock, rlock):
            assert (one._count(), one._is_mine()) == (1, True)


def test_the_signatures_can_be_read() -> None:
    assert str(inspect.signature(SemLock.acquire)) == "(self, /, block=True, timeout=None)"
    assert str(inspect.signature(SemLock.release)) == "(self, /)"
    assert str(inspect.signature(altsem.Event.wait)) == "(self, /, timeout=None)"
    assert list(inspect.signature(SemLock).parameters) == [
        "kind", "value", "maxvalue", "name", "unlink"
    ]  # fmt: skip


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/with-slash", "without-slash", "//many", "/" + "n" * 100])
def test_a_name_opens_the_same_semaphore(private: Path, name: str) -> None:
    made = SemLock(SEMAPHORE, 2, 5, name, False)
    assert made.name == name
    same = SemLock._rebuild(made.handle, SEMAPHORE, 5, name)
    assert (same.name, same.kind, same.maxvalue) == (name, SEMAPHORE, 5)
    assert same.acquire(False)
    assert made._get_value() == 1
    with pytest.raises(FileExistsError) as caught:
        SemLock(SEMAPHORE, 1, 1, name, False)
    assert caught.value.errno == errno.EEXIST
    with pytest.raises(FileExistsError):
        SemLock(SEMAPHORE, 1, 1, name, True)
    sem_unlink(name)
    with pytest.raises(FileNotFoundError) as missing:
        SemLock._rebuild(0, SEMAPHORE, 5, name)
    assert missing.value.errno == errno.ENOENT
    with pytest.raises(FileNotFoundError):
        sem_unlink(name)
    # Whoever has it goes on; the name is free again.
    same.release()
    assert made._get_value() == 2
    SemLock(SEMAPHORE, 1, 1, name, False)
    SemLock.sem_unlink(name)
    assert not private.exists()


def test_a_name_with_and_without_slash_is_the_same(private: Path) -> None:
    made = SemLock(SEMAPHORE, 0, 5, "/name", False)
    SemLock._rebuild(0, SEMAPHORE, 5, "name").release()
    assert made._get_value() == 1
    sem_unlink("name")


@pytest.mark.parametrize("kind", [RECURSIVE, SEMAPHORE])
def test_another_interpreter_opens_it_by_name(
    private: Path, kind: int, run_script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    made = SemLock(kind, 1, 1, "/shared", False)
    made.acquire()
    code = (
        "import altsem, sys\n"
        "lock = altsem.SemLock._rebuild(12345, int(sys.argv[1]), 1, '/shared')\n"
        "print(lock.acquire(False), lock._is_mine(), lock._count(), lock._get_value())\n"
    )
    done = run_script(code, kind)
    assert (done.stdout, done.stderr) == ("False False 0 0\n", "")
    made.release()
    done = run_script(code, kind)
    assert (done.stdout, done.stderr) == ("True True 1 0\n", "")
    sem_unlink("/shared")


def test_files_are_private(private: Path) -> None:
    SemLock(SEMAPHORE, 1, 1, "/mode", False)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    (file,) = private.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    sem_unlink("/mode")


def test_a_wide_umask_changes_nothing(private: Path) -> None:
    before = os.umask(0o277)
    try:
        made = SemLock(SEMAPHORE, 1, 1, "/mode", False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert SemLock._rebuild(0, SEMAPHORE, 1, "/mode").acquire(False)
    assert made._is_zero()
    sem_unlink("/mode")


@pytest.mark.parametrize("name", ["", "/", "a/b", "/a/b", "../up", "///"])
def test_what_is_no_name(private: Path, name: str) -> None:
    for unlink in (False, True):
        with pytest.raises(OSError, match="Invalid argument") as caught:
            SemLock(SEMAPHORE, 1, 1, name, unlink)
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        sem_unlink(name)


def test_a_name_that_is_too_long(private: Path) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        SemLock(SEMAPHORE, 1, 1, "/" + "n" * 300, False)
    assert caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: SemLock(SEMAPHORE, 1, 1, "a\0b", True), ValueError),
        (lambda: SemLock(SEMAPHORE, 1, 1, None, True), TypeError),
        (lambda: SemLock(SEMAPHORE, 1, 1, b"bytes", True), TypeError),
        (lambda: sem_unlink("a\0b"), ValueError),
        (lambda: sem_unlink(None), TypeError),
        (sem_unlink, TypeError),
        (lambda: SemLock._rebuild(1, SEMAPHORE, 1), TypeError),
        (lambda: SemLock._rebuild("x", SEMAPHORE, 1, None), TypeError),
    ],
)
def test_what_is_not_even_text(call: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.parametrize("handle", [0, 1, 64, -1, 2**63])
def test_a_handle_that_is_no_semaphore(handle: int) -> None:
    with pytest.raises(OSError, match=f"handle {handle} is no semaphore") as caught:
        SemLock._rebuild(handle, SEMAPHORE, 1, None)
    assert caught.value.errno == errno.EINVAL


def test_a_handle_beside_a_semaphore() -> None:
    lock = altsem.Lock()
    start = lock.handle - altsem._core.export(lock)[1]
    for wrong in (lock.handle + 1, lock.handle + 63, lock.handle - 4, start, start + 64):
        with pytest.raises(OSError, match="is no semaphore"):
            SemLock._rebuild(wrong, SEMAPHORE, 1, None)


@pytest.mark.parametrize("primitive", [altsem.Event, altsem._core.Cond])
def test_a_handle_of_something_else(primitive: Callable[[], object]) -> None:
    lock, other = altsem.Lock(), primitive()
    (segment, mine), (other_segment, its) = altsem._core.export(lock), altsem._core.export(other)
    while segment.id != other_segment.id:  # the lock took the last place of a segment
        lock = altsem.Lock()
        segment, mine = altsem._core.export(lock)
    with pytest.raises(OSError, match="kind 1 is not the kind"):
        SemLock._rebuild(lock.handle - mine + its, SEMAPHORE, 1, None)


# --- a directory where everybody may write: somebody may have been there first -------------------


def refused() -> str:
    texts = []
    for call in (
        lambda: SemLock(SEMAPHORE, 1, 1, "/name", False),
        lambda: SemLock._rebuild(0, SEMAPHORE, 1, "/name"),
        lambda: sem_unlink("/name"),
    ):
        with pytest.raises(OSError, match="name") as caught:
            call()
        texts.append(f"{caught.value.errno} {caught.value.strerror}")
    assert len(set(texts)) == 1
    return texts[0]


def test_the_directory_is_a_link(private: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    private.symlink_to(tmp_path / "elsewhere")
    assert refused().startswith(f"{errno.EPERM} refusing named semaphore '/name'")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_directory_is_a_dangling_link(private: Path, tmp_path: Path) -> None:
    private.symlink_to(tmp_path / "nowhere")
    assert refused().startswith(f"{errno.EPERM} refusing")
    assert not (tmp_path / "nowhere").exists()


def test_the_directory_is_a_file(private: Path) -> None:
    private.touch()
    assert refused().startswith(f"{errno.EPERM} refusing")


@pytest.mark.parametrize("mode", [0o777, 0o701, 0o750])
def test_the_directory_is_open_to_others(private: Path, mode: int) -> None:
    private.mkdir()
    private.chmod(mode)
    assert refused().startswith(f"{errno.EPERM} refusing")
    assert list(private.iterdir()) == []


def test_the_directory_is_somebody_elses(private: Path) -> None:
    private.mkdir(mode=0o700)
    if os.geteuid() != 0:
        # Whose it is cannot be changed; but a directory of root's can be put in our place.
        private.rmdir()
        private.symlink_to("/proc/1")
    else:
        os.chown(private, 12345, 12345)
    assert refused().startswith(f"{errno.EPERM} refusing")


def place_link(path: Path) -> None:
    target = path.parent.parent / "target"
    target.touch(mode=0o600)
    path.symlink_to(target)


def place_open_file(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def place_garbage(path: Path) -> None:
    path.write_bytes(os.urandom(4096))
    path.chmod(0o600)


def place_empty(path: Path) -> None:
    path.touch(mode=0o600)


@pytest.mark.parametrize(
    ("place", "number"),
    [
        (place_link, errno.ELOOP),
        (place_open_file, errno.EPERM),
        (place_garbage, errno.EBADMSG),
        (place_empty, errno.EBADMSG),
        (lambda path: os.mkfifo(path, 0o600), errno.EBADMSG),
        (lambda path: path.mkdir(mode=0o700), errno.EBADMSG),
    ],
    ids=["link", "open", "garbage", "empty", "fifo", "directory"],
)
def test_a_file_that_is_none_of_ours(
    private: Path, place: Callable[[Path], object], number: int
) -> None:
    private.mkdir(mode=0o700)
    place(private / "sem.name")
    with pytest.raises(FileExistsError):
        SemLock(SEMAPHORE, 1, 1, "/name", False)
    with pytest.raises(OSError, match="'/name'") as caught:
        SemLock._rebuild(0, SEMAPHORE, 1, "/name")
    assert caught.value.errno == number


def test_a_half_overwritten_file(private: Path) -> None:
    SemLock(SEMAPHORE, 1, 1, "/name", False)
    file = private / "sem.name"
    whole = file.read_bytes()
    for start in (0, 8, 12, 32, 40, 52, 128 + 20):
        file.write_bytes(whole[:start] + b"\xff" * 4 + whole[start + 4 :])
        with pytest.raises(OSError, match=r"damaged|no semaphore|another|layout") as caught:
            SemLock._rebuild(0, SEMAPHORE, 1, "/name")
        assert caught.value.errno
    file.write_bytes(whole[:100])
    with pytest.raises(OSError, match="damaged"):
        SemLock._rebuild(0, SEMAPHORE, 1, "/name")
    sem_unlink("/name")


def test_another_kind_than_the_named_one(private: Path) -> None:
    SemLock(RECURSIVE, 1, 1, "/name", False)
    with pytest.raises(OSError, match="kind 1 is not the kind of this semaphore") as caught:
        SemLock._rebuild(0, SEMAPHORE, 1, "/name")
    assert caught.value.errno == errno.EINVAL
    sem_unlink("/name")


def test_the_first_directory_that_works_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "good").mkdir()
    (tmp_path / "closed").mkdir(mode=0)  # to all but root
    monkeypatch.setenv("ALTSEM_DIR", str(tmp_path / "closed"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "good"))
    if os.geteuid() == 0:  # nothing is closed to root
        monkeypatch.setenv("ALTSEM_DIR", str(tmp_path / "missing"))
    made = SemLock(SEMAPHORE, 1, 1, "/name", False)
    (file,) = (tmp_path / "good").rglob("sem.name")
    assert SemLock._rebuild(0, SEMAPHORE, 1, "/name").acquire(False)
    assert made._is_zero()
    sem_unlink("/name")
    assert not file.exists()


def test_one_of_many_makes_it(private: Path) -> None:
    made: list[SemLock] = []
    taken: list[FileExistsError] = []
    start = threading.Barrier(8)

    def create() -> None:
        start.wait()
        try:
            made.append(SemLock(SEMAPHORE, 1, 1, "/race", False))
        except FileExistsError as error:
            taken.append(error)

    for _ in range(10):
        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(made), len(taken)) == (1, 7)
        sem_unlink("/race")
        made.clear()
        taken.clear()
    assert not private.exists()


def test_nothing_but_these_errors_escapes_creation(
    run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = run_script(
        "import os, resource, altsem\n"
        "altsem.Lock  # loaded before there is no descriptor left to load it with\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "for make in (altsem.Lock, altsem.RLock, altsem.Event, altsem.Condition,\n"
        "             altsem.Semaphore, lambda: altsem.Barrier(2),\n"
        "             lambda: altsem.SemLock(1, 1, 1, '/a', True)):\n"
        "    try:\n"
        "        print(make())\n"
        "    except OSError as error:\n"
        "        print(error.errno, error.strerror.split(' for ')[0])\n"
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{errno.EMFILE} no file descriptor is free"] * 7
