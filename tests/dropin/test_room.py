"""Where /dev/shm is small or nearly full: altsem takes over in time, and nothing ends in SIGBUS."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

import dropin_support as dropin
from altsem.dropin import VARIABLE, decision, native

RUN = ("-m", "altsem", "run")
INSTALL = "import altsem; altsem.install()\n"
STATUS = 5

PROGRAM = f"""
import concurrent.futures, multiprocessing, sys
from multiprocessing.shared_memory import SharedMemory

def fill(name, array):
    memory = SharedMemory(name)
    memory.buf[:] = b"x" * len(memory.buf)
    memory.close()
    array[:] = [7] * len(array)

def square(x):
    return x * x

if __name__ == "__main__":
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        queues = [context.Queue() for _ in range(30)]
        for number, queue in enumerate(queues):
            queue.put(number)
        assert [queue.get(timeout=30) for queue in queues] == list(range(30))
        array = context.Array("i", 100_000)
        memory = SharedMemory(create=True, size=200_000)
        child = context.Process(target=fill, args=(memory.name, array))
        child.start()
        child.join()
        assert child.exitcode == 0, child.exitcode
        assert bytes(memory.buf) == b"x" * len(memory.buf) and set(array) == {{7}}
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            assert list(executor.map(square, range(4))) == [0, 1, 4, 9]
        memory.close()
        memory.unlink()
    sys.exit({STATUS})
"""

LARGE = """
import multiprocessing, sys
from multiprocessing.shared_memory import SharedMemory

