"""`python -m altsem clean`: what killed programs have left goes, what anybody may need stays."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import altsem
import dropin_support as dropin
from altsem import _clean, _core, _directories
from support import fork, reap, state, wait_until

# A program is killed with all that it has started, the resource tracker included.
KILLED = """
import multiprocessing, os, signal, sys
import altsem
altsem.install(force=True)
from multiprocessing.shared_memory import SharedMemory
context = multiprocessing.get_context("spawn")
locks = [context.Lock() for _ in range(9)]
memory = SharedMemory(create=True, size=100)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.killpg(0, signal.SIGKILL)
"""
# Only in the directory that the variables name: the others are none of a test's business.
CLEAN = """
import sys
from altsem import _clean, _directories
_directories.FIXED = ()
sys.exit(_clean.main([]))
"""


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path of the private directory, in the only candidate."""
    folder = Path(tempfile.mkdtemp(prefix="c"))
    monkeypatch.setenv("ALTSEM_DIR", str(folder))
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(_directories, "FIXED", ())
    path = folder / f"altsem-{os.geteuid()}"
    yield path
    for file in path.iterdir() if path.is_dir() else ():
        file.unlink()
    if path.is_dir():
        path.rmdir()
    folder.rmdir()


def left(private: Path) -> list[str]:
    return sorted(path.name for path in private.iterdir()) if private.is_dir() else []


def by_a_dead_process(make: Callable[[], object]) -> None:
    assert reap(fork(make)) == 0


def named(name: str = "/n") -> altsem.SemLock:
    return altsem.SemLock(1, 1, 1, name, False)


def test_the_directory_of_a_program_goes_that_was_killed_before_it_made_a_file_in_it(
    private: Path,
) -> None:
    private.mkdir(0o700)
    assert _clean.files() == (0, 0)
    assert not private.exists()


def test_an_empty_directory_that_is_not_private_stays(private: Path) -> None:
    private.mkdir()
    private.chmod(0o755)
    assert _clean.files() == (0, 0)
    assert private.is_dir()


# The part of an identity that tells processes apart which had the same pid (process/owner.h).
PROCESS = ((1 << 21) - 1) << 20


def read(path: Path) -> dict[str, Any]:
    """The header of a segment."""
    names = ("magic", "layout", "backend", "id", "size", "slots", "namespace", "maker", "slot")
    names = (*names, "foreign", "ipc", "set", "forks", "unused", "identity")
    header = path.read_bytes()[: _clean._HEADER.size]
    return dict(zip(names, _clean._HEADER.unpack(header), strict=True))


def rewrite(path: Path, **fields: int) -> None:
    """Changes the header of a segment."""
    values = read(path)
    assert fields.keys() <= values.keys()
    with open(path, "r+b") as file:
        file.write(_clean._HEADER.pack(*{**values, **fields}.values()))


def test_semaphores_of_a_tree_that_was_killed_with_its_tracker_are_removed(
    private: Path, tmp_path: Path
) -> None:
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    tree = subprocess.Popen([sys.executable, str(program)], start_new_session=True)
    assert tree.wait(60) == -signal.SIGKILL
    assert sum(name.startswith("sem.mp-") for name in left(private)) == 9
    done = dropin.run(sys.executable, "-c", CLEAN)
    assert (done.returncode, done.stderr) == (0, "")
    assert "removed 9 files of named semaphores and shared memory\n" in done.stdout
    # Shared memory does not say who made it: it stays as long as altsem is at work anywhere, here.
    assert all(name.startswith("shm.") for name in left(private))


