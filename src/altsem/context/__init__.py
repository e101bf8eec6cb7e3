"""The contexts: multiprocessing's own, with primitives that need no POSIX semaphores.

What leads to one of them and what to a native one: docs/contexts.md.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from functools import partial, wraps
from multiprocessing import context as _context
from multiprocessing import process, reduction
from types import FrameType

from .._later import Later

# The name of the package: another one than "altsem" in a vendored copy.
ROOT = __name__.rpartition(".")[0]

TYPE_CHECKING = False  # not from `typing`: see _later.py
if TYPE_CHECKING:
    import typing
    from typing import Literal, overload

    from .. import synchronize
else:
    typing = Later("typing")
    synchronize = Later(f"{ROOT}.synchronize")

# What a child runs while it unpickles its preparation data, before it has set its sys.path: only
# builtins can be named there.  It must have our contexts before the next thing it does, which is to
# set the start method.
_REGISTER = (
    "[__import__('sys').path.__setitem__(slice(None), {path!r}), "
    "__import__('importlib').import_module({package!r}), {name!r}][-1]"
)


class _StartMethod(str):
    """The name of a start method, as a context of ours tells it.

    It is the name of the *underlying* method, since programs compare it with "fork".  But it knows
    which context told it: given back to multiprocessing, it names that one (`_KnownContexts`).  And
    when a process is started, multiprocessing writes it into the child's preparation data, to be
    set there too; there it turns into the name of our context, so that children and grandchildren
    inherit it.  Any other copy that leaves the process is a plain string: whoever reads that may
    not have us.
    """

    __slots__ = ("_context_name",)
    _context_name: str

    def __copy__(self) -> _StartMethod:
        return self

    def __deepcopy__(self, memo: object) -> _StartMethod:
        return self

    def __reduce_ex__(self, protocol: typing.SupportsIndex) -> tuple[typing.Any, ...]:
        popen = _context.get_spawning_popen()
        default = _context._default_context._actual_context  # type: ignore[attr-defined]
        # The preparation data come first, and tell the default context; whatever else names the
        # method is an argument of the program's own.
        if (
            popen is None
            or default is None
            or default._name is not self
            or "_altsem" in vars(popen)
        ):
            return str, (str(self),)
        vars(popen)["_altsem"] = True
        path = [entry for entry in sys.path if isinstance(entry, str)]
        code = _REGISTER.format(path=path, package=ROOT, name=self._context_name)
        return eval, (code,)


class AltsemContext(_context.BaseContext):
    """A context whose primitives are those of altsem."""

    _name: str
    Process: typing.ClassVar[type[process.BaseProcess]]

    def Lock(self, *, robust: bool | None = None) -> synchronize.Lock:
        """A non-recursive lock.  Raises OSError if no shared memory can be had.

        `robust`: it survives a holder that dies (docs/robust.md); None: if ``ALTSEM_ROBUST`` is 1.
        """
        return synchronize.Lock(robust=robust)

    def RLock(self, *, robust: bool | None = None) -> synchronize.RLock:
        """A lock that its owner may take again.  Raises OSError; `robust`, as Lock."""
        return synchronize.RLock(robust=robust)

    def Condition(self, lock: typing.Any = None) -> synchronize.Condition:
        """A condition variable, with an RLock of its own if none is given."""
        return synchronize.Condition(lock)

    def Semaphore(self, value: int = 1, *, robust: bool | None = None) -> synchronize.Semaphore:
        """A semaphore.  Raises OSError for a negative value, OverflowError above 2**31-1, and
        ValueError if it is to be `robust`: it has no owner."""
        return synchronize.Semaphore(value, robust=robust)

    def BoundedSemaphore(
        self, value: int = 1, *, robust: bool | None = None
    ) -> synchronize.BoundedSemaphore:
        """A semaphore that never rises above its first value.  Raises as Semaphore does."""
        return synchronize.BoundedSemaphore(value, robust=robust)

    def Event(self) -> synchronize.Event:
        """A flag to wait for."""
        return synchronize.Event()

    def Barrier(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> synchronize.Barrier:
        """A rendezvous of `parties`.  Raises ValueError for fewer than 1."""
        return synchronize.Barrier(parties, action, timeout)

    if TYPE_CHECKING:  # the decorator would have `typing` imported

        @overload  # type: ignore[override]
        def get_context(
            self, method: Literal["fork", "spawn", "forkserver"] | None = None
        ) -> AltsemContext: ...

        @overload
        def get_context(self, method: str) -> _context.BaseContext: ...

    def get_context(self, method: str | None = None) -> _context.BaseContext:
        """This one for None, that of altsem for a start method; any other by its name.

        Raises ValueError if there is none.
        """
        if method is None:
            return self
        return get_context(method) if method in _contexts else super().get_context(method)

    def __reduce__(self) -> tuple[typing.Any, ...]:
        return get_context, (str(self._name),)

    def _check_available(self) -> None:
        # multiprocessing calls this whenever it hands the context out.
        from . import adopt

        adopt.adopt(AltsemContext)


class _Child:
    """A process whose default context is the one it was started in, as natively."""

    _target: typing.Any
    _args: tuple[typing.Any, ...]
    _altsem_robust = False  # so are the locks of the queues that it is given

    # Whoever asks for the signature is shown that one.
    @wraps(process.BaseProcess.__init__)  # type: ignore[misc]
    def __init__(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        super().__init__(*args, **kwargs)
        from .. import _core

        if _core.robust_by_default():
            self._altsem_robust = True
        managers = sys.modules.get("multiprocessing.managers")
        if managers is not None and self._target is not None:
            self._place_manager(managers)

    def _place_manager(self, managers: typing.Any) -> None:
        """The server of a manager that was given no address makes a socket in a directory.  Where
        that cannot be, it gets an address that needs none; it asks whoever comes for a key."""
        server = managers.BaseManager._run_server.__func__
        if getattr(self._target, "__func__", None) is not server or self._args[1] is not None:
            return
        from . import sockets

        if sockets.refusal() is not None:
            registry, _, *rest = self._args
            self._args = (registry, sockets.nameless(), *rest)

    def _bootstrap(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        from . import adopt

        adopt.adopt(AltsemContext)  # what comes next sets the context without asking it
        if self._altsem_robust:  # also where ALTSEM_ROBUST is not as it was in the parent
            from . import robust

            robust.guard()
        return super()._bootstrap(*args, **kwargs)  # type: ignore[misc]


class ForkProcess(_Child, _context.ForkProcess):
    """A fork of this process."""

    _start_method = f"{ROOT}-fork"


class SpawnProcess(_Child, _context.SpawnProcess):
    """A fresh interpreter."""

    _start_method = f"{ROOT}-spawn"


class ForkServerProcess(_Child, _context.ForkServerProcess):
    """A fork of a server process."""

    _start_method = f"{ROOT}-forkserver"

    @staticmethod
    def _Popen(process_obj: typing.Any) -> typing.Any:
        try:
            return _context.ForkServerProcess._Popen(process_obj)
        except OSError as error:
            from . import sockets

            why = sockets.refusal()
            if why is None:
                raise
            raise OSError(
                why.errno,
                "the forkserver start method needs a directory in which it can make a socket, and "
                f"there is none ({why}); {ROOT}-spawn and {ROOT}-fork need none",
            ) from error


class ForkContext(AltsemContext):
    """Children are forks of the parent."""

    Process = ForkProcess


class SpawnContext(AltsemContext):
    """Children are fresh interpreters."""

    Process = SpawnProcess


class ForkServerContext(AltsemContext):
    """Children are forks of a server process."""

    Process = ForkServerProcess

    def _check_available(self) -> None:
        if not reduction.HAVE_SEND_HANDLE:
            raise ValueError("forkserver start method not available")
        super()._check_available()


_CLASSES = {"fork": ForkContext, "spawn": SpawnContext, "forkserver": ForkServerContext}
_contexts: dict[str, AltsemContext] = {}
_default_method: str | None = None


# Modules of the standard library that ask for a start method by its name where their caller has
# named none: an executor with max_tasks_per_child for "spawn", compileall for "forkserver".
_CHOOSERS = ("concurrent.futures.process", "compileall")


def _asker() -> str:
    """The module that asks multiprocessing for a context, further up the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name: str = frame.f_globals.get("__name__", "")
        if name not in (__name__, _context.__name__):
            return name
        frame = frame.f_back
    return ""


