"""Queues and pools whose locks survive their holder (``ALTSEM_ROBUST=1``).

A queue is a pipe with a lock at each end.  Who is killed while it waits for a message, with the
lock in its hands, has changed nothing: the next one takes the lock over and goes on.  Who is killed
in the middle of one leaves a pipe that nobody can make sense of.  So the holder notes in the lock
when it is midway: a reader from when there is something to read until it has all of it; a writer
while it writes what the kernel does not write in one piece.  Whoever finds that note when it has
the lock raises TornMessageError, and so does everybody after it.

A reader that is midway waits for a writer that may be dead: it looks once a second.

A pool does all this by itself, and a worker that cannot read on goes without a word.  So its thread
for results looks at both queues, and fails what is under way.

The note is taken in the methods of multiprocessing's own classes, where the lock is robust; all
else is left to what was there.  adopt.py and the drop-in put the methods in their places.
"""

from __future__ import annotations

import errno
import functools
import os
import select
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

from .._death import TornMessageError
from .._guarded import QUEUES

if TYPE_CHECKING:
    from collections.abc import Callable

    from .. import _core

SLICE = 1.0  # s
# Of so many bytes at the most a pipe has all or nothing; a header of four comes before a message.
WHOLE = getattr(select, "PIPE_BUF", 512) - 4


def replacement(name: str, cls: str, before: Any) -> Any:
    """What belongs in one of the places of _guarded.py, where `before` is now (None: nothing)."""
    make: Any = {
        "_poll": lambda _: _Bound("_poll", _polling),
        "_recv_bytes": lambda _: _Bound("_recv_bytes", _receiving),
        "_send_bytes": lambda _: _Bound("_send_bytes", _sending),
        "get": _simple_get,
        "put": _simple_put if cls == "SimpleQueue" else _checked_put,
        "_setup_queues": _watched_queues,
        "__init__": _robust_init,
    }[name]
    return make(before)


def guard(package: str = "multiprocessing") -> None:
    """Puts them all in their places, once."""
    import importlib

    for module, cls, name in QUEUES:
        found = getattr(importlib.import_module(f"{package}.{module}"), cls)
        before = vars(found).get(name)
        if not getattr(before, "_altsem_robust", False):
            setattr(found, name, replacement(name, cls, before))


def _robust(lock: Any) -> _core.SemLock | None:
    semlock = getattr(lock, "_semlock", None)
    return semlock if getattr(semlock, "_robust", False) else None


# --- a message ------------------------------------------------------------------------------------


def _torn() -> TornMessageError:
    return TornMessageError(
        errno.EBADMSG,
        "a process was killed in the middle of a message: what comes after it in this queue "
        "cannot be read any more",
    )


def _check(semlock: _core.SemLock) -> None:
    if semlock._midway:
        raise _torn()


def look(semlock: _core.SemLock | None) -> None:
    """Raises TornMessageError if somebody has died midway with this lock.  Whoever is midway and
    lives has it still."""
    if semlock is not None and semlock._midway and semlock.acquire(False):
        try:
            _check(semlock)
        finally:
            semlock.release()


def look_at_readers(semlock: _core.SemLock | None) -> None:
    """As look(), for writers.  It leaves the lock alone while a reader lives: get_nowait() takes
    one that is held for an empty queue."""
    if semlock is None or not semlock._midway:
        return
    from .. import _core

    held = _core.holder(semlock)
    if held is None or _core.judge(*held)[1] is False:
        look(semlock)


class _Watched:
    """In the place of a connection, for its own method that reads a message."""

    def __init__(self, reader: Any, writers: _core.SemLock | None) -> None:
        self._reader, self._writers = reader, writers

    def _recv(self, size: int) -> Any:
        return self._reader._recv(size, self._read)

    def _read(self, fd: int, size: int) -> bytes:
        wait(self._reader, self._writers)
        return os.read(fd, size)


def wait(reader: Any, *locks: _core.SemLock | None) -> None:
    """Until there is something to read; raises TornMessageError if nothing good will come."""
    # Much less work than the connection's own poll(), which each message would do three times.
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(reader.fileno(), select.POLLIN)
        ready = functools.partial(poller.poll, SLICE * 1000)
    else:  # replaced, as gevent does
        ready = functools.partial(reader.poll, SLICE)
    while not ready():
        for semlock in locks:
            look(semlock)


def read(reader: Any, writers: _core.SemLock | None) -> Any:
    """The bytes of a message, as a BytesIO."""
    reader._check_closed()
    reader._check_readable()
    return type(reader)._recv_bytes(_Watched(reader, writers))


def receive(reader: Any, semlock: _core.SemLock, writers: _core.SemLock | None) -> bytes:
    """As reader.recv_bytes(), with the lock of the readers in hand."""
    _check(semlock)
    wait(reader, writers)
    semlock._midway = True
    try:
        message: bytes = read(reader, writers).getvalue()
    except TornMessageError:
        raise  # nobody can go on from here
    except BaseException:
        semlock._midway = False
        raise
    semlock._midway = False
    return message


def poll(
    ready: Callable[[float], bool],
    semlock: _core.SemLock,
    writers: _core.SemLock | None,
    timeout: float = 0.0,
) -> bool:
    """As reader.poll(), which is `ready`, with the lock of the readers in hand; empty() asks
    without it, and is told what is there.

    A queue that is torn must not look like an empty one: who gets with a timeout tries again.
    """
    if not semlock._is_mine():
        return ready(timeout)
    _check(semlock)
    end = time.monotonic() + timeout
    while not ready(min(timeout, SLICE)):
        look(writers)
        timeout = end - time.monotonic()
        if timeout <= 0:
            return False
    return True


