"""The classes of multiprocessing.synchronize, once a context of ours has been asked for: what they
make for our contexts is ours, and for everybody else they are what they were."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import subprocess
from collections.abc import Callable
from multiprocessing import synchronize as native
from typing import Any

import pytest

import altsem
from support import GENEROUS, METHODS, get_context, join, no_native

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]
needs_native = pytest.mark.skipif(no_native() is not None, reason=str(no_native()))


@pytest.fixture(params=METHODS)
def ctx(request: pytest.FixtureRequest) -> Any:
    return get_context(request.param)


LOOK = """
import inspect, multiprocessing, sys
from multiprocessing import heap, synchronize

class Sub(synchronize.Lock):
    def __init__(self, name, *, ctx=None):
        super().__init__(ctx=ctx)
class Made(synchronize.Event):
    def __new__(cls, size, ctx=None):
        return super().__new__(cls)

def look():
    names = "SemLock Lock RLock Semaphore BoundedSemaphore Condition Event Barrier"
    classes = [*(getattr(synchronize, name) for name in names.split()), heap.Arena, Sub, Made]
    return [
        (cls.__name__, inspect.signature(cls), inspect.signature(cls.__init__),
         inspect.getfullargspec(cls), cls.__init__.__qualname__, cls.__init__.__module__,
         cls.__init__.__doc__, inspect.getdoc(cls))
        for cls in classes
    ]

before = look()
import altsem
altsem.get_context("spawn").Lock()
multiprocessing.set_start_method("altsem-spawn")
multiprocessing.Condition()
after = look()
for one, other in zip(before, after):
    if one != other:
        print(one, other)