class _KnownContexts(dict[str, object]):
    """The contexts that multiprocessing knows, and ours, which are found but not listed.

    From 3.14 on get_all_start_methods() lists all there are, and programs that try each start
    method would try each twice.

    Copies of altsem in one process each have one of these, the later around the earlier, and find
    each other's contexts by name.
    """

    def __init__(self, before: dict[str, typing.Any]) -> None:
        super().__init__(before)
        self._before = before  # perhaps that of another copy of altsem
        self._ours: dict[str, Callable[[], AltsemContext]] = {}

    def __getitem__(self, name: str) -> typing.Any:
        # A context of ours has told this name, and it has come back.
        name = getattr(name, "_context_name", name)
        default = _context._default_context._actual_context  # type: ignore[attr-defined]
        ours = hasattr(getattr(default, "_name", None), "_context_name")
        if ours and name in _contexts and _asker() in _CHOOSERS:
            return default.get_context(name)
        return super().__getitem__(name)

    def __missing__(self, name: str) -> typing.Any:
        return self._ours[name]() if name in self._ours else self._before[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._ours or name in self._before

    def hide(self, name: str, ctx: Callable[[], AltsemContext]) -> None:
        self._ours[name] = ctx


def register(name: str) -> None:
    """Make the contexts known to :mod:`multiprocessing` as `name` and `name`-*method*.

    `name` is that of the package, so that a copy vendored in another one has names of its own.
    """
    known = _KnownContexts(_context._concrete_contexts)  # type: ignore[attr-defined]
    for method in multiprocessing.get_all_start_methods():
        ctx = _CLASSES[method]()
        ctx._name = told = _StartMethod(method)
        told._context_name = f"{name}-{method}"
        _contexts[method] = ctx
        known.hide(f"{name}-{method}", partial(_contexts.__getitem__, method))
    known.hide(name, _default)
    _context._concrete_contexts = known  # type: ignore[attr-defined]


def _default() -> AltsemContext:
    """Our context of the platform's default start method, or of one that works where that cannot.

    Found out when it is first asked for, and then kept: it is one and the same for a program.
    """
    global _default_method
    if _default_method is None:
        method = multiprocessing.get_all_start_methods()[0]
        if method == "forkserver":
            from . import sockets

            if sockets.refusal() is not None:
                method = "spawn"  # as like to it as can be
        _default_method = method
    return _contexts[_default_method]


def get_context(method: str | None = None) -> AltsemContext:
    """The context of a start method: ``fork``, ``spawn``, ``forkserver``, or None for the
    platform's default one (spawn where that is forkserver, which cannot work without a writable
    directory).  Raises ValueError for any other."""
    if method is None:
        ctx = _default()
        ctx._check_available()
        return ctx
    try:
        ctx = _contexts[method]
    except KeyError:
        raise ValueError(
            f"cannot find context for {method!r}: the start methods here are {', '.join(_contexts)}"
        ) from None
    ctx._check_available()
    return ctx


register(ROOT)
