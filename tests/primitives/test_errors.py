"""Bad input: a stated exception, with a sentence that names the value and the bound.

Never a crash, never a hang."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import pickle
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import altsem
from altsem import _core
from altsem.synchronize import travel
from support import GENEROUS, wait_for_waiters

pytestmark = pytest.mark.limit(60)

MAKERS: dict[str, Callable[[], Any]] = {
    "Lock": altsem.Lock,
    "RLock": altsem.RLock,
    "Semaphore": altsem.Semaphore,
    "BoundedSemaphore": lambda: altsem.BoundedSemaphore(2),
    "SemLock": lambda: altsem.SemLock(1, 1, 1, "/unused", True),
}


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [altsem.Semaphore, altsem.BoundedSemaphore])
@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (-1, OSError, "value -1 is below 0"),
        (-(2**70), OSError, f"value {-(2**70)} is below 0"),
        (2**31, OverflowError, "value 2147483648 is above the maximum, 2147483647"),
        (2**70, OverflowError, f"value {2**70} is above the maximum, 2147483647"),
        ("1", TypeError, "'str' object cannot be interpreted as an integer"),
        (1.0, TypeError, "'float' object cannot be interpreted as an integer"),
        (None, TypeError, "'NoneType' object cannot be interpreted as an integer"),
    ],
)
def test_values_of_semaphores(cls: Any, value: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        cls(value)
    assert said in str(caught.value)
    if error is OSError:
        assert caught.value.errno == errno.EINVAL  # type: ignore[attr-defined]
    if error is not TypeError:
        assert cls.__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("parties", "error", "said"),
    [
        (0, ValueError, "at least 1 party, not 0"),
        (-5, ValueError, "at least 1 party, not -5"),
        (-(2**70), ValueError, f"at least 1 party, not {-(2**70)}"),
        (2**31, OverflowError, "2147483648 parties is above the maximum, 2147483647"),
        (2**70, OverflowError, f"{2**70} parties is above the maximum, 2147483647"),
        ("2", TypeError, "'str' object cannot be interpreted as an integer"),
        (2.0, TypeError, "'float' object cannot be interpreted as an integer"),
        (None, TypeError, "'NoneType' object cannot be interpreted as an integer"),
    ],
)
def test_parties_of_barriers(parties: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        altsem.Barrier(parties)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: altsem.Lock(1), TypeError),
        (lambda: altsem.Lock(context=None), TypeError),
        (lambda: altsem.RLock(1), TypeError),
        (lambda: altsem.Semaphore(1, 2), TypeError),
        (lambda: altsem.Semaphore(val=1), TypeError),
        (lambda: altsem.Event(1), TypeError),
        (lambda: altsem.Event().wait(1, 2), TypeError),
        (lambda: altsem.Event().wait(seconds=1), TypeError),
        (lambda: altsem.Event().is_set(1), TypeError),
        (lambda: altsem.Lock().acquire(1, 2, 3), TypeError),
        (lambda: altsem.Lock().acquire(wait=1), TypeError),
        (lambda: altsem.Lock().acquire(True, block=True), TypeError),
        (lambda: altsem.Lock().release(1), TypeError),
        (lambda: altsem.Lock().__exit__(1, 2, 3, 4), TypeError),
        (lambda: altsem.Condition(5), AttributeError),
        (lambda: altsem.Condition().wait(1, 2), TypeError),
        (altsem.Barrier, TypeError),
        (lambda: altsem.Barrier(1).wait(1, 2), TypeError),
        (_core.Segment, TypeError),
    ],
)
def test_calls_that_make_no_sense(call: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


class Unwilling:
    def __bool__(self) -> bool:
        raise ZeroDivisionError

    def __float__(self) -> float:
        raise ZeroDivisionError

    def __index__(self) -> int:
        raise ZeroDivisionError


def test_exceptions_of_arguments_come_through() -> None:
    for call in (
        lambda: altsem.Lock().acquire(Unwilling()),
        lambda: altsem.Lock().acquire(True, Unwilling()),
        lambda: altsem.Event().wait(Unwilling()),
        lambda: altsem.Barrier(2).wait(Unwilling()),
        lambda: altsem.Semaphore(Unwilling()),
        lambda: altsem.Barrier(Unwilling()),
        lambda: altsem.SemLock(1, Unwilling(), 1, "/n", True),
        lambda: altsem.SemLock(1, 1, 1, "/n", Unwilling()),
    ):
        with pytest.raises(ZeroDivisionError):
            call()


# --- timeouts ------------------------------------------------------------------------------------


def timed_calls() -> Iterator[tuple[str, Callable[[Any], object], Callable[[], bool]]]:
    """What takes a timeout, on something that would make it wait, and: is it as it was?"""
    for name, make in MAKERS.items():
        lock = make()
        if name != "RLock":
            while lock.acquire(False):
                pass

        def acquire(timeout: Any, lock: Any = lock) -> object:
            return lock.acquire(True, timeout)

        if name == "RLock":
            yield name, acquire, lambda lock=lock: not lock.locked()
        else:
            yield name, acquire, lambda lock=lock: _core.waiters(lock) == 0
    event = altsem.Event()
    yield "Event", event.wait, lambda: _core.waiters(event) == 0
    for lock in (altsem.Lock(), altsem.RLock()):
        condition = altsem.Condition(lock)

        def wait(timeout: Any, condition: Any = condition) -> object:
            with condition:
                try:
                    return condition.wait(timeout)
                finally:
                    assert condition._lock._semlock._is_mine()
                    assert condition._lock._semlock._count() == 1

        yield "Condition", wait, lambda c=condition: not c._lock.locked() and not c._room.waiters()
    barrier = altsem.Barrier(2)
    yield "Barrier", barrier.wait, lambda: barrier.n_waiting == 0 and not barrier.broken


@pytest.mark.parametrize("timeout", [math.nan, -math.nan])
def test_nan_is_no_timeout(timeout: float) -> None:
    for name, call, unchanged in timed_calls():
        with pytest.raises(ValueError, match="timeout is NaN, which is no number of seconds"):
            call(timeout)
        assert unchanged(), name


@pytest.mark.parametrize("timeout", ["1", b"1", [1], object(), 1j])
def test_what_is_no_number_is_no_timeout(timeout: Any) -> None:
    for name, call, unchanged in timed_calls():
        with pytest.raises(TypeError, match=r"must be (a )?real number"):
            call(timeout)
        assert unchanged(), name


@pytest.mark.parametrize("timeout", [0, -1, -math.inf, -1e300, -0.0, 1e-300, False])
def test_no_time_at_all(timeout: float) -> None:
    for name, call, unchanged in timed_calls():
        if name == "Barrier":
            with pytest.raises(threading.BrokenBarrierError):
                call(timeout)
            continue
        assert call(timeout) is (name == "RLock")
        if name != "RLock":
            assert unchanged(), name


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 1e18, 2**63, 1e9])
def test_as_good_as_for_ever(timeout: float) -> None:
    semaphore, event, barrier = altsem.Semaphore(0), altsem.Event(), altsem.Barrier(2)
    condition = altsem.Condition()
    results: list[object] = []

    def in_condition() -> bool:
        with condition:
            return condition.wait(timeout)

    calls = (
        (semaphore, lambda: semaphore.acquire(timeout=timeout)),
        (event, lambda: event.wait(timeout)),
        (barrier, lambda: barrier.wait(timeout) in (0, 1)),
        (condition, in_condition),
    )
    threads = [
        threading.Thread(target=lambda call=call: results.append(call())) for _, call in calls
    ]
    for thread in threads:
        thread.start()
    for primitive, _ in calls:
        wait_for_waiters(primitive)
    assert results == []
    semaphore.release()
    event.set()
    barrier.wait(GENEROUS)
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join(GENEROUS)
    assert results == [True] * 4


def test_more_than_a_number_of_seconds_can_be() -> None:
    for call in (altsem.Semaphore(0).acquire, altsem.Semaphore(1).acquire):
        with pytest.raises(OverflowError, match="too large"):
            call(True, 10**400)


@pytest.mark.parametrize("n", ["1", 1.5, None])
def test_notify_what_is_no_number(n: Any) -> None:
    condition = altsem.Condition()
    with condition, pytest.raises(TypeError):
        condition.notify(n)


def test_notify_any_number() -> None:
    condition = altsem.Condition()
    with condition:
        for n in (-(2**70), -1, 0, 2**31, 2**32, 2**64, 2**70):
            condition.notify(n)


# --- objects that were never initialised ---------------------------------------------------------

BARE = [
    altsem.Lock,
    altsem.RLock,
    altsem.Semaphore,
    altsem.BoundedSemaphore,
    altsem.Event,
    _core.Lock,
    _core.RLock,
    _core.Semaphore,
    _core.BoundedSemaphore,
    _core.Event,
    _core.Cond,
    _core.Rendezvous,
    _core.Primitive,
]
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "sleep": (1, 0),
    "leave": (1,),
    "notify": (1,),
    "meet": (None, 0),
    "__setstate__": ({},),
    "__reduce_ex__": (2,),
}
# They say something even of what there is not yet.
HARMLESS = {
    "_after_fork", "_rebuild", "sem_unlink", "__setstate__", "_make_name", "_cleanup",
    "_make_methods",
}  # fmt: skip


@pytest.mark.parametrize("cls", BARE)
def test_no_method_of_an_uninitialised_object_crashes(cls: Any) -> None:
    bare = cls.__new__(cls)
    names = [name for name in dir(cls) if not name.startswith("__")]
    names += ["__enter__", "__exit__", "__reduce_ex__"]
    for name in names:
        if name in HARMLESS or name not in dir(cls):
            continue
        attribute = getattr(type(bare), name)
        if callable(attribute):
            if name == "__reduce_ex__" and cls.__module__ == "altsem._core":
                continue  # object's own
            with pytest.raises((ValueError, AttributeError), match=r"has not been called|_semlock"):
                getattr(bare, name)(*ARGUMENTS.get(name, ()))
        else:
            with contextlib.suppress(ValueError):
                getattr(bare, name)
    with contextlib.suppress(ValueError):
        repr(bare)
    with pytest.raises((ValueError, TypeError)):
        _core.export(bare)
    if issubclass(cls, _core.SemLock):
        assert bare._after_fork() is None


def test_a_subclass_that_forgets_to_initialise() -> None:
    class Forgetful(altsem.Lock):
        def __init__(self) -> None:
            pass

    with pytest.raises(ValueError, match=r"^Forgetful.__init__\(\) has not been called$"):
        Forgetful().acquire()
    with pytest.raises(ValueError, match="has not been called"), Forgetful():
        pass
    with pytest.raises(ValueError, match="has not been called"):
        pickle.dumps(Forgetful())


@pytest.mark.parametrize("cls", [altsem.Condition, altsem.Barrier])
def test_python_classes_that_were_not_initialised(cls: Any) -> None:
    with pytest.raises(AttributeError):
        cls.__new__(cls).wait()


def test_a_failed_initialisation_leaves_what_there_was() -> None:
    semaphore = altsem.Semaphore(2)
    with pytest.raises(OSError, match="below 0"):
        semaphore.__init__(-1)  # type: ignore[misc]
    assert semaphore.get_value() == 2
    bare = altsem.Semaphore.__new__(altsem.Semaphore)
    with pytest.raises(OSError, match="below 0"):
        bare.__init__(-1)  # type: ignore[misc]
    with pytest.raises(ValueError, match="has not been called"):
        bare.acquire()


# --- pickles -------------------------------------------------------------------------------------


def pickled(primitive: Any) -> tuple[Any, bytes, int, Any]:
    _, (cls, identity, offset, way), *_ = primitive.__reduce_ex__(2)
    return cls, identity, offset, way


OFFSETS = [0, 1, 63, 64, 65, 100, 2**20, 2**32, 2**63, 2**64 - 64, 2**64 - 1]


@pytest.mark.parametrize("offset", OFFSETS)
def test_an_offset_where_nothing_is(offset: int) -> None:
    lock = altsem.Lock()
    cls, identity, good, way = pickled(lock)
    with pytest.raises(OSError, match=f"no such primitive at offset {offset} of a shared") as error:
        travel.rebuild(cls, identity, offset, way)
    assert error.value.errno == errno.EINVAL
    with pytest.raises(OSError, match=f"offset {good + 1} of a shared segment of [0-9]+ bytes"):
        travel.rebuild(cls, identity, good + 1, way)


@pytest.mark.parametrize(
    ("offset", "error"),
    [(-1, OverflowError), (2**64, OverflowError), ("128", TypeError), (None, TypeError)],
)
def test_an_offset_that_is_none(offset: Any, error: type[Exception]) -> None:
    cls, identity, _, way = pickled(lock := altsem.Lock())
    assert lock
    with pytest.raises(error):
        travel.rebuild(cls, identity, offset, way)


def test_a_place_of_another_type() -> None:
    made = {
        cls: cls(*arguments)
        for cls, arguments in (
            (altsem.Lock, ()),
            (altsem.RLock, ()),
            (altsem.Semaphore, (2,)),
            (altsem.Event, ()),
            (_core.Cond, ()),
            (_core.Rendezvous, (2,)),
        )
    }
    for cls, primitive in made.items():
        segment, offset = _core.export(primitive)
        for other in made:
            if other is cls:
                assert type(_core.adopt(other, segment, offset)) is other
            else:
                with pytest.raises(OSError, match="no such primitive at offset"):
                    _core.adopt(other, segment, offset)
    # A bounded semaphore may be a lock inside; a plain one may not.
    segment, offset = _core.export(altsem.BoundedSemaphore(1))
    with pytest.raises(OSError, match="no such primitive"):
        _core.adopt(altsem.Semaphore, segment, offset)


def test_a_place_that_is_free_again() -> None:
    kept, lock = altsem.Lock(), altsem.Lock()
    segment, offset = _core.export(kept)
    free = offset + lock.handle - kept.handle
    del lock
    if free < segment.size:
        with pytest.raises(OSError, match="no such primitive"):
            _core.adopt(altsem.Lock, segment, free)


@pytest.mark.parametrize("cls", [int, object, altsem.Condition, "Lock", None])
def test_a_class_that_is_none_of_ours(cls: Any) -> None:
    lock = altsem.Lock()
    _, identity, offset, way = pickled(lock)
    with pytest.raises(TypeError, match=r"adopt\(class, segment, offset\) takes a primitive class"):
        travel.rebuild(cls, identity, offset, way)


@pytest.mark.parametrize("identity", [b"", b"x", bytes(15), bytes(17)])
def test_an_identity_of_another_length(identity: bytes) -> None:
    with pytest.raises(ValueError, match=f"segment has 16 bytes, not {len(identity)}"):
        _core.lookup(identity)
    with pytest.raises(ValueError, match="has 16 bytes"):
        _core.attach(0, identity)


class Way:
    """Hands out a descriptor, as what comes with a pickle does."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def detach(self) -> int:
        return self.fd


