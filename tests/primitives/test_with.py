"""`with` on a lock: nothing allocated, and all that can be asked of a built-in method answered."""

from __future__ import annotations

import contextlib
import copy
import gc
import inspect
import pickle
import sys
import sysconfig
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import altsem
from altsem import _core

MAKERS: list[Callable[[], Any]] = [
    altsem.Lock,
    altsem.RLock,
    altsem.Semaphore,
    altsem.BoundedSemaphore,
    lambda: altsem.BoundedSemaphore(2),
]
NAMES = ["__enter__", "__exit__"]
# 3.14 calls the methods unbound, and without the GIL there is no list of objects to use again.
REUSED = sys.version_info < (3, 14) and not sysconfig.get_config_var("Py_GIL_DISABLED")
needs_reuse = pytest.mark.skipif(not REUSED, reason="`with` calls ordinary built-in methods here")


def builtin(lock: Any, name: str) -> Any:
    """The method of SemLock, which is an ordinary one everywhere."""
    return _core.SemLock.__dict__[name].__get__(lock)


@pytest.mark.parametrize("make", MAKERS)
def test_with_takes_and_releases(make: Callable[[], Any]) -> None:
    lock = make()
    free = lock.get_value() if hasattr(lock, "get_value") else None
    for _ in range(3):
        with lock as got:
            assert got is True
            if free is not None:
                assert lock.get_value() == free - 1
            else:
                assert lock.locked()
    assert not lock.locked()
    with pytest.raises(KeyError, match="through"), lock:
        raise KeyError("through")
    assert not lock.locked()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_as_a_built_in_method(make: Callable[[], Any], name: str) -> None:
    lock, other = make(), make()
    bound, ordinary = getattr(lock, name), builtin(lock, name)
    assert isinstance(bound, types.BuiltinMethodType)
    assert bound.__self__ is lock
    assert bound.__name__ == name
    assert bound.__qualname__ == f"{type(lock).__name__}.{name}"
    assert bound.__doc__ == ordinary.__doc__
    assert repr(bound).startswith(f"<built-in method {name} of {type(lock).__name__} object at ")
    assert inspect.signature(bound) == inspect.signature(ordinary)
    assert bound == getattr(lock, name)
    assert bound != getattr(other, name)
    assert bound != 1
    assert hash(bound) == hash(getattr(lock, name))
    assert copy.copy(bound) == bound
    assert bound.__reduce__() == (getattr, (lock, name))
    with pytest.raises(AttributeError):
        _ = bound.nothing
    with pytest.raises(TypeError):
        _ = bound < 1


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", NAMES)
def test_in_the_class_it_is_as_a_method_descriptor(make: Callable[[], Any], name: str) -> None:
    cls = type(make())
    found = getattr(cls, name)
    assert found is cls.__dict__[name]
    assert isinstance(found, types.MethodDescriptorType)
    assert inspect.ismethoddescriptor(found)
    assert found.__objclass__ is cls
    assert found.__name__ == name
    assert repr(found) == f"<method '{name}' of '{cls.__name__}' objects>"
    ordinary = _core.SemLock.__dict__[name]
    assert found.__doc__ == ordinary.__doc__
    assert inspect.signature(found) == inspect.signature(ordinary)
    assert pickle.loads(pickle.dumps(found)) is found


@pytest.mark.parametrize("make", MAKERS)
def test_calls_without_with(make: Callable[[], Any]) -> None:
    lock = make()
    cls = type(lock)
    none: dict[str, Any] = {}
    for enter, leave in [
        (lock.__enter__, lock.__exit__),
        (lambda: cls.__enter__(lock), lambda *a: cls.__exit__(lock, *a)),
        (lambda: lock.__enter__(*(), **none), lambda *a: lock.__exit__(*a, **none)),
        (cls.__enter__.__get__(lock, cls), cls.__exit__.__get__(lock)),
        (types.MethodType(cls.__enter__, lock), types.MethodType(cls.__exit__, lock)),
    ]:
        for arguments in [(), (None,), (None, None, None)]:
            assert enter() is True
            assert leave(*arguments) is None
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(lock) is True
    assert not lock.locked()


@pytest.mark.parametrize("make", MAKERS)
def test_wrong_arguments(make: Callable[[], Any]) -> None:
    lock = make()
    cls = type(lock)
    for call in [
        lambda: lock.__enter__(1),
        lambda: lock.__enter__(block=False),
        lambda: cls.__enter__(lock, 1),
        lambda: cls.__enter__(lock, block=False),
        lambda: lock.__exit__(1, 2, 3, 4),
        lambda: lock.__exit__(exc_type=None),
        lambda: cls.__exit__(lock, 1, 2, 3, 4),
        lambda: cls.__exit__(lock, exc_type=None),
        cls.__enter__,
        cls.__exit__,
        lambda: cls.__enter__(1),
        lambda: cls.__exit__(altsem.Event()),
        lambda: cls.__enter__.__get__(1),
    ]:
        with pytest.raises(TypeError, match=r"argument|doesn't apply|requires"):
            call()
    assert not lock.locked()
    other = altsem.Semaphore if cls is altsem.Lock else altsem.Lock
    with pytest.raises(TypeError, match=r"doesn't apply|requires"):
        cls.__enter__(other())


