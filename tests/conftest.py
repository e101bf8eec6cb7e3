"""Every test: a hard time limit, and nothing left behind."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import leaks

LIMIT = 120.0

Script = Callable[..., "subprocess.CompletedProcess[str]"]

_stderr = pytest.StashKey[int]()
_deadline = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    # A shell has what it runs in the background ignore it, and so would the programs of the tests.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Now, while pytest does not capture: a hung test must be able to speak past the capture.
    config.stash[_stderr] = os.dup(2)


def pytest_report_header() -> str:
    how = {
        "yes": "alone: /dev/shm, /tmp and SysV semaphores are this run's own",
        "no": "not alone (no namespaces here): files of other programs may be taken for leaks",
    }
    by_hand = "not alone (run by hand): files of other programs may be taken for leaks"
    return how.get(os.environ.get("ALTSEM_TESTS_ALONE", ""), by_hand)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Locks fail by hanging, and a hang in C cannot be ended from Python: dump all stacks, exit."""
    marker = item.get_closest_marker("limit")
    seconds = float(marker.args[0]) if marker else LIMIT
    item.stash[_deadline] = time.monotonic() + seconds
    _watch(item)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """pytest has just cancelled the timer.  But what is torn down after a failure may hang, too."""
    if isinstance(node, pytest.Item):
        _watch(node)


def _watch(item: pytest.Item) -> None:
    left = max(item.stash[_deadline] - time.monotonic(), 0.001)
    faulthandler.dump_traceback_later(left, exit=True, file=item.config.stash[_stderr])


@pytest.fixture(scope="session", autouse=True)
def _session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # pytest's own directory first: it must stay where people look for it.
    base = tmp_path_factory.getbasetemp()
    # Short, because paths of sockets may have no more than 108 bytes.
    private = tempfile.mkdtemp(prefix="t-")
    patch = pytest.MonkeyPatch()
    patch.setenv("TMPDIR", private)
    patch.setattr(tempfile, "tempdir", None)
    # Tests decide for themselves what these say.
    for name in ("XDG_RUNTIME_DIR", "ALTSEM_DIR", "ALTSEM_ROBUST", "ALTSEM"):
        patch.delenv(name, raising=False)
    patch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(base / "hypothesis"))
    leaks.adopt_orphans()
    yield
    leaks.stop_helpers()
    patch.undo()
    shutil.rmtree(private)


@pytest.fixture(autouse=True)
def _nothing_left(_session: None) -> Iterator[None]:
    before = leaks.snapshot()
    yield
    left = leaks.leaked(before)
    if left:
        pytest.fail("\n".join(left), pytrace=False)


@pytest.fixture
def run_script(tmp_path: Path) -> Script:
    """Runs `code` as a program of its own: `run_script(code, *args, timeout=60, env=None)`.

    `env` is added to the environment.  A program that exceeds its time is asked for its stacks,
    then killed with everything it started, and the test fails with what they said.
    """
    number = 0

    def run(
        code: str, *args: object, timeout: float = 60, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        nonlocal number
        number += 1
        program = tmp_path / f"script{number}.py"
        program.write_text(code)
        command = [sys.executable, "-X", "faulthandler", str(program), *map(str, args)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # By the variable, not the option alone, children of the program dump theirs as well.
            env={**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})},
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            out, err = _end(process)
            pytest.fail(f"{command} ran for more than {timeout} s\n{out}\n{err}", pytrace=False)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return run


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    os.killpg(process.pid, signal.SIGABRT)
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired as still:
        # Something that left the session holds the pipes: the leak check will name it.
        return tuple(  # type: ignore[return-value]
            (text or b"").decode(errors="replace") for text in (still.stdout, still.stderr)
        )
