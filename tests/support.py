"""What the tests, and the processes they start, share.  Nothing here imports pytest: every child
of a spawn test would pay for it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altsem
from altsem import _core

METHODS = ("fork", "spawn", "forkserver")
# For whatever must happen: far beyond what it takes, only to turn a hang into a failure.
GENEROUS = 30.0


def wait_until(condition: Callable[[], Any], what: str = "", limit: float = GENEROUS) -> Any:
    """What `condition` answers, as soon as that is true."""
    deadline = time.monotonic() + limit
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {limit} s: {what or condition}"
        time.sleep(0.001)


def waiters(primitive: Any) -> int:
    """How many have announced that they wait for it: whoever is among them gets its wake-up."""
    if isinstance(primitive, altsem.Condition):
        return int(primitive._room.waiters())
    if isinstance(primitive, altsem.Barrier):
        return primitive.n_waiting
    return _core.waiters(primitive)


def wait_for_waiters(primitive: Any, number: int = 1) -> None:
    wait_until(lambda: waiters(primitive) >= number, f"{number} waiting for {primitive!r}")


def state(pid: int, thread: int | None = None) -> str:
    """The kernel's letter for what a thread does: R runs, S sleeps, T is stopped, Z has ended."""
    try:
        text = Path(f"/proc/{pid}/task/{thread or pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def wait_until_asleep(pid: int, thread: int | None = None) -> None:
    """Until it was seen asleep several times in a row; for a test that is sharper then."""
    wait_until(
        lambda: all(state(pid, thread) == "S" or time.sleep(0.0005) for _ in range(5)),
        f"process {pid} falls asleep",
    )


def reap(pid: int, limit: float = GENEROUS) -> int:
    """The exit code of a child made with os.fork()."""
    done: list[int] = []

    def ended() -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            done.append(os.waitstatus_to_exitcode(status))
        return bool(found)

    try:
        wait_until(ended, f"process {pid} ends", limit)
    except AssertionError:
        os.kill(pid, signal.SIGABRT)
        os.waitpid(pid, 0)
        raise
    return done[0]


_python = ctypes.PyDLL(None)


def fork_of_c() -> int:
    return int(_python.fork())


def bare_fork() -> int:
    """As fork(), but no handlers run; glibc has it since 2.34."""
    return int(_python._Fork())


FORKS = [os.fork, fork_of_c, *([bare_fork] if hasattr(_python, "_Fork") else [])]


def fork(run: Callable[[], object], how: Callable[[], int] = os.fork) -> int:
    """The pid of a child that multiprocessing knows nothing of; it runs, and ends with status 0."""
    pid = how()
    if pid:
        return pid
    status = 1
    try:
        run()
        status = 0
    except BaseException:  # noqa: BLE001 - a child must not go on as a second pytest
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def join(*processes: Any) -> list[int]:
    """The exit codes of multiprocessing's processes; kills those that do not end."""
    deadline = time.monotonic() + GENEROUS
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()
    return codes


def get_context(method: str) -> Any:
    return multiprocessing.get_context(f"altsem-{method}")


def no_native() -> str | None:
    """Why there is no native semaphore here to compare with; None if there is one that works."""
    import _multiprocessing

    native = getattr(_multiprocessing, "SemLock", None)
    if native is None or native.__module__ != "_multiprocessing":
        return "this interpreter was built without SemLock"
    try:
        native(1, 1, 1, f"/altsem-try-{os.getpid()}", True)
    except OSError as error:
        return f"native semaphores do not work here: {errno.errorcode[error.errno or 0]}"
    return None


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- what the workers of a pool are given to do ---

inherited: Any


def square(x: int) -> int:
    return x * x


def set_up(lock: Any) -> None:
    global inherited
    inherited = lock


def use_inherited(x: int) -> int:
    with inherited:
        return x + 1


def read_terminal(parent: int) -> str:
    """All that was written to the other end of an os.openpty(), until everybody has closed it."""
    said = b""
    with contextlib.suppress(OSError):  # that is how the end looks
        while True:
            said += os.read(parent, 65536)
    os.close(parent)
    return said.decode()
