"""``python -m altsem clean``: removes what killed programs have left in the system.

SysV semaphore sets count their users themselves (csrc/wait/sysv_set.c).  Files with names do not:
nothing of them is kept open, and a program that was killed with everything it had started leaves
them.  One goes only if it is proven that nobody misses it:

- It is not in use.  The kernel grants a lease for writing only on a file that nobody else has open
  or mapped, in whatever namespace; on filesystems where that can be relied upon, it is proof.  On
  others every process of this user must have been looked at, and none may have it.
- Its maker is dead.  A semaphore's file says who made it.  That of a shared memory, or of a
  semaphore of C code, does not, and whoever made it may have closed it to open it again: so no
  other process may have altsem loaded, or the library of `run`.

Whatever cannot be told leaves the file where it is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import _core, _directories

if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE = """usage: python -m {} clean

Removes what programs have left which were killed together with everything that they had started:
the files of named semaphores and shared memory that the drop-in made for them, and the SysV
semaphore sets of the backend `sysv`.  Only those of the calling user, and never one that a living
process uses: nothing can go wrong by calling it at any time."""

# Where a lease sees all who have a file open or mapped.  (Not overlayfs, whose mappings are of
# another file, nor what other machines can reach.)
_LEASES = ("tmpfs", "ext2", "ext3", "ext4", "xfs", "f2fs")

# How often processes are listed until a listing has nobody new.
_LISTINGS = 100

# magic, layout, backend, id, size, slots, pid namespace, maker, slot bytes, foreign, ipc namespace,
# set, silent forks, unused, identity of the maker: csrc/memory/segment.h
_HEADER = struct.Struct("=QII16sQIIIIIIQIIQ")
_MAGIC, _LAYOUT = 0x6D65733174746C61, 2


def main(argv: list[str]) -> int:
    """Remove them, and say how many they were.  Returns the exit status."""
    if argv:
        print(USAGE.format(__package__))
        return 0 if argv in (["-h"], ["--help"]) else 2
    status = 0
    try:
        removed = _core.clean()
    except OSError as error:
        print(f"SysV semaphore sets cannot be listed here: {error.strerror}")
        status = 1
    else:
        print(f"removed {removed} SysV semaphore set{'s' * (removed != 1)}")
    removed, unsure = files()
    if removed:
        print(f"removed {removed} file{'s' * (removed != 1)} of named semaphores and shared memory")
    if unsure:
        print(f"left {unsure} of which it cannot be told whether anybody needs them")
    return status


def files() -> tuple[int, int]:
    """Remove the files with names that nobody needs.  Returns how many, and of how many others
    that could not be told."""
    users: _Users | None = None
    removed = unsure = 0
    for candidate in _directories.candidates(os.environ):
        path = _directories.private(candidate)
        with contextlib.suppress(OSError), _opened(path) as directory:
            names = sorted(filter(_is_one, os.listdir(directory)))
            if names and users is None:
                users = _look()
            for name in names:
                assert users is not None
                needed = _judge_and_remove(directory, name, users)
                removed += needed is False
                unsure += needed is None
            # If nothing is left in it: also that of a program which was killed before it had made
            # its first file, or after it had removed its last.  Who makes one now makes the
            # directory anew.
            os.rmdir(path)
    return removed, unsure


def _is_one(name: str) -> bool:
    return name.startswith(("sem.", "shm.", "pos.", "tmp."))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """This user's own directory.  Raises OSError if there is none, or it is not private."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(directory)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
            raise PermissionError(errno.EPERM, "not private", path)
        yield directory
    finally:
        os.close(directory)


