"""Things with names are found by the whole tree of processes, whatever becomes of its variables."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import dropin_support as dropin

RUN = ("-m", "altsem", "run", "--force")
INSTALL = "import altsem; altsem.install(force=True)\n"

# A lock and a memory, for spawned children, and for one whose TMPDIR is another or none.
PROGRAM = """
import multiprocessing, os, subprocess, sys, tempfile
from multiprocessing.shared_memory import SharedMemory

LOOK = (
    "import sys; from multiprocessing.shared_memory import SharedMemory as S; "
    "m = S(sys.argv[1]); print(m.buf[0]); m.close(); "
    "from multiprocessing import resource_tracker as r; r.unregister(m._name, 'shared_memory')"
)

def child(lock, name):
    with lock:
        memory = SharedMemory(name)
        memory.buf[0] += 1
        memory.close()

def spawn(lock, name):
    process = multiprocessing.get_context("spawn").Process(target=child, args=(lock, name))
    process.start()
    process.join()
    assert process.exitcode == 0, process.exitcode

if __name__ == "__main__":
    was = os.environ["TMPDIR"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        os.environ["XDG_RUNTIME_DIR"] = folder
        lock = multiprocessing.get_context("spawn").Lock()
        memory = SharedMemory(create=True, size=16)
        memory.buf[0] = 1
        spawn(lock, memory.name)
    # The folder is gone, with all that was in it.
    os.environ["TMPDIR"] = was
    spawn(lock, memory.name)
    del os.environ["TMPDIR"], os.environ["XDG_RUNTIME_DIR"]
    spawn(lock, memory.name)
    for changes in ({}, {"TMPDIR": "/nowhere"}, {"XDG_RUNTIME_DIR": was}):
        env = {**os.environ, **changes}
        subprocess.run([sys.executable, "-c", LOOK, memory.name], env=env, check=True)
    memory.close()
    memory.unlink()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Where everything temporary goes.  Short, for the paths of sockets."""
    path = Path(tempfile.mkdtemp(prefix="p"))
    yield path
    left = [str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir()]
    for folder in [*path.rglob("*"), path][::-1]:
        if folder.is_dir():
            folder.rmdir()
    assert not left


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("bed", ["gone", ""])
@pytest.mark.parametrize("way", ["run", "install", "enable"])
def test_what_is_made_while_tmpdir_is_another_is_found_afterwards(
    way: str, bed: str, program: Path, place: Path, tmp_path: Path
) -> None:
    python, words = sys.executable, []
    env = {"TMPDIR": str(place)}
    if way == "run":
        words = list(RUN)
    elif way == "install":
        program.write_text(INSTALL + PROGRAM)
    else:
        python = dropin.make_python(tmp_path / "venv")
        site = dropin.site_of(tmp_path / "venv")
        assert dropin.run(python, "-m", "altsem", "enable", "--site", site).returncode == 0
        env["ALTSEM"] = "always"
    done = dropin.run(python, *words, program, bed=bed, env=env)
    assert outcome(done) == (0, "4\n" * 3, "")


def test_a_directory_that_is_named_relatively_is_found_from_elsewhere(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.parent)
    code = INSTALL + textwrap.dedent(
        """
        import os, multiprocessing
        lock = multiprocessing.get_context("spawn").Lock()
        os.chdir("/")
        own = lock._semlock
        type(own)._rebuild(own.handle, own.kind, own.maxvalue, own.name).acquire()
        assert not lock.acquire(False)
        print(os.environ["ALTSEM_DIR"])
        """
    )
    for variable in ("TMPDIR", "ALTSEM_DIR"):
        env = {"TMPDIR": str(place), variable: place.name}
        done = dropin.run(sys.executable, "-c", code, env=env)
        assert outcome(done) == (0, f"{place}\n", "")


def test_uninstall_gives_the_variable_back_and_nothing_is_left_in_the_directory(
    place: Path,
) -> None:
    code = (
        "import os; before = dict(os.environ)\n" + INSTALL + "assert os.environ['ALTSEM_DIR']\n"
        "altsem.uninstall(); assert dict(os.environ) == before\n"
    )
    for changes in ({}, {"ALTSEM_DIR": str(place)}):
        env = {"TMPDIR": str(place), **changes}
        done = dropin.run(sys.executable, "-c", code, env=env)
        assert outcome(done) == (0, "", "")
        assert not os.listdir(place)


def test_a_directory_that_does_not_work_is_passed_over(place: Path, tmp_path: Path) -> None:
    code = INSTALL + "import os; print(os.environ['ALTSEM_DIR'])"
    env = {"XDG_RUNTIME_DIR": str(tmp_path / "missing"), "TMPDIR": str(place)}
    done = dropin.run(sys.executable, "-c", code, env=env)
    assert outcome(done) == (0, f"{place}\n", "")
