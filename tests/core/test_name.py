"""Named semaphores, in a directory where somebody may have been there first."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import sandbox
from core.crew import Crew
from core.kit import (
    BARRIER,
    EBADF,
    EBADMSG,
    EEXIST,
    EINVAL,
    ELOOP,
    EMFILE,
    ENAMETOOLONG,
    ENOENT,
    EPERM,
    EPROTONOSUPPORT,
    ETIMEDOUT,
    EXDEV,
    LOCK,
    OK,
    PAGE,
    PAST,
    SEM,
    VALUE_MAX,
    Kit,
)

root_only = pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that names are to be in: does not exist yet."""
    monkeypatch.setenv("ALTSEM_DIR", str(tmp_path))
    return tmp_path / f"altsem-{os.geteuid()}"


@pytest.fixture
def made(home: Path) -> Path:
    home.mkdir(mode=0o700)
    return home


def create(kit: Kit, name: str, kind: int = SEM, value: int = 0, most: int = VALUE_MAX) -> Any:
    return kit.named("create", name, kind, value, most)


def call(kit: Kit, what: str, name: str) -> int:
    return int(getattr(kit.lib, "altsem_named_" + what)(os.fsencode(name)))


def everything(kit: Kit, name: str) -> tuple[int, int, int, int]:
    """What open, exists, create and unlink say, in that order."""
    return (
        kit.named("open", name, SEM)[0], call(kit, "exists", name),
        create(kit, name)[0], call(kit, "unlink", name),
    )  # fmt: skip


# --- what names are for ---------------------------------------------------------------------------


def test_a_name_is_made_opened_and_removed(kit: Kit, home: Path, crew: Crew) -> None:
    assert everything(kit, "gone")[:2] == (ENOENT, ENOENT)
    assert call(kit, "unlink", "gone") in (OK, ENOENT)
    error, mine = create(kit, "n", SEM, 3, 7)
    assert error == OK and mine is not None
    assert [p.name for p in home.iterdir() if p.name != "sem.gone"] == ["sem.n"]
    assert (home / "sem.n").stat().st_mode & 0o7777 == 0o600
    assert home.stat().st_mode & 0o7777 == 0o700
    assert (mine.sem_value(), mine.slot_maxvalue(), mine.slot_type()) == (3, 7, SEM)
    assert (create(kit, "n")[0], call(kit, "exists", "n")) == (EEXIST, OK)

    def other() -> tuple[int, ...]:
        error, theirs = kit.named("open", "n", SEM)
        return error, theirs.post(), theirs.sem_value()

    assert crew.child(other).result() == (OK, OK, 4)
    error, again = kit.named("open", "n", SEM)
    assert error == OK and again is not None
    assert again.slot == mine.slot  # mapped once
    assert call(kit, "unlink", "n") == OK
    assert (call(kit, "unlink", "n"), call(kit, "exists", "n")) == (ENOENT, ENOENT)
    # Whoever has it open keeps it; the name is free for another.
    assert (again.post(), mine.sem_value()) == (OK, 5)
    error, new = create(kit, "n")
    assert error == OK and new is not None and new.slot != mine.slot
    assert call(kit, "unlink", "n") == OK


MANY = """
import os
many, new = 1000, sys.argv[1] == "new"
lib.altsem_backend(ffi.new("int *"))
def fds():
    return len(os.listdir("/proc/self/fd"))
def one(number):
    args = [number, VALUE_MAX] if new else []
    error, thing = kit.named("create" if new else "open", f"n{number}", SEM, *args)
    assert error == 0 and thing.sem_value() == number
    return thing
before = fds()
made = [one(number) for number in range(many)]
new = False
made += [one(number) for number in range(many)]  # which are mapped
assert made[0].wait(kit.deadline(0.01)) == ETIMEDOUT
print(fds() - before, lib.altsem_segment_count(), {thing.segment_fd() for thing in made})
kit.close()
assert (fds(), lib.altsem_segment_count()) == (before, 0)
"""


