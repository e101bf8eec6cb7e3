"""How primitives get from process to process.

A primitive is pickled as (class, identity of its segment, offset, a way to get the segment).  The
segment is a descriptor; a receiver that has it mapped already needs no way.  There are three:

- while a process is being started, the descriptor is handed to the child by the one who starts it,
  once per child however many primitives of it there are (a descriptor listed twice makes `spawn`
  fail);
- else, as an argument of `Pool.map`, `executor.submit` or `Queue.put`, the receiver opens it as
  /proc/PID/fd/N of the sender.  The kernel lets processes of the same user do so; nothing has to
  run in the sender, and nothing has to be written anywhere;
- where the sender finds that others may not look there, it also serves the descriptor at a socket.
  That takes a thread.

The sender keeps what it sent for as long as it lives, since any number of receivers may need it.

Pools and queues take an OSError while they unpickle for the end of the other side, and leave or
hang without a word.  So what cannot be had arrives all the same, as an object that says why when
it is used (`_core.lose`); and what cannot be sent is sent all the same: the receiver may have it.

Nothing here waits for a lock that the child of a fork would inherit taken by another thread.
"""

from __future__ import annotations

import _thread
import contextlib
import copyreg
import errno
import os
import signal
import socket
import struct
import threading
import time
from multiprocessing import context, reduction, util
from types import BuiltinFunctionType

from .. import _core

TYPE_CHECKING = False  # not from `typing`: see context.py
if TYPE_CHECKING:
    from typing import Any, NoReturn, Protocol

    class Way(Protocol):
        """Leads to a segment.  detach() hands out its descriptor, or raises OSError."""

        def detach(self) -> int: ...

    Place = tuple[int, int, int, int]  # in /proc: pid, descriptor; then device, inode
    Address = tuple[str, int]  # of a socket; and whose it is


