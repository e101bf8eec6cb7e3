"""Processes and threads for the tests of the core, and how to know what they are doing.

Nothing here sleeps and hopes: `until` polls a condition, with a limit far beyond what it takes.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pickle
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

PR_SET_PDEATHSIG = 1
# Far beyond what anything takes.  `make mutants`, whose runs fail for the most part, sets less.
LIMIT = float(os.environ.get("ALTSEM_TEST_PATIENCE", "30"))

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def load(path: str | Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_altsem_core", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what or condition}")
        time.sleep(0.001)


def state_of(pid: int, tid: int | None = None) -> str:
    """The letter of /proc/PID/stat: R running, S asleep, T stopped, Z dead; "" gone."""
    try:
        text = Path(f"/proc/{pid}/task/{tid or pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


class ChildError(AssertionError):
    """What went wrong in a child or a thread, with its traceback."""


class Child:
    """A forked process that runs `work` and sends back what it returned.

    It dies with the thread that made it, unless it is to be an `orphan`.
    """

    def __init__(self, work: Callable[..., Any], *args: Any, orphan: bool = False) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                if not orphan:  # no child outlives a test run that was ended
                    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                os.close(reader)
                try:
                    answer = True, work(*args)
                except BaseException:  # noqa: BLE001 - told to the parent
                    answer = False, traceback.format_exc()
                with os.fdopen(writer, "wb") as pipe:
                    pipe.write(pickle.dumps(answer))
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        self._pipe = os.fdopen(reader, "rb")
        self._status: int | None = None

    def asleep(self) -> bool:
        return state_of(self.pid) == "S"

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        self.signal(signal.SIGSTOP)
        until(lambda: state_of(self.pid) == "T", "the child stops")

    def kill(self) -> None:
        """SIGKILL, and waits for the end."""
        if self._status is None:
            self.signal(signal.SIGKILL)
            self.join()

    def join(self) -> int:
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]
        self._pipe.close()
        return self._status

    def result(self, limit: float | None = None) -> Any:
        """What the work returned.  An error if that takes longer than `limit` seconds."""
        if not select.select([self._pipe], [], [], limit)[0]:
            raise ChildError(f"the child has not answered within {limit} s")
        try:
            # Not up to the end of the pipe: a grandchild may have it open.
            good, answer = pickle.load(self._pipe)
        except EOFError:
            raise ChildError(f"the child ended without an answer: {self.join():#x}") from None
        self.join()
        if not good:
            raise ChildError(answer)
        return answer


class Task:
    """A thread that runs `work`."""

    def __init__(self, work: Callable[..., Any], *args: Any) -> None:
        self._answer: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work, *args), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[..., Any], *args: Any) -> None:
        try:
            self._answer = work(*args)
        except BaseException as error:  # noqa: BLE001 - raised by result()
            self._error = error

    def asleep(self) -> bool:
        assert self._thread.native_id is not None
        return state_of(os.getpid(), self._thread.native_id) == "S"

    def running(self) -> bool:
        return self._thread.is_alive()

    def signal(self, number: int) -> None:
        assert self._thread.ident is not None
        if self._thread.is_alive():
            signal.pthread_kill(self._thread.ident, number)

    def result(self) -> Any:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._answer


class Crew:
    def __init__(self) -> None:
        self._children: list[Child] = []
        self._tasks: list[Task] = []
        self._handlers: list[tuple[int, Any]] = []

    def child(self, work: Callable[..., Any], *args: Any) -> Child:
        self._children.append(Child(work, *args))
        return self._children[-1]

    def task(self, work: Callable[..., Any], *args: Any) -> Task:
        self._tasks.append(Task(work, *args))
        return self._tasks[-1]

    def handle(self, number: int, handler: Callable[..., Any] = lambda *_: None) -> None:
        """A handler that returns: system calls are interrupted, nothing else happens."""
        self._handlers.append((number, signal.signal(number, handler)))

    def close(self) -> None:
        for child in self._children:
            child.kill()
        for task in self._tasks:
            task._thread.join()
        for number, handler in reversed(self._handlers):
            signal.signal(number, handler)


def idle_on_one_cpu() -> None:
    """From now on runs only when nobody else wants the CPU that `alone_on_that_cpu` takes."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@contextlib.contextmanager
def on_one_cpu() -> Any:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
