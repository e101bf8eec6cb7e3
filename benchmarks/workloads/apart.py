"""Both partners of a pair in a process of their own, under circumstances of their own.

What a process has learnt about waiting, how many CPUs it may use among it, is forgotten in a forked
child: so no row is measured with what another has taught, and a row under special circumstances
never with what was true before them.

Every few rounds all the processes are new.  The scheduler puts two who wake each other on one CPU
or on two, mostly for as long as they live, and that alone decides what a wake-up costs, by a factor
of ten: one placement for all the rounds would be a figure thrown by dice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from ..measuring.paired import Timing
from .peers import FORK, OURS

Make = Callable[[Any, int], Any]  # context, round trips in a round: a timing with close()
Place = Callable[[], contextlib.AbstractContextManager[None]]

PAIRS = 4  # with the same processes


class Apart:
    """Asks a child for a round of ours or of theirs, of `n` round trips each."""

    def __init__(self, make: Make, n: int, place: Place = contextlib.nullcontext) -> None:
        self._what = (make, n, place)
        self._left = 0
        self._child: Any = None

    def _start(self) -> None:
        self._here, there = FORK.Pipe()
        self._child = FORK.Process(target=self._serve, args=(*self._what, there))
        self._child.start()
        there.close()
        self._left = 2 * PAIRS
        for which in ("ours", "theirs"):  # not counted: the first of a process
            self._ask(which)

    def _serve(self, make: Make, n: int, place: Place, there: Any) -> None:
        self._here.close()
        with (
            place(),
            contextlib.closing(make(OURS, n)) as ours,
            contextlib.closing(make(FORK, n)) as theirs,
        ):
            timings: dict[str, Timing] = {"ours": ours, "theirs": theirs}
            while (which := there.recv()) is not None:
                there.send(timings[which]())

    def _ask(self, which: str) -> float:
        self._here.send(which)
        return float(self._here.recv())

    def _round(self, which: str) -> float:
        if not self._left:
            self.close()
            self._start()
        self._left -= 1
        return self._ask(which)

    def ours(self) -> float:
        return self._round("ours")

    def theirs(self) -> float:
        return self._round("theirs")

    def close(self) -> None:
        if self._child is None:
            return
        with contextlib.suppress(BrokenPipeError):  # it has died: the measurement has said so
            self._here.send(None)
        self._child.join()
        self._here.close()
        self._child = None