@pytest.mark.parametrize("backend", ["futex", "sysv", "filelock"])
def test_a_thousand_names_cost_no_descriptor(kit: Kit, home: Path, program, backend: str) -> None:
    for how in ("new", "old"):
        said = program(MANY, how, env={"ALTSEM_BACKEND": backend})
        assert said == f"0 1000 {{{EBADF}}}\n"
    for number in range(1000):
        assert call(kit, "unlink", f"n{number}") == OK


def test_a_program_that_knows_only_the_name_opens_it(kit: Kit, home: Path, program) -> None:
    _, lock = create(kit, "/by-name", LOCK, 0, 1)
    code = "e, it = kit.named('open', 'by-name', LOCK); print(e, it.lock_release())"
    assert program(code) == "0 0\n"
    assert lock.lock_is_free()
    assert call(kit, "unlink", "by-name") == OK


@pytest.mark.parametrize("name", ["", "/", "///", "a/b", "/a/", "../x", "a/../b"])
def test_what_is_no_name_is_refused_everywhere(kit: Kit, home: Path, name: str) -> None:
    assert everything(kit, name) == (EINVAL,) * 4
    assert not home.exists()


@pytest.mark.parametrize("name", ["x" * 251, "é", "a b", ".", "..", "-", "\n", "sem.x"])
def test_anything_else_is_a_name(kit: Kit, home: Path, name: str) -> None:
    assert create(kit, name)[0] == OK
    assert everything(kit, "/" + name) == (OK, OK, EEXIST, OK)


def test_a_name_that_is_too_long_is_refused_everywhere(kit: Kit, home: Path) -> None:
    for length in (252, 255, 300, 5000):
        assert everything(kit, "x" * length) == (ENAMETOOLONG,) * 4


@pytest.mark.parametrize("args", [(SEM, -1, 1), (LOCK, 2, 1), (BARRIER, 0, 0), (9, 0, 0)])
def test_a_value_that_cannot_be_leaves_nothing_anywhere(
    kit: Kit, home: Path, args: tuple[int, int, int]
) -> None:
    assert create(kit, "n", *args) == (EINVAL, None)
    assert not home.exists()


def test_another_type_under_the_name_is_refused(kit: Kit, home: Path) -> None:
    create(kit, "n", LOCK, 1, 1)
    assert kit.named("open", "n", SEM)[0] == EBADMSG
    assert kit.named("open", "n", LOCK)[0] == OK
    assert call(kit, "unlink", "n") == OK


def test_of_many_who_make_the_same_name_one_succeeds_and_all_find_it_whole(
    kit: Kit, home: Path, crew: Crew
) -> None:
    start = kit.event()

    def work() -> list[int]:
        start.persist("event_wait", 0, 2**63 - 1)
        answers = []
        for number in range(30):
            error, thing = create(kit, f"n{number}", SEM, 42)
            answers.append(error)
            error, thing = kit.named("open", f"n{number}", SEM)
            assert error == OK and thing.sem_value() == 42
        return answers

    children = [crew.child(work) for _ in range(4)]
    start.event_set()
    for answers in zip(*(child.result() for child in children), strict=True):
        assert sorted(answers) == [EEXIST] * 3 + [OK]
    assert sorted(p.name for p in home.iterdir()) == sorted(f"sem.n{n}" for n in range(30))
    for number in range(30):
        assert call(kit, "unlink", f"n{number}") == OK


@pytest.mark.skipif(not sandbox.can_refuse(), reason="no table of system calls for this machine")
def test_without_nameless_files_or_links_a_name_is_still_whole_and_alone(
    kit: Kit, home: Path, crew: Crew
) -> None:
    def work(links: bool) -> tuple[int, ...]:
        sandbox.refuse_tmpfile(errno.EOPNOTSUPP)
        if not links:
            sandbox.refuse("linkat", errno.EPERM)
        answers = create(kit, "n", SEM, 5)[0], create(kit, "n")[0], os.listdir(home)
        return (*answers, kit.named("open", "n", SEM)[1].sem_value(), call(kit, "unlink", "n"))

    for links in (True, False):
        assert crew.child(work, links).result() == (OK, EEXIST, ["sem.n"], 5, OK)


