"""Acts when a module is imported, without importing it.

What we replace lies in modules that most programs never import, and that are slow to import.  A
finder at the front of sys.meta_path waits for them; it is there only while somebody waits.

Nothing of the standard library is imported here: see the note in the package's __init__.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Callback = Callable[[], object]

_waiting: "dict[str, list[Callback]]" = {}


def when_imported(name: str, callback: "Callback") -> None:
    """Call `callback()` once, when the module `name` has been executed: now, if it has.

    An exception of the callback is that of the import.
    """
    if name in sys.modules:
        callback()
        return
    _waiting.setdefault(name, []).append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


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
    """Finds what the other finders find, and has it loaded by a loader that tells us."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name not in _waiting:
            return None
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                # A loader of the old kind has no exec_module, and cannot be stood in for.
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    """Stands in for a loader until the module has been executed."""

    def __init__(self, loader: "Any") -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        spec.loader = self._loader
        create = getattr(self._loader, "create_module", None)
        try:
            return create(spec) if create else None
        finally:
            spec.loader = self  # type: ignore[assignment]

    def exec_module(self, module: "ModuleType") -> None:
        # From here on nothing shows that we were there.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for callback in _taken(module.__name__):
            callback()


_finder: "Any" = _Finder()
