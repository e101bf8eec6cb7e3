"""Which processes have a segment mapped, and a way to its bytes.

A segment is a memfd, or a file without a name: what leads to it is a descriptor of a process that
has it open (reading it takes no more than being the same user), else the mapping itself (for which
the kernel wants more).  A named semaphore is a file with a name, which nobody keeps open: the name
leads to it, as long as it is there.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


MOST = 0x7FFFFFFF  # what a number of a process can be: pid_t
_GONE = " (deleted)"  # what the kernel writes behind a name that was removed


@dataclass(frozen=True)
class Mapping:
    """A shared mapping of a whole file, in one process."""

    pid: int
    start: int
    end: int
    inode: int
    device: str
    path: str

    @property
    def is_memfd(self) -> bool:
        return self.path.startswith("/memfd:")


def has_ended(pid: int) -> bool:
    """Whether there is no such process any more, or only its zombie; or cannot be one."""
    if not 0 < pid <= MOST:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(4096).rpartition(b") ")[2][:1] in (b"Z", b"X")
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False  # it is hidden


def pids() -> list[int]:
    """All processes that this one can see."""
    try:
        return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return []


def mappings(pid: int) -> list[Mapping]:
    """Those of a process that may be segments.  Raises OSError if it may not be looked at."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(None, 5)
            if len(fields) < 6 or fields[1][3:4] != "s" or int(fields[2], 16) != 0:
                continue
            path = fields[5]
            # Ours are called altsem, or have no name left ("#123", where they never had one).
            if "altsem" not in path and "/#" not in path:
                continue
            start, _, end = fields[0].partition("-")
            found.append(
                Mapping(pid, int(start, 16), int(end, 16), int(fields[4]), fields[3], path)
            )
    return found


class Source:
    """Bytes of a segment.  Close it after use."""

    def __init__(self, fd: int, base: int) -> None:
        self._fd = fd
        self._base = base  # where the segment begins in the file

    def read(self, offset: int, size: int) -> bytes:
        """Raises OSError, also if there are fewer."""
        data = b""
        while len(data) < size:
            more = os.pread(self._fd, size - len(data), self._base + offset + len(data))
            if not more:
                raise OSError(0, "the segment ended early")
            data += more
        return data

    def close(self) -> None:
        os.close(self._fd)


def open_source(mapping: Mapping) -> Source:
    """A way to what is mapped there.  Raises OSError if there is none."""
    for path in _descriptors(mapping):
        with contextlib.suppress(OSError):
            return Source(_open(path), 0)
    with contextlib.suppress(OSError):
        for path in _names(mapping):
            return Source(_open(path), 0)
    where = f"{mapping.start:x}-{mapping.end:x}"
    with contextlib.suppress(OSError):
        return Source(_open(f"/proc/{mapping.pid}/map_files/{where}"), 0)
    return Source(_open(f"/proc/{mapping.pid}/mem"), mapping.start)


def open_writable(mapping: Mapping) -> int:
    """A descriptor of what is mapped there, for reading and writing.  Raises OSError."""
    for path in _descriptors(mapping):
        with contextlib.suppress(OSError):
            return _open_to_write(path)
    with contextlib.suppress(OSError):
        for path in _names(mapping):
            return _open_to_write(path)
    where = f"{mapping.start:x}-{mapping.end:x}"
    return _open_to_write(f"/proc/{mapping.pid}/map_files/{where}")


def _descriptors(mapping: Mapping) -> Iterator[str]:
    """The paths of those of that process which are open on the mapped file."""
    folder = f"/proc/{mapping.pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = f"{folder}/{name}"
        with contextlib.suppress(OSError):
            # All memfds have one name; other files may show another inode than the mapping does
            # (overlayfs), but have names of their own.
            if os.readlink(path) == mapping.path and (
                not mapping.is_memfd or os.stat(path).st_ino == mapping.inode
            ):
                yield path


def _names(mapping: Mapping) -> list[str]:
    """By which the mapped file can be opened.  Raises OSError."""
    if mapping.is_memfd:
        return []
    path = f"/proc/{mapping.pid}/root{mapping.path}"
    if not path.endswith(_GONE):
        return [path]
    # Who made a named semaphore has mapped it before it had its name, and is never told it.
    folder, _, name = path.rpartition("/")
    if not name.startswith("#"):
        return []
    with os.scandir(folder) as entries:
        return [
            entry.path
            for entry in entries
            if entry.name.startswith("sem.") and entry.inode() == mapping.inode
        ]


def _open_to_write(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
