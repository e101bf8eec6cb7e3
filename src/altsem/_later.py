"""Modules that are imported when something of them is asked for.

Programs that only register the contexts, or only make a lock, do not pay for what they do not use;
and annotations may name `typing`, which takes longer to import than all the rest: whoever has them
evaluated (`typing.get_type_hints`) has it imported already.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Later:
    """The module of that name.  Each thing of it is looked up once."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> "Any":
        if name.startswith("__"):  # inspect and copy ask any object for many of those
            raise AttributeError(name)
        from importlib import import_module

        value = getattr(import_module(self._name), name)
        setattr(self, name, value)
        return value