def lost(identity: bytes, offset: int, fetch: travel.Fetch) -> str:
    """What a lock says that arrived, but whose memory did not."""
    lock = travel.rebuild(altsem.Lock, identity, offset, fetch)
    with pytest.raises(OSError, match="its memory was not to be had") as caught:
        lock.acquire()
    assert caught.value.errno
    return str(caught.value)


def test_a_segment_that_is_nowhere() -> None:
    nobody = (2**22 + 1, 3, 4, 5)  # a process number above all there can be
    address = (os.path.join(tempfile.gettempdir(), "no-listener"), os.geteuid())
    for fetch, said in (
        (travel.Fetch(bytes(16)), "its sender knew of no way to it"),
        (travel.Fetch(bytes(16), note="it is so"), "it is so"),
        (travel.Fetch(bytes(16), nobody), "process 4194305, which sent it, is gone"),
        (travel.Fetch(bytes(16), nobody, None, "it is so"), "arrived; and it is so"),
        (travel.Fetch(bytes(16), None, address), "the process that sent it is gone"),
        (travel.Fetch(bytes(16), nobody, address), "the process that sent it is gone"),
    ):
        assert said in lost(bytes(16), 128, fetch)


def test_an_unknown_segment_of_a_living_sender() -> None:
    door = travel._Door()
    thread = threading.Thread(target=door.serve, daemon=True)
    thread.start()
    try:
        fetch = travel.Fetch(bytes(16), None, door.address)
        assert "no longer has it" in lost(bytes(16), 128, fetch)
    finally:
        door.is_ours = lambda: False  # type: ignore[method-assign]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(door.address[0])
        thread.join()