def test_an_object_without_its_init() -> None:
    raw = altsem.Lock.__new__(altsem.Lock)
    for use in (raw.__enter__, raw.__exit__):
        with pytest.raises(ValueError, match=r"not initialised|__init__"):
            use()


def test_a_subclass_that_does_more() -> None:
    class Counting(altsem.Lock):
        entered = 0

        def __enter__(self) -> bool:
            self.entered += 1
            return super().__enter__()

    lock = Counting()
    with lock, pytest.raises(TypeError):
        super(Counting, lock).__enter__(1)
    assert (lock.entered, lock.locked()) == (1, False)


@needs_reuse
@pytest.mark.parametrize("make", MAKERS)
def test_nothing_is_allocated(make: Callable[[], Any]) -> None:
    lock = make()

    def objects(block: Any) -> int:
        """How many more the collector knows in the block than before it."""
        before = gc.get_count()[0]
        with block:
            return gc.get_count()[0] - before

    gc.disable()
    try:
        objects(lock)
        before = gc.get_count()[0]
        unavoidable = gc.get_count()[0] - before
        assert [objects(lock) for _ in range(100)] == [unavoidable] * 100
        assert objects(contextlib.nullcontext()) > unavoidable
    finally:
        gc.enable()


@needs_reuse
def test_used_again_also_when_nested_deeper_than_are_kept() -> None:
    lock = altsem.RLock()

    def nest(depth: int) -> None:
        if depth:
            with lock:
                nest(depth - 1)

    def alive() -> int:
        gc.collect()
        return sum(type(thing) is kind for thing in gc.get_objects())

    kind = type(lock.__enter__)
    nest(3)
    before = alive()
    nest(100)
    kept = alive()
    assert before < kept < before + 40
    for _ in range(3):
        nest(100)
        assert alive() == kept


@needs_reuse
def test_one_that_is_kept_is_of_no_use() -> None:
    lock = altsem.Lock()
    with lock:
        pass
    kind = type(lock.__enter__)
    kept = [thing for thing in gc.get_objects() if type(thing) is kind]
    assert kept
    for thing in kept:
        for use in (thing, lambda t=thing: t(None), lambda t=thing: t.__self__):
            with pytest.raises(ReferenceError, match="bound to nothing"):
                use()
        for ask in (repr, hash, lambda t: t == 1):
            with pytest.raises(ReferenceError):
                ask(thing)
    # And what somebody has seen in the list is used again without harm.
    with lock:
        assert lock.locked()
    assert not lock.locked()


class Held(altsem.Lock):
    """May have attributes, and a weak reference."""


def test_a_method_keeps_its_lock_alive_and_no_longer() -> None:
    lock = Held()
    gone = weakref.ref(lock)
    leave = lock.__exit__
    lock.acquire()
    del lock
    assert gone() is not None
    leave()
    with pytest.raises(ValueError, match="released too many times"):
        leave()
    del leave
    gc.collect()
    assert gone() is None
    lock = Held()
    gone = weakref.ref(lock)
    with lock:
        del lock
        assert gone() is not None
    assert gone() is None


def test_a_lock_that_holds_its_own_method_is_collected() -> None:
    lock: Any = Held()
    lock.mine = lock.__enter__
    gone = weakref.ref(lock)
    del lock
    gc.collect()
    assert gone() is None


def test_a_class_of_a_moment_goes_with_its_methods() -> None:
    cls: Any = _core.own_methods(type("Passing", (altsem.Lock,), {}))
    lock = cls()
    with lock, contextlib.suppress(TypeError):
        lock.__exit__(1, 2, 3, 4)
    gone = weakref.ref(cls)
    del cls, lock
    gc.collect()
    assert gone() is None


def test_many_threads_in_with() -> None:
    lock, inside = altsem.Lock(), [0]

    def work() -> None:
        for _ in range(2000):
            with lock:
                inside[0] += 1
                assert inside[0] == 1
                inside[0] -= 1
                gc.get_count()

    failed: list[object] = []
    before = threading.excepthook
    threading.excepthook = failed.append
    try:
        threads = [threading.Thread(target=work) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        threading.excepthook = before
    assert not failed
    assert inside == [0]


def test_waiting_in_with_ends_at_an_exception_of_a_signal_handler(run_script: Any) -> None:
    code = """
import signal, altsem
def handler(*_):
    raise KeyError("from the handler")
signal.signal(signal.SIGALRM, handler)
lock = altsem.Lock()
lock.acquire()
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    with lock:
        print("in")
except KeyError as error:
    print(error.args[0], lock.locked())
lock.release()
with lock:
    print("again")
"""
    assert run_script(code).stdout == "from the handler True\nagain\n"
