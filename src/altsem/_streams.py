"""Standard output and error of the commands, which may be closed, full, or read by nobody.

A command must do what it does, and end with the status that it has found out, whatever becomes of
what it says.  So while one runs, writing to these streams never raises; at the end `Streams.status`
says whether anything got lost.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

CANNOT_WRITE = 74  # EX_IOERR of sysexits.h
MOST = 1 << 16  # characters kept back


class Stream(io.TextIOBase):
    """Writes to a descriptor; where there is none, to nowhere.

    What its encoding does not have is escaped.  Keeps text back until it is flushed, ends a line on
    a terminal, or has become much.  After the first error all goes nowhere; `lost` is that error.
    """

    def __init__(self, fd: int | None, encoding: str, patient: bool) -> None:
        self.lost: OSError | None = None
        self._fd = fd
        self._encoding = encoding
        self._patient = patient and not self.isatty()
        self._kept: list[str] = []
        self._length = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._fd is None:
            raise io.UnsupportedOperation("there is no such stream")
        return self._fd

    def isatty(self) -> bool:
        return self._fd is not None and os.isatty(self._fd)

    def write(self, text: str) -> int:
        self._kept.append(text)
        self._length += len(text)
        if self._length > MOST or (not self._patient and "\n" in text):
            self.flush()
        return len(text)

    def flush(self) -> None:
        data = "".join(self._kept).encode(self._encoding, self.errors)
        self._kept.clear()
        self._length = 0
        if self._fd is None or self.lost is not None:
            return
        try:
            while data:
                # Somebody may have made the pipe or the terminal one that does not wait.
                select.select([], [self._fd], [])
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self.lost = error


class Streams:
    """Those that a command writes to."""

    def __init__(self) -> None:
        self.out = _stream(sys.stdout, patient=True)
        self.err = _stream(sys.stderr, patient=False)

    def status(self, found: int, who: str) -> int:
        """What to exit with, if the command has found `found`.

        Output that was closed from the first, or whose reader has left, nobody misses.
        """
        self.out.flush()
        lost = self.out.lost
        if lost is None or lost.errno == errno.EPIPE:
            return found
        self.err.write(f"{who}: the output could not be written: {lost.strerror}\n")
        return CANNOT_WRITE


@contextlib.contextmanager
def in_place() -> Iterator[Streams]:
    """Has `print` and all else write to such streams."""
    _fill()
    before = sys.stdout, sys.stderr
    streams = Streams()
    sys.stdout, sys.stderr = streams.out, streams.err
    try:
        yield streams
    finally:
        streams.out.flush()
        streams.err.flush()
        sys.stdout, sys.stderr = before


def _stream(before: TextIO | None, patient: bool) -> Stream:
    fd = None
    if before is not None:
        with contextlib.suppress(OSError, ValueError):
            before.flush()
            fd = before.fileno()
    return Stream(fd, getattr(before, "encoding", None) or "ascii", patient)


def _fill() -> None:
    """Takes those of the first three descriptors that are closed, or else the next file that is
    opened for something else would be what others write their output to.  A program that is
    executed does not get them."""
    with contextlib.suppress(OSError):
        while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) < 3:
            pass
        os.close(fd)
