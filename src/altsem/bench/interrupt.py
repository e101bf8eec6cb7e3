"""Ctrl-C, noticed where it is convenient: between two looks at the children.

An exception that may come anywhere could come while a child is being started or ended, and one
would be left.  So the signal only leaves a note, and whoever waits looks at it several times a
second.  The children never get it: they are started while it is blocked, and inherit that.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The user has pressed Ctrl-C."""


class Interrupt:
    """While it is entered, SIGINT is noted.  Where it was ignored (`nohup`), it still is; outside
    the main thread nothing is changed."""

    def __init__(self) -> None:
        self._noted = False
        self._before: Any = None

    def __enter__(self) -> Self:
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        self._noted = True

    def check(self) -> None:
        """Raises Interrupted, if it is so."""
        if self._noted:
            raise Interrupted


@contextmanager
def held_back() -> Iterator[None]:
    """SIGINT waits; a child that is started meanwhile never gets it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
