"""The environment, which tells descendants what to do: written by install() and `run`, put back by
uninstall()."""

from __future__ import annotations

import contextlib
import os

from .. import _directories
from . import ROOT, VARIABLE, children, decision, native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_set: dict[str, tuple[str | None, str]] = {}  # variable: (what it was, what we set)


def variables(
    parts: set[str], path: bool, places: Mapping[str, str], *, names: bool = False
) -> dict[str, str]:
    """The variables that make descendants of this process replace these parts; `path`: and that
    start altsem there.  `places`: see install.start().  `names`: whatever the parts are, things
    with names may be made."""
    found = {VARIABLE: " ".join([ROOT, *sorted(parts)])}
    if path:
        found[children.PATH] = children.with_bootstrap(os.environ.get(children.PATH, ""))
    named = names or not parts.isdisjoint((decision.SEMAPHORES, decision.MEMORY))
    if named and not (decision.inherited() and _directories.FIRST in os.environ):
        directory = _directory(places)
        if directory:
            found[_directories.FIRST] = directory
    return found


def _directory(places: Mapping[str, str]) -> str | None:
    """Where files with names go, for this process and all its descendants: the first candidate that
    works.  Those that are named by variables would change with these, and then what has been made
    is not found any more.  None if there is none."""
    was = os.environ.get(_directories.FIRST)
    try:
        return next(filter(_works, map(_first, _directories.candidates(places))), None)
    except PermissionError:
        return None  # a stranger's, in our place: that is said when something is made
    finally:
        if was is None:
            os.environ.pop(_directories.FIRST, None)
        else:
            os.environ[_directories.FIRST] = was


def _first(candidate: str) -> str:
    """The path of a candidate, which comes first from now on."""
    with contextlib.suppress(OSError):  # the current directory may be gone
        candidate = os.path.abspath(candidate)
    os.environ[_directories.FIRST] = candidate
    return candidate


def _works(directory: str) -> bool:
    """Whether what is made with a name, while this directory comes first, is made in it."""
    from .. import _core

    name = native.made_up_name()
    try:
        fd = _core.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    except PermissionError:
        raise
    except OSError:
        return False
    os.close(fd)
    file = f"shm.{name.lstrip('/')}"
    try:
        return os.path.lexists(os.path.join(_directories.private(directory), file))
    finally:
        _core.shm_unlink(name)


def export(variables: dict[str, str]) -> None:
    """Write them, and remember what there was."""
    for name, value in variables.items():
        before = os.environ.get(name)
        was = _set.get(name, (before,))[0]
        _set[name] = (was, value)
        os.environ[name] = value


def withdraw() -> None:
    """Put back what there was, but for what somebody else has changed meanwhile."""
    for name, (was, value) in _set.items():
        current = os.environ.get(name)
        if current == value:
            if was is None:
                del os.environ[name]
            else:
                os.environ[name] = was
        elif current is not None and name == children.PATH:  # somebody has changed it meanwhile
            rest = children.without_bootstrap(current)
            if rest or was is not None:
                os.environ[name] = rest
            else:
                del os.environ[name]
    _set.clear()
