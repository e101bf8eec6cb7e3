"""Who a process is, told from /proc: alive or dead, and what it runs.

Never a guess.  A process is named by pid *and* start time, since pids are used again; a zombie is
dead; and what belongs to another PID namespace cannot be judged from here.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from ._text import printable

if TYPE_CHECKING:
    from ._core import Primitive

MASK = 0xFFFFFFFF


class Owner(NamedTuple):
    """Who holds a lock.

    `pid` is None if it cannot be known.  `alive`: whether that process still lives; None if it
    cannot be judged from here, as in another PID namespace.  `thread_alive` likewise for the thread
    `tid`: it may have ended in a living process, and another may still release the lock.  `command`
    is None if the process is gone or not to be judged.
    """

    pid: int | None
    tid: int
    alive: bool | None
    thread_alive: bool | None
    command: str | None

    def __str__(self) -> str:
        who = f"pid {'unknown' if self.pid is None else self.pid}, thread {self.tid}"
        return f"{who}: {self.state}{f', {printable(self.command)}' if self.command else ''}"

    @property
    def state(self) -> str:
        """In words: alive, dead, "thread ended", "cannot be judged"."""
        if self.alive is None:
            return "cannot be judged"
        if not self.alive:
            return "dead"
        return "alive" if self.thread_alive is not False else "thread ended"


def namespace() -> int:
    """The PID namespace of this process, 0 if it cannot be known."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino & MASK
    except OSError:
        return 0


def identity(pid: int) -> int:
    """pid << 32 | start time, as the core computes it; 0 if there is no such living process."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return 0
    return pid << 32 | (int(fields[19]) & MASK or 1)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third, the state, on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command before may hold anything, also a parenthesis.
            fields = file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None
    return fields if len(fields) > 19 else None


def command(pid: int) -> str | None:
    """What a process runs: its arguments, or its name in brackets; None if it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).rstrip(b"\0").split(b"\0")
        if words != [b""]:
            return b" ".join(words).decode("utf-8", "backslashreplace")
        with open(f"/proc/{pid}/comm", "rb") as file:
            return f"[{file.read().rstrip().decode('utf-8', 'backslashreplace')}]"
    except OSError:
        return None


def judge(tid: int, holder: int, where: int) -> Owner:
    """The owner with kernel thread id `tid` and identity `holder` (0: not known), both as in the
    PID namespace `where` (0: in several, or not known)."""
    pid = holder >> 32 or None
    if not where or where != namespace():
        return Owner(pid, tid, None, None, None)
    if pid is None:
        pid = _process_of(tid)
        if pid is None:  # it was killed between taking the lock and writing its name
            return Owner(None, tid, False, False, None)
        holder = identity(pid)
    if not holder or identity(pid) != holder:
        gone = _stat(pid) is None or identity(pid) not in (0, holder)
        return Owner(pid, tid, False, False, None if gone else command(pid))
    thread = os.path.exists(f"/proc/{pid}/task/{tid}")
    return Owner(pid, tid, True, thread, command(pid))


def _process_of(tid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{tid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"Tgid:"):
                return int(line.split()[1])
    return None


def owner_of(lock: Primitive) -> Owner | None:
    """Who holds a lock of ours; None if nobody does."""
    from . import _core

    held = _core.holder(lock)
    return None if held is None else judge(*held)
