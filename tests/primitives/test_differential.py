"""altsem.SemLock and _multiprocessing.SemLock side by side: the same calls, the same answers."""

from __future__ import annotations

import _multiprocessing
import itertools
import math
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import altsem
from support import no_native

_REASON = no_native()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))

_numbers = itertools.count()
_relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answer(call: Callable[[], object]) -> tuple[str, object]:
    """What a call gives back, or the exception it raises: its type, errno and words."""
    try:
        return "returned", call()
    except Exception as error:  # noqa: BLE001
        return type(error).__name__, (getattr(error, "errno", None), str(error))


def pair(kind: Any, value: Any, maxvalue: Any) -> tuple[Any, Any]:
    name = f"/altsem-diff-{os.getpid()}-{next(_numbers)}"
    return (
        altsem.SemLock(kind, value, maxvalue, name, True),
        _multiprocessing.SemLock(kind, value, maxvalue, name, True),
    )


class OtherThread:
    """Runs calls one at a time, in a thread that stays the same."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            self._answers.put(answer(call))

    def __call__(self, call: Callable[[], object]) -> tuple[str, object]:
        self._calls.put(call)
        return self._answers.get()

    def end(self) -> None:
        self._calls.put(None)
        self._thread.join()


@pytest.fixture(scope="module")
def other() -> Iterator[OtherThread]:
    thread = OtherThread()
    yield thread
    thread.end()


# Those that would sleep for ever are made to try once where nothing can be had: see `would_sleep`.
ACQUIRE: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((True,), {}),
    ((False,), {}),
    ((True, None), {}),
    ((True, 0), {}),
    ((True, 0.002), {}),
    ((True, -1), {}),
    ((False, 0.5), {}),
    ((False, None), {}),
    ((1, 0.0), {}),
    ((0,), {}),
    ((), {"timeout": 0}),
    ((), {"timeout": -0.5}),
    ((), {"timeout": True}),
    ((), {"block": True, "timeout": 0.001}),
    ((), {"timeout": 0.001, "block": False}),
    ((), {"block": False}),
    ((True, "1"), {}),
    ((True, [1]), {}),
    ((False, "1"), {}),
    ((1, 2, 3), {}),
]
OPERATIONS = [
    *(("acquire", args, kwargs) for args, kwargs in ACQUIRE),
    # Often enough to balance the many above.
    *(("release", (), {}) for _ in range(10)),
    *(("_get_value", (), {}), ("_count", (), {}), ("_is_mine", (), {}), ("_is_zero", (), {})),
    *(("__enter__", (), {}), ("__enter__", (), {})),
    *(("__exit__", (), {}), ("__exit__", (None, None, None), {})),
    ("release", (1,), {}),
    *(("_after_fork", (), {}), ("_after_fork", (), {})),  # without a fork
]


def would_sleep(lock: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name == "__enter__":
        return True
    timeout = args[1] if len(args) > 1 else kwargs.get("timeout")
    block = args[0] if args else kwargs.get("block", True)
    return name == "acquire" and len(args) < 3 and bool(block) and timeout in (None, True)


steps = st.lists(st.tuples(st.booleans(), st.sampled_from(OPERATIONS)), max_size=40)


@given(st.integers(0, 1), st.integers(0, 3), st.integers(-1, 3), steps)
@settings(_relaxed, max_examples=400)
def test_any_sequence_of_calls(
    other: OtherThread, kind: int, value: int, maxvalue: int, calls: list[Any]
) -> None:
    ours, native = pair(kind, value, maxvalue)
    done: list[object] = []
    for in_other, operation in calls:
        name, args, kwargs = operation
        run = other if in_other else answer
        if would_sleep(native, name, args, kwargs):
            # One that gets it at once, or this thread's own recursive lock: else it hangs for good.
            mine = kind == 0 and run(native._is_mine) == ("returned", True)
            if not mine and native._is_zero():
                name, args, kwargs = "acquire", (False,), {}
        got = run(lambda n=name, a=args, k=kwargs: getattr(ours, n)(*a, **k))
        expected = run(lambda n=name, a=args, k=kwargs: getattr(native, n)(*a, **k))
        done.append((in_other, name, args, kwargs, expected))
        assert got == expected, done
        for look in ("_get_value", "_count", "_is_mine", "_is_zero"):
            got, expected = run(getattr(ours, look)), run(getattr(native, look))
            assert got == expected, (look, done)


_ints = st.sampled_from(
    [-(2**63) - 1, -(2**31) - 1, -(2**31), -2, -1, 0, 1, 2, 3, 2**31 - 1, 2**31, 2**63, 2**64, True]
)
_others = st.sampled_from([None, "1", 1.0, 1.5, math.nan, b"1", [], object])
_arguments = st.one_of(_ints, _ints, _others)


@given(_arguments, _arguments, _arguments)
@settings(_relaxed, max_examples=400)
def test_any_arguments_of_the_constructor(kind: Any, value: Any, maxvalue: Any) -> None:
    name = f"/altsem-diff-{os.getpid()}-{next(_numbers)}"
    answers = []
    for cls in (altsem.SemLock, _multiprocessing.SemLock):

        def describe(cls: Any = cls) -> object:
            made = cls(kind, value, maxvalue, name, True)
            return made.kind, made.maxvalue, made.name, made._get_value(), made._count()

        answers.append(answer(describe))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1,), {}),
        ((1, 1), {}),
        ((1, 1, 1), {}),
        ((1, 1, 1, "/n"), {}),
        ((1, 1, 1, "/n", True, 1), {}),
        ((1, 1, 1, None, True), {}),
        ((1, 1, 1, b"/n", True), {}),
        ((1, 1, 1, 5, True), {}),
        ((1, 1, 1, "/a\0b", True), {}),
        ((1, 1, 1, "", True), {}),
        ((1, 1, 1, "/", True), {}),
        ((1, 1, 1, "/a/b", True), {}),
        ((1, 1, 1), {"name": "/altsem-diff", "unlink": True}),
        ((1, 1, 1), {"unlink": True}),
        ((1, 1), {"maxvalue": 1, "name": "/altsem-diff", "unlink": 1}),
        ((), {"kind": 1, "value": 1, "maxvalue": 1, "name": "altsem-diff", "unlink": True}),
        ((1, 1, 1, "/altsem-diff", True), {"kind": 1}),
        ((1, 1, 1, "/altsem-diff"), {"unlinked": True}),
        ((1, -1, 1, "/altsem-diff", True), {}),
        ((7, -1, 1, "/altsem-diff", True), {}),
        ((7, 1, 1, "/altsem-diff", True), {}),
    ],
)
def test_these_arguments_of_the_constructor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    def describe(cls: Any) -> Callable[[], object]:
        return lambda: cls(*args, **kwargs)._get_value()

    assert answer(describe(altsem.SemLock)) == answer(describe(_multiprocessing.SemLock))


@pytest.mark.parametrize("name", ["/altsem-there-is-none", "", "/", "/a/b", None, 5, "a\0b"])
def test_sem_unlink(name: Any) -> None:
    native = getattr(_multiprocessing, "sem_unlink")  # noqa: B009 - typeshed does not know it
    assert answer(lambda: altsem.sem_unlink(name)) == answer(lambda: native(name))


@pytest.mark.parametrize("kind", [0, 1])
def test_what_cannot_be_set(kind: int) -> None:
    for attribute in ("kind", "maxvalue", "name", "handle", "anything", "SEM_VALUE_MAX"):
        ours, native = pair(kind, 1, 1)
        types = [answer(lambda s=s, a=attribute: setattr(s, a, 1))[0] for s in (ours, native)]
        assert types[0] == types[1] == "AttributeError", attribute


def test_constants() -> None:
    native = _multiprocessing.SemLock
    assert altsem.SemLock.SEM_VALUE_MAX == native.SEM_VALUE_MAX
    public = {name for name in dir(native) if not name.startswith("__") or name == "__enter__"}
    assert public <= set(dir(altsem.SemLock))


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_repr_is_that_of_multiprocessing(name: str) -> None:
    import multiprocessing

    context = multiprocessing.get_context("fork")
    for held in (0, 1, 2):
        for elsewhere in (False, True):
            texts = []
            for make in (getattr(altsem, name), getattr(context, name)):
                lock = make() if "Lock" in name else make(3)
                take = [lock.acquire] * (min(held, 1) if name == "Lock" else held)

                def acquire(take: Any = take) -> None:
                    for acquire in take:
                        acquire()

                if elsewhere:
                    thread = threading.Thread(target=acquire)
                    thread.start()
                    thread.join()
                else:
                    acquire()
                texts.append(repr(lock))
            assert texts[0] == texts[1]
