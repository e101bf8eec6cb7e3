"""The primitives, as subclasses of multiprocessing's own.

`isinstance(lock, multiprocessing.synchronize.Lock)` holds, and what is inherited from there is what
never touches the semaphore: repr, wait_for.  acquire, release and `with` are C methods of the
object itself, with no Python frame on the way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing import synchronize as _native
from types import TracebackType

from .. import _core
from .._later import Later
from .travel import Travels, attributes_of, set_attributes

TYPE_CHECKING = False  # not from `typing`: see _later.py
if TYPE_CHECKING:
    import typing

    from .. import _death, _owner

    _Class = typing.TypeVar("_Class", bound=type)
    _SemLock = _core.SemLock
else:
    _SemLock = object  # what _Owned is mixed into is one
    typing = Later("typing")
    _owner = Later(f"{__package__.rpartition('.')[0]}._owner")
    _death = Later(f"{__package__.rpartition('.')[0]}._death")

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]


class _Attribute:
    """An attribute of ours, until its object is given one of that name.

    In the shape of a property, but without `__set__`: so what the object itself has comes first.
    """

    def __init__(self, ours: typing.Any) -> None:
        self._ours = ours
        self.__doc__ = ours.__doc__

    def __get__(self, obj: object, cls: type | None = None) -> typing.Any:
        return self if obj is None else self._ours.__get__(obj, cls)


def _assignable(cls: _Class) -> _Class:
    """Natively, objects of these classes have hardly an attribute, so a program may give a lock a
    `name` or an `owner` of its own.  So it may here; what is ours is then found no more by it."""
    bases = [base for base in cls.__mro__ if base.__module__ in (__name__, _core.__name__)]
    for base in reversed(bases):
        for name, found in list(vars(base).items()):
            if hasattr(type(found), "__set__") and not name.startswith("_"):
                setattr(cls, name, _Attribute(found))
    return cls


class _Owned(_SemLock):
    """Mixed into the locks: who holds it, or held it when it died."""

    __slots__ = ()

    @property
    def owner(self) -> _owner.Owner | None:
        """Who holds it; None if it is free or nobody can be named."""
        return _owner.owner_of(self)

    @property
    def robust(self) -> bool:
        """Whether it is taken over when its owner dies: docs/robust.md."""
        return self._robust

    @property
    def owner_died(self) -> _death.Death | None:
        """For the holder of a robust lock: the owner that died with it, until this one releases."""
        return _death.death_of(self)


@_assignable
@_core.own_methods
class Lock(_core.Lock, Travels, _Owned, _native.Lock):
    """A non-recursive lock of processes.  Any process may release it, unless it is `robust`: then
    only the one that holds it, and if that one dies the next gets it."""


@_assignable
@_core.own_methods
class RLock(_core.RLock, Travels, _Owned, _native.RLock):
    """A lock of processes that the thread which holds it may take again.  If it is `robust`, and
    that thread dies, the next gets it."""


@_assignable
@_core.own_methods
class Semaphore(_core.Semaphore, Travels, _native.Semaphore):
    """A semaphore of processes."""


@_assignable
@_core.own_methods
class BoundedSemaphore(_core.BoundedSemaphore, Travels, _native.BoundedSemaphore):
    """A semaphore of processes that never rises above its first value."""

    def __repr__(self) -> str:
        # As natively, but not by `maxvalue`, which the program may have made its own.
        bound = _core.SemLock.maxvalue.__get__(self)
        return f"{super(_native.BoundedSemaphore, self).__repr__()[:-2]}, maxvalue={bound})>"


@_assignable
class Event(_core.Event, Travels, _native.Event):
    """A flag that processes wait for.  set() never blocks; a pulse of set() and clear() wakes
    everybody who was waiting."""

    def __repr__(self) -> str:
        try:
            state = "set" if self.is_set() else "unset"
        except OSError:  # it is lost
            state = "unknown"
        return f"<{type(self).__qualname__} at {id(self):#x} {state}>"


class _Room(_core.Cond, Travels):
    """The part of a Condition that processes share, but for the lock."""

    _part_of = "Condition"


class _Told:
    """In the place of a semaphore that only tells its value."""

    def __init__(self, value: int) -> None:
        self._value = value

    def get_value(self) -> int:
        return self._value


@_assignable
class Condition(_native.Condition):
    """A condition variable of processes.

    notify(n) wakes exactly n of those who wait, or all if they are fewer, never one who came
    later; it waits for nobody, so a waiter that was killed holds nobody up.  A waiter whose time is
    over, or whose signal handler raises, waits no longer, even if it has not got the lock back yet;
    a notification that it cannot act on goes to the next.
    """

    def __init__(self, lock: typing.Any = None, *, ctx: object = None) -> None:  # noqa: ARG002
        self._lock: typing.Any = RLock() if lock is None else lock
        self._room = _Room()
        self._make_methods()

    def __getstate__(self) -> tuple[typing.Any, ...]:
        made = "_lock", "_room", "_direct", "acquire", "release"
        return self._lock, self._room, attributes_of(self, *made)

    def __setstate__(self, state: tuple[typing.Any, ...]) -> None:
        self._lock, self._room, attributes = state
        self._make_methods()
        set_attributes(self, attributes)

    def _make_methods(self) -> None:
        # A lock of another library, or of a subclass that does more when it is taken, must be
        # taken and released by its own methods.
        self._direct = type(self._lock) in (Lock, RLock)
        # As natively: a call goes straight to the lock's own method.
        self.acquire = self._lock.acquire  # type: ignore[method-assign]
        self.release = self._lock.release  # type: ignore[method-assign]

    def __enter__(self) -> bool:
        return bool(self._lock.acquire())

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        self._lock.release()

    def __repr__(self) -> str:
        try:
            waiters: object = self._room.waiters()
        except OSError:  # it is lost
            waiters = "unknown"
        return f"<{type(self).__name__}({self._lock!r}, {waiters})>"

    @property
    def waiters(self) -> int:
        """How many wait to be notified."""
        return self._room.waiters()

    @property
    def owner_died(self) -> _death.Death | None:
        """That of the lock, if it is robust."""
        return getattr(self._lock, "owner_died", None)

    # Multiprocessing's consists of three semaphores, and whoever wants to know how many wait reads
    # these.  Ours has none: who has been woken is not counted any more, and no token is on its way.
    _sleeping_count = _Attribute(property(lambda self: _Told(self._room.waiters())))
    _woken_count = _Attribute(property(lambda _: _Told(0)))
    _wait_semaphore = _Attribute(property(lambda _: _Told(0)))

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified for at most `timeout` seconds, take the lock again.

        Returns False if the time was over first.  Raises AssertionError if the calling thread does
        not hold the lock, ValueError for a NaN timeout.
        """
        if self._direct:
            return _core.cond_wait(self._room, self._lock, timeout)
        semlock = self._lock._semlock
        if not semlock._is_mine():
            raise AssertionError("must acquire() condition before using wait()")
        return self._room.wait_with(self._lock, semlock._count(), timeout)

    def notify(self, n: int = 1) -> None:
        """Wake n of those who wait.  Raises AssertionError if the calling thread does not hold
        the lock."""
        if not self._lock._semlock._is_mine():
            raise AssertionError("lock is not owned")
        self._room.notify(n)

    def notify_all(self) -> None:
        """Wake all who wait.  Raises AssertionError as notify() does."""
        self.notify(0xFFFFFFFF)


