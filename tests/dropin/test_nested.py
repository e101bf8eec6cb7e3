"""The drop-in within the drop-in: `run` in `run`, in an enabled interpreter, `install()` in both.

What is ours is never tried instead of the system's own, and what an ancestor has replaced stays so.
"""

from __future__ import annotations

import json
import subprocess
import textwrap
from pathlib import Path

import pytest

import dropin_support as dropin
from altsem.dropin import VARIABLE

# Each part is used, by this process and by a spawned child that has to find what the parent made.
PROGRAM = """
import multiprocessing, os, sys
from multiprocessing.shared_memory import SharedMemory

def child(lock, name, value):
    memory = SharedMemory(name)
    with lock:
        memory.buf[0] += 1
        value.value += 1
    memory.close()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    lock, value = context.Lock(), context.Value("i", 1)
    memory = SharedMemory(create=True, size=100_000)
    memory.buf[:] = bytes(len(memory.buf))
    process = context.Process(target=child, args=(lock, memory.name, value))
    process.start()
    process.join()
    print(process.exitcode, memory.buf[0], value.value)
    memory.close()
    memory.unlink()
"""
WORKED = (0, "0 1 2\n", "")
RUN = ("-m", "altsem", "run")


@pytest.fixture(scope="module")
def enabled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("enabled")
    python = dropin.make_python(folder)
    done = dropin.run(python, "-m", "altsem", "enable", "--site", dropin.site_of(folder))
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return dropin.make_python(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("bed", ["gone", "full-page"])
@pytest.mark.parametrize("words", [RUN, (*RUN, *RUN), (*RUN, *RUN, *RUN)], ids=["1", "2", "3"])
def test_run_within_run_keeps_all_that_is_replaced(
    words: tuple[str, ...], bed: str, plain: str, program: Path
) -> None:
    # The inner ones are those of the interpreter that the outer one becomes.
    assert outcome(dropin.run(plain, *words, program, bed=bed)) == WORKED


@pytest.mark.parametrize("bed", ["gone", "full-page"])
def test_run_in_an_enabled_interpreter_replaces_all_that_fails(
    bed: str, enabled: str, program: Path
) -> None:
    assert outcome(dropin.run(enabled, *RUN, program, bed=bed)) == WORKED


@pytest.mark.parametrize("words", [(), RUN], ids=["enabled", "run"])
def test_install_in_a_program_that_is_started_with_it_changes_nothing(
    words: tuple[str, ...], enabled: str, program: Path
) -> None:
    code = (
        f"import os, multiprocessing; parts = os.environ[{VARIABLE!r}]\n"
        f"import altsem; assert altsem.install(); assert os.environ[{VARIABLE!r}] == parts\n"
        "assert {'arenas', 'memory', 'semaphores'} <= set(parts.split()), parts\n"
    )
    program.write_text(code + PROGRAM)
    assert outcome(dropin.run(enabled, *words, program, bed="gone")) == WORKED


@dropin.needs_native
def test_force_within_a_program_that_has_replaced_nothing_replaces_all(
    enabled: str, program: Path
) -> None:
    assert outcome(dropin.run(enabled, *RUN, *RUN, "--force", program)) == WORKED
    code = f"import os; print(sorted(os.environ[{VARIABLE!r}].split()[1:]))"
    done = dropin.run(enabled, *RUN, "--force", *RUN, "-c", code)
    assert outcome(done) == (0, "['arenas', 'memory', 'reserve', 'semaphores']\n", "")


@pytest.mark.parametrize("words", [(), RUN], ids=["enabled", "run"])
def test_status_and_doctor_try_the_real_ones_and_say_that_it_is_enabled(
    words: tuple[str, ...], enabled: str
) -> None:
    site = dropin.site_of(Path(enabled).parents[1])
    status = dropin.run(enabled, *words, "-m", "altsem", "status", "--site", site, bed="gone")
    assert status.returncode == 0
    said = dict(line.split(maxsplit=1) for line in status.stdout.splitlines() if line[0] != " ")
    assert str(site / "altsem.pth") in said["enabled"]
    assert set(said["replaced"].split(", ")) >= {"arenas", "memory", "semaphores"}
    for part in ("memory", "arenas"):
        assert said[part].startswith("fail: [Errno 2]"), status.stdout
    assert said["semaphores"].startswith(("fail: [Errno 2]", "fail: this interpreter was built"))

    doctor = dropin.run(enabled, *words, "-m", "altsem", "doctor", "--json", bed="gone")
    told = json.loads(doctor.stdout)
    assert told["verdict"]["native"] is False and doctor.returncode == 1
    (row,) = (one for one in told["checks"] if one["name"] == "drop-in")
    assert str(site / "altsem.pth") in row["answer"]
    assert "replaced: arenas, memory" in row["answer"]


@dropin.needs_native
def test_what_an_ancestor_replaced_is_replaced_although_it_works(plain: str, program: Path) -> None:
    # As a descendant that runs where there is a /dev/shm again.
    code = f"import os; print(*sorted(os.environ[{VARIABLE!r}].split()))"
    done = dropin.run(plain, *RUN, "-c", code, env={VARIABLE: "altsem semaphores arenas"})
    assert outcome(done) == (0, "altsem arenas semaphores\n", "")


COPIES = textwrap.dedent(
    """
    import importlib, os, sys
    one, two = (importlib.import_module(name) for name in ("altsem", "acme.one.altsem"))
    import _multiprocessing
    native = _multiprocessing.SemLock
    assert one.install(force=True) and _multiprocessing.SemLock.__module__ == "altsem._core"
    environment = dict(os.environ)
    assert two.install() is True  # it is in place, under another name
    assert _multiprocessing.SemLock.__module__ == "altsem._core"
    assert dict(os.environ) == environment
    # Forced, it goes over the first; taken away in whatever order, nothing of either is left.
    assert two.install(force=True)
    assert _multiprocessing.SemLock.__module__ == "acme.one.altsem._core"
    first, second = (one, two) if sys.argv[1] == "oldest" else (two, one)
    first.uninstall()
    second.uninstall()
    if sys.argv[1] == "newest":
        assert _multiprocessing.SemLock is native
        assert "ALTSEM_DROPIN" not in os.environ
    import multiprocessing
    multiprocessing.get_context("spawn").Lock().acquire()
    """
)


@dropin.needs_native
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_second_copy_leaves_what_the_first_has_replaced(
    order: str, tmp_path: Path, plain: str
) -> None:
    env = dropin.vendor(tmp_path, "one")
    (tmp_path / "copies.py").write_text(COPIES)
    done = dropin.run(plain, tmp_path / "copies.py", order, env=env)
    assert outcome(done) == (0, "", "")


@pytest.mark.parametrize("names", [("one",), ("one", "two")], ids=["two copies", "three copies"])
def test_of_several_copies_at_work_in_one_process_one_takes_over(
    names: tuple[str, ...], tmp_path: Path, plain: str, program: Path
) -> None:
    env = dropin.vendor(tmp_path, *names)
    roots = [*(f"acme.{name}.altsem" for name in names), "altsem"]
    start = textwrap.dedent(
        f"""
        import importlib
        for root in {roots}:
            importlib.import_module(f"{{root}}.dropin.startup").auto()
        import _multiprocessing, _posixshmem
        found = {{_multiprocessing.SemLock.__module__, _posixshmem.shm_open.__module__}}
        assert len(found) == 1 and found < {{f"{{root}}._core" for root in {roots}}}, found
        """
    )
    program.write_text(start + PROGRAM)
    assert outcome(dropin.run(plain, program, bed="gone", env=env)) == WORKED


def test_a_descendant_of_a_vendored_copy_is_that_copys_in_an_enabled_interpreter(
    plain: str, enabled: str, tmp_path: Path
) -> None:
    env = dropin.vendor(tmp_path, "one")
    code = "import _multiprocessing; print(_multiprocessing.SemLock.__module__)"
    program = (
        "import acme.one.altsem as a, os, subprocess, sys; a.install(); sys.stdout.flush()\n"
        f"subprocess.run([{enabled!r}, '-c', {code!r}])\n"
        # One that cannot know where that copy is: the parts are replaced all the same.
        f"subprocess.run([{enabled!r}, '-I', '-c', {code!r}])\n"
    )
    done = dropin.run(plain, "-c", program, env=env, bed="gone")
    assert outcome(done) == (0, "acme.one.altsem._core\naltsem._core\n", "")