print(len(before))
"""


def test_their_signatures_are_for_everybody_what_they_were(run_script: Script) -> None:
    done = run_script(LOOK)
    assert (done.stdout, done.stderr) == ("11\n", "")


def test_the_processes_of_our_contexts_take_the_arguments_of_native_ones(ctx: Any) -> None:
    ours, theirs = ctx.Process, multiprocessing.get_context(str(ctx.get_start_method())).Process
    assert inspect.signature(ours) == inspect.signature(theirs)
    with pytest.raises(TypeError, match="unexpected keyword argument 'traget'"):
        ours(traget=print)


@needs_native
def test_for_a_native_context_they_make_what_they_made() -> None:
    altsem.get_context()
    ctx = multiprocessing.get_context("fork")
    for name in altsem.synchronize.__all__:
        cls = getattr(native, name)
        made = cls(2, ctx=ctx) if name == "Barrier" else cls(ctx=ctx)
        assert type(made) is cls
        with pytest.raises(TypeError, match="ctx"):
            cls(2) if name == "Barrier" else cls()
    assert native.Lock(ctx=ctx)._semlock.__class__.__module__ == "_multiprocessing"
    assert native.Semaphore(3, ctx=ctx).get_value() == 3


@pytest.mark.parametrize("ctx_text", ["None", "multiprocessing", "default"])
def test_what_stands_for_the_default_context_is_ours_if_that_is(
    run_script: Script, ctx_text: str
) -> None:
    done = run_script(
        "import altsem, multiprocessing\n"
        "from multiprocessing import synchronize\n"
        "from multiprocessing.context import _default_context as default\n"
        "multiprocessing.set_start_method('altsem-fork')\n"
        f"ctx = {ctx_text}\n"
        "print(type(synchronize.Lock(ctx=ctx)).__module__)\n"
        "print(type(synchronize.BoundedSemaphore(2, ctx=ctx)).__module__)\n"
        "print(type(synchronize.Event(ctx=ctx or default)).__module__)\n"
    )
    assert (done.stdout, done.stderr) == ("altsem.synchronize\n" * 3, "")


# --- subclasses ----------------------------------------------------------------------------------


class MyLock(native.Lock):
    def __init__(self, note: str, *, ctx: Any) -> None:
        super().__init__(ctx=ctx)
        self.note = note

    def __getstate__(self) -> Any:
        return super().__getstate__(), self.note  # type: ignore[misc]

    def __setstate__(self, state: Any) -> None:
        inherited, self.note = state
        super().__setstate__(inherited)  # type: ignore[misc]


class MyRLock(native.RLock):
    pass


class MySemaphore(native.Semaphore):
    pass


class MyBounded(native.BoundedSemaphore):
    pass


class MyOwn(native.SemLock):
    def __init__(self, *, ctx: Any) -> None:
        native.SemLock.__init__(self, 1, 1, 3, ctx=ctx)  # type: ignore[call-arg]


class MyEvent(native.Event):
    pass


class MyCondition(native.Condition):
    pass


class MyBarrier(native.Barrier):
    pass


SUBCLASSES: list[Callable[..., Any]] = [
    lambda ctx: MyLock("note", ctx=ctx),
    MyRLock,
    MySemaphore,
    MyBounded,
    MyOwn,
]


@pytest.mark.parametrize("make", SUBCLASSES)
def test_an_object_of_a_subclass_keeps_its_class_and_holds_our_semaphore(
    ctx: Any, make: Callable[..., Any]
) -> None:
    lock = make(ctx=ctx)
    assert type(lock).__name__.startswith("My")
    assert isinstance(lock._semlock, altsem.SemLock)
    value = lock._semlock._get_value()
    with lock:
        assert lock._semlock._get_value() == value - 1
    assert lock.acquire(timeout=0)
    lock.release()
    assert "unknown" not in repr(lock)
    with altsem.Condition(lock) as taken:
        assert taken
    if type(lock) in (MyLock, MyRLock):
        with ctx.Condition(lock) as _:
            assert lock._semlock._is_mine()


def use(lock: Any, held: Any, answer: Any) -> None:
    answer.put((type(lock).__name__, getattr(lock, "note", None), lock.acquire(timeout=0)))
    held.wait()
    lock.acquire()
    answer.put(lock._semlock._is_mine())


@pytest.mark.parametrize("make", [SUBCLASSES[0], SUBCLASSES[1]])
def test_an_object_of_a_subclass_travels_and_excludes(ctx: Any, make: Callable[..., Any]) -> None:
    lock, released, answer = make(ctx=ctx), ctx.Event(), ctx.SimpleQueue()
    with lock:
        process = ctx.Process(target=use, args=(lock, released, answer))
        process.start()
        name, note, taken = answer.get()
    released.set()
    assert (name, note, taken) == (type(lock).__name__, getattr(lock, "note", None), False)
    assert answer.get() is True
    assert join(process) == [0]
    answer.close()


def take(connection: Any) -> None:
    lock = connection.recv()
    connection.send((type(lock).__name__, lock.note, lock.acquire(timeout=0)))


@needs_native
def test_an_object_of_a_subclass_goes_where_nobody_has_asked_for_a_context_of_ours() -> None:
    there, here = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=take, args=(there,))
    process.start()
    lock = MyLock("x", ctx=get_context("fork"))
    with lock:
        here.send(lock)
        assert here.recv() == ("MyLock", "x", False)
    assert join(process) == [0]
    there.close()
    here.close()


def test_an_object_of_a_subclass_can_be_pickled_at_any_time() -> None:
    lock = MyLock("note", ctx=get_context("spawn"))
    again = pickle.loads(pickle.dumps(lock))
    assert type(again) is MyLock and again.note == "note"
    with lock:
        assert not again.acquire(timeout=0)
    assert again.acquire(timeout=0)
    lock.release()


def meet(event: Any, condition: Any, barrier: Any, seen: Any) -> None:
    assert event.wait(GENEROUS)
    barrier.wait(GENEROUS)
    with condition:
        seen.value = os.getpid()
        condition.notify_all()


def test_objects_of_the_other_subclasses_are_made_of_our_primitives(ctx: Any) -> None:
    event, condition, barrier = MyEvent(ctx=ctx), MyCondition(ctx=ctx), MyBarrier(2, ctx=ctx)
    assert type(event._flag) is altsem.Semaphore  # type: ignore[attr-defined]
    assert type(condition._lock) is altsem.RLock  # type: ignore[attr-defined]
    assert type(barrier._cond) is altsem.Condition  # type: ignore[attr-defined]
    seen = ctx.Value("i", 0, lock=False)
    process = ctx.Process(target=meet, args=(event, condition, barrier, seen))
    process.start()
    event.set()
    barrier.wait(GENEROUS)
    with condition:
        assert condition.wait_for(lambda: seen.value, GENEROUS) == process.pid
    assert join(process) == [0]


@needs_native
def test_a_native_object_of_a_subclass_is_pickled_as_ever() -> None:
    altsem.get_context()
    lock = MyRLock(ctx=multiprocessing.get_context("spawn"))
    assert lock._semlock.__class__.__module__ == "_multiprocessing"  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="should only be shared between processes"):
        pickle.dumps(lock)