def test_a_place_in_a_segment_that_holds_something_else() -> None:
    """Where the segment is there, but what was sent is not."""
    lock = altsem.Lock()
    _, identity, offset, _ = pickled(lock)
    fetch = travel.Fetch(identity)
    assert f"no such primitive at offset {offset + 1} of" in lost(identity, offset + 1, fetch)
    event = travel.rebuild(altsem.Event, identity, offset, fetch)
    with pytest.raises(OSError, match=f"this Event .* no such primitive at offset {offset} of"):
        event.set()


def test_pickles_cut_off_or_changed() -> None:
    lock = altsem.Lock()
    whole = pickle.dumps(lock)
    for length in range(len(whole)):
        with pytest.raises((EOFError, pickle.UnpicklingError, ValueError, IndexError)):
            pickle.loads(whole[:length])
    _, identity, _, _ = pickled(lock)
    assert whole.count(identity) == 1
    other = pickle.loads(whole.replace(identity, bytes(16)))
    with pytest.raises(OSError, match="another shared segment than the one expected"):
        other.acquire()
    assert pickle.loads(whole).acquire(False)


# --- segments ------------------------------------------------------------------------------------

# magic, layout, backend, id, size, slots, PID namespace, maker, slot bytes
HEADER = "=QII16sQIIII"
FIELDS = ("magic", "layout", "backend", "id", "size", "slots", "namespace", "maker", "slot_bytes")