class Travels:
    """Mixed into the primitives: pickling, also by picklers that are not multiprocessing's."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        sent = _core.lost(self)
        if sent is None:
            segment, offset = _core.export(self)
            identity = segment.id
            sent = identity, offset, _way_to(segment, identity)
        return rebuild, (type(self), *sent), self.__getstate__()

    def __getstate__(self) -> Any:
        return attributes_of(self)

    def __setstate__(self, state: Any) -> None:
        set_attributes(self, state)


def attributes_of(instance: object, *but: str) -> Any:
    """What object.__getstate__ gives: the attributes, and those in slots if there are any."""
    attributes: dict[str, Any] = getattr(instance, "__dict__", {})
    attributes = {name: value for name, value in attributes.items() if name not in but}
    slots = {
        name: getattr(instance, name)
        for name in copyreg._slotnames(type(instance))  # type: ignore[attr-defined]
        if hasattr(instance, name)
    }
    return (attributes, slots) if slots else attributes or None


def set_attributes(instance: object, state: Any) -> None:
    """Gives another instance what attributes_of() gave."""
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        instance.__dict__.update(attributes)
    for name, value in (slots or {}).items():
        setattr(instance, name, value)


def rebuild(cls: type[Any], identity: bytes, offset: int, way: Way) -> Any:
    """The primitive at `offset` of the segment of that identity.

    If it cannot be had it is lost: an object that raises OSError when it is used.  But one that
    was handed over when this process was started raises at once: a process without what it was
    given had better not begin.
    """
    try:
        segment = _core.lookup(identity)
        if segment is None:
            segment = _attach(identity, way)
        return _core.adopt(cls, segment, offset)
    except OSError as error:
        if not isinstance(way, Fetch):
            raise
        why = error.strerror or str(error)
        name = getattr(cls, "_part_of", cls.__name__)
        sentence = f"this {name} cannot be used here, its memory was not to be had: {why}"
        return _core.lose(cls, error.errno or errno.EIO, sentence, (identity, offset, way))


def _attach(identity: bytes, way: Way) -> _core.Segment:
    fd = way.detach()
    took = False
    try:
        segment, took = _core.attach(fd, identity)
    finally:
        if not took:
            os.close(fd)
    return segment


def _way_to(segment: _core.Segment, identity: bytes) -> Way:
    popen = context.get_spawning_popen()
    if popen is None:
        return Kept(segment, identity)
    ways: dict[bytes, Any] = popen.__dict__.setdefault("_altsem_ways", {})
    entry = ways.get(identity)
    if entry is None:
        # The reference keeps the descriptor open until the child has it.
        entry = ways[identity] = (reduction.DupFd(segment.fileno()), segment)
    way: Way = entry[0]
    return way


# --- the sender ----------------------------------------------------------------------------------

_kept: dict[bytes, _core.Segment] = {}  # what was sent to whom nobody knows


class Kept:
    """A segment on its way out: when it is really pickled, which copy.copy does not do, it becomes
    a Fetch, and the segment is kept for who may come."""

    __slots__ = ("_identity", "_segment")

    def __init__(self, segment: _core.Segment, identity: bytes) -> None:
        self._segment = segment
        self._identity = identity

    def __deepcopy__(self, memo: object) -> Kept:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        _kept[self._identity] = self._segment
        return Fetch, (self._identity, *_ways_to(self._segment))

    def detach(self) -> int:
        """A descriptor of its own, within this process."""
        return os.dup(self._segment.fileno())


def _ways_to(segment: _core.Segment) -> tuple[Place | None, Address | None, str | None]:
    """Where the descriptor is in /proc; where it is served; and why it cannot be."""
    try:
        fd = segment.fileno()
    except OSError as error:
        return None, None, error.strerror
    place = _place_of(fd)
    if place is not None and _core.dumpable():
        return place, None, None
    try:
        return place, _sharer.address(), None
    except (OSError, RuntimeError) as error:
        return place, None, f"the sender cannot serve it ({error})"


_proc: tuple[int, int] = 0, 0  # this process, and its number in /proc: 0 if that is of no use


def _place_of(fd: int) -> Place | None:
    """As far as can be found out from here.  A process may always look into itself."""
    global _proc
    here = os.getpid()
    if _proc[0] != here:
        _proc = here, _number_in_proc(fd)
    if not _proc[1]:
        return None
    status = os.fstat(fd)
    return _proc[1], fd, status.st_dev, status.st_ino


def _number_in_proc(fd: int) -> int:
    try:
        # What /proc says, not getpid(): it may be that of a PID namespace around ours.
        number = int(os.readlink("/proc/self"))
        os.close(os.open(f"/proc/{number}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC))
    except (OSError, ValueError):
        return 0
    return number


# --- the receiver --------------------------------------------------------------------------------


class Fetch:
    """Gets a segment's descriptor from the process that sent it.

    `place`: where it is in /proc; `address`: of its sharer; `note`: what the sender has to say if
    it knows of no way.
    """

    __slots__ = ("_address", "_identity", "_note", "_place")

    def __init__(
        self,
        identity: bytes,
        place: Place | None = None,
        address: Address | None = None,
        note: str | None = None,
    ) -> None:
        self._identity, self._place = identity, place
        self._address, self._note = address, note

    def __reduce__(self) -> tuple[Any, ...]:
        return Fetch, (self._identity, self._place, self._address, self._note)

    def detach(self) -> int:
        """Raises OSError, which says why no way leads there."""
        refused = OSError(errno.ENOENT, self._note or "its sender knew of no way to it")
        if self._place is not None:
            try:
                return _open_in_proc(*self._place)
            except OSError as error:
                refused = error
        if self._address is not None:
            return _ask(*self._address, self._identity)
        if self._place is not None and self._note is not None:
            refused.strerror = f"{refused.strerror}; and {self._note}"
        raise refused


def _has_no_memory(pid: int) -> bool:
    """Whether a process has come so far in ending that it has let its memory go."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return not any(map(int, file.read().split()))
    except OSError as error:
        return isinstance(error, (FileNotFoundError, ProcessLookupError))


def _open_in_proc(pid: int, fd: int, device: int, inode: int) -> int:
    path = f"/proc/{pid}/fd/{fd}"
    try:
        # A look first: to open what is not ours may do something to it.
        found = os.stat(path)
        if (found.st_dev, found.st_ino) != (device, inode):
            _raise_gone(f"process {pid}, which sent it,")
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        _raise_gone(f"process {pid}, which sent it,")
    except PermissionError as error:
        # Of a process that has ended, zombie or not, the descriptors belong to root.
        if _has_no_memory(pid):
            _raise_gone(f"process {pid}, which sent it,")
        raise OSError(
            error.errno,
            f"this process may not look into process {pid}, which sent it (another user, fewer "
            "capabilities, or a sandbox); what is handed over when a process is started needs no "
            "permission",
        ) from None
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        _raise_full(error.errno)


