"""Who holds a lock: alive or dead, and what it runs.

Never a guess: the core judges by proof only (csrc/process/judge.c); None is where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ._text import printable

if TYPE_CHECKING:
    from ._core import Primitive


class Owner(NamedTuple):
    """Who holds a lock.

    `pid` is None if it cannot be known.  `alive`: whether that process still lives; None if it
    cannot be judged from here, as in another PID namespace.  `thread_alive` likewise for the thread
    `tid`: it may have ended in a living process, and another may still release the lock.  `command`
    is None if the process is gone (a zombie still has a name) or not to be judged.
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
            return "thread ended" if self.thread_alive is False else "cannot be judged"
        if not self.alive:
            return "dead"
        return "alive" if self.thread_alive is not False else "thread ended"


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


TID = 0x3FFFFF  # of the token of an owner (csrc/word.h)


def judge(token: int, holder: int, where: int) -> Owner:
    """The owner with that token and identity `holder` (0: not known), both as in the PID namespace
    `where` (0: in several, or not known)."""
    from . import _core

    pid, alive, thread_alive, shown = _core.judge(token, holder, where)
    return Owner(pid, token & TID, alive, thread_alive, command(pid) if pid and shown else None)


def owner_of(lock: Primitive) -> Owner | None:
    """Who holds a lock of ours; None if nobody does."""
    from . import _core

    held = _core.holder(lock)
    return None if held is None else judge(*held)
