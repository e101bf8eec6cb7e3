"""Condition: no notification is lost, whatever happens to the one it was for."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import altsem
from support import GENEROUS, no_native, wait_until, wait_until_asleep

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]

WHY_NOT = no_native()


class Interrupted(Exception):  # noqa: N818 - as KeyboardInterrupt
    pass


class OwnLock(altsem.Lock):
    """A subclass: a condition takes and releases it by its own methods."""


class OwnRLock(altsem.RLock):
    pass


CONDITIONS: dict[str, Callable[[], Any]] = {
    "Lock": lambda: altsem.Condition(altsem.Lock()),
    "RLock": altsem.Condition,
    "a lock of another class": lambda: altsem.Condition(OwnLock()),
    "a recursive lock of another class": lambda: altsem.Condition(OwnRLock()),
}
NATIVE = pytest.param(
    lambda: multiprocessing.get_context("fork").Condition(),
    id="native",
    marks=pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
)
OURS = [pytest.param(make, id=name) for name, make in CONDITIONS.items()]


@pytest.fixture
def raising() -> Iterator[None]:
    """A signal handler that raises, for the main thread."""

    def handler(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


class Threads:
    """Threads that wait in a condition, and what their waits returned."""

    def __init__(self, condition: Any) -> None:
        self.condition = condition
        self.answers: list[bool] = []
        self.inside = 0
        self.all: list[threading.Thread] = []

    def wait(self, timeout: float = GENEROUS) -> None:
        with self.condition:
            self.inside += 1
            self.answers.append(self.condition.wait(timeout))

    def start(self, timeout: float = GENEROUS) -> None:
        """Returns when it waits: whoever gets the lock then has it from the waiter."""
        before = self.inside
        thread = threading.Thread(target=self.wait, args=(timeout,), daemon=True)
        self.all.append(thread)
        thread.start()
        wait_until(lambda: self.inside > before)
        with self.condition:
            pass
        wait_until_asleep(os.getpid(), thread.native_id)

    def join(self) -> list[bool]:
        for thread in self.all:
            thread.join(2 * GENEROUS)
        return self.answers


def aside(work: Callable[[], None]) -> Callable[[], None]:
    """Runs `work` in a thread; what is returned waits for it, and raises what it raised."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join() -> None:
        thread.join(2 * GENEROUS)
        for error in errors:
            raise error

    return join


@contextlib.contextmanager
def setting(event: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        event.set()


def interrupt_main() -> None:
    assert threading.main_thread().ident is not None
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)  # type: ignore[arg-type]


def times_out_and_is_interrupted(condition: Any, early: Threads) -> bool:
    """The main thread does, while it wants its lock back; whether the notification given before was
    for the thread that waited already."""
    raised = threading.Event()
    early.start()

    def others() -> None:
        with condition:  # the main thread waits now, behind the other
            condition.notify(1)
            over = time.monotonic() + 0.2
            wait_until(lambda: time.monotonic() > over)
            wait_until_asleep(os.getpid())
            interrupt_main()
            wait_until(raised.is_set)

    condition.acquire()
    join = aside(others)
    with pytest.raises(Interrupted):  # noqa: PT012
        try:
            condition.wait(0.1)
        finally:
            raised.set()
    join()
    over = time.monotonic() + 2
    wait_until(lambda: early.answers or time.monotonic() > over)
    return bool(early.answers)


@pytest.mark.usefixtures("raising")
@pytest.mark.parametrize("make", [*OURS, NATIVE])
def test_a_waiter_that_timed_out_and_is_interrupted_on_its_way_back_takes_no_notification(
    make: Callable[[], Any],
) -> None:
    for _ in range(20):
        condition = make()
        early, late = Threads(condition), Threads(condition)
        was_for_early = times_out_and_is_interrupted(condition, early)
        if was_for_early:
            late.start(5.0)
        with condition:
            condition.notify(1)
        assert early.join() == [True]
        if was_for_early:
            assert late.join() == [True]
            return
    raise AssertionError("the first to wait was never the first to be notified")


@pytest.mark.usefixtures("raising")
@pytest.mark.parametrize("make", OURS)
def test_a_notification_after_the_waiter_was_interrupted_goes_to_the_next(
    make: Callable[[], Any],
) -> None:
    condition = make()
    other = Threads(condition)

    def others() -> None:
        with condition:  # the main thread waits now, and was first
            pass
        other.start(5.0)
        # Both wait: whoever is seen to wait for the lock below is the one that was notified.
        wait_until(lambda: condition.waiters == 2)
        with condition:
            interrupt_main()
            wait_until(lambda: condition._lock.waiters)  # it wants the lock back
            condition.notify(1)

    condition.acquire()
    join = aside(others)
    with pytest.raises(Interrupted):
        condition.wait(GENEROUS)
    condition.release()
    join()
    assert other.join() == [True]
    assert condition.waiters == 0


