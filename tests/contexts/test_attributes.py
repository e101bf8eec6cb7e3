"""Attributes that a program gives to its locks: free here as they are natively."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import altsem
from support import METHODS, get_context, join

pytestmark = pytest.mark.limit(60)

MAKERS: dict[str, Callable[[], Any]] = {
    "Lock": altsem.Lock,
    "RLock": altsem.RLock,
    "Semaphore": lambda: altsem.Semaphore(2),
    "BoundedSemaphore": lambda: altsem.BoundedSemaphore(2),
    "Event": altsem.Event,
    "Condition": altsem.Condition,
    "Barrier": lambda: altsem.Barrier(2),
}


def is_fixed(cls: type, name: str) -> bool:
    """Whether an object of the class cannot have an attribute of that name of its own."""
    found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    return hasattr(type(found), "__set__")


def public(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", ["name", "handle", "kind", "maxvalue", "owner", "waiters", "x"])
def test_an_attribute_that_is_free_natively_can_be_set_and_deleted(kind: str, name: str) -> None:
    thing = MAKERS[kind]()
    before = getattr(thing, name, None)
    for value in ("db", None, 5):
        setattr(thing, name, value)
        assert getattr(thing, name) == value
        assert vars(thing)[name] == value
    delattr(thing, name)
    assert getattr(thing, name, None) == before
    with pytest.raises(AttributeError):
        delattr(thing, name)


@pytest.mark.parametrize("kind", MAKERS)
def test_no_public_name_is_fixed_that_natively_is_free(kind: str) -> None:
    ours, native = getattr(altsem, kind), getattr(multiprocessing.synchronize, kind)
    assert [name for name in public(ours) if is_fixed(ours, name) > is_fixed(native, name)] == []


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_a_lock_works_whatever_its_attributes_are_called(kind: str) -> None:
    lock = MAKERS[kind]()
    said = repr(lock)
    for name in ("name", "handle", "kind", "maxvalue", "owner", "waiters"):
        setattr(lock, name, "mine")
    assert repr(lock) == said
    with lock:
        assert lock._semlock._is_mine()
        assert lock.acquire(timeout=0) is (kind != "Lock")
        if kind != "Lock":
            lock.release()
    condition = altsem.Condition(lock)
    with condition:
        condition.notify()
        assert condition.wait(0) is False


def test_unless_set_they_are_what_is_documented() -> None:
    lock, rlock = altsem.Lock(), altsem.RLock()
    for one in (lock, rlock):
        assert one.owner is None and one.waiters == 0
        with one:
            # Not judged where an earlier test let another PID namespace use the same segment.
            assert one.owner is not None and one.owner.pid == os.getpid()
            assert one.owner.alive is not False
    assert (lock.kind, lock.maxvalue, lock.name) == (1, 1, None)
    assert rlock.kind == 0 and rlock.handle > 0
    for thing in (altsem.Semaphore(), altsem.Event(), altsem.Condition()):
        assert thing.waiters == 0
    assert "holds it" in (type(lock).owner.__doc__ or "")


@pytest.mark.parametrize("name", ["handle", "kind", "maxvalue", "name"])
def test_members_of_semlock_are_read_only_as_natively(name: str) -> None:
    semlock = altsem.SemLock(1, 1, 1, f"/attributes-{name}", True)
    with pytest.raises(AttributeError):
        setattr(semlock, name, "db")
    with pytest.raises(AttributeError):
        delattr(semlock, name)


def look(lock: Any, answer: Any) -> None:
    answer.put((lock.name, lock.owner, lock.waiters))


@pytest.mark.parametrize("method", METHODS)
def test_they_go_with_the_lock_to_another_process(method: str) -> None:
    ctx = get_context(method)
    lock, answer = ctx.Lock(), ctx.SimpleQueue()
    lock.name, lock.owner = "db", "somebody"
    process = ctx.Process(target=look, args=(lock, answer))
    process.start()
    assert answer.get() == ("db", "somebody", 0)
    assert join(process) == [0]
    answer.close()
    assert pickle.loads(pickle.dumps(lock)).name == "db"


def test_a_subclass_may_define_them() -> None:
    class Named(altsem.Lock):
        owner = "nobody"  # type: ignore[assignment]

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name  # type: ignore[misc]

    lock = Named("db")
    assert (lock.name, lock.owner) == ("db", "nobody")
    lock.owner = "me"
    assert lock.owner == "me"
