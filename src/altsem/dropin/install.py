"""The drop-in: altsem in the place of what fails here, in this process and its descendants.

`install()` puts ours where multiprocessing, and those who copied from it, look for theirs, and
`uninstall()` takes it away again.  Three parts can fail, each for itself, and only those that do
are replaced:

    semaphores  _multiprocessing.SemLock and sem_unlink
    memory      _posixshmem.shm_open and shm_unlink, for multiprocessing.shared_memory
    arenas      the files of multiprocessing.heap in /dev/shm, for Value, Array and Barrier

The parts that were replaced are written into the environment.  Descendants replace the same ones
without a look for themselves: what the parent made must be found by the child, although the
semaphores may have come to work meanwhile.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from types import ModuleType

from . import ROOT, hooks, native

# Where nothing is to be done, importing `typing` and the like would be most of the time it takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

SEMAPHORES, MEMORY, ARENAS = "semaphores", "memory", "arenas"
PROBES = {SEMAPHORES: native.semaphores, MEMORY: native.memory, ARENAS: native.arenas}

# In the environment: the import name of this package, then the parts.
VARIABLE = "ALTSEM_DROPIN"
BOOTSTRAP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap")

# --- where copies of the names are --------------------------------------------------------------


class _Place:
    """One place: `key` of an object or a dictionary in a module, and what belongs there.

    `path` leads to the object or dictionary, from the module ("": it is the module); `ours` is the
    name of what belongs there, for _ours().
    """

    __slots__ = ("key", "module", "ours", "part", "path")

    def __init__(self, part: str, module: str, path: str, key: str, ours: str) -> None:
        self.part, self.module, self.path, self.key, self.ours = part, module, path, key, ours


def _places() -> Iterator[_Place]:
    for module in ("_multiprocessing", "_multiprocess", "_billiard"):
        yield _Place(SEMAPHORES, module, "", "SemLock", "SemLock")
        yield _Place(SEMAPHORES, module, "", "sem_unlink", "sem_unlink")
    for module in ("multiprocessing", "multiprocess"):
        yield _Place(SEMAPHORES, f"{module}.synchronize", "", "sem_unlink", "sem_unlink")
        yield _Place(SEMAPHORES, f"{module}.synchronize", "", "SEM_VALUE_MAX", "SEM_VALUE_MAX")
        tracker = f"{module}.resource_tracker"
        yield _Place(SEMAPHORES, tracker, "_CLEANUP_FUNCS", "semaphore", "sem_unlink")
        yield _Place(MEMORY, tracker, "_CLEANUP_FUNCS", "shared_memory", "shm_unlink")
        yield _Place(ARENAS, f"{module}.heap", "Arena", "__init__", "arena_init")
    for loky in ("loky", "joblib.externals.loky"):
        module = f"{loky}.backend.synchronize"
        yield _Place(SEMAPHORES, module, "", "_SemLock", "SemLock")
        yield _Place(SEMAPHORES, module, "", "sem_unlink", "sem_unlink")
        yield _Place(SEMAPHORES, module, "", "SEM_VALUE_MAX", "SEM_VALUE_MAX")
        tracker = f"{loky}.backend.resource_tracker"
        yield _Place(SEMAPHORES, tracker, "_CLEANUP_FUNCS", "semlock", "sem_unlink")
    module = "billiard.synchronize"
    yield _Place(SEMAPHORES, module, "", "sem_unlink", "SemLock.sem_unlink")
    yield _Place(SEMAPHORES, module, "", "SEM_VALUE_MAX", "SEM_VALUE_MAX")
    yield _Place(MEMORY, "_posixshmem", "", "shm_open", "shm_open")
    yield _Place(MEMORY, "_posixshmem", "", "shm_unlink", "shm_unlink")


_PLACES = tuple(_places())

# Modules that define what others copy from: replaced there, late importers copy ours.
_SOURCES = {
    "_multiprocessing": SEMAPHORES,
    "_billiard": SEMAPHORES,
    "multiprocessing.heap": ARENAS,
    "multiprocess.heap": ARENAS,
}

# Modules that remember having found semaphores missing, or working.
_REFUSALS = (
    "concurrent.futures.process",
    "loky.process_executor",
    "joblib.externals.loky.process_executor",
)

_MISSING: Any = object()

_active: set[str] = set()
# (object or dictionary, key, what was there): to be undone from the end.
_undo: list[tuple[Any, str, Any]] = []
_hooked: list[tuple[str, Callable[[], None]]] = []
_environment: dict[str, tuple[str | None, str]] = {}  # variable: (what it was, what we set)


def _ours(name: str) -> Any:
    if name == "arena_init":
        from .. import _arena

        return _arena.arena_init
    from .. import _core

    if name == "SEM_VALUE_MAX":
        return _core.SemLock.SEM_VALUE_MAX
    if name == "SemLock.sem_unlink":
        return _core.SemLock.sem_unlink
    return getattr(_core, name)


def _get(container: Any, key: str) -> Any:
    # vars(), not getattr(): an inherited __init__ is not this class's.
    return (container if isinstance(container, dict) else vars(container)).get(key, _MISSING)


def _set(container: Any, key: str, value: Any) -> None:
    if isinstance(container, dict):
        if value is _MISSING:
            container.pop(key, None)
        else:
            container[key] = value
    elif value is _MISSING:
        delattr(container, key)
    else:
        setattr(container, key, value)


def _replace(container: Any, key: str, value: Any) -> None:
    current = _get(container, key)
    if current is not value:
        _undo.append((container, key, current))
        _set(container, key, value)


def _container(place: _Place) -> Any:
    """What holds the place, None as long as its module is not imported."""
    module = sys.modules.get(place.module)
    return getattr(module, place.path, None) if module and place.path else module


# --- install, uninstall -------------------------------------------------------------------------


def failing() -> dict[str, Exception]:
    """The parts that fail here, and how.  Where semaphores work, nothing else is looked at."""
    broken = native.semaphores()
    if broken is None:
        return {}
    found = {SEMAPHORES: broken}
    for part in (MEMORY, ARENAS):
        error = PROBES[part]()
        if error is not None:
            found[part] = error
    return found


def install(*, force: bool = False) -> bool:
    """Put altsem in the place of the semaphores of this process and its descendants.

    Does nothing where real semaphores work, unless `force`.  Returns whether altsem is in place
    afterwards.  To be called by applications, as early as possible, never by libraries; a second
    call does nothing.  The environment variable ``ALTSEM=0`` forbids it.

    Raises OSError if semaphores fail and altsem cannot work here either.
    """
    return _install(force=force, path=True)


def start() -> bool:
    """install(), at the start of an interpreter: what starts it now will start its children."""
    inherited = VARIABLE in os.environ
    return _install(force=False, path=inherited)


def _install(*, force: bool, path: bool) -> bool:
    if os.environ.get("ALTSEM") == "0":
        return False
    if force:
        wanted = set(PROBES)
    elif _active:
        return True
    else:
        inherited = _inherited()
        wanted = set(failing()) if inherited is None else inherited
    if not wanted - _active:
        return bool(_active)
    from .. import _core

    _core.backend()  # raises, while nothing has been replaced yet
    try:
        _apply(wanted - _active)
        _export(path)
    except BaseException:
        uninstall()
        raise
    return True


def _inherited() -> set[str] | None:
    package, *parts = os.environ.get(VARIABLE, "").split() or [""]
    return set(parts) & set(PROBES) if package == ROOT else None


def _apply(parts: set[str]) -> None:
    _active.update(parts)
    if SEMAPHORES in parts:
        # The place that all copies to come are made from.
        import _multiprocessing  # noqa: F401

        _settle(native=True)
    if MEMORY in parts:
        try:
            import _posixshmem  # noqa: F401
        except ImportError:
            _replace(sys.modules, "_posixshmem", ModuleType("_posixshmem"))
    for place in _PLACES:
        if place.part in parts:
            _apply_to(place)
    for module, part in _SOURCES.items():
        if part in parts and module not in sys.modules:
            callback = partial(_apply_late, module)
            _hooked.append((module, callback))
            hooks.when_imported(module, callback)
    if SEMAPHORES in parts:
        for module in _REFUSALS:
            _withdraw(module)
    _renew_helpers()


def _apply_to(place: _Place) -> None:
    container = _container(place)
    if container is not None:
        _replace(container, place.key, _ours(place.ours))


def _apply_late(module: str) -> None:
    for place in _PLACES:
        if place.module == module and place.part in _active:
            _apply_to(place)


def _withdraw(name: str) -> None:
    module = sys.modules.get(name)
    if getattr(module, "_system_limited", None):
        _replace(module, "_system_limits_checked", False)
        _replace(module, "_system_limited", None)


def uninstall() -> None:
    """Put back exactly what install() replaced; do nothing if it replaced nothing.

    Descendants that run already keep what they have.  What was made meanwhile goes on working.
    """
    if not _active:
        return
    for module, callback in _hooked:
        hooks.forget(module, callback)
    _hooked.clear()
    if SEMAPHORES in _active:
        _settle(native=False)
    originals = _originals()
    while _undo:
        container, key, original = _undo.pop()
        if not _keeps_arena(key):
            _set(container, key, original)
    # Who came later has copied ours.
    for place in _PLACES:
        container = _container(place)
        if container is None or place.part not in _active or _keeps_arena(place.key):
            continue
        original = originals.get(place.ours, _MISSING)
        if original is not _MISSING and _get(container, place.key) is _ours(place.ours):
            _set(container, place.key, original)
    _active.clear()
    _withdraw_environment()
    _renew_helpers()


def _originals() -> dict[str, Any]:
    """What late importers would have copied, by the name of ours."""
    found: dict[str, Any] = {}
    for container, key, original in _undo:
        for place in _PLACES:
            source = place.module in ("_multiprocessing", "_posixshmem") and place.key == key
            if source and container is sys.modules.get(place.module):
                found[place.ours] = original
    semlock = found.get("SemLock", _MISSING)
    if semlock is not _MISSING:
        found["SEM_VALUE_MAX"] = semlock.SEM_VALUE_MAX
        found["SemLock.sem_unlink"] = getattr(semlock, "sem_unlink", found.get("sem_unlink"))
    return found


def _keeps_arena(key: str) -> bool:
    # A program that also uses our contexts has the arenas from there.
    adopt = sys.modules.get(f"{ROOT}.context.adopt")
    return key == "__init__" and adopt is not None and adopt._done


# --- what was made before ------------------------------------------------------------------------


def _settle(*, native: bool) -> None:
    """Have the named semaphores that exist removed by those who made them, when their time comes.

    They would look the function up under its name, and by then find that of the others there.
    """
    for package in ("multiprocessing", "multiprocess"):
        for finalizer in _named(package):
            if isinstance(finalizer._callback, partial):
                continue  # settled before
            unlink = sys.modules[f"{package}.synchronize"].sem_unlink
            if not (native and unlink is _ours("sem_unlink")):
                tracker = sys.modules[f"{package}.resource_tracker"]
                finalizer._callback = partial(_cleanup, unlink, tracker)


def _cleanup(unlink: Callable[[str], None], tracker: Any, name: str) -> None:
    unlink(name)
    tracker.unregister(name, "semaphore")


def _named(package: str) -> list[Any]:
    """The finalizers of the semaphores with names that this process has made."""
    synchronize = sys.modules.get(f"{package}.synchronize")
    util = sys.modules.get(f"{package}.util")
    if synchronize is None or util is None:
        return []
    callbacks = (synchronize.SemLock._cleanup, _cleanup)
    return [
        finalizer
        for finalizer in list(util._finalizer_registry.values())
        if getattr(finalizer._callback, "func", finalizer._callback) in callbacks
    ]


def _renew_helpers() -> None:
    """Leave the helper processes that know the other semaphores to themselves, and have new ones
    started when they are needed.

    The old ones end when nobody holds the pipes to them any more.
    """
    for package in ("multiprocessing", "multiprocess"):
        children = bool(getattr(sys.modules.get(f"{package}.process"), "_children", None))
        module = sys.modules.get(f"{package}.forkserver")
        server: Any = getattr(module, "_forkserver", None)
        if getattr(server, "_forkserver_pid", None) is not None:
            if not children:
                try:  # noqa: SIM105 - contextlib takes longer to import than all this
                    server._stop()
                except ChildProcessError:  # it is that of who forked us
                    pass
            # It has yet to tell how its children ended: it goes when we do.
            server._forkserver_pid = None
            server._forkserver_address = None
            server._forkserver_alive_fd = None
        module = sys.modules.get(f"{package}.resource_tracker")
        tracker: Any = getattr(module, "_resource_tracker", None)
        if getattr(tracker, "_pid", None) is None or _tracked(package):
            continue
        os.close(tracker._fd)
        if not children:  # who would hold the pipe open
            _reap(tracker._pid)
        tracker._fd = tracker._pid = None


def _reap(pid: int, limit: float = 2.0) -> None:
    deadline = time.monotonic() + limit  # somebody else may hold it all the same
    try:
        while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
    except ChildProcessError:
        pass


def _tracked(package: str) -> bool:
    """Whether its tracker may know of something that it would remove too early."""
    return f"{package}.shared_memory" in sys.modules or bool(_named(package))


# --- the environment -----------------------------------------------------------------------------


def environment(parts: set[str], path: bool = True) -> dict[str, str]:
    """The variables that make descendants of this process replace these parts."""
    variables = {VARIABLE: " ".join([ROOT, *sorted(parts)])}
    if path:
        others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        # An empty entry would be the current directory.
        entries = [BOOTSTRAP, *(entry for entry in others if entry and entry != BOOTSTRAP)]
        variables["PYTHONPATH"] = os.pathsep.join(entries)
    return variables


def _export(path: bool) -> None:
    for name, value in environment(_active, path).items():
        before = os.environ.get(name)
        was = _environment.get(name, (before,))[0]
        _environment[name] = (was, value)
        os.environ[name] = value


def _withdraw_environment() -> None:
    for name, (was, value) in _environment.items():
        current = os.environ.get(name)
        if current == value:
            if was is None:
                del os.environ[name]
            else:
                os.environ[name] = was
        elif current is not None and name == "PYTHONPATH":  # somebody has changed it meanwhile
            entries = [entry for entry in current.split(os.pathsep) if entry != BOOTSTRAP]
            os.environ[name] = os.pathsep.join(entries)
            if not entries and was is None:
                del os.environ[name]
    _environment.clear()
