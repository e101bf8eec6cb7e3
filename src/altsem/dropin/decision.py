"""Which parts are to be replaced in this process, and whether that can be done.

What fails is replaced, and what an ancestor has replaced: what the parent made the child must find.
"""

from __future__ import annotations

import errno
import os
import sys

from . import ROOT, VARIABLE, native
from .children import BOOTSTRAP

SEMAPHORES, MEMORY, ARENAS, RESERVE = "semaphores", "memory", "arenas", "reserve"
PROBES = {
    SEMAPHORES: native.semaphores,
    MEMORY: native.memory,
    ARENAS: native.arenas,
    RESERVE: native.limits,
}

_LOKYS = ("loky.backend", "joblib.externals.loky.backend")
# How the programs of helpers begin.
_HELPERS = (
    *(
        f"from {package}.{rest}"
        for package in ("multiprocessing", "multiprocess")
        for rest in (
            "spawn import spawn_main",
            "forkserver import main",
            "resource_tracker import main",
        )
    ),
    *(f"from {loky}.resource_tracker import main" for loky in _LOKYS),
    *(f"{loky}.popen_loky_posix" for loky in _LOKYS),
)


def failing(*, settled: bool = False) -> dict[str, Exception]:
    """The parts that fail here, and how.

    Where semaphores work, and there is room for them and for what else programs keep there, only
    what a small place would kill is looked at.  `settled`: an ancestor has found that there is room
    enough, and uses it; whether there still is does not matter.

    Raises OSError if ALTSEM_ROOM cannot be understood.
    """
    crowded = None if settled else native.room()
    broken = native.semaphores()
    if settled and isinstance(broken, OSError) and broken.errno == errno.ENOSPC:
        broken = None
    broken = broken or crowded
    small = native.limits()
    if broken is None:
        return {} if small is None else {ARENAS: small, RESERVE: small}
    found = {SEMAPHORES: broken}
    for part in (MEMORY, ARENAS):
        error = PROBES[part]() or crowded or (small if part == ARENAS else None)
        if error is not None:
            found[part] = error
    if MEMORY in found or small:  # ours are files, and can be too large for their place as well
        found[RESERVE] = found.get(MEMORY) or small  # type: ignore[assignment]
    return found


def wanted(active: set[str], *, force: bool = False) -> set[str]:
    """The parts to replace here: those that are replaced already, in this process (`active`) or
    those that it descends from, and those that fail; all of them if `force`, or for
    ``ALTSEM=always``.  Raises OSError as failing() does."""
    if force or os.environ.get("ALTSEM") == "always":
        return set(PROBES)
    parts = active | inherited()
    if SEMAPHORES not in parts:
        # That they work was true where the ancestor is, which may have been outside of a container.
        parts |= failing(settled=bool(inherited()) or _is_helper()).keys()
    return parts


def inherited() -> set[str]:
    """What the environment says has been replaced, by whichever copy of this package."""
    parts = set(os.environ.get(VARIABLE, "").split()[1:]) & set(PROBES)
    return parts | {RESERVE} if MEMORY in parts else parts


def _is_helper() -> bool:
    """Whether this is a child, or a helper, of multiprocessing or loky.  Then the parent has made
    the decision, and if it says nothing, it uses what the system has."""
    return "--multiprocessing-fork" in sys.orig_argv or _program().startswith(_HELPERS)


def _program() -> str:
    """What follows -c or -m in the words that this interpreter was called with, in the form in
    which helpers are; empty for any other program, whatever its name and its arguments are."""
    words = iter(sys.orig_argv[1:])
    for word in words:
        if word in ("-c", "-m"):
            return next(words, "")
        if word == "-X":
            next(words, None)
        elif not word.startswith("-"):
            break
    return ""


def usable(parts: set[str], *, tried: bool = False) -> set[str]:
    """Those of them that altsem can serve here: tried, not assumed, unless an ancestor has `tried`.

    Raises OSError if that is not even true of the semaphores, and they are among them.
    """
    from .. import _core

    try:
        backend = _core.backend()
        if not tried and backend == "futex":
            # All it takes.  The memory of a lock would be kept for the next one, and a descriptor.
            os.close(_core.memory(1)[0])
        elif not tried:
            lock = _core.SemLock(1, 1, 1, native.made_up_name(), True)
            lock.acquire()
            lock.release()
    except OSError:
        if SEMAPHORES in parts:
            raise
        return set()
    return parts


def check_whole() -> None:
    """Raise FileNotFoundError if the file is missing that has descendants start altsem."""
    path = os.path.join(BOOTSTRAP, "sitecustomize.py")
    # In a frozen program nothing is started with it.
    if not os.path.isfile(path) and not getattr(sys, "frozen", False):
        raise FileNotFoundError(
            errno.ENOENT,
            f"this copy of {ROOT} is not whole: without this file no child process would have it "
            "(a copy that is built anew must contain the folder)",
            path,
        )


def another_copy() -> bool:
    """Whether what is to be replaced is served by a copy of this package with another name: its
    name is in the environment, and it is at work in this process."""
    package = os.environ.get(VARIABLE, "").partition(" ")[0]
    if package in ("", ROOT):
        return False
    semlock = getattr(sys.modules.get("_multiprocessing"), "SemLock", None)
    here = getattr(semlock, "__module__", None) == f"{package}._core"
    return here or f"{package}.dropin.startup" in sys.modules
