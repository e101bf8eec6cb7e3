"""Single system calls and files, tried in a fork of the doctor (trial.forked).

Each returns what came of it, which must be something that JSON can hold, or raises.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
from typing import Any

PAGE = mmap.PAGESIZE


def memfd() -> str:
    """Memory without a name, mapped and written."""
    if not hasattr(os, "memfd_create"):
        # An interpreter for an older libc; the core calls the kernel itself.
        from .. import _core

        fd, source = _core.memory(PAGE)
        os.close(fd)
        if source != "memfd":
            raise OSError(0, f"the memory came from {source}")
        return "made by the core"
    fd = os.memfd_create("altsem-doctor")
    try:
        _write_mapped(fd)
    finally:
        os.close(fd)
    return "made and mapped"


def directory(path: str) -> dict[str, Any]:
    """What can be done in a directory: {"O_TMPFILE": true or the error, "file": ..., "free": ...}.

    Raises OSError if not even a file can be made and mapped in it.
    """
    told: dict[str, Any] = {"path": os.path.abspath(path), "O_TMPFILE": True}
    flag = getattr(os, "O_TMPFILE", 0)
    try:
        if not flag:
            raise OSError(0, "not known to this interpreter")
        fd = os.open(path, flag | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            _write_mapped(fd)
        finally:
            os.close(fd)
    except OSError as error:
        told["O_TMPFILE"] = error.strerror or str(error)
    fd, name = tempfile.mkstemp(prefix="altsem-doctor-", dir=path)
    try:
        os.unlink(name)
        _write_mapped(fd)
    finally:
        os.close(fd)
    with contextlib.suppress(OSError):
        space = os.statvfs(path)
        told["free"] = space.f_bavail * space.f_frsize
    return told


def file_locks(path: str) -> dict[str, Any]:
    """Both kinds of file lock between two processes.  Raises RuntimeError if one does not hold."""
    told = {}
    fd, name = tempfile.mkstemp(prefix="altsem-doctor-", dir=path)
    try:
        for kind, take in (("record lock", fcntl.lockf), ("flock", fcntl.flock)):
            take(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _refused_to_another(name, take):
                raise RuntimeError(f"a {kind} of one process does not keep another one out")
            take(fd, fcntl.LOCK_UN)
            if _refused_to_another(name, take):
                raise RuntimeError(f"a {kind} is still held after its release")
            told[kind] = True
    finally:
        os.unlink(name)
        os.close(fd)
    return told


def _refused_to_another(name: str, take: Any) -> bool:
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            fd = os.open(name, os.O_RDWR)
            take(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = 0
        os._exit(status)
    return os.waitpid(pid, 0)[1] != 0


def backends() -> dict[str, int]:
    """The backends and the errno that their probes gave (0: none)."""
    from .. import _core

    return _core.backends()


def clean() -> int:
    """Removes the SysV sets of programs that were killed, as `python -m altsem clean` does."""
    from .. import _core

    return _core.clean()


def shm_file() -> bool:
    """A file in /dev/shm, as sem_open makes one: whether it is the directory that is in the way."""
    fd, name = tempfile.mkstemp(prefix="altsem-doctor-", dir="/dev/shm")
    os.close(fd)
    os.unlink(name)
    return True


def _write_mapped(fd: int) -> None:
    # Not ftruncate: a full disk must be an error, not a death at the first touch.
    os.write(fd, bytes(PAGE))
    with mmap.mmap(fd, PAGE) as memory:
        memory[0] = 1
