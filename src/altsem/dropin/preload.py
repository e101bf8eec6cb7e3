"""The library that programs are started with, so that their C code finds ours: csrc/preload/.

It takes the place of sem_open() and shm_open() in whatever is loaded after it, Python or not.  Only
who starts a program can have it loaded, by LD_PRELOAD: `run` does, and it goes on to all
descendants.
"""

from __future__ import annotations

import errno
import os
import sys

from . import ROOT

VARIABLE, SWITCH = "LD_PRELOAD", "ALTSEM_PRELOAD"
FILE = "_preload.so"
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What this process was started with, if this module is imported early enough.
started_with = os.environ.get(VARIABLE, "")


def preload_path() -> str:
    """The path of the library that has C code find altsem where named semaphores and shared memory
    fail: for those who set ``LD_PRELOAD`` themselves.

    Raises FileNotFoundError if there is none: it is built for Linux only.
    """
    path = os.path.join(_PACKAGE, FILE)
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, "there is no library to be preloaded", path)
    return path


def entry() -> str:
    """What to write into LD_PRELOAD for this program and its descendants, "" if nothing can be.

    The dynamic linker of glibc complains about a library that is made for another machine, in every
    such child.  It writes the directory of its own libraries in the place of $LIB, though, so each
    can be given one that it can load: see setup.py.
    """
    try:
        path = preload_path()
    except FileNotFoundError:
        return ""
    own = _own_directory()
    tree = "lib64" if own == "lib64" else "triplets" if "/" in own else ""
    if tree:
        candidate = os.path.join(_PACKAGE, "preload", tree, own, FILE)
        if os.path.isfile(candidate):
            path = os.path.join(_PACKAGE, "preload", tree, "$LIB", FILE)
    # There is no way to write these in it.
    return "" if set(" :\n") & set(path) or "$" in path.replace("/$LIB/", "/") else path


def _own_directory() -> str:
    """What glibc writes for $LIB in this process, "" if that cannot be told."""
    for path in _mapped():
        folder, _, name = path.rpartition("/")
        if name == "libc.so.6" or (name.startswith("libc-2.") and name.endswith(".so")):
            words = folder.split("/")
            if words[-1] == "lib64":
                return "lib64"
            if words[-2:-1] == ["lib"] and "-linux-gnu" in words[-1]:
                return f"lib/{words[-1]}"
            return ""
    return ""


def _mapped() -> list[str]:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
            return [line.split(None, 5)[5].rstrip("\n") for line in file if line.count("/")]
    except (OSError, IndexError):
        return []


def is_loaded() -> bool:
    """Whether it is in this process."""
    return any(path.rpartition("/")[2] == FILE for path in _mapped())


def is_unwanted() -> bool:
    return sys.platform != "linux" or os.environ.get(SWITCH) == "0"


def of(value: str) -> str:
    """The entry of ours in such a value, "" if there is none."""
    return next((word for word in _words(value) if word.rpartition("/")[2] == FILE), "")


def put_first(ours: str, value: str) -> str:
    """Such a value, beginning with that entry."""
    return ":".join([ours, *(word for word in _words(value) if word != ours)])


def _words(value: str) -> list[str]:
    return value.replace(":", " ").split()


def variables() -> dict[str, str]:
    """What has descendants of this process loaded with it; nothing if they are already."""
    value = os.environ.get(VARIABLE, "")
    ours = "" if is_unwanted() or of(value) else entry()
    return {VARIABLE: put_first(ours, value)} if ours else {}


def said() -> str:
    """Whether it is in, for `status`."""
    off = next((f"{name}=0" for name in (SWITCH, "ALTSEM") if os.environ.get(name) == "0"), "")
    theirs = "C code finds the system's names only"
    if is_loaded():
        if off:
            return f"in (but turned off by {off}): {theirs}"
        return "in: C code finds altsem where the system's names fail"
    if of(os.environ.get(VARIABLE, "")):
        return f"not in, although {VARIABLE} names it"
    if off:
        why = f"{off} has `python -m {ROOT} run` leave it out"
    elif not entry():
        why = f"there is none that {VARIABLE} could name"
    else:
        why = f"`python -m {ROOT} run` sets {VARIABLE}"
    return f"not in ({why}): {theirs}"
