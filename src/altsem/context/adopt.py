"""What multiprocessing itself makes for one of our contexts, made ours.

`ctx.Lock()` is a method of our context.  But after `multiprocessing.set_start_method("altsem")` the
call is `multiprocessing.Lock()`, which goes to `multiprocessing.synchronize.Lock(ctx=ctx)` with our
context as an argument; and Value, Array and their like take their memory from multiprocessing.heap
without telling for whom.  So the first time that one of our contexts is asked for,

- the classes of multiprocessing.synchronize learn to make an object of ours, when the `ctx` they
  are given is ours; for every other one they do what they always did;
- new arenas of multiprocessing.heap come from nameless memory, not from files in /dev/shm.

A program that never asks for one of our contexts finds nothing changed.
"""

from __future__ import annotations

from multiprocessing import heap

from .._arena import arena_init

TYPE_CHECKING = False  # not from `typing`: see context.py
if TYPE_CHECKING:
    from typing import Any

_done = False


def adopt(context: type[Any]) -> None:
    """Do so, once, for contexts of that class."""
    global _done
    if _done:
        return
    from multiprocessing import synchronize as native

    from .. import synchronize as ours

    counterparts = {getattr(native, name): getattr(ours, name) for name in ours.__all__}

    def new(cls: Any, *_args: object, ctx: object = None, **_kwargs: object) -> Any:
        if isinstance(ctx, context) and cls in counterparts:
            cls = counterparts[cls]
            # An object of a subclass: the interpreter goes on with that subclass's __init__.
            return cls.__new__(cls)
        return object.__new__(cls)

    for cls in (native.SemLock, native.Condition, native.Event, native.Barrier):
        cls.__new__ = new  # type: ignore[method-assign]
    heap.Arena.__init__ = arena_init  # type: ignore[method-assign]
    _done = True
