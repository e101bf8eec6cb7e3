"""The drop-in: altsem in the place of what fails here, in this process and its descendants.

`install()` puts ours where multiprocessing, and those who copied from it, look for theirs, and
`uninstall()` takes it away again.  Four parts can fail, each for itself, and only those that do are
replaced:

    semaphores  _multiprocessing.SemLock and sem_unlink; with them, what executors believe of limits
    memory      _posixshmem.shm_open and shm_unlink, for multiprocessing.shared_memory
    arenas      the files of multiprocessing.heap in /dev/shm, for Value, Array and Barrier; and
                what PyTorch makes there, for tensors
    reserve     SharedMemory.__init__, after which the first touch may find that there is no room

The parts that were replaced are written into the environment.  Descendants replace the same ones
without a look for themselves: what the parent made must be found by the child, although the
semaphores may have come to work meanwhile.  For the same reason the directory of files with names
is written there: the variables that it was chosen by may change.

A second copy of this package, under another name, is taken for what it is: what it has replaced
here is not replaced again, and what it says in the environment is followed where it cannot be
imported itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from _thread import RLock
from functools import partial
from types import ModuleType

from .. import _guarded
from . import ROOT, VARIABLE, children, decision, environment, hooks, native, tensors
from .decision import ARENAS, MEMORY, RESERVE, SEMAPHORES

# Where nothing is to be done, importing `typing` and the like would be most of the time it takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

# --- where copies of the names are --------------------------------------------------------------


class _Place:
    """One place: `key` of an object or a dictionary in a module, and what belongs there.

    `path` leads to the object or dictionary, from the module ("": it is the module); `ours` is the
    name of what belongs there, for _ours().
    """

    __slots__ = ("key", "module", "ours", "part", "path")

    def __init__(self, part: str, module: str, path: str, key: str, ours: str) -> None:
        self.part, self.module, self.path, self.key, self.ours = part, module, path, key, ours


# Modules that ask how many semaphores there may be, and remember what they were told.
_EXECUTORS = (
    "concurrent.futures.process",
    "loky.process_executor",
    "joblib.externals.loky.process_executor",
)


def _robust_places() -> list[tuple[str, str, str]]:
    """Those where locks are made robust, and queues and pools know of it; none without that."""
    core = sys.modules.get(f"{ROOT}._core")  # has read the variable, once and for all
    if not (core.robust_by_default() if core else os.environ.get("ALTSEM_ROBUST") == "1"):
        return []
    return [
        (f"{package}.{module}", cls, key)
        for package in ("multiprocessing", "multiprocess")
        for module, cls, key in (*_guarded.LOCKS, *_guarded.QUEUES)
    ]


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
        memory = f"{module}.shared_memory"
        yield _Place(RESERVE, memory, "SharedMemory", "__init__", "reserving_init")
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
    for module in _EXECUTORS:
        yield _Place(SEMAPHORES, module, "", "_check_system_limits", "no_limits")
    for module, cls, key in _robust_places():
        yield _Place(SEMAPHORES, module, cls, key, "robust")
    for key in tensors.NAMES:
        yield _Place(ARENAS, tensors.MODULE, tensors.CLASS, key, "tensors")
    yield _Place(MEMORY, "_posixshmem", "", "shm_open", "shm_open")
    yield _Place(MEMORY, "_posixshmem", "", "shm_unlink", "shm_unlink")


_PLACES = tuple(_places())

# Modules that define what others copy from: replaced there, late importers copy ours.  And those
# that nobody copies from, but which come late.
_SOURCES = {
    "_multiprocessing": SEMAPHORES,
    "_billiard": SEMAPHORES,
    "multiprocessing.heap": ARENAS,
    "multiprocess.heap": ARENAS,
    tensors.MODULE: ARENAS,
    "multiprocessing.shared_memory": RESERVE,
    "multiprocess.shared_memory": RESERVE,
    **dict.fromkeys(_EXECUTORS, SEMAPHORES),
    **{module: SEMAPHORES for module, _, _ in _robust_places()},
}

_CONCERNED = frozenset((*(place.module for place in _PLACES), *children.MODULES))

_MISSING: Any = object()

# Whatever changes this state, or what is replaced, holds it.  Nothing is imported meanwhile that
# could be waiting for it in another thread: a module that we wait for, in the hook at its end.
_lock = RLock()
_active: set[str] = set()
# (object or dictionary, key, what was there, what we put there): to be undone from the end.
_undo: list[tuple[Any, str, Any, Any]] = []
_hooked: list[tuple[str, Callable[[], None]]] = []


# Modules that were being imported when this process was forked, by threads that are not in it.
_orphans: frozenset[str] = frozenset()


def _after_fork() -> None:
    global _lock, _orphans
    _lock = RLock()  # the thread that held it is not in the child
    _orphans = frozenset(hooks.being_executed(_CONCERNED))


os.register_at_fork(after_in_child=_after_fork)


def _ours(name: str) -> Any:
    if name == "arena_init":
        from .. import _arena

        return _arena.arena_init
    if name == "no_limits":
        return no_limits
    from .. import _core

    if name == "SEM_VALUE_MAX":
        return _core.SemLock.SEM_VALUE_MAX
    if name == "SemLock.sem_unlink":
        return _core.SemLock.sem_unlink
    return getattr(_core, name)


def no_limits() -> None:
    """What executors learn of the system's limits: that there are none, for ours."""


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
        _undo.append((container, key, current, value))
        _set(container, key, value)


def _container(place: _Place) -> Any:
    """What holds the place, None as long as its module is not imported."""
    module = sys.modules.get(place.module)
    return getattr(module, place.path, None) if module and place.path else module