FAILURES = """
import errno, os, resource
home = sys.argv[1]
lib.altsem_backend(ffi.new("int *"))

def answers():
    segments, fds = lib.altsem_segment_count(), len(os.listdir("/proc/self/fd"))
    made = kit.named("create", "new", SEM, 1, 1)[0], kit.named("open", "old", SEM)[0]
    assert (lib.altsem_segment_count(), len(os.listdir("/proc/self/fd"))) == (segments, fds)
    assert os.listdir(home) == ["sem.old"]
    return made

limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (0, limits[1]))
assert answers() == (-errno.ENOMEM, -errno.ENOMEM)
resource.setrlimit(resource.RLIMIT_AS, limits)
if can_refuse():
    refuse("linkat", errno.EACCES)
    refuse("renameat2", errno.EACCES)
    assert kit.named("create", "new", SEM, 1, 1)[0] == EACCES
    assert os.listdir(home) == ["sem.old"] and lib.altsem_segment_count() == 0
    refuse("fallocate", errno.ENOSPC)
    refuse("mmap", errno.ENODEV, 3, bits=1)  # MAP_SHARED, as on a filesystem that cannot
    assert answers() == (ENOSPC, -errno.ENODEV)
print("good")
"""


@pytest.mark.parametrize("backend", ["futex", "sysv", "filelock"])
def test_a_name_that_fails_half_way_leaves_nothing(
    kit: Kit, home: Path, program, backend: str
) -> None:
    env = {"ALTSEM_BACKEND": backend}
    assert program("print(kit.named('create', 'old', SEM, 1, 1)[0])", env=env) == "0\n"
    assert program(FAILURES, home, env=env) == "good\n"
    assert call(kit, "unlink", "old") == OK