def test_all_of_it_goes_where_no_other_process_has_altsem(private: Path, tmp_path: Path) -> None:
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    cleaner = tmp_path / "clean.py"
    cleaner.write_text(CLEAN)
    (tmp_path / "both.sh").write_text(
        f"setsid {sys.executable} {program}; {sys.executable} {cleaner}; ls -A $ALTSEM_DIR\n"
    )
    words = ["unshare", "-pf", "--mount-proc", "sh", str(tmp_path / "both.sh")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if "unshare failed" in done.stderr or "cannot" in done.stderr:
        pytest.skip(f"no PID namespace to be had here: {done.stderr}")
    assert done.stdout.splitlines()[1:] == [
        "removed 10 files of named semaphores and shared memory"
    ]


def test_what_a_living_process_has_made_stays_also_if_nobody_uses_it(private: Path) -> None:
    lock: Any = named()
    memory = _core.shm_open("/m", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    os.close(memory)  # to be opened again by its name
    try:
        for _ in range(2):
            done = dropin.run(sys.executable, "-c", CLEAN)
            assert (done.returncode, done.stderr) == (0, "") and "file" not in done.stdout
            assert left(private) == ["sem.n", "shm.m"]
            lock = None
        assert altsem.SemLock._rebuild(0, 1, 1, "/n").acquire() and lock is None
    finally:
        altsem.sem_unlink("/n")
        _core.shm_unlink("/m")


@pytest.mark.parametrize("proof", ["lease", "processes"])
def test_a_semaphore_whose_maker_is_dead_stays_as_long_as_anybody_has_it(
    proof: str, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if proof == "processes":
        monkeypatch.setattr(_clean, "_filesystem", lambda device: "overlay")
        all_may_be_looked_at(monkeypatch)
    by_a_dead_process(named)
    reader, writer = os.pipe()

    def use() -> None:
        own = altsem.SemLock._rebuild(0, 1, 1, "/n")
        os.write(writer, b"x")
        time.sleep(600)
        del own

    user = fork(use)
    try:
        assert os.read(reader, 1) == b"x"
        assert _clean.files() == (0, 0) and left(private) == ["sem.n"]
    finally:
        os.kill(user, signal.SIGKILL)
        reap(user)
        os.close(reader)
        os.close(writer)
    assert _clean.files() == (1, 0)
    assert not private.exists()


def test_a_file_that_somebody_has_open_stays(private: Path) -> None:
    by_a_dead_process(named)
    with open(private / "sem.n", "r+b"):
        assert _clean.files() == (0, 0)
    assert _clean.files() == (1, 0)


def test_a_maker_that_is_a_zombie_is_dead(private: Path) -> None:
    pid = fork(named)
    wait_until(lambda: state(pid) == "Z", "it ends")
    assert _clean.files() == (1, 0)
    assert reap(pid) == 0


def test_a_pid_that_is_used_again_is_not_taken_for_the_maker(private: Path) -> None:
    by_a_dead_process(named)
    by_us, by_another = private / "sem.n", read(private / "sem.n")["identity"]
    altsem.SemLock(0, 1, 1, "/ours", False)
    me = read(private / "sem.ours")["identity"]
    altsem.sem_unlink("/ours")
    rewrite(by_us, maker=os.getpid(), identity=me)
    assert _clean.files() == (0, 0)
    rewrite(by_us, identity=(me & ~PROCESS) | (by_another & PROCESS))
    assert _clean.files() == (1, 0)


@pytest.mark.parametrize(
    "fields", [{"namespace": 1}, {"namespace": 0}, {"magic": 1}, {"layout": 999}]
)
def test_what_cannot_be_told_stays_and_is_counted(fields: dict[str, int], private: Path) -> None:
    by_a_dead_process(named)
    rewrite(private / "sem.n", **fields)
    assert _clean.files() == (0, 1) and left(private) == ["sem.n"]


@pytest.mark.parametrize("content", [b"", b"x" * 10, bytes(8192)])
def test_a_file_that_is_none_of_ours_stays(content: bytes, private: Path) -> None:
    private.mkdir(mode=0o700)
    (private / "sem.n").write_bytes(content)
    (private / "other").write_bytes(content)
    assert _clean.files() == (0, 1) and left(private) == ["other", "sem.n"]


def all_may_be_looked_at(monkeypatch: pytest.MonkeyPatch, but: int = 0) -> None:
    """A sandbox may have a process that not even root may look at; it is none of ours."""
    look = _clean._look_at
    monkeypatch.setattr(_clean, "_look_at", lambda pid, users: (look(pid, users), pid != but)[1])


def refuse(*_: object) -> Any:
    raise OSError(22, "no leases here")


def test_without_leases_processes_that_may_not_be_looked_at_leave_everything_where_it_is(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_a_dead_process(named)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    all_may_be_looked_at(monkeypatch, but=os.getppid())
    assert _clean.files() == (0, 1)
    all_may_be_looked_at(monkeypatch)
    assert _clean.files() == (1, 0)


def test_without_proc_nothing_is_proven(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_a_dead_process(named)
    monkeypatch.setattr(os, "readlink", refuse)
    monkeypatch.setattr(_core, "judge", lambda tid, holder, where: (None, None, None, False))
    assert _clean.files() == (0, 1)


def test_a_private_directory_that_is_not_private_is_not_touched(private: Path) -> None:
    by_a_dead_process(named)
    private.chmod(0o755)
    assert _clean.files() == (0, 0) and left(private) == ["sem.n"]
    private.chmod(0o700)


def test_a_shared_memory_in_use_by_a_program_stays(private: Path, tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import altsem, sys
        altsem.install(force=True)
        from multiprocessing.shared_memory import SharedMemory
        memory = SharedMemory(create=True, size=100, name="keep")
        print("ready", flush=True)
        sys.stdin.readline()
        memory.buf[0] = 1
        memory.close()
        memory.unlink()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    done = dropin.run(sys.executable, "-c", CLEAN)
    assert (done.returncode, done.stderr) == (0, "") and "file" not in done.stdout
    assert left(private) == ["shm.keep"]
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_the_signal_that_somebody_waits_for_the_lease_does_not_kill(private: Path) -> None:
    by_a_dead_process(named)
    fd = os.open(private / "sem.n", os.O_RDWR)
    try:
        with _clean._lease(fd) as alone:
            if alone is None:
                pytest.skip("no leases here")
            assert alone
            os.kill(os.getpid(), signal.SIGIO)
            with pytest.raises(BlockingIOError):
                os.open(private / "sem.n", os.O_RDWR | os.O_NONBLOCK)
        assert signal.getsignal(signal.SIGIO) == signal.SIG_DFL
        os.close(os.open(private / "sem.n", os.O_RDWR | os.O_NONBLOCK))
    finally:
        os.close(fd)
        altsem.sem_unlink("/n")


def test_a_user_of_a_memory_by_descriptor_only_is_seen_among_the_processes(private: Path) -> None:
    fd = _core.shm_open("/m", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    child = subprocess.Popen(["sleep", "600"], pass_fds=[fd])
    try:
        assert "shm.m" in _clean._look().names
    finally:
        child.kill()
        child.wait()
        os.close(fd)
        _core.shm_unlink("/m")


def test_a_user_that_ends_while_it_is_looked_at_leaves_all_to_a_child_which_is_seen(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = _core.shm_open("/m", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    words = ["sh", "-c", "read line; sleep 600 >&- & echo $!"]
    pipe = subprocess.PIPE
    parent = subprocess.Popen(words, stdin=pipe, stdout=pipe, pass_fds=[fd], text=True)
    child = 0
    real = _clean._look_at

    def look_at(pid: int, users: _clean._Users) -> bool:
        nonlocal child
        if pid == parent.pid:
            child = int(parent.communicate("\n", timeout=60)[0])
        return real(pid, users)

    monkeypatch.setattr(_clean, "_look_at", look_at)
    try:
        assert "shm.m" in _clean._look().names
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
        parent.kill()
        parent.wait()
        os.close(fd)
        _core.shm_unlink("/m")


def test_where_processes_come_faster_than_they_are_looked_at_nothing_is_proven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = iter(range(10**6, 10**9))
    monkeypatch.setattr(os, "listdir", lambda _: [str(next(numbers))])
    assert not _clean._look().complete