def send(writer: Any, semlock: _core.SemLock, message: Any) -> None:
    """As writer.send_bytes(), with the lock of the writers in hand."""
    _check(semlock)
    if len(message) <= WHOLE:
        writer.send_bytes(message)
        return
    semlock._midway = True
    try:
        writer.send_bytes(message)
    finally:
        semlock._midway = False


# --- queues ---------------------------------------------------------------------------------------


class _Bound:
    """In a class: an attribute that its objects give themselves, a method of a connection, of which
    one is handed out that takes the note."""

    _altsem_robust = True

    def __init__(self, name: str, make: Callable[[Any, Any], Any]) -> None:
        self._name, self._make = name, make

    def __get__(self, queue: Any, cls: type | None = None) -> Any:
        if queue is None:
            return self
        try:
            return self._make(queue, vars(queue)[self._name])
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, queue: Any, value: Any) -> None:
        vars(queue)[self._name] = value

    def __delete__(self, queue: Any) -> None:
        vars(queue).pop(self._name, None)


def _polling(queue: Any, before: Any) -> Any:
    semlock = _robust(queue._rlock)
    if semlock is None:
        return before
    return functools.partial(poll, before, semlock, _robust(queue._wlock))


def _receiving(queue: Any, before: Any) -> Any:
    semlock = _robust(queue._rlock)
    if semlock is None:
        return before
    return functools.partial(receive, queue._reader, semlock, _robust(queue._wlock))


def _sending(queue: Any, before: Any) -> Any:
    semlock = _robust(queue._wlock)
    return before if semlock is None else functools.partial(send, queue._writer, semlock)


def _marked(method: Any) -> Any:
    method._altsem_robust = True
    return method


def _checked_put(before: Any) -> Any:
    # A message is sent by a thread, where an error would only be printed.
    @functools.wraps(before)
    def put(self: Any, *args: Any, **kwargs: Any) -> None:
        look(_robust(self._wlock))
        look_at_readers(_robust(self._rlock))
        before(self, *args, **kwargs)

    return _marked(put)


def _pickler(queue: Any) -> Any:
    """That of the module which the class is from: a copy of multiprocessing has its own."""
    modules: list[Any] = [sys.modules.get(cls.__module__) for cls in type(queue).__mro__]
    return next(module._ForkingPickler for module in modules if hasattr(module, "_ForkingPickler"))


def _simple_get(before: Any) -> Any:
    @functools.wraps(before)
    def get(self: Any) -> Any:
        semlock = _robust(self._rlock)
        if semlock is None:
            return before(self)
        with self._rlock:
            message = receive(self._reader, semlock, _robust(self._wlock))
        return _pickler(self).loads(message)

    return _marked(get)


def _simple_put(before: Any) -> Any:
    @functools.wraps(before)
    def put(self: Any, obj: Any) -> None:
        semlock = _robust(self._wlock)
        if semlock is None:
            before(self, obj)
            return
        look_at_readers(_robust(self._rlock))
        message = _pickler(self).dumps(obj)
        with self._wlock:
            send(self._writer, semlock, message)

    return _marked(put)


# --- pools ----------------------------------------------------------------------------------------


def _watched_queues(before: Any) -> Any:
    @functools.wraps(before)
    def setup_queues(self: Any) -> None:
        before(self)
        if _robust(getattr(self._inqueue, "_rlock", None)) is not None:
            self._quick_get = _Results(self)

    return _marked(setup_queues)


class _Results:
    """Gets the next result of a pool, as its thread for results wants it."""

    def __init__(self, pool: Any) -> None:
        self._pool = weakref.ref(pool)
        self._queue = pool._outqueue
        # Of those that write results, and of those that read tasks.
        self._locks = _robust(pool._outqueue._wlock), _robust(pool._inqueue._rlock)

    def __call__(self) -> Any:
        reader = self._queue._reader
        try:
            wait(reader, *self._locks)
            message = read(reader, self._locks[0])
        except TornMessageError as error:
            pool = self._pool()
            if pool is not None:
                _fail(pool, error)
            raise  # ends the thread
        return _pickler(self._queue).loads(message.getbuffer())


def _fail(pool: Any, error: TornMessageError) -> None:
    """Ends a pool that cannot go on: whoever waits for a result gets the error, and so does whoever
    wants another."""

    def refuse() -> None:
        raise TornMessageError(*error.args)

    pool._check_running = refuse
    # terminate() sends a last result, and reads tasks so that nobody is stuck with one.  This comes
    # first: the thread for tasks, which ends soon after the workers' one, sends a last result, too,
    # and has to get on to telling the workers to go.
    pool._outqueue.put = lambda _: None
    reader = pool._inqueue._reader
    reader.recv = functools.partial(_drain, reader.fileno())
    pool._worker_handler._state = "TERMINATE"  # no more workers, which would only go again
    pool._change_notifier.put(None)
    for number, job in list(pool._cache.items()):
        _fail_job(job, error)
        pool._cache.pop(number, None)


def _drain(fd: int) -> None:
    os.read(fd, 65536)


def _fail_job(job: Any, error: TornMessageError) -> None:
    if hasattr(job, "ready"):
        while not job.ready():  # one for each part of a map
            job._set(0, (False, error))
        return
    with job._cond:
        job._items.append((False, error))
        job._index += 1
        job._length = job._index
        job._cond.notify()


# --- locks of the drop-in -------------------------------------------------------------------------


def _robust_init(before: Any) -> Any:
    """For Lock and RLock: the semaphore in them cannot know that it is theirs."""

    @functools.wraps(before)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        before(self, *args, **kwargs)
        make_robust(self._semlock)

    return _marked(init)


def make_robust(semlock: Any) -> None:
    """If it is one of ours."""
    make = getattr(semlock, "_make_robust", None)
    if make is not None:
        make()
