"""The death of a robust lock's owner, as the next holder is told of it."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, NamedTuple

from ._owner import command
from ._text import printable

if TYPE_CHECKING:
    from ._core import SemLock


# Whose calls of acquire() are not what a warning is about.
_NOT_THE_USERS = f"{__package__}.", "multiprocessing.", "multiprocess."
# Those of them that know themselves whether they can go on (context/robust.py).
_KNOW = ".queues", ".pool", f"{__package__}.context.robust"


class OwnerDiedWarning(RuntimeWarning):
    """The process, or thread, that held a robust lock has died.  The lock is the caller's now, but
    what it protects may be half done."""


class TornMessageError(OSError):
    """A process was killed in the middle of a message of a queue, or of the tasks or results of a
    pool: nothing that comes after it can be read."""


class Death(NamedTuple):
    """An owner that died while it held a lock.

    `pid` is None if it cannot be known; `command` if there is nothing left to tell it, as of a
    zombie.
    """

    pid: int | None
    tid: int
    command: str | None

    def __str__(self) -> str:
        who = f"pid {'unknown' if self.pid is None else self.pid}, thread {self.tid}"
        return f"{who}, {printable(self.command)}" if self.command else who


def _death(pid: int, tid: int, shown: bool) -> Death:
    return Death(pid or None, tid, command(pid) if shown else None)


def death_of(lock: SemLock) -> Death | None:
    """That of which the holder, who asks, is told; None if there is none."""
    from . import _core

    told = _core.death(lock)
    return _death(*told) if told else None


def tell(lock: SemLock, pid: int, tid: int, shown: bool) -> None:
    """Called by the core, for whoever has just taken the lock.  What it raises has the lock given
    back untold."""
    level, frame, known = 2, sys._getframe(1), False
    while frame.f_back is not None:
        # Without a name is what multiprocessing.sharedctypes makes for the fields of a value.
        module = frame.f_globals.get("__name__")
        if module is not None and not module.startswith(_NOT_THE_USERS):
            break
        known = known or (module is not None and module.endswith(_KNOW))
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(
            f"the owner of this {type(lock).__name__.lstrip('_')} died while it held it "
            f"({_death(pid, tid, shown)}); what it protects may be half done",
            OwnerDiedWarning,
            stacklevel=level,
        )
    except OwnerDiedWarning as error:
        # As an error it would lose a message, or have a pool start workers for ever: nobody there
        # could say that all is well.
        if not known:
            raise
        warnings.showwarning(error, OwnerDiedWarning, frame.f_code.co_filename, frame.f_lineno)
