"""Whether what the system itself offers works: tried, not guessed.

Each function returns None if it does, else the exception in the way.  None of them imports
multiprocessing, starts a process or leaves anything behind.
"""

from __future__ import annotations

import os
import sys

from . import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def semaphores() -> Exception | None:
    """Make, take, give back and remove a real semaphore."""
    try:
        import _multiprocessing

        semlock: Any = _multiprocessing.SemLock
        unlink: Any = _multiprocessing.sem_unlink
    except (ImportError, AttributeError):
        return ImportError("this interpreter was built without semaphores")
    if semlock.__module__.startswith(f"{ROOT}."):
        return ImportError("this interpreter was built without semaphores, or they are replaced")
    name = _name()
    try:
        lock = semlock(1, 1, 1, name, False)
        try:
            if not lock.acquire(False):
                raise OSError("a new semaphore cannot be acquired")
            lock.release()
        finally:
            unlink(name)
    except OSError as error:
        return error
    return None


def memory() -> Exception | None:
    """Make, fill and remove a named shared memory of a few bytes."""
    try:
        import _posixshmem
    except ImportError as error:
        return error
    name = _name()
    try:
        fd = _posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Where memory is full, a file can still be made, and grown, and kills who touches it.
            os.write(fd, bytes(16))
        finally:
            os.close(fd)
            _posixshmem.shm_unlink(name)
    except OSError as error:
        return error
    return None


def arenas(directory: str = "/dev/shm") -> Exception | None:
    """Do what multiprocessing.heap does for Value, Array and Barrier: a file in /dev/shm."""
    if sys.platform != "linux":
        return None  # it takes a temporary directory
    path = f"{directory}{_name()}"
    try:
        os.statvfs(directory)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.close(fd)
        os.unlink(path)
    except OSError as error:
        return error
    return None


def _name() -> str:
    # Short: macOS allows 31 characters.
    return f"/altsem-{os.getpid():x}-{os.urandom(4).hex()}"


def words(error: Exception) -> str:
    """The error without the name that the probe had made up."""
    if isinstance(error, OSError) and error.errno:
        return f"[Errno {error.errno}] {error.strerror}"
    return str(error)