@pytest.fixture(scope="module")
def genuine() -> bytes:
    segment, _ = _core.export(altsem.Lock())
    return os.pread(segment.fileno(), segment.size, 0)


def attach(content: bytes, identity: bytes = bytes(range(16))) -> Any:
    """Offers a file of this content as a segment."""
    fd = os.memfd_create("offered") if hasattr(os, "memfd_create") else -1
    try:
        os.write(fd, content)
        segment, took = _core.attach(fd, identity)
        if took:
            fd = -1
        return segment
    finally:
        if fd >= 0:
            os.close(fd)


def changed(genuine: bytes, **changes: Any) -> bytes:
    header = dict(zip(FIELDS, struct.unpack_from(HEADER, genuine), strict=True))
    header.update({"id": bytes(range(16)), **changes})
    packed = struct.pack(HEADER, *header.values())
    return packed + genuine[len(packed) :]


def test_a_copy_of_a_segment_is_accepted(genuine: bytes) -> None:
    segment = attach(changed(genuine))
    assert segment.size == len(genuine)
    assert _core.lookup(bytes(range(16))) is not None
    with pytest.raises(OSError, match="no such primitive"):
        _core.adopt(altsem.Lock, segment, 64)
    del segment
    assert _core.lookup(bytes(range(16))) is None