def test_a_name_whose_path_is_too_long_for_the_system_works(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is just not too long."""
    place = str(tmp_path)
    room = 4095 - len(f"/altsem-{os.geteuid()}")
    while len(place) < room - 1:
        place += "/" + "d" * min(200, room - len(place) - 1)
    os.makedirs(place)
    monkeypatch.setenv("ALTSEM_DIR", place)
    error, sem = create(kit, "n", SEM, 3)
    assert error == OK and sem is not None and sem.sem_value() == 3
    assert kit.named("open", "n", SEM)[0] == OK
    # A part of the path names another file, which nobody is to open.
    assert kit.lib.altsem_segment_reopen(sem.segment) == ENOENT
    assert call(kit, "unlink", "n") == OK


# --- a hostile file -------------------------------------------------------------------------------


def place_symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def place_dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def place_socket(path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)
    os.fchdir(here)
    os.close(here)


@pytest.mark.limit(60)
@pytest.mark.parametrize(
    ("place", "error"),
    [
        (place_symlink, ELOOP),
        (place_dangling, ELOOP),
        (Path.mkdir, EBADMSG),
        (os.mkfifo, EBADMSG),
        (place_socket, EBADMSG),
    ],
)
def test_what_is_no_file_is_neither_opened_nor_removed_nor_waited_for(
    kit: Kit, made: Path, place: Callable[[Path], None], error: int
) -> None:
    place(made / "sem.n")
    assert everything(kit, "n") == (error, OK, EEXIST, EBADMSG)
    path = made / "sem.n"
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_a_damaged_file_is_refused(kit: Kit, made: Path) -> None:
    create(kit, "n")
    path = made / "sem.n"
    data = bytearray(path.read_bytes())
    assert len(data) == PAGE
    path.unlink()
    data[kit.lib.at_header_id] ^= 1  # or it is found to be mapped already

    def opened(content: bytes) -> int:
        path.write_bytes(content)
        path.chmod(0o600)
        return int(kit.named("open", "n", SEM)[0])

    def changed(field: str, value: int) -> bytes:
        at = getattr(kit.lib, f"at_header_{field}")
        return bytes(data[:at]) + value.to_bytes(4, "little") + bytes(data[at + 4 :])

    assert opened(data) == OK
    kit.things[-1].free()
    assert [opened(data[:size]) for size in (0, 1, 127, 128, PAGE - 1)] == [EBADMSG] * 5
    assert opened(bytes(PAGE)) == opened(os.urandom(PAGE)) == opened(data + b"x") == EBADMSG
    for field in ("magic", "size", "slots"):
        assert opened(changed(field, 1)) == EBADMSG
    assert opened(changed("layout", 99)) == EPROTONOSUPPORT
    assert opened(changed("backend", 99)) == EXDEV
    free = bytes(data[:128]) + bytes(PAGE - 128)
    assert opened(free) == EBADMSG
    assert (call(kit, "exists", "n"), call(kit, "unlink", "n")) == (OK, OK)


NOT_CHOSEN = """
def told():
    return lib.altsem_backend_reason()
assert kit.named("open", "n", SEM)[0] == EBADMSG and told() == ffi.NULL
assert kit.named("create", "n", SEM, 0, 1)[0] == EEXIST and told() == ffi.NULL
assert lib.altsem_segment_count() == 0
print(open(sys.argv[1], "rb").read())
print(kit.named("open", "n", LOCK)[0], ffi.string(lib.altsem_backend(ffi.new("int *"))).decode())
"""


def test_a_name_that_is_refused_does_not_choose_the_backend_and_is_not_touched(
    kit: Kit, home: Path, program
) -> None:
    """Who finds a name taken opens it next, and has to be free to follow it."""
    make = "print(kit.named('create', 'n', LOCK, 1, 1)[0])"
    assert program(make, env={"ALTSEM_BACKEND": "filelock"}) == "0\n"
    path = home / "sem.n"
    with path.open("r+b") as file:  # of another PID namespace: who accepts it leaves a mark in it
        os.pwrite(file.fileno(), b"abcd", kit.lib.at_header_pid_namespace)
    before = path.read_bytes()
    said = program(NOT_CHOSEN, path, env={"ALTSEM_BACKEND": "futex"}).splitlines()
    assert said == [repr(before), "0 filelock"]
    assert path.read_bytes() != before
    assert call(kit, "unlink", "n") == OK


def test_a_file_that_is_shortened_while_it_is_in_use_is_no_crash(
    kit: Kit, made: Path, crew: Crew
) -> None:
    """As long as a byte is left: then the page is still there."""
    _, sem = create(kit, "n", SEM, 3)

    def work(size: int) -> tuple[int, ...]:
        os.truncate(made / "sem.n", size)
        again = kit.named("open", "n", SEM)[0]
        return sem.sem_value(), sem.post(), sem.sem_try(), sem.sem_wait(PAST), again

    for size in (PAGE - 1, 128, 1):
        left = 3 if size > 128 else 0
        expected = left, OK, OK, OK if left else ETIMEDOUT, EBADMSG
        assert crew.child(work, size).result() == expected
        sem.poke("word", 3)
    assert call(kit, "unlink", "n") == OK


def test_a_file_that_was_emptied_can_still_be_let_go(kit: Kit, made: Path, program) -> None:
    code = """
import os
_, sem = kit.named("create", "n", SEM, 3, 7)
os.truncate(sys.argv[1], 0)
sem.free()
print(kit.named("open", "n", SEM)[0], lib.altsem_segment_count())
"""
    said = program(code, made / "sem.n", env={"ALTSEM_BACKEND": "futex"})
    assert said.split() == [str(EBADMSG), "0"]
    assert call(kit, "unlink", "n") == OK


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o601, 0o777])
def test_a_file_that_others_may_touch_is_refused(kit: Kit, made: Path, mode: int) -> None:
    create(kit, "n")
    (made / "sem.n").chmod(mode)
    assert kit.named("open", "n", SEM)[0] == EPERM
    assert call(kit, "unlink", "n") == OK


@root_only
def test_a_file_of_somebody_else_is_refused(kit: Kit, made: Path) -> None:
    create(kit, "n")
    os.chown(made / "sem.n", 65534, 65534)
    assert kit.named("open", "n", SEM)[0] == EPERM
    assert (create(kit, "n")[0], call(kit, "unlink", "n")) == (EEXIST, OK)


# --- a hostile directory --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777, 0o710, 0o701, 0o500])
def test_a_directory_that_others_may_enter_is_refused(kit: Kit, made: Path, mode: int) -> None:
    made.chmod(mode)
    assert everything(kit, "n") == (EPERM,) * 4
    assert made.stat().st_mode & 0o7777 == mode and not list(made.iterdir())


@pytest.mark.parametrize("what", ["symlink", "dangling", "file", "fifo"])
def test_what_is_no_directory_of_ours_is_refused(
    kit: Kit, home: Path, tmp_path: Path, what: str
) -> None:
    """Not passed over either: that would let a stranger choose where our names are."""
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    if what == "symlink":
        home.symlink_to(real)
    elif what == "dangling":
        home.symlink_to(tmp_path / "nowhere")
    elif what == "file":
        home.touch()
    else:
        os.mkfifo(home)
    assert everything(kit, "n") == (EPERM,) * 4
    assert not list(real.iterdir())
    home.unlink()


@root_only
def test_a_directory_of_somebody_else_is_refused(kit: Kit, made: Path) -> None:
    os.chown(made, 65534, 65534)
    assert everything(kit, "n") == (EPERM,) * 4


@root_only
def test_a_candidate_that_we_cannot_enter_is_passed_over(
    kit: Kit, tmp_path: Path, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the XDG_RUNTIME_DIR that su kept."""
    closed, open_ = tmp_path / "closed", tmp_path / "open"
    closed.mkdir(mode=0o700)
    open_.mkdir(mode=0o777)
    open_.chmod(0o777)
    monkeypatch.setenv("ALTSEM_DIR", str(closed))
    # pytest's own directories are closed to others: seen from inside.
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setenv("TMPDIR", ".")

    def work() -> tuple[int, ...]:
        os.chdir(open_)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        return everything(kit, "n")

    assert crew.child(work).result() == (ENOENT, ENOENT, OK, OK)


def test_a_candidate_that_is_no_directory_is_passed_over(
    kit: Kit, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, wrong in (("ALTSEM_DIR", tmp_path / "missing"), ("XDG_RUNTIME_DIR", __file__)):
        monkeypatch.setenv(name, str(wrong))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert create(kit, "n")[0] == OK
    assert everything(kit, "n") == (OK, OK, EEXIST, OK)


def test_a_name_is_found_wherever_it_is(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And taken there is taken: an open would find the first of two."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    monkeypatch.setenv("TMPDIR", str(two))
    assert create(kit, "n")[0] == OK
    monkeypatch.setenv("ALTSEM_DIR", str(one))
    assert create(kit, "m")[0] == OK
    assert everything(kit, "n") == (OK, OK, EEXIST, OK)
    assert everything(kit, "m") == (OK, OK, EEXIST, OK)


def test_an_umask_takes_nothing_away(kit: Kit, crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor from who is not root, who cannot open what its umask has closed."""

    def work() -> tuple[Any, ...]:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        home = Path(folder, f"altsem-{os.getuid()}")
        os.umask(0o777)
        error, _ = create(kit, "n")
        modes = [path.stat().st_mode & 0o7777 for path in (home, home / "sem.n")]
        return error, modes, kit.named("open", "n", SEM)[0], call(kit, "unlink", "n")

    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        monkeypatch.setenv("ALTSEM_DIR", folder)
        assert crew.child(work).result() == (OK, [0o700, 0o600], OK, OK)
        assert os.listdir(folder) == []


def test_no_descriptor_left_is_not_taken_for_a_strange_directory(
    kit: Kit, made: Path, crew: Crew
) -> None:
    def work() -> tuple[int, int]:
        import resource

        lowest = os.open("/", os.O_RDONLY)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, lowest))
        return kit.named("open", "n", SEM)[0], shm(kit, "n", os.O_RDWR)

    assert made.is_dir()
    assert crew.child(work).result() == (EMFILE, EMFILE)


# --- shared memory with a name --------------------------------------------------------------------


def shm(kit: Kit, name: str, flags: int) -> int:
    return int(kit.lib.altsem_shm_open(os.fsencode(name), flags))


def test_named_memory_is_made_opened_and_removed(kit: Kit, home: Path) -> None:
    both = os.O_RDWR | os.O_CREAT | os.O_EXCL
    assert shm(kit, "n", os.O_RDWR) == ENOENT
    fd = shm(kit, "/n", both)
    assert fd >= 0 and not os.get_inheritable(fd) and os.fstat(fd).st_size == 0
    assert os.fstat(fd).st_mode & 0o7777 == 0o600
    os.write(fd, b"here")
    assert shm(kit, "n", both) == EEXIST
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
        again = shm(kit, "n", flags)
        assert os.read(again, 9) == b"here"
        os.close(again)
    os.close(shm(kit, "n", os.O_RDWR | os.O_TRUNC))
    assert os.fstat(fd).st_size == 0
    os.close(fd)
    assert kit.lib.altsem_shm_unlink(b"n") == OK
    assert kit.lib.altsem_shm_unlink(b"n") == ENOENT


def test_who_would_create_named_memory_is_never_told_that_there_is_none(
    kit: Kit, home: Path, crew: Crew
) -> None:
    """Another process makes and removes the same name meanwhile."""
    stop = kit.event()

    def disturb() -> None:
        while not stop.event_is_set():
            os.close(shm(kit, "n", os.O_RDWR | os.O_CREAT))
            kit.lib.altsem_shm_unlink(b"n")

    child = crew.child(disturb)
    found = []
    for _ in range(5000):
        found.append(shm(kit, "n", os.O_RDWR | os.O_CREAT))
        if found[-1] >= 0:
            os.close(found[-1])
        kit.lib.altsem_shm_unlink(b"n")
    stop.event_set()
    child.result()
    kit.lib.altsem_shm_unlink(b"n")
    assert min(found) >= 0


@pytest.mark.parametrize("flags", [os.O_APPEND, os.O_DIRECTORY, os.O_NONBLOCK, os.O_CLOEXEC])
def test_named_memory_with_other_flags_is_refused(kit: Kit, home: Path, flags: int) -> None:
    assert shm(kit, "n", os.O_RDWR | os.O_CREAT | flags) == EINVAL and not home.exists()


@pytest.mark.parametrize("mode", [os.O_WRONLY, os.O_ACCMODE])
@pytest.mark.parametrize("more", [0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC])
def test_named_memory_that_could_not_be_read_is_refused(
    kit: Kit, made: Path, mode: int, more: int
) -> None:
    """As shm_open does: it is there to be mapped."""
    (made / "shm.there").touch(mode=0o600)
    for name in ("there", "new"):
        assert shm(kit, name, mode | more) == EINVAL
    assert [path.name for path in made.iterdir()] == ["shm.there"]
    assert kit.lib.altsem_shm_unlink(b"there") == OK


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o777])
def test_named_memory_is_opened_whatever_mode_the_program_has_given_it(
    kit: Kit, made: Path, mode: int
) -> None:
    """By fchmod(), as Boost.Interprocess does with all that it makes."""
    fd = shm(kit, "n", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.fchmod(fd, mode)
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
        again = shm(kit, "n", flags)
        assert again >= 0
        assert os.path.sameopenfile(fd, again)
        os.close(again)
    assert os.fstat(fd).st_mode & 0o7777 == mode
    os.close(fd)
    assert kit.lib.altsem_shm_unlink(b"n") == OK


@root_only
def test_named_memory_of_somebody_else_is_refused(kit: Kit, made: Path) -> None:
    (made / "shm.n").touch(mode=0o666)
    os.chown(made / "shm.n", 65534, 65534)
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
        assert shm(kit, "n", flags) == EPERM
    assert kit.lib.altsem_shm_unlink(b"n") == OK


def test_hostile_named_memory_is_refused(kit: Kit, made: Path) -> None:
    for name in ("", "a/b"):
        assert shm(kit, name, os.O_RDWR) == EINVAL
        assert kit.lib.altsem_shm_unlink(name.encode()) == EINVAL
    assert shm(kit, "x" * 300, os.O_RDWR) == ENAMETOOLONG
    place_symlink(made / "shm.link")
    os.mkfifo(made / "shm.fifo")
    for name, error in (("link", ELOOP), ("fifo", EBADMSG)):
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
            assert shm(kit, name, flags) == error
        assert shm(kit, name, os.O_RDWR | os.O_CREAT | os.O_EXCL) == EEXIST
        assert kit.lib.altsem_shm_unlink(name.encode()) == EBADMSG
    for path in made.iterdir():
        path.unlink()
