"""How primitives get from process to process.

A primitive is pickled as (identity of its segment, offset, a way to get the segment).  The segment
is a descriptor; a receiver that has it mapped already takes nothing.  There are two ways:

- while a process is being started, the descriptor is handed to the child by the one who starts it,
  once per child however many primitives of it there are (a descriptor listed twice makes `spawn`
  fail);
- else, as an argument of `Pool.map`, `executor.submit` or `Queue.put`, the receiver fetches it from
  the sender, through multiprocessing.resource_sharer.  That serves each descriptor once; ours is
  served for as long as the segment lives, since any number of receivers may need it.
"""

from __future__ import annotations

import os
import threading
from multiprocessing import context, reduction, resource_sharer

from .. import _core

TYPE_CHECKING = False  # not from `typing`: see context.py
if TYPE_CHECKING:
    from typing import Any, Protocol

    class _Detachable(Protocol):
        def detach(self) -> int: ...


_sharer: Any = resource_sharer._resource_sharer  # type: ignore[attr-defined]


class Travels:
    """Mixed into the primitives: pickling, also by picklers that are not multiprocessing's."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        segment, offset = _core.export(self)
        state = getattr(self, "__dict__", None) or None
        return rebuild, (type(self), segment.id, offset, _way_to(segment)), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def rebuild(cls: type[Any], identity: bytes, offset: int, way: _Detachable) -> Any:
    """The primitive at `offset` of the segment of that identity.

    Raises OSError if the segment cannot be had any more, or there is no such primitive in it.
    """
    segment = _core.lookup(identity)
    if segment is None:
        fd = way.detach()
        took = False
        try:
            segment, took = _core.attach(fd, identity)
        finally:
            if not took:
                os.close(fd)
    return _core.adopt(cls, segment, offset)


def _way_to(segment: _core.Segment) -> _Detachable:
    popen = context.get_spawning_popen()
    if popen is None:
        return _served(segment)
    ways: dict[bytes, Any] = popen.__dict__.setdefault("_altsem_ways", {})
    entry = ways.get(segment.id)
    if entry is None:
        # The reference keeps the descriptor open until the child has it.
        entry = ways[segment.id] = (reduction.DupFd(segment.fileno()), segment)
    way: _Detachable = entry[0]
    return way


class Fetch:
    """Fetches a segment's descriptor from the process that serves it."""

    __slots__ = ("_address",)

    def __init__(self, address: object) -> None:
        self._address = address

    def __reduce__(self) -> tuple[Any, ...]:
        return Fetch, (self._address,)

    def detach(self) -> int:
        """Raises OSError if the sender is gone."""
        try:
            with _sharer.get_connection(self._address) as connection:
                return reduction.recv_handle(connection)
        except (EOFError, OSError) as error:
            raise OSError(
                getattr(error, "errno", None) or 0,
                "the process that sent this primitive is gone, or no longer has it, and no other "
                f"way leads to its shared memory ({error or type(error).__name__})",
            ) from error


class _Server:
    """Entries of the resource sharer that are not used up by being fetched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._ways: dict[bytes, Fetch] = {}

    def way_to(self, segment: _core.Segment) -> Fetch:
        segment.fileno()  # if it is lost, say so here, not to the receiver
        with self._lock:
            if self._pid != os.getpid():  # a fork closes the sharer and forgets its entries
                self._pid = os.getpid()
                self._ways.clear()
                thread = _sharer._thread
                if thread is not None and not thread.is_alive():
                    # Not so in the child of a bare os.fork(): it has its parent's address.
                    _sharer._afterfork()
            way = self._ways.get(segment.id)
            if way is None:
                way = self._ways[segment.id] = self._serve(segment)
            return way

    @staticmethod
    def _serve(segment: _core.Segment) -> Fetch:
        key: list[Any] = []

        def send(connection: Any, pid: int) -> None:
            reduction.send_handle(connection, segment.fileno(), pid)

        def again() -> None:
            if key:  # the sharer has taken the entry out to serve it
                _sharer._cache[key[0]] = (send, again)

        address = _sharer.register(send, again)
        key.append(address[1])
        return Fetch(address)


_server = _Server()
_served = _server.way_to


def _after_fork_in_child() -> None:
    # Another thread may have held the lock at the fork.
    _server.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_after_fork_in_child)
