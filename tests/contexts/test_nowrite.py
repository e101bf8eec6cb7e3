"""Where no file can be made, or where the temporary directory is too deep for a socket's address.

Each program runs in a sandbox that refuses to make files and directories.  What needs a directory
is the fork server, and whatever multiprocessing lets listen at a socket.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import confine
from altsem.context import sockets

pytestmark = pytest.mark.limit(60)

sandboxed = pytest.mark.skipif(
    not confine.can_refuse(), reason="no table of system calls for this machine"
)

EVERYTHING = """
import altsem, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

def work(lock, value, queue, back):
    with lock:
        value.value += 1
    for sent in iter(queue.get, None):
        with sent:
            back.put(sent)

def use(lock):
    with lock:
        return altsem.Lock()

def square(x):
    return x * x

def apart():
    return [altsem.Lock() for _ in range(200)][-1]

if __name__ == "__main__":
    name = sys.argv[1]
    ctx = multiprocessing.get_context(name)
    print(ctx.get_start_method())
    lock, value, queue, back = ctx.Lock(), ctx.Value("i", 0), ctx.Queue(), ctx.Queue()
    process = ctx.Process(target=work, args=(lock, value, queue, back), daemon=True)
    process.start()
    sent = apart()
    queue.put(sent)
    again = back.get(timeout=30)
    with again:
        print("queue", sent.locked())
    queue.put(None)
    process.join()
    with ctx.Pool(2) as pool:
        print("pool", pool.map(square, [1, 2, 3]), value.value)
        for made in pool.map(use, [apart() for _ in range(4)]):
            with made:
                pass
        pool.close()
        pool.join()
    with ProcessPoolExecutor(1, mp_context=ctx) as executor:
        with executor.submit(use, apart()).result(30):
            print("executor")
    with ctx.Manager() as manager:
        passed = manager.Queue()
        passed.put(sent)
        with passed.get(), manager.Lock():
            print("manager", sent.locked(), manager.dict(a=1).copy())
    multiprocessing.set_start_method(name, force=True)
    with multiprocessing.Manager() as manager:
        print("default manager", list(manager.list([1])))
"""
SAID = [
    "queue True",
    "pool [1, 4, 9] 1",
    "executor",
    "manager True {'a': 1}",
    "default manager [1]",
]
DEFAULT = multiprocessing.get_all_start_methods()[0]


def run_without_files(
    tmp_path: Path, code: str, *args: str, **env: str
) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(code)
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", str(program), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=confine.no_files,
        env={**os.environ, **env},
    )
    try:
        out, err = process.communicate(timeout=50)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"it hangs, having said: {out}\n{err}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@sandboxed
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_everything_works_where_no_file_can_be_made(tmp_path: Path, method: str) -> None:
    done = run_without_files(tmp_path, EVERYTHING, f"altsem-{method}")
    assert (done.stdout.splitlines(), done.stderr) == ([method, *SAID], "")


@sandboxed
def test_the_default_works_where_no_file_can_be_made(tmp_path: Path) -> None:
    done = run_without_files(tmp_path, EVERYTHING, "altsem")
    method = "spawn" if DEFAULT == "forkserver" else DEFAULT
    assert (done.stdout.splitlines(), done.stderr) == ([method, *SAID], "")


# What a Python from 3.14 on says of itself.
FORKSERVER_FIRST = (
    "import multiprocessing\n"
    "multiprocessing.get_all_start_methods = lambda: ['forkserver', 'spawn', 'fork']\n"
)


@sandboxed
def test_a_default_that_cannot_work_gives_way(tmp_path: Path) -> None:
    done = run_without_files(tmp_path, FORKSERVER_FIRST + EVERYTHING, "altsem")
    assert (done.stdout.splitlines(), done.stderr) == (["spawn", *SAID], "")


WHICH = """
import altsem, multiprocessing
print(altsem.get_context().get_start_method())
print(multiprocessing.get_context("altsem") is altsem.get_context())
"""


def test_a_default_that_works_stays(run_script: Callable[..., Any], tmp_path: Path) -> None:
    too_deep = "forkserver" if hasattr(sockets.util, "_get_base_temp_dir") else "spawn"
    for temporary, method in ((tmp_path, "forkserver"), (deep(tmp_path), too_deep)):
        done = run_script(FORKSERVER_FIRST + WHICH, env={"TMPDIR": str(temporary)})
        assert (done.stdout.splitlines(), done.stderr) == ([method, "True"], "")


START = """
import altsem, sys

if __name__ == "__main__":
    ctx = altsem.get_context("forkserver")
    ctx.Lock().acquire()
    for start in (ctx.Process(target=print, args=("started",)).start, lambda: ctx.Pool(1)):
        try:
            start()
        except OSError as error:
            print(error)
"""
WHY_NOT = (
    "forkserver start method needs a directory in which it can make a socket, and there is none"
)


@sandboxed
def test_a_start_method_that_cannot_work_says_why(tmp_path: Path) -> None:
    done = run_without_files(tmp_path, START)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and done.stderr == ""
    for line in lines:
        assert WHY_NOT in line
        assert "No usable temporary directory" in line
        assert line.endswith("altsem-spawn and altsem-fork need none")


def deep(path: Path) -> Path:
    """A directory in which a socket's address is longer than the kernel takes."""
    found = path / ("d" * 100)
    found.mkdir(exist_ok=True)
    return found


@pytest.mark.skipif(
    hasattr(sockets.util, "_get_base_temp_dir"), reason="this Python takes /tmp instead"
)
def test_a_start_method_whose_address_is_too_long_says_why(
    run_script: Callable[..., Any], tmp_path: Path
) -> None:
    done = run_script(START, env={"TMPDIR": str(deep(tmp_path))})
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and done.stderr == ""
    for line in lines:
        assert WHY_NOT in line and "AF_UNIX path too long" in line


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_everything_works_in_a_deep_temporary_directory(
    run_script: Callable[..., Any], tmp_path: Path, method: str
) -> None:
    done = run_script(EVERYTHING, f"altsem-{method}", env={"TMPDIR": str(deep(tmp_path))})
    assert (done.stdout.splitlines(), done.stderr) == ([method, *SAID], "")


# --- the look at the directory --------------------------------------------------------------------


@pytest.fixture
def no_directory_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if multiprocessing had made no directory of its own so far."""
    config = sockets.process.current_process()._config  # type: ignore[attr-defined]
    monkeypatch.setitem(config, "tempdir", None)


@pytest.mark.usefixtures("no_directory_yet")
def test_a_look_for_a_directory_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert sockets.refusal() is None
    assert list(tmp_path.iterdir()) == []
    assert tempfile.tempdir is None  # the program may still say which


@pytest.mark.usefixtures("no_directory_yet")
def test_a_look_for_a_directory_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    error = sockets.refusal()
    assert error is not None and error.errno == errno.ENOENT


def test_the_directory_that_is_in_use_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = sockets.process.current_process()._config  # type: ignore[attr-defined]
    monkeypatch.setitem(config, "tempdir", str(tmp_path / "missing"))
    assert sockets.refusal() is not None
    monkeypatch.setitem(config, "tempdir", str(tmp_path / ("d" * 110)))
    (tmp_path / ("d" * 110)).mkdir()
    assert "too long" in str(sockets.refusal())