def _judge_and_remove(directory: int, name: str, users: _Users) -> bool | None:
    """Whether somebody needs that file; it is removed if nobody does.  None: it cannot be told."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        return True  # its owner was quicker
    except OSError:
        return None
    try:
        with _lease(fd) as alone:
            needed = _is_needed(fd, name, users, alone)
            if needed is False:
                # Whoever opens it now waits for the lease, and finds it gone or its own.
                os.unlink(name, dir_fd=directory)
            return needed
    except OSError:
        return None
    finally:
        os.close(fd)


def _is_needed(fd: int, name: str, users: _Users, alone: bool | None) -> bool | None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        return None
    if alone is False:
        return True
    proven = alone is True and _filesystem(status.st_dev) in _LEASES
    if not proven:
        # The number alone may be that of another file elsewhere.  Then this one stays.
        if status.st_ino in users.inodes or name in users.names:
            return True
        if not users.complete:
            return None
    if name.startswith("sem."):
        return _maker_lives(fd, proven)
    if users.altsem:
        return True
    return False if users.complete else None


def _maker_lives(fd: int, proven: bool) -> bool | None:
    """Of a semaphore.  None: it cannot be told, or it is none.  `proven`: nobody uses it, in
    whatever namespace."""
    header = os.pread(fd, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return None
    magic, layout, *_, namespace, maker, _, foreign, _, _, _, _, identity = _HEADER.unpack(header)
    if magic != _MAGIC or layout != _LAYOUT:
        return None
    if foreign and not proven:
        return None
    # None if it is of another PID namespace, or /proc does not tell.
    _, alive, _, _ = _core.judge(maker, identity, namespace)
    return alive


# --- who uses what --------------------------------------------------------------------------------


@contextlib.contextmanager
def _lease(fd: int) -> Iterator[bool | None]:
    """While nobody else has the file open or mapped: True; False: somebody has; None: the system
    does not say.  Until the end an open by anybody else waits."""
    before = None
    with contextlib.suppress(ValueError, AttributeError):  # not the main thread, no such signal
        # That somebody waits is told by a signal which otherwise kills.
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        if before is None:
            yield None
            return
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except BlockingIOError:
            yield False
            return
        except (OSError, AttributeError):
            yield None
            return
        try:
            yield True
        finally:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        if before is not None:
            signal.signal(signal.SIGIO, before)


def _filesystem(device: int) -> str | None:
    """The type of the filesystem with that number, None if it cannot be told for sure."""
    number = f"{os.major(device)}:{os.minor(device)}"
    found = set()
    with (
        contextlib.suppress(OSError),
        open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file,
    ):
        for line in file:
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == number:
                found.add(rest.split()[0])
    return found.pop() if len(found) == 1 else None


@dataclass
class _Users:
    """What the processes have that could use our files, as far as /proc shows."""

    inodes: set[int] = field(default_factory=set)  # of what is mapped or open
    names: set[str] = field(default_factory=set)
    altsem: bool = False  # one of them, besides this one, has loaded a copy of altsem
    complete: bool = True  # all of them could be looked at


def _look() -> _Users:
    users = _Users()
    seen: set[int] = set()
    try:
        # A /proc of another PID namespace shows others than we should see.
        users.complete = os.readlink("/proc/self") == str(os.getpid())
        for _ in range(_LISTINGS):
            new = {int(name) for name in os.listdir("/proc") if name.isdigit()} - seen
            if not new:
                return users
            for pid in sorted(new):
                # Who has ended meanwhile may have left all it had to a child: see the next listing.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    users.complete &= _look_at(pid, users)
            seen |= new
    except OSError:
        pass
    users.complete = False
    return users


def _look_at(pid: int, users: _Users) -> bool:
    """False if the process may not be looked at, and could use our files."""
    me = os.geteuid()
    with open(f"/proc/{pid}/status", "rb") as file:
        fields = dict(line.partition(b":")[::2] for line in file)
    # Those of others cannot have opened our files.  Root's can have become another user's since.
    if me != 0 and str(me).encode() not in fields.get(b"Uid", b"").split():
        return True
    threads = os.listdir(f"/proc/{pid}/task")
    if b"VmSize" not in fields and len(threads) == 1:
        return True  # the kernel's, or a zombie
    try:
        for thread in threads if b"VmSize" not in fields else [str(pid)]:
            with open(f"/proc/{pid}/task/{thread}/maps", "rb") as file:
                for line in file:
                    _note(line, users, pid)
        for number in os.listdir(f"/proc/{pid}/fd") if pid != os.getpid() else ():
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(f"/proc/{pid}/fd/{number}")
                if "/altsem-" in target:
                    users.names.add(os.path.basename(target))
    except PermissionError:
        return False
    return True


def _note(line: bytes, users: _Users, pid: int) -> None:
    parts = line.split(None, 5)
    if len(parts) < 6 or parts[4] == b"0":
        return
    users.inodes.add(int(parts[4]))
    name = os.path.basename(os.fsdecode(parts[5].rstrip(b"\n")))
    if "/altsem-" in os.fsdecode(parts[5]):
        users.names.add(name)
    ours = (name.startswith("_core.") and ".so" in name) or name == "_preload.so"
    if ours and pid != os.getpid():
        users.altsem = True