def is_notified_and_interrupted(condition: Any) -> bool:
    """The main thread is, in this order, while it wants its lock back; unless another was notified,
    which does not matter to the others either."""
    other = Threads(condition)
    raised = threading.Event()
    lock = condition._lock

    def others() -> None:
        with condition:  # the main thread waits now, and was first
            pass
        other.start(5.0)
        with condition:
            condition.notify(1)
            wait_until(lambda: lock.waiters)
            interrupt_main()
            wait_until(lambda: raised.is_set() or lock.waiters > 1)

    condition.acquire()
    join = aside(others)
    with pytest.raises(Interrupted), setting(raised):
        condition.wait(GENEROUS)
    has_lock = lock._semlock._is_mine()
    if has_lock:
        condition.release()
    join()
    assert other.join() == [True]
    assert condition.waiters == 0
    return not has_lock


@pytest.mark.usefixtures("raising")
@pytest.mark.parametrize("make", OURS)
def test_a_notification_that_its_waiter_cannot_act_on_goes_to_the_next(
    make: Callable[[], Any],
) -> None:
    """Interrupted when it had been notified, but had not got its lock back: lost natively."""
    assert any(is_notified_and_interrupted(make()) for _ in range(20))


DISTURBED = """
import signal, sys
import altsem
class Interrupted(Exception): pass
class OwnLock(altsem.Lock): pass
class OwnRLock(altsem.RLock): pass
armed = False
def handler(*_):
    global armed
    if armed:
        armed = False
        raise Interrupted
signal.signal(signal.SIGALRM, handler)
lock = {"Lock": altsem.Lock, "RLock": altsem.RLock, "a lock of another class": OwnLock,
        "a recursive lock of another class": OwnRLock}[sys.argv[1]]()
condition, interrupted = altsem.Condition(lock), 0
def one_round():
    global armed
    armed = True
    condition.wait(0.001)
    armed = False
for number in range(1500):
    condition.acquire()
    signal.setitimer(signal.ITIMER_REAL, 0.00001 + number % 50 * 0.00003)
    try:
        one_round()
    except Interrupted:
        interrupted += 1
    assert condition.waiters == 0, number
    while condition._lock._semlock._is_mine():
        condition.release()
    assert not lock.locked()
signal.setitimer(signal.ITIMER_REAL, 0)
print(interrupted)
"""


@pytest.mark.parametrize("lock", CONDITIONS)
def test_a_waiter_interrupted_at_any_time_leaves_nothing(run_script: Script, lock: str) -> None:
    """Asleep, on its way in or back, also between two lines of Python."""
    done = run_script(DISTURBED, lock)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 100


class UnwillingLock(altsem.Lock):
    """Fails when it is told to, when taken or released by its own methods."""

    fails = ""

    def acquire(self, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]
        if self.fails == "acquire":
            raise KeyError("acquire")
        return super().acquire(*args, **kwargs)

    def release(self) -> None:
        if self.fails == "release":
            raise KeyError("release")
        super().release()


@pytest.mark.parametrize("fails", ["acquire", "release"])
def test_a_lock_that_fails_leaves_no_waiter(fails: str) -> None:
    lock = UnwillingLock()
    condition = altsem.Condition(lock)
    condition.acquire()
    lock.fails = fails
    with pytest.raises(KeyError, match=fails):
        condition.wait(0.01)
    assert condition.waiters == 0
    lock.fails = ""
    assert lock.locked() == (fails == "release")


def test_a_time_that_is_no_number_is_refused_before_anything_happens() -> None:
    for make in CONDITIONS.values():
        condition = make()
        with condition:
            for timeout in (float("nan"), "1"):
                with pytest.raises((ValueError, TypeError)):
                    condition.wait(timeout)
                assert condition._lock._semlock._is_mine() and condition.waiters == 0


def test_any_number_of_recursive_takings_is_given_back() -> None:
    condition = altsem.Condition(OwnRLock())
    threads = Threads(condition)
    for _ in range(3):
        condition.acquire()
    join = aside(lambda: threads.start(0.05))
    assert not condition.wait(0.5)
    assert condition._lock._semlock._count() == 3
    for _ in range(3):
        condition.release()
    join()
    assert threads.join() == [False]
