"""Acts when a module is imported, without importing it.

What we replace lies in modules that most programs never import, and that are slow to import.  A
finder at the front of sys.meta_path waits for them; it is there only while somebody waits.

Others do the same (wrapt, importlib.util.LazyLoader, a second copy of this package), so the finder
composes.  It asks only those finders that come after it, which are the ones that the import system
would have asked without it; if one of them begins the search again from the front, it steps aside.
And its loader takes nobody's place but its own.

Nothing of the standard library is imported here: see the note in the package's __init__.
"""

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Callback = Callable[[], object]

_waiting: "dict[str, list[Callback]]" = {}


def when_imported(name: str, callback: "Callback") -> None:
    """Call `callback()` once, when the module `name` has been executed: now, if it has.

    A module that was imported lazily is waited for, not executed.  An exception of the callback is
    that of the import.
    """
    module = sys.modules.get(name)
    if module is not None and not _is_lazy(module):
        callback()
        return
    _waiting.setdefault(name, []).append(callback)
    if module is not None:
        _stand_in(module)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def being_executed(names: "Iterable[str]") -> "set[str]":
    """Those of these modules that an import has begun and not ended: what is in them is not all
    there yet, and a hook would come too late."""
    return {name for name in names if _is_being_executed(sys.modules.get(name))}


def wait_for(names: "Iterable[str]") -> "set[str]":
    """Until the imports of these modules that are under way in other threads have ended.  Returns
    those that it is no use to wait for: this thread is in the middle of them."""
    for name in being_executed(names):
        _wait_for(name)
    return being_executed(names)


def _wait_for(name: str) -> None:
    try:  # noqa: SIM105 - contextlib takes longer to import than all this
        __import__(name)  # who imports what somebody else is importing waits
    except Exception:  # noqa: BLE001 - that is for who began
        pass


def _is_being_executed(module: "ModuleType | None") -> bool:
    try:
        # Any other look would execute a lazy module.
        spec = object.__getattribute__(module, "__spec__")
    except AttributeError:
        return False
    return getattr(spec, "_initializing", False)


def forget(name: str, callback: "Callback") -> None:
    """Do not call it, if it has not been called."""
    callbacks = _waiting.get(name, [])
    if callback in callbacks:
        callbacks.remove(callback)
    if not callbacks:
        _taken(name)


def _taken(name: str) -> "list[Callback]":
    callbacks = _waiting.pop(name, [])
    if not _waiting and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    return callbacks


class _Finder:
    """Finds what the finders after it find, and has it loaded by a loader that tells us."""

    def __init__(self) -> None:
        self._searches: set[tuple[str, int]] = set()  # module, thread

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name not in _waiting:
            return None
        search = name, get_ident()
        if search in self._searches:  # a finder after us asks all: the answer will pass us anyway
            return None
        self._searches.add(search)
        try:
            spec = self._search(name, path, target)
        finally:
            self._searches.discard(search)
        # A loader of the old kind has no exec_module, and cannot be stood in for.
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec

    def _search(
        self, name: str, path: "Sequence[str] | None", target: "ModuleType | None"
    ) -> "ModuleSpec | None":
        finders = list(sys.meta_path)
        if self in finders:
            del finders[: finders.index(self) + 1]
        for finder in finders:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                return spec
        return None


class _Loader:
    """Stands in for a loader until the module has been executed."""

    def __init__(self, loader: "Any") -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        create = getattr(self._loader, "create_module", None)
        return create(spec) if create else None

    def exec_module(self, module: "ModuleType") -> None:
        # From here on nothing shows that we were there.  Others stand in for us in their turn: the
        # place is theirs then.
        spec: Any = module.__spec__
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        if spec is not None and spec.loader is self:
            spec.loader = self._loader
        was_lazy = _is_lazy(module)
        self._loader.exec_module(module)
        if _is_lazy(module) and not was_lazy:
            _stand_in(module)  # it has only been put off
            return
        for callback in _taken(module.__name__):
            callback()


def _is_lazy(module: "ModuleType") -> bool:
    """Whether it is one of importlib.util.LazyLoader's that nobody has looked into yet."""
    lazy = getattr(sys.modules.get("importlib.util"), "_LazyModule", None)
    if lazy is None or type(module) is not lazy:
        return False
    # Any other look would execute it.
    state = object.__getattribute__(module, "__spec__").loader_state
    return not state.get("is_loading", False)


def _stand_in(module: "ModuleType") -> None:
    """Have a lazy module tell us when it is executed."""
    spec = object.__getattribute__(module, "__spec__")
    spec.loader = _Loader(spec.loader)


_finder: "Any" = _Finder()