NOT_OURS = "not a shared segment of altsem, or a damaged one"
OTHER_LAYOUT = "another layout version of altsem"


@pytest.mark.parametrize(
    ("changes", "number", "said"),
    [
        ({"magic": 0}, errno.EINVAL, NOT_OURS),
        ({"layout": 0}, errno.EPROTONOSUPPORT, OTHER_LAYOUT),
        ({"layout": 2**32 - 1}, errno.EPROTONOSUPPORT, OTHER_LAYOUT),
        ({"slot_bytes": 128}, errno.EPROTONOSUPPORT, OTHER_LAYOUT),
        ({"backend": 0}, errno.EXDEV, "of another backend than this process uses"),
        ({"backend": 2**32 - 1}, errno.EXDEV, "of another backend than this process uses"),
        ({"size": 0}, errno.EINVAL, NOT_OURS),
        ({"size": 2**64 - 1}, errno.EINVAL, NOT_OURS),
        ({"slots": 0}, errno.EINVAL, NOT_OURS),
        ({"slots": 2}, errno.EINVAL, NOT_OURS),
        ({"slots": 2**32 - 1}, errno.EINVAL, NOT_OURS),
        ({"id": bytes(16)}, errno.ESTALE, "another shared segment than the one expected"),
    ],
)
def test_a_header_that_is_wrong(
    genuine: bytes, changes: dict[str, Any], number: int, said: str
) -> None:
    before = _core.segments()
    with pytest.raises(OSError, match=said) as caught:
        attach(changed(genuine, **changes))
    assert caught.value.errno == number
    assert _core.segments() == before


