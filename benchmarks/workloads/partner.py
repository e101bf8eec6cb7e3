"""Two who hand something to and fro: how fast a wake-up travels."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from .peers import FORK


class Partner:
    """Processes that answer, or a thread of this one: a round is `n` round trips, each one
    `ask()` here and one `answer()` in each of them.  All of them are there when it is made: a first
    round measures no start of a process."""

    def __init__(
        self,
        answer: Callable[[], object],
        ask: Callable[[], object],
        n: int,
        processes: int = 1,
    ) -> None:
        self._ask, self._n = ask, n
        here, there = os.pipe()
        self._children = [
            FORK.Process(target=self._serve, args=(answer, there), daemon=True)
            for _ in range(processes)
        ]
        for child in self._children:
            child.start()
        if not processes:  # the thread ends with the process: it cannot be ended while it waits
            threading.Thread(target=self._serve, args=(answer, there), daemon=True).start()
        for _ in range(max(processes, 1)):
            os.read(here, 1)
        os.close(here)
        os.close(there)

    @staticmethod
    def _serve(answer: Callable[[], object], there: int) -> None:
        os.write(there, b".")
        while True:
            answer()

    def __call__(self) -> float:
        start = perf_counter()
        for _ in range(self._n):
            self._ask()
        return (perf_counter() - start) / self._n

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.join()


def ping_pong(ctx: Any, n: int, processes: int = 1) -> Partner:
    there, back = ctx.Semaphore(0), ctx.Semaphore(0)

    def answer() -> None:
        there.acquire()
        back.release()

    def ask() -> None:
        there.release()
        back.acquire()

    return Partner(answer, ask, n, processes)


def thread_ping_pong(ctx: Any, n: int) -> Partner:
    return ping_pong(ctx, n, processes=0)


def event_trip(ctx: Any, n: int) -> Partner:
    there, back = ctx.Event(), ctx.Event()

    def answer() -> None:
        there.wait()
        there.clear()
        back.set()

    def ask() -> None:
        there.set()
        back.wait()
        back.clear()

    return Partner(answer, ask, n)


def condition_trip(ctx: Any, n: int) -> Partner:
    condition = ctx.Condition()
    turn = FORK.RawValue(ctypes.c_int, 0)

    def step(mine: int) -> None:
        with condition:
            while turn.value != mine:
                condition.wait()
            turn.value = 1 - mine
            condition.notify()

    def ask() -> None:
        step(0)
        with condition:
            while turn.value != 0:
                condition.wait()

    return Partner(lambda: step(1), ask, n)


def barrier_of(parties: int) -> Callable[[Any, int], Partner]:
    """A trip is a generation: all come, all go."""

    def make(ctx: Any, n: int) -> Partner:
        barrier = ctx.Barrier(parties)
        return Partner(barrier.wait, barrier.wait, n, parties - 1)

    return make
