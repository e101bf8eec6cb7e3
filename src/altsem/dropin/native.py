"""Whether what the system itself offers works: tried, not guessed.

Each function returns None if it does, else the exception in the way.  None of them imports
multiprocessing, starts a process or leaves anything behind.  They try the system's own, also where
the drop-in has taken its place.
"""

from __future__ import annotations

import errno
import os
import sys

from . import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# What was in a place before install() took it, by module and name; None: nothing.
replaced: dict[tuple[str, str], Any] = {}

SHM = "/dev/shm"
# How much has to be free there, in bytes, perhaps with k, M or G; 0: whatever there is will do.
ROOM = "ALTSEM_ROOM"
ROOM_DEFAULT = "8M"
# What ProcessPoolExecutor demands, and what POSIX promises.
SEMAPHORES_NEEDED = 256
# A place as large as this is not looked at more closely: who fills it has seen it coming.
AMPLE = 1 << 30


def semaphores() -> Exception | None:
    """Make, take, give back and remove a real semaphore, and ask how many there may be."""
    missing = ImportError("this interpreter was built without semaphores")
    try:
        import _multiprocessing
    except ImportError:
        return missing
    semlock = _own(_multiprocessing, "SemLock")
    unlink = _own(_multiprocessing, "sem_unlink")
    if semlock is None or unlink is None:
        return missing
    name = made_up_name()
    try:
        lock = semlock(1, 1, 1, name, False)
        try:
            if not lock.acquire(False):
                raise OSError("a new semaphore cannot be acquired")
            lock.release()
        finally:
            unlink(name)
        most = _most_semaphores()
    except OSError as error:
        return error
    if 0 <= most < SEMAPHORES_NEEDED:
        text = f"only {most} semaphores may be made, and programs need {SEMAPHORES_NEEDED}"
        return OSError(errno.ENOSPC, text)
    return None


def _most_semaphores() -> int:
    """-1: nobody can tell.  Raises OSError where even asking is refused, and executors with it."""
    try:
        return os.sysconf("SC_SEM_NSEMS_MAX")
    except (AttributeError, ValueError):
        return -1


def memory() -> Exception | None:
    """Make, fill and remove a named shared memory of a few bytes."""
    try:
        import _posixshmem
    except ImportError as error:
        return error
    shm_open, shm_unlink = _own(_posixshmem, "shm_open"), _own(_posixshmem, "shm_unlink")
    if shm_open is None or shm_unlink is None:
        return ImportError("this interpreter was built without shared memory")
    name = made_up_name()
    try:
        fd = shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Where memory is full, a file can still be made, and grown, and kills who touches it.
            os.write(fd, bytes(16))
        finally:
            os.close(fd)
            shm_unlink(name)
    except OSError as error:
        return error
    return None


def arenas(directory: str = SHM) -> Exception | None:
    """Do what multiprocessing.heap does for Value, Array and Barrier: a file in /dev/shm."""
    if sys.platform != "linux":
        return None  # it takes a temporary directory
    path = f"{directory}{made_up_name()}"
    try:
        os.statvfs(directory)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.close(fd)
        os.unlink(path)
    except OSError as error:
        return error
    return None


# --- how much room there is -----------------------------------------------------------------------


def room(directory: str = SHM) -> OSError | None:
    """Whether programs find the room that they need: as many semaphores as an executor demands,
    and some megabytes.  Where a semaphore can be made but not a hundred, or an array ends in
    SIGBUS, a program is not helped by the first one's having worked.

    Raises OSError if ALTSEM_ROOM cannot be understood.
    """
    needed = room_needed()
    space = _space(directory)
    if not needed or space is None:
        return None
    free = space.f_bavail * space.f_frsize
    if space.f_blocks and free < needed:
        text = f"only {size(free)} free in {directory}, and {size(needed)} are wanted ({ROOM})"
        return OSError(errno.ENOSPC, text)
    if space.f_files and space.f_favail < SEMAPHORES_NEEDED:
        text = f"only {space.f_favail} inodes free in {directory}, {SEMAPHORES_NEEDED} are wanted"
        return OSError(errno.ENOSPC, text)
    return None


def limits(directory: str = SHM) -> OSError | None:
    """Whether programs may take it that memory which they were given is there.  It is not in the
    /dev/shm of a container, which has 64 MB unless somebody says otherwise: a file there can be
    made of any size, and who touches what does not fit is killed.
    """
    space = _space(directory)
    if not room_needed() or space is None or not space.f_blocks:
        return None
    whole = space.f_blocks * space.f_frsize
    if whole >= AMPLE:
        return None
    text = f"{directory} has {size(whole)}: whoever touches memory beyond that is killed (SIGBUS)"
    return OSError(errno.ENOSPC, text)


def room_needed() -> int:
    """What ALTSEM_ROOM says, in bytes.  Raises OSError if that is no amount."""
    text = os.environ.get(ROOM) or ROOM_DEFAULT
    number, unit = text.strip().lower().removesuffix("b"), 1
    for letter, factor in (("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30)):
        if number.endswith(letter):
            number, unit = number[:-1], factor
    if not (number.isascii() and number.isdigit()):
        text = f"{ROOM}={text} is no amount: a number of bytes, perhaps with k, M or G"
        raise OSError(errno.EINVAL, text)
    return int(number) * unit


def _space(directory: str) -> os.statvfs_result | None:
    if sys.platform != "linux":
        return None  # elsewhere semaphores are no files
    try:
        return os.statvfs(directory)
    except OSError:
        return None  # the other probes say why


def size(number: int) -> str:
    """A number of bytes, in words."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1024:
            return f"{number} {unit}"
        number //= 1024
    return f"{number} GB"


# --- ---------------------------------------------------------------------------------------------


def _own(module: ModuleType, name: str) -> Any:
    """What the system has under that name, None if it has nothing."""
    found = replaced.get((module.__name__, name), vars(module).get(name))
    return None if is_a_copys(found) else found


def is_a_copys(thing: Any) -> bool:
    """Whether it is from this package, or from a copy of it under another name."""
    home = getattr(thing, "__module__", None) or ""
    if home.startswith(f"{ROOT}."):
        return True
    return home.endswith("._core") and hasattr(sys.modules.get(home), "own_methods")


def made_up_name() -> str:
    """A name for something that goes again.  The library of csrc/preload/ knows it by its first
    letters, and leaves it to the system."""
    # Short: macOS allows 31 characters.
    return f"/altsem-try-{os.getpid():x}-{os.urandom(4).hex()}"


def words(error: Exception) -> str:
    """The error without the name that the probe had made up."""
    if isinstance(error, OSError) and error.errno:
        return f"[Errno {error.errno}] {error.strerror}"
    return str(error)
