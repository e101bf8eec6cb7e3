"""Trying what may hang, kill or refuse: in a child, within a time limit.

Two kinds of children.  `forked` runs a function in a fork of the doctor: quick, for single system
calls.  `Started` runs one of the files in programs/ in a fresh interpreter, in which nothing of
altsem is installed: for what multiprocessing does natively, and for whole start methods.

Each child leads a session of its own.  When it ends, or its time does, the whole session goes.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
# How long helpers of a finished program (the resource tracker, the fork server) may take to notice.
PARTING = 0.5


@dataclass(frozen=True)
class Answer:
    """What came of a trial: a value, or why there is none.

    `error` is what the user would see, such as "OSError: [Errno 38] Function not implemented";
    `errno` its number, if it has one.  `silent`: there was no answer within the time.
    """

    value: Any = None
    error: str | None = None
    errno: int | None = None
    silent: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None


def failure(error: BaseException) -> dict[str, Any]:
    """An exception as a child tells it."""
    name = type(error).__name__
    return {"error": f"{name}: {error}", "errno": getattr(error, "errno", None)}


def no_answer(seconds: float) -> Answer:
    return Answer(error=f"no answer within {seconds:.1f} s", silent=True)


def of(told: Mapping[str, Any]) -> Answer:
    """What a child told, as an Answer."""
    return Answer(told.get("value"), told.get("error"), told.get("errno"))


def forked(function: Callable[..., Any], *arguments: object, limit: float) -> Answer:
    """Calls a function, whose value JSON can hold, in a child.  Never raises."""
    try:
        reader, writer = os.pipe()
    except OSError as error:
        return of(failure(error))
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        return of(failure(error))
    if pid == 0:
        _tell_and_exit(writer, function, arguments)
    os.close(writer)
    try:
        said = _read_line(reader, time.monotonic() + limit)
    finally:
        os.close(reader)
        status = _end(pid)
    if said.endswith(b"\n"):
        return of(json.loads(said))
    if status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return Answer(error=_killed(os.WTERMSIG(status)))
    return no_answer(limit)


def _tell_and_exit(writer: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        os.setsid()
        try:
            told: dict[str, Any] = {"value": function(*arguments)}
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
            told = failure(error)
        os.write(writer, json.dumps(told).encode() + b"\n")
    finally:
        os._exit(0)


def _read_line(reader: int, deadline: float) -> bytes:
    """Until a newline: grandchildren that hold the pipe may keep its end from coming."""
    said = b""
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(reader, 1 << 16) if ready else b""
        if not chunk:
            break
        said += chunk
    return said


def _end(pid: int) -> int | None:
    """Ends the child and its session; returns its wait status, None if somebody else took it."""
    # One that was killed by a signal of its own is dead by the time that its pipe is closed.
    with contextlib.suppress(ChildProcessError):
        for _ in range(20):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                _kill_group(pid)
                return status
            time.sleep(0.001)
        _kill_group(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # before it had a session
        return os.waitpid(pid, 0)[1]
    return None


def _kill_group(leader: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGKILL)


def _killed(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    hint = " (a filter of system calls kills instead of refusing)" if name == "SIGSYS" else ""
    return f"killed by {name}{hint}"


@dataclass(frozen=True)
class Program:
    """A file of programs/, what it is told, and what is changed in its environment."""

    file: str
    order: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()


class Started:
    """A program that has been started.  Never raises."""

    def __init__(self, program: Program, env: Mapping[str, str], package: str) -> None:
        self._begun = time.monotonic()
        self._answer: Answer | None = None
        order = {**dict(program.order), "package": package, "path": [p for p in sys.path if p]}
        # The drop-in stays out of it, and no file is written that was not there before.
        changes = {"ALTSEM": "0", "PYTHONDONTWRITEBYTECODE": "1", **dict(program.env)}
        try:
            if not sys.executable:
                raise FileNotFoundError("this program does not know its interpreter")
            self._process = subprocess.Popen(
                [sys.executable, os.path.join(PROGRAMS, program.file), json.dumps(order)],
                stdin=subprocess.PIPE,  # not /dev/null: there may be none
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**env, **changes},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._answer = of(failure(error))

    def answer(self, deadline: float) -> Answer:
        """What it said; waits for it until `deadline` (of time.monotonic) at most."""
        if self._answer is None:
            try:
                self._answer = self._wait(deadline)
            except Exception as error:  # noqa: BLE001 - a trial that fails is an answer too
                self._answer = of(failure(error))
        return self._answer

    def _wait(self, deadline: float) -> Answer:
        process = self._process
        silent = False
        try:
            out, err = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            silent = True
            process.kill()
            # The resource tracker removes what the program has left, if it is given the time; but
            # something else may hold the pipes for ever.
            _part(process.pid, 0.2)
            out, err = process.communicate()
        _part(process.pid, min(PARTING, max(0.0, deadline - time.monotonic())))
        for line in reversed(out.decode("utf-8", "replace").splitlines()):
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict):
                    return of(told)
        if silent:
            return no_answer(time.monotonic() - self._begun)
        if process.returncode < 0:
            return Answer(error=_killed(-process.returncode))
        last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
        return Answer(error=last[0] if last else f"ended with status {process.returncode}")


def _part(leader: int, patience: float) -> None:
    """Waits for the rest of the session to go; what stays longer is killed."""
    deadline = time.monotonic() + patience
    with contextlib.suppress(OSError):
        while True:
            os.killpg(leader, 0)
            if time.monotonic() >= deadline or not _lives(leader):
                os.killpg(leader, signal.SIGKILL)
                return
            time.sleep(0.005)


def _lives(group: int) -> bool:
    """Whether a process of the group is more than a zombie that nobody has fetched yet: the first
    process of a container often fetches none."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if int(fields[2]) == group and fields[0] not in (b"Z", b"X"):
                    return True
    return False
