"""The leak check finds leaks: each kind is left behind on purpose."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import leaks


def leave_child() -> Callable[[], object]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return process.wait


def leave_orphan() -> Callable[[], object]:
    subprocess.run(["sh", "-c", "sleep 60 & exec true"], check=True)
    return lambda: None


def leave_temporary_file() -> Callable[[], object]:
    path = Path(tempfile.mkdtemp(), "anything")
    path.touch()
    return path.unlink


def leave_public_file() -> Callable[[], object]:
    path = Path("/var/tmp", f"altsem-leak-{os.getpid()}")
    path.touch()
    return path.unlink


def leave_sysv_set() -> Callable[[], object]:
    libc = ctypes.CDLL(None, use_errno=True)
    ipc_private, ipc_rmid = 0, 0
    number = libc.semget(ipc_private, 1, 0o600)
    if number < 0:
        pytest.skip(f"no SysV semaphores here: {os.strerror(ctypes.get_errno())}")
    return lambda: libc.semctl(number, 0, ipc_rmid)


def leave_descriptors() -> Callable[[], object]:
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(leaks.DESCRIPTORS + 1)]
    return lambda: [os.close(fd) for fd in taken]


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        (leave_child, "time.sleep(60)"),
        (leave_orphan, "sleep 60"),
        (leave_temporary_file, "anything"),
        (leave_public_file, "altsem-leak-"),
        (leave_sysv_set, "SysV"),
        (leave_descriptors, "descriptors"),
    ],
)
def test_found(leave: Callable[[], Callable[[], object]], said: str) -> None:
    before = leaks.snapshot()
    tidy = leave()
    try:
        (line,) = leaks.leaked(before, grace=0.2)
        assert said in line
    finally:
        tidy()
    assert leaks.leaked(before) == []


def test_a_hung_test_ends_the_run_with_all_stacks(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from conftest_of_altsem import *\n")
    tests = Path(__file__).parents[1]
    (tmp_path / "conftest_of_altsem.py").symlink_to(tests / "conftest.py")
    (tmp_path / "test_hang.py").write_text(
        "import ctypes, pytest\n"
        "@pytest.mark.limit(1)\n"
        "def test_hang():\n"
        "    ctypes.PyDLL(None).pause()\n"  # holds the GIL: no Python code can end this
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = limit\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_hang.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in test_hang" in done.stderr


def test_a_script_that_hangs_is_ended_with_its_stacks(run_script: Callable[..., object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="in sleeper"):
        run_script("import time\ndef sleeper():\n    time.sleep(60)\nsleeper()\n", timeout=1)