class _Rendezvous(_core.Rendezvous, Travels):
    """The part of a Barrier that processes share."""

    _part_of = "Barrier"


class Barrier(_native.Barrier):
    """A rendezvous of a fixed number of threads, in whatever processes.

    It has no lock and no draining phase: whoever is killed while waiting blocks nobody, though
    the party stays counted until the generation ends.  The last to arrive runs the action; if it is
    killed in it, the barrier is broken within about a second.  Only what is proved dead counts: a
    party in another PID namespace is waited for, until abort() or reset().
    """

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: object = None,  # noqa: ARG002
    ) -> None:
        self._rendezvous = _Rendezvous(parties)
        self._action = action
        self._timeout = timeout

    def __getstate__(self) -> tuple[typing.Any, ...]:
        made = self._rendezvous, self._action, self._timeout
        return *made, attributes_of(self, "_rendezvous", "_action", "_timeout")

    def __setstate__(self, state: tuple[typing.Any, ...]) -> None:
        self._rendezvous, self._action, self._timeout, attributes = state
        set_attributes(self, attributes)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties have come, at most `timeout` seconds (None: the barrier's own).

        Returns the order of arrival, 0 to parties-1, different for each.  Raises
        threading.BrokenBarrierError if the barrier is or gets broken, also by this call's time
        being over, and what the action raised in the one that ran it.  As in threading, the time an
        action takes does not count: once all have come no timeout breaks the barrier.  An action
        that waits for its own barrier breaks it.
        """
        index = self._rendezvous.meet(self._action, self._timeout if timeout is None else timeout)
        if index is None:
            raise threading.BrokenBarrierError
        return index

    def reset(self) -> None:
        """Make it whole and empty.  Whoever waits gets BrokenBarrierError."""
        self._rendezvous.reset()

    def abort(self) -> None:
        """Break it: whoever waits or comes gets BrokenBarrierError, until reset()."""
        self._rendezvous.abort()

    @property
    def parties(self) -> int:
        """How many must come."""
        return self._rendezvous.parties

    @property
    def n_waiting(self) -> int:
        """How many wait for others now."""
        return self._rendezvous.n_waiting

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._rendezvous.broken

    def __repr__(self) -> str:
        try:
            state = "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
        except OSError:  # it is lost
            state = "unknown"
        return f"<{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}: {state}>"