if __name__ == "__main__":
    size = 100 << 20
    array = multiprocessing.get_context("fork").RawArray("b", size)
    array[::4096] = bytes(len(range(0, size, 4096)))
    try:
        memory = SharedMemory(create=True, size=size)
    except OSError as error:
        print(error.errno, [word for word in ("ALTSEM=always", "ALTSEM_DIR") if word in str(error)])
    else:
        memory.buf[::4096] = bytes(len(range(0, len(memory.buf), 4096)))
        memory.close()
        memory.unlink()
        print("large enough")
    # What does fit is to be had.
    memory = SharedMemory(create=True, size=1 << 20)
    memory.buf[:] = bytes(len(memory.buf))
    memory.close()
    memory.unlink()
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return dropin.make_python(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def enabled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("enabled")
    python = dropin.make_python(folder)
    done = dropin.run(python, "-m", "altsem", "enable", "--site", dropin.site_of(folder))
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return tmp_path / "program.py"


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


WAYS = ["run", "install", "enable"]


def start(
    way: str, code: str, program: Path, plain: str, enabled: str, bed: str, **env: str
) -> subprocess.CompletedProcess[str]:
    program.write_text((INSTALL if way == "install" else "") + code)
    words = RUN if way == "run" else ()
    python = enabled if way == "enable" else plain
    return dropin.run(python, *words, program, bed=bed, env=env)


@pytest.mark.parametrize("bed", ["tiny", "crowded", "small", "full-inode"])
@pytest.mark.parametrize("way", WAYS)
def test_a_program_with_many_queues_and_some_memory_works_without_force(
    way: str, bed: str, program: Path, plain: str, enabled: str
) -> None:
    done = start(way, PROGRAM, program, plain, enabled, bed)
    assert outcome(done) == (STATUS, "", "")


@dropin.needs_native
def test_the_beds_are_too_small_for_it_natively(program: Path, plain: str) -> None:
    program.write_text(PROGRAM)
    for bed in ("tiny", "crowded"):
        assert dropin.run(plain, program, bed=bed).returncode != STATUS, bed
    program.write_text(LARGE)
    assert dropin.run(plain, program, bed="small").returncode == -7  # SIGBUS


@dropin.needs_native
@pytest.mark.parametrize("way", WAYS)
def test_in_a_small_place_large_arrays_work_and_large_memory_is_an_error_not_a_kill(
    way: str, program: Path, plain: str, enabled: str
) -> None:
    done = start(way, LARGE, program, plain, enabled, "small")
    assert outcome(done) == (0, f"{errno.ENOSPC} ['ALTSEM=always']\n", "")
    # What the error proposes helps.
    done = start(way, LARGE, program, plain, enabled, "small", ALTSEM="always")
    assert outcome(done) == (0, "large enough\n", "")


@pytest.mark.parametrize("way", WAYS)
def test_our_own_memory_is_reserved_too_where_its_directory_is_small(
    way: str, program: Path, plain: str, enabled: str
) -> None:
    env = {"ALTSEM": "always", "ALTSEM_DIR": "/dev/shm"}
    done = start(way, LARGE, program, plain, enabled, "small", **env)
    assert outcome(done) == (0, f"{errno.ENOSPC} ['ALTSEM_DIR']\n", "")


@dropin.needs_native
def test_in_a_small_place_semaphores_that_work_are_left_alone(enabled: str) -> None:
    code = (
        "import multiprocessing, _multiprocessing, _posixshmem, os; "
        f"print(_multiprocessing.SemLock.__module__, sorted(os.environ[{VARIABLE!r}].split()[1:]))"
    )
    expected = (0, "_multiprocessing ['arenas', 'reserve']\n", "")
    assert outcome(dropin.run(enabled, "-c", code, bed="small")) == expected
    assert outcome(dropin.run(enabled, *RUN, "-c", code, bed="small")) == expected


@pytest.mark.parametrize("bed", ["tiny", "crowded"])
def test_run_verbose_and_status_say_that_there_is_too_little_room(bed: str, plain: str) -> None:
    done = dropin.run(plain, *RUN, "--verbose", "-c", "", bed=bed)
    assert done.returncode == 0
    if not dropin.is_semless():
        assert "altsem: semaphores, memory, arenas, reserve fail: [Errno 28] only" in done.stderr
        assert native.ROOM in done.stderr and "replaced: arenas, memory, reserve" in done.stderr
        status = dropin.run(plain, "-m", "altsem", "status", bed=bed)
        assert "semaphores  fail: [Errno 28] only" in status.stdout


@dropin.needs_native
def test_how_much_room_there_has_to_be_is_for_the_user_to_say(plain: str) -> None:
    def semaphores(bed: str, *words: str, **env: str) -> str:
        code = "import _multiprocessing as m; print(m.SemLock.__module__)"
        done = dropin.run(plain, *RUN, *words, "-c", code, bed=bed, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    ours, theirs = "altsem._core", "_multiprocessing"
    assert semaphores("crowded") == ours and semaphores("small") == theirs
    for words, env in (
        ((), {native.ROOM: "50k"}),
        (("--room", "50k"), {}),
        (("--room=50000",), {}),
    ):
        assert semaphores("crowded", *words, **env) == theirs
    assert semaphores("small", "--room", "65M") == ours
    assert semaphores("tiny", "--room", "0") == theirs


@pytest.mark.parametrize("text", ["much", "-1", "1.5M", "8X", "M", "²"])
def test_an_amount_of_room_that_cannot_be_understood_is_a_clear_error(
    text: str, plain: str, enabled: str
) -> None:
    run = dropin.run(plain, *RUN, "-c", "print(1)", env={native.ROOM: text})
    assert (run.returncode, run.stdout) == (2, "")
    install = dropin.run(plain, "-c", f"{INSTALL}print(1)", env={native.ROOM: text})
    for done in (run, install):
        assert f"{native.ROOM}={text} is no amount" in done.stderr, done.stderr
    assert "Traceback" not in run.stderr and install.returncode == 1
    started = dropin.run(enabled, "-c", "import multiprocessing", env={native.ROOM: text})
    assert started.returncode == 0 and started.stderr.startswith("altsem: not installed: OSError")


@dropin.needs_native
@pytest.mark.parametrize("way", WAYS)
def test_altsem_always_takes_over_although_everything_works(
    way: str, program: Path, plain: str, enabled: str
) -> None:
    code = (
        "import multiprocessing, _multiprocessing as m, os; "
        f"print(m.SemLock.__module__, sorted(os.environ[{VARIABLE!r}].split()[1:]))"
    )
    done = start(way, code, program, plain, enabled, "", ALTSEM="always")
    everything = sorted(decision.PROBES)
    assert outcome(done) == (0, f"altsem._core {everything}\n", "")
    said = dropin.run(enabled, "-m", "altsem", "status", env={"ALTSEM": "always"}).stdout
    assert "ALTSEM=always" in said


@pytest.mark.parametrize(
    "words",
    [
        ("loky.py",),
        ("multiprocessing.py",),
        ("program.py", "multiprocessing.pool"),
        ("program.py", "from multiprocessing.spawn import spawn_main"),
        ("-W", "error", "program.py", "-m", "loky.backend.popen_loky_posix"),
        ("-m", "loky.program"),
        ("-c", "from multiprocessing.pool import ThreadPool; import program"),
    ],
    ids=str,
)
def test_a_program_is_not_taken_for_a_helper_because_of_its_name_or_its_arguments(
    words: tuple[str, ...], enabled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "import _multiprocessing as m; print(m.SemLock.__module__)"
    (tmp_path / "loky").mkdir()
    for name in ("program.py", "loky.py", "multiprocessing.py", "loky/program.py"):
        # As its name is, it must not hide the real one from the program itself.
        (tmp_path / name).write_text(f"import sys; sys.path.pop(0); import multiprocessing; {code}")
    if words[0] != "multiprocessing.py":
        (tmp_path / "multiprocessing.py").unlink()
    if words[0] == "-m":
        (tmp_path / "loky.py").unlink()
    assert outcome(dropin.run(enabled, *words, bed="tiny")) == (0, "altsem._core\n", "")


# --- a place that becomes full --------------------------------------------------------------------

FILLS = """
import multiprocessing, os

def child(lock):
    with lock:
        pass

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    lock = context.Lock()
    if "FILL" in os.environ:
        with open("/dev/shm/full", "wb") as file:
            space = os.statvfs("/dev/shm")
            file.write(bytes(space.f_bavail * space.f_frsize - int(os.environ["FILL"])))
    os.environ.update(eval(os.environ.get("MORE", "{}")))
    process = context.Process(target=child, args=(lock,))
    process.start()
    process.join()
    print(process.exitcode)
"""


@dropin.needs_native
@pytest.mark.parametrize("left", ["100000", "0"])
def test_children_of_a_program_that_has_begun_natively_go_on_natively_when_it_gets_full(
    left: str, program: Path, enabled: str
) -> None:
    program.write_text(FILLS)
    done = dropin.run(enabled, program, bed="small", env={"FILL": left})
    assert outcome(done) == (0, "0\n", "")


@dropin.needs_native
def test_so_do_the_children_where_there_was_so_much_room_that_nothing_was_noted(
    program: Path, enabled: str
) -> None:
    program.write_text(FILLS)
    # What the child finds is too little.
    more = {native.ROOM: "1000000G"}
    done = dropin.run(enabled, program, env={"MORE": repr(more)})
    assert outcome(done) == (0, "0\n", "")


# --- what is looked at ----------------------------------------------------------------------------


def space(**fields: int) -> SimpleNamespace:
    usual = {"f_frsize": 4096, "f_blocks": 1 << 20, "f_bavail": 1 << 20}
    return SimpleNamespace(**{**usual, "f_files": 1 << 20, "f_favail": 1 << 20, **fields})


@pytest.mark.parametrize(
    ("fields", "word", "small"),
    [
        ({}, None, False),
        ({"f_bavail": 2047}, "8 MB are wanted", False),
        ({"f_bavail": 2048}, None, False),
        ({"f_favail": 255}, "255 inodes", False),
        ({"f_favail": 256}, None, False),
        ({"f_blocks": 16384, "f_bavail": 16384}, None, True),
        ({"f_blocks": 1, "f_bavail": 1}, "only 4 kB", True),
        ({"f_blocks": 0, "f_bavail": 0, "f_files": 0, "f_favail": 0}, None, False),  # no limit
    ],
)
def test_room_is_for_as_many_semaphores_as_executors_demand_and_for_some_megabytes(
    fields: dict[str, int], word: str | None, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: space(**fields))
    monkeypatch.setattr("sys.platform", "linux")
    error = native.room()
    assert (error is None) == (word is None)
    assert word is None or (word in str(error) and error and error.errno == errno.ENOSPC)
    assert (native.limits() is not None) == small
    monkeypatch.setenv(native.ROOM, "0")
    assert native.room() is None and native.limits() is None


@dropin.needs_native
@pytest.mark.parametrize("answer", [PermissionError(1, "refused"), 100])
def test_a_system_that_refuses_to_say_how_many_or_allows_too_few_fails(
    answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sysconf(name: str) -> int:
        if isinstance(answer, OSError):
            raise answer
        assert isinstance(answer, int)
        return answer

    monkeypatch.setattr(os, "sysconf", sysconf)
    error = native.semaphores()
    assert isinstance(error, OSError)
    assert error is answer or "only 100 semaphores" in str(error)