def test_the_backend_is_named(genuine: bytes) -> None:
    with pytest.raises(OSError, match=rf"than this process uses \({altsem.backend()}\)"):
        attach(changed(genuine, backend=77))


@pytest.mark.parametrize("size", [0, 1, 64, 127])
def test_a_file_too_small_for_a_header(genuine: bytes, size: int) -> None:
    with pytest.raises(OSError, match=NOT_OURS):
        attach(changed(genuine)[:size])


def test_a_file_cut_off_behind_the_header(genuine: bytes) -> None:
    with pytest.raises(OSError, match=NOT_OURS):
        attach(changed(genuine)[:200])


@given(st.binary(max_size=256))
@settings(deadline=None, max_examples=100)
def test_any_bytes(content: bytes) -> None:
    with pytest.raises(OSError, match=NOT_OURS):
        attach(content)


@given(st.integers(0, 63), st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_any_byte_of_the_header(genuine: bytes, at: int, byte: int) -> None:
    content = bytearray(changed(genuine))
    content[at] = byte
    try:
        segment = attach(bytes(content))
    except OSError:
        return
    for offset in range(0, segment.size, 64):
        try:
            lock = _core.adopt(altsem.Lock, segment, offset)
        except OSError:
            continue
        if lock.acquire(False):
            lock.release()


def test_descriptors_that_are_no_files() -> None:
    reader, writer = os.pipe()
    folder = os.open(tempfile.gettempdir(), os.O_RDONLY)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (reader, folder, null):
        with pytest.raises(OSError, match=NOT_OURS):
            _core.attach(fd, bytes(16))
        os.fstat(fd)  # refused, it is still the caller's
    for fd in (reader, writer, folder, null):
        os.close(fd)
    for fd in (null, -1, 2**31 - 1):
        with pytest.raises(OSError, match="is not open in this process") as caught:
            _core.attach(fd, bytes(16))
        assert caught.value.errno == errno.EBADF
    with pytest.raises(OverflowError):
        _core.attach(2**31, bytes(16))


def test_a_descriptor_that_cannot_be_written(genuine: bytes) -> None:
    fd, path = tempfile.mkstemp()
    os.write(fd, changed(genuine))
    os.close(fd)
    fd = os.open(path, os.O_RDONLY)
    os.unlink(path)
    with pytest.raises(PermissionError):
        _core.attach(fd, bytes(range(16)))
    os.close(fd)


def test_a_received_descriptor_is_closed_if_it_is_not_needed(genuine: bytes) -> None:
    fd = os.memfd_create("offered")
    os.write(fd, b"nonsense")
    with pytest.raises(OSError, match=NOT_OURS):
        travel.rebuild(altsem.Lock, bytes(range(16)), 128, Way(fd))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


# --- the backend ---------------------------------------------------------------------------------


def test_a_backend_that_is_none(run_script: Callable[..., Any]) -> None:
    for name in ("nonsense", "FUTEX", "futex "):
        done = run_script(
            "import altsem\n"
            "for call in (altsem.backend, altsem.Lock, altsem.Event,\n"
            "             lambda: altsem.SemLock(1, 1, 1, '/n', True)):\n"
            "    try:\n"
            "        call()\n"
            "    except OSError as error:\n"
            "        print(error.strerror)\n",
            env={"ALTSEM_BACKEND": name},
        )
        lines = done.stdout.splitlines()
        assert len(lines) == 4 and len(set(lines)) == 1
        assert lines[0].startswith(f"ALTSEM_BACKEND={name} names no backend (usable here: ")
        assert altsem.backend() in lines[0]
        assert done.stderr == ""


def test_memory_of_impossible_sizes() -> None:
    for size in (-1, 2**64, "1", None):
        with pytest.raises((OverflowError, TypeError)):
            _core.memory(size)
    with pytest.raises(OSError, match="no shared memory for a shared array"):
        _core.memory(2**64 - 1)
