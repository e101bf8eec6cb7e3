"""Barrier: who passes, who is told that it is broken, and which index each gets."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import altsem
from support import GENEROUS, fork, no_native, reap, wait_until, wait_until_asleep

pytestmark = pytest.mark.limit(60)

WHY_NOT = no_native()
BROKEN = "broken"

MAKERS = [
    pytest.param(altsem.Barrier, id="altsem"),
    pytest.param(
        lambda *args: multiprocessing.get_context("fork").Barrier(*args),
        id="native",
        marks=pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
    ),
]


class Party(threading.Thread):
    """Waits once.  `answer`: the index, or that it was broken."""

    def __init__(self, barrier: Any, timeout: float | None = None) -> None:
        super().__init__(daemon=True)
        self.barrier, self.timeout = barrier, timeout
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.barrier.wait(self.timeout)
        except threading.BrokenBarrierError:
            self.answer = BROKEN

    def asleep(self) -> None:
        wait_until(lambda: self.native_id)
        wait_until_asleep(os.getpid(), self.native_id)

    def result(self) -> Any:
        self.join(GENEROUS)
        assert not self.is_alive(), "still waits"
        return self.answer


def answers(*parties: Party) -> list[Any]:
    return [party.result() for party in parties]


@pytest.fixture
def raising() -> Iterator[type[Exception]]:
    """What a signal handler raises in the main thread."""

    class Interrupted(Exception):  # noqa: N818 - as KeyboardInterrupt
        pass

    def handler(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    yield Interrupted
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("whose", ["a waiter's", "a newcomer's"])
def test_no_timeout_breaks_a_barrier_once_all_have_arrived(
    make: Callable[..., Any], whose: str
) -> None:
    """It is over while the action runs: natively all pass, then and in the next round."""
    inside, go_on = threading.Event(), threading.Event()

    def action() -> None:
        if not inside.is_set():
            inside.set()
            assert go_on.wait(GENEROUS)

    barrier = make(2, action)
    waiter = Party(barrier, 1.0 if whose == "a waiter's" else None)
    wait_until(lambda: barrier.n_waiting == 1)
    began = time.monotonic()
    last = Party(barrier)
    assert inside.wait(GENEROUS)
    newcomers = [Party(barrier, None if whose == "a waiter's" else 1.0), Party(barrier)]
    wait_until(lambda: time.monotonic() > began + 1.2)
    for party in (waiter, *newcomers):
        party.asleep()
    go_on.set()
    assert sorted(answers(waiter, last)) == [0, 1]
    assert sorted(answers(*newcomers)) == [0, 1]
    assert not barrier.broken


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("timeout", [0, -1, 0.05])
def test_a_timeout_breaks_a_barrier_that_waits_for_others(
    make: Callable[..., Any], timeout: float
) -> None:
    barrier = make(3)
    other = Party(barrier)
    wait_until(lambda: barrier.n_waiting == 1)
    assert Party(barrier, timeout).result() == BROKEN
    assert (other.result(), barrier.broken) == (BROKEN, True)


@pytest.mark.parametrize("make", MAKERS)
def test_an_action_that_raises_breaks_its_own_generation(make: Callable[..., Any]) -> None:
    barrier = make(2, lambda: 1 / 0)
    other = Party(barrier)
    wait_until(lambda: barrier.n_waiting == 1)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert (other.result(), barrier.broken) == (BROKEN, True)


@pytest.mark.parametrize("make", MAKERS)
def test_an_action_that_waits_for_its_own_barrier_breaks_it(make: Callable[..., Any]) -> None:
    barrier = make(2, lambda: barrier.wait(0.05))
    parties = [Party(barrier) for _ in range(2)]
    assert answers(*parties) == [BROKEN, BROKEN]
    assert barrier.broken


def test_an_action_that_waits_for_its_own_barrier_and_goes_on_has_broken_it() -> None:
    def action() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait()

    barrier = altsem.Barrier(2, action)
    parties = [Party(barrier) for _ in range(2)]
    assert answers(*parties) == [BROKEN, BROKEN]
    barrier.reset()
    assert not barrier.broken


def test_an_action_that_raises_breaks_no_later_generation() -> None:
    """Somebody has reset the barrier meanwhile, and others wait in it."""
    inside, go_on = threading.Event(), threading.Event()

    def action() -> None:
        inside.set()
        assert go_on.wait(GENEROUS)
        raise KeyError

    barrier = altsem.Barrier(2, action)
    first = Party(barrier)
    wait_until(lambda: barrier.n_waiting == 1)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            barrier.wait()
        except KeyError as error:
            failed.append(error)

    last = threading.Thread(target=run, daemon=True)
    last.start()
    assert inside.wait(GENEROUS)
    barrier.reset()
    assert first.result() == BROKEN
    waiting = Party(barrier)
    wait_until(lambda: barrier.n_waiting == 1)
    go_on.set()
    last.join(GENEROUS)
    assert failed and not barrier.broken and barrier.n_waiting == 1
    barrier.abort()
    assert waiting.result() == BROKEN


def test_the_death_of_who_runs_the_action_breaks_the_barrier() -> None:
    """Within about a second, though nobody calls reset(): natively all hang."""
    barrier = altsem.Barrier(3, signal.pause)
    waiting = [Party(barrier), Party(barrier)]
    wait_until(lambda: barrier.n_waiting == 2)
    pid = fork(barrier.wait)
    wait_until(lambda: barrier.n_waiting == 0)
    newcomer = Party(barrier)
    newcomer.asleep()
    os.kill(pid, signal.SIGKILL)
    assert answers(*waiting, newcomer) == [BROKEN] * 3
    assert reap(pid) == -signal.SIGKILL
    barrier.reset()
    assert not barrier.broken


def test_a_party_killed_anywhere_blocks_no_barrier_without_an_action() -> None:
    """Killed again and again while it passes: those who are left always go on."""
    barrier = altsem.Barrier(2)
    for number in range(60):
        pid = fork(lambda: [barrier.wait() for _ in iter(int, 1)])
        for _ in range(20):
            assert barrier.wait(GENEROUS) in (0, 1)
        time.sleep(number * 0.00002)
        os.kill(pid, signal.SIGKILL)
        assert reap(pid) == -signal.SIGKILL
        # The one that was killed may be counted: then this trips at once.
        if barrier.n_waiting:
            assert barrier.wait(GENEROUS) == 1
        assert (barrier.n_waiting, barrier.broken) == (0, False)


@pytest.mark.parametrize("threads", [1, 3])
def test_after_an_interrupted_wait_every_index_is_given_once(
    raising: type[Exception], threads: int
) -> None:
    barrier = altsem.Barrier(threads + 2)
    main = threading.main_thread().ident
    assert main is not None
    others: list[Party] = []

    def interrupt() -> None:
        wait_until(lambda: barrier.n_waiting == 1)
        others.extend(Party(barrier) for _ in range(threads))
        wait_until(lambda: barrier.n_waiting == threads + 1)
        signal.pthread_kill(main, signal.SIGUSR1)

    helper = threading.Thread(target=interrupt, daemon=True)
    helper.start()
    with pytest.raises(raising):
        barrier.wait()
    helper.join(GENEROUS)
    wait_until(lambda: barrier.n_waiting == threads)
    others += [Party(barrier), Party(barrier)]
    assert sorted(answers(*others)) == list(range(threads + 2))
