"""The bar: one line of stderr, written over and over, and gone in the end."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time

MOST = 78  # columns
EVERY = 0.1  # seconds


class Bar:
    """Of a run that should take `seconds`.  Does nothing unless stderr is a terminal."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._drawn = 0
        self._next = 0.0
        self._stream = sys.stderr if _terminal() else None

    def show(self, name: str, fraction: float) -> None:
        """What is being done, and how much of all is."""
        now = time.monotonic()
        if self._stream is None or now < self._next:
            return
        self._next = now + EVERY
        text = line(name, fraction, max(0.0, self._end - now), width(self._stream.fileno()))
        self._write(f"\r{text}{' ' * (self._drawn - len(text))}")
        self._drawn = len(text)

    def erase(self) -> None:
        if self._drawn:
            # The line was made for the width it had; it may have become narrower.
            room = width(self._stream.fileno()) if self._stream else 0
            self._write(f"\r{' ' * min(self._drawn, room)}\r")
            self._drawn = 0

    def _write(self, text: str) -> None:
        try:
            assert self._stream is not None
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # the terminal is gone: nobody looks
            self._stream = None


def line(name: str, fraction: float, left: float, columns: int) -> str:
    """At most `columns` wide; what matters less goes first: the bar, then the end of the name."""
    fraction = min(1.0, max(0.0, fraction))
    tail = f"{fraction:4.0%} {math.ceil(left):3d} s left"
    room = max(0, columns - len(tail) - 1)
    name = name if len(name) <= room else name[: max(0, room - 2)] + ".."[:room]
    bar = room - max(len(name), 24) - 3
    if bar >= 5:
        full = round(bar * fraction)
        return f"[{'#' * full}{'.' * (bar - full)}] {tail}  {name}"
    return f"{tail} {name}"[:columns]


def width(fd: int) -> int:
    """Columns that may be written to without wrapping: one less than there are, as some terminals
    wrap when the last one is full."""
    try:
        columns = os.get_terminal_size(fd).columns
    except OSError:
        columns = 0
    return min(MOST, max(1, (columns or shutil.get_terminal_size().columns) - 1))


def _terminal() -> bool:
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is no stderr, or it is closed
        return False
