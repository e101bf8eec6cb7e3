"""Several processes that use one lock in turn, each holding it for a while: as programs do."""

from __future__ import annotations

import contextlib
from array import array
from time import perf_counter, sleep
from typing import Any

from ..measuring.quick import quick
from ..measuring.shares import Shares, jain, quantiles, smallest_by_largest
from .peers import FORK

SAMPLE = 2000  # of the waits of each process, at least, if it had so many


def work(lock: Any, hold: float, end: float) -> tuple[int, array[float]]:
    """Takes the lock, holds it, releases it, again and again until `end`: how often it had it by
    then, and how long it waited each time.

    A hold of 0 is one reading of the clock.  Nothing is done between release and acquire but
    remembering the wait.
    """
    waits = array("f")
    remember, now = waits.append, perf_counter
    got = before = now()
    while before < end:
        with lock:
            got = now()
            if hold:
                until = got + hold
                while now() < until:
                    pass
        remember(got - before)
        before = now()
    turns = len(waits)
    if turns and got > end:  # still waiting at the end: that was no turn, and a wait until then
        turns -= 1
        waits[-1] -= got - end
    return turns, waits


class Turns:
    """`count` processes do work() with one lock.  A round: seconds per turn, over all of them.

    The first round is short: its shares are not kept.
    """

    def __init__(self, lock: Any, count: int, hold: float, seconds: float = 1.0) -> None:
        self._seconds = min(seconds, 0.3) if quick() else seconds
        self._warm = False
        self.rounds: list[Shares] = []
        pipes = [FORK.Pipe() for _ in range(count)]
        self._children = [
            FORK.Process(target=self._serve, args=(lock, hold, there), daemon=True)
            for _, there in pipes
        ]
        for child in self._children:
            child.start()
        for _, there in pipes:
            there.close()
        self._pipes = [here for here, _ in pipes]

    @staticmethod
    def _serve(lock: Any, hold: float, there: Any) -> None:
        while (told := there.recv()) is not None:
            begin, end = told
            sleep(max(0.0, begin - perf_counter()))
            turns, waits = work(lock, hold, end)
            step = max(1, len(waits) // SAMPLE)
            there.send((turns, max(waits, default=end - begin), step, waits[::step]))

    def __call__(self) -> float:
        seconds = self._seconds if self._warm else self._seconds / 5
        begin = perf_counter() + 0.01 + 0.001 * len(self._pipes)  # when all have been told
        for pipe in self._pipes:
            pipe.send((begin, begin + seconds))
        answers = [pipe.recv() for pipe in self._pipes]
        turns = [answer[0] for answer in answers]
        if self._warm:
            weighted = [(wait, step) for _, _, step, sample in answers for wait in sample]
            median, rare = quantiles(weighted, (0.5, 0.999))
            longest = max(answer[1] for answer in answers)
            self.rounds.append(
                Shares(jain(turns), smallest_by_largest(turns), median, rare, longest)
            )
        self._warm = True
        return float(seconds / max(1, sum(turns)))

    def close(self) -> None:
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):  # it has died: the measurement has said so
                pipe.send(None)
        for child in self._children:
            child.join()
        for pipe in self._pipes:
            pipe.close()