# --- install, uninstall -------------------------------------------------------------------------


def install(*, force: bool = False) -> bool:
    """Put altsem in the place of the semaphores of this process and its descendants.

    Does nothing where real semaphores work, unless `force`, or the environment variable
    ``ALTSEM=always`` is set.  Returns whether anything is replaced afterwards.  To be called by
    applications, as early as possible, never by libraries; a second call does nothing.
    ``ALTSEM=0`` forbids it.

    Raises OSError if semaphores fail and altsem cannot work here either, and if this copy of the
    package is not whole; nothing has been changed then.
    """
    if os.environ.get("ALTSEM") == "0":
        return False
    decision.check_whole()
    return _install(force=force, path=True, places=os.environ)


def start(places: Mapping[str, str]) -> bool:
    """install(), at the start of an interpreter: what starts it now will start its children.

    `places`: the variables that name directories, as they were then.
    """
    inherited = VARIABLE in os.environ
    return _install(force=False, path=inherited, places=places)


def _install(*, force: bool, path: bool, places: Mapping[str, str]) -> bool:
    if os.environ.get("ALTSEM") == "0":
        return False
    _import_sources()
    with _undisturbed():
        if not force and not _active and decision.another_copy():
            return True
        parts = decision.wanted(_active, force=force) - _active
        if parts:  # this raises while nothing has been replaced yet
            parts = decision.usable(parts, tried=parts <= decision.inherited())
        if not parts:
            return bool(_active)
        variables = environment.variables(parts | _active, path, places)
        try:
            _apply(parts)
            environment.export(variables)
            if path:
                children.keep()
        except BaseException:
            _uninstall()
            raise
        return True


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """With the lock in hand, while no other thread is importing what is looked at and replaced: it
    would copy what is there now, or define what is not there yet.

    It is waited for without the lock, which the hook at its end may need.
    """
    while True:
        own = hooks.wait_for(_CONCERNED - _orphans)
        with _lock:
            if hooks.being_executed(_CONCERNED) <= own | _orphans:
                yield
                return


def _import_sources() -> None:
    """Import what is looked at and replaced in any case: not with the lock in hand, since the end
    of their import may need it in another thread."""
    with contextlib.suppress(ImportError):
        import _multiprocessing  # noqa: F401
    with contextlib.suppress(ImportError):
        import _posixshmem  # noqa: F401


def _apply(parts: set[str]) -> None:
    _active.update(parts)
    if SEMAPHORES in parts:
        _settle(native=True)
    if MEMORY in parts and "_posixshmem" not in sys.modules:
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
        for module in _EXECUTORS:
            _withdraw(module)
    _renew_helpers()


def _apply_to(place: _Place) -> None:
    container = _container(place)
    if container is None:
        return
    current = _get(container, place.key)
    if place.ours == "reserving_init":
        from .reserve import reserving

        if current is not _MISSING:
            _replace(container, place.key, reserving(current))
        return
    if place.ours == "robust":
        from ..context.robust import replacement

        before = None if current is _MISSING else current
        if not getattr(before, "_altsem_robust", False):
            _replace(container, place.key, replacement(place.key, place.path, before))
        return
    if place.ours == "tensors":
        ours = tensors.replacement(place.key)
        if ours is not None:
            _replace(container, place.key, ours)
        return
    ours = _ours(place.ours)
    if not place.path and place.module in ("_multiprocessing", "_posixshmem"):
        # Whatever a copy of ours has put there is not the system's.
        found = None if current is _MISSING else current
        if current is not ours and not native.is_a_copys(found):
            native.replaced[place.module, place.key] = found
    _replace(container, place.key, ours)


def _apply_late(module: str) -> None:
    with _lock:
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
    with _lock:
        if _active:
            _uninstall()


def _uninstall() -> None:
    for module, callback in _hooked:
        hooks.forget(module, callback)
    _hooked.clear()
    if SEMAPHORES in _active:
        _settle(native=False)
    originals = _originals()
    while _undo:
        container, key, original, ours = _undo.pop()
        # Somebody else may have put something over ours, for instance another copy of this package.
        if _get(container, key) is ours and not _keeps_arena(container, key):
            _set(container, key, original)
    # Who came later has copied ours.
    for place in _PLACES:
        container = _container(place)
        if container is None or place.part not in _active or _keeps_arena(container, place.key):
            continue
        original = originals.get(place.ours, _MISSING)
        if original is not _MISSING and _get(container, place.key) is _ours(place.ours):
            _set(container, place.key, original)
    native.replaced.clear()
    _active.clear()
    children.let_go()
    environment.withdraw()
    _renew_helpers()


def _originals() -> dict[str, Any]:
    """What late importers would have copied, by the name of ours."""
    found: dict[str, Any] = {}
    for container, key, original, _ in _undo:
        for place in _PLACES:
            source = place.module in ("_multiprocessing", "_posixshmem") and place.key == key
            if source and container is sys.modules.get(place.module):
                found[place.ours] = original
    semlock = found.get("SemLock", _MISSING)
    if semlock is not _MISSING:
        found["SEM_VALUE_MAX"] = semlock.SEM_VALUE_MAX
        found["SemLock.sem_unlink"] = getattr(semlock, "sem_unlink", found.get("sem_unlink"))
    return found


def _keeps_arena(container: Any, key: str) -> bool:
    # A program that also uses our contexts has the arenas from there.
    adopt = sys.modules.get(f"{ROOT}.context.adopt")
    arena = key == "__init__" and getattr(container, "__name__", "") == "Arena"
    return arena and adopt is not None and adopt._done


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
