"""What multiprocessing itself makes for one of our contexts, made ours.

`ctx.Lock()` is a method of our context.  But after `multiprocessing.set_start_method("altsem")` the
call is `multiprocessing.Lock()`, which goes to `multiprocessing.synchronize.Lock(ctx=ctx)` with our
context as an argument; and Value, Array and their like take their memory from multiprocessing.heap
without telling for whom.  So the first time that one of our contexts is asked for,

- the classes of multiprocessing.synchronize learn to make an object of ours, when the `ctx` they
  are given is ours;
- an object of a program's own subclass of them stays of that class, for such a class may count on
  all that it inherits; but the semaphore in it is ours, and travels like ours;
- new arenas of multiprocessing.heap come from nameless memory, not from files in /dev/shm;
- with ALTSEM_ROBUST=1, queues and pools tell when one was killed in the middle of a message
  (robust.py).

For every other context they do what they always did, and look as they always looked.  A program
that never asks for one of our contexts finds nothing changed.
"""

from __future__ import annotations

import functools
import multiprocessing
from multiprocessing import context as _context
from multiprocessing import heap, util
from multiprocessing import synchronize as native

from .. import _core
from .. import synchronize as ours
from .._arena import arena_init
from .._later import Later
from ..synchronize.travel import Travels

TYPE_CHECKING = False  # not from `typing`: see _later.py
if TYPE_CHECKING:
    import inspect
    import typing
else:
    inspect = Later("inspect")
    typing = Later("typing")

_done = False
_family: type[_context.BaseContext]


def adopt(family: type[_context.BaseContext]) -> None:
    """Do so, once, for contexts of that class."""
    global _done, _family
    if _done:
        return
    counterparts = {getattr(native, name): getattr(ours, name) for name in ours.__all__}
    for cls in (native.SemLock, native.Condition, native.Event, native.Barrier):
        cls.__new__ = _New(cls, family, counterparts)  # type: ignore[method-assign,assignment]
    _hold_ours(native.SemLock, family)
    if heap.Arena.__init__ is not arena_init:  # the drop-in may have been here
        functools.update_wrapper(arena_init, heap.Arena.__init__)
        heap.Arena.__init__ = arena_init  # type: ignore[method-assign]
    if _core.robust_by_default():
        from . import robust

        robust.guard()
    _family = family
    _done = True


def _is_for(family: type[_context.BaseContext], ctx: typing.Any) -> bool:
    """Whether what is made for `ctx` is made for one of our contexts."""
    if ctx is None or ctx is multiprocessing or isinstance(ctx, _context.DefaultContext):
        # Natively these stand for the default one.
        ctx = _context._default_context.get_context()
    return isinstance(ctx, family)


_MISSING = object()


class _New:
    """In the place of `__new__` of a native class: makes an object of its counterpart for contexts
    of ours.  An object, not a function, to be asked for its signature."""

    def __init__(
        self,
        cls: type[typing.Any],
        family: type[_context.BaseContext],
        counterparts: dict[object, typing.Any],
    ) -> None:
        self._cls = cls
        self._before = vars(cls).get("__new__")  # of another copy of altsem
        self._family = family
        self._counterparts = counterparts

    def __call__(
        self,
        cls: typing.Any,
        /,
        *args: object,  # noqa: ARG002 - for __init__, as `object.__new__` leaves them to it
        ctx: typing.Any = _MISSING,
        **kwargs: object,  # noqa: ARG002
    ) -> typing.Any:
        if ctx is not _MISSING and cls in self._counterparts and _is_for(self._family, ctx):
            cls = self._counterparts[cls]
            # An object of a subclass: the interpreter goes on with that subclass's __init__.
            return cls.__new__(cls)
        if self._before is None:
            return object.__new__(cls)
        return self._before(cls) if ctx is _MISSING else self._before(cls, ctx=ctx)

    @property
    def __signature__(self) -> inspect.Signature:
        # Of the class, whoever asks is shown that of its __init__, as natively.
        return inspect.signature(self._cls.__init__)


@_core.own_methods
class _SemLock(_core.SemLock, Travels):
    """In the place of `_multiprocessing.SemLock`, in an object of a program's own class."""

    def __reduce_ex__(self, protocol: object) -> tuple[typing.Any, ...]:
        return _arrive, (_family, super().__reduce_ex__(protocol))


def _arrive(family: type[_context.BaseContext], reduced: tuple[typing.Any, ...]) -> typing.Any:
    """The semaphore that another process has sent.  It comes in the state of an object whose class
    must know what to do with it, here too."""
    adopt(family)
    rebuild, arguments, *_ = reduced
    return rebuild(*arguments)


def _hold_ours(cls: type[typing.Any], family: type[_context.BaseContext]) -> None:
    """Has objects of the native class, which hold a semaphore, hold one of ours for our contexts.

    Those of classes that have a counterpart do not come this far: `_New` has seen to them.
    """
    native_init, native_getstate = cls.__init__, cls.__getstate__
    native_setstate = cls.__setstate__

    @functools.wraps(native_init)
    def init(self: typing.Any, kind: int, value: int, maxvalue: int, *, ctx: typing.Any) -> None:
        if not _is_for(family, ctx):
            native_init(self, kind, value, maxvalue, ctx=ctx)
            return
        self._is_fork_ctx = False  # it can be sent to any process
        self._semlock = semlock = _SemLock(kind, value, maxvalue, self._make_name(), True)
        if isinstance(self, (native.Lock, native.RLock)) and _core.robust_by_default():
            semlock._make_robust()
        self._make_methods()
        util.register_after_fork(self, lambda held: held._semlock._after_fork())

    @functools.wraps(native_getstate)
    def getstate(self: typing.Any) -> typing.Any:
        semlock = getattr(self, "_semlock", None)
        return (semlock,) if type(semlock) is _SemLock else native_getstate(self)

    @functools.wraps(native_setstate)
    def setstate(self: typing.Any, state: tuple[typing.Any, ...]) -> None:
        if len(state) != 1:
            native_setstate(self, state)
            return
        self._is_fork_ctx = False
        (self._semlock,) = state
        self._make_methods()

    cls.__init__ = init
    cls.__getstate__ = getstate
    cls.__setstate__ = setstate