def _raise_gone(who: str) -> NoReturn:
    raise OSError(
        errno.ESRCH,
        f"{who} is gone, no longer has it, or cannot be seen from here (another container); "
        "whoever sends a primitive has to live until it has arrived",
    ) from None


def _raise_full(number: int) -> NoReturn:
    raise OSError(number, "no file descriptor was free in this process when it arrived") from None


# --- the sharer ----------------------------------------------------------------------------------

# A sharer answers at once, or is stopped, or nobody: no reason to let a queue hang for ever.
ANSWER_TIME = 30.0


class _Sharer:
    """Serves the descriptors of what is kept, where they cannot be had from /proc.

    Not multiprocessing's: that needs a directory that can be written, its lock stays taken in the
    child of a fork, and where threads are greenlets it blocks the signals of the main thread.
    """

    def __init__(self) -> None:
        self._door: _Door | None = None

    def address(self) -> Address:
        """Where it listens; from the first call on it does.  Raises OSError or RuntimeError.

        Two threads may start two, which both serve.
        """
        door = self._door
        if door is None or not door.is_ours():
            if not isinstance(_thread.start_new_thread, BuiltinFunctionType):
                raise RuntimeError("threads are replaced here, as gevent does, by what is none")
            self._door = door = _Door()  # now: a fork has to find it
            try:
                _start_without_signals(door)
            except BaseException:
                self._door = None
                door.close()
                raise
        return door.address

    def forget(self) -> None:
        """In the child of a fork, where nobody listens any more."""
        door, self._door = self._door, None
        if door is not None:
            door.close()


class _Door:
    """A listening socket that is known again: other code may close every descriptor, and reuse the
    number, which then must neither be used nor closed here."""

    def __init__(self) -> None:
        self._listener = listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        name = _new_name()
        listener.bind(name)
        listener.listen()
        self.address = name, os.geteuid()
        self._inode = os.fstat(listener.fileno()).st_ino

    def is_ours(self) -> bool:
        try:
            return os.fstat(self._listener.fileno()).st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        ours = self.is_ours()
        fd = self._listener.detach()
        if ours:
            os.close(fd)

    def serve(self) -> None:
        while self.is_ours():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                time.sleep(0.01)  # no descriptor is free, and whoever wants one waits
                continue
            with connection, contextlib.suppress(OSError):  # it may be gone
                _answer(connection)
        self.close()


def _new_name() -> str:
    name = f"altsem-{os.urandom(16).hex()}"
    if util.abstract_sockets_supported:
        return f"\0{name}"
    return os.path.join(util.get_temp_dir(), name)  # which only this user may enter


def _start_without_signals(door: _Door) -> None:
    # Handlers run in the main thread, which a signal should wake.  New threads inherit the mask.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=door.serve, name="altsem-sharer", daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(connection: socket.socket) -> None:
    if not _is_of(connection, os.geteuid(), 0):
        return
    connection.settimeout(ANSWER_TIME)
    segment = _kept.get(connection.recv(64))
    if segment is not None:
        socket.send_fds(connection, [b"."], [segment.fileno()])


def _is_of(connection: socket.socket, *users: int) -> bool:
    """Whether one of these users is at the other end.  The names of abstract sockets are there for
    everybody to see, and to take when they are free again."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack("=iII", credentials)[1] in users


def _ask(name: str, user: int, identity: bytes) -> int:
    who = "the process that sent it"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIME)
        try:
            connection.connect(name)
            if not _is_of(connection, user):
                _raise_gone(who)
            connection.sendall(identity)
            cloexec = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            _, fds, flags, _ = socket.recv_fds(connection, 1, 1, cloexec)
        except (ConnectionError, FileNotFoundError):
            _raise_gone(who)
        except TimeoutError as error:
            raise OSError(errno.ETIMEDOUT, f"{who} does not answer") from error
    if fds:
        return fds[0]
    if flags & socket.MSG_CTRUNC:
        _raise_full(errno.EMFILE)
    _raise_gone(who)


_sharer = _Sharer()


def _after_fork_in_child() -> None:
    _sharer.forget()
    _kept.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
