"""Rounds in processes that are new: what short programs get, and what no long one is spared.

Each round of each side has new processes, forked for it: nothing is known there about how well
spinning pays, and the scheduler decides anew where each of them runs.
"""

from __future__ import annotations

import contextlib
from typing import Any

from .apart import Make
from .peers import FORK, OURS


class Fresh:
    """A round of ours or of theirs is the first of a new process, of `n` operations: everything is
    in it, from the first one on.

    With `of` more than one it is the mean over so many new processes, and each has made a round
    before, which is not counted.  So chance is in the round, and not between the rounds.
    """

    def __init__(self, make: Make, n: int, of: int = 1) -> None:
        self._make, self._n, self._of = make, n, of

    def _serve(self, ctx: Any, there: Any) -> None:
        with contextlib.closing(self._make(ctx, self._n)) as timing:
            if self._of > 1:
                timing()
            there.send(timing())

    def _once(self, ctx: Any) -> float:
        here, there = FORK.Pipe(duplex=False)
        child = FORK.Process(target=self._serve, args=(ctx, there))
        child.start()
        there.close()
        with here:
            try:
                return float(here.recv())
            finally:
                child.join()

    def _round(self, ctx: Any) -> float:
        return sum(self._once(ctx) for _ in range(self._of)) / self._of

    def ours(self) -> float:
        return self._round(OURS)

    def theirs(self) -> float:
        return self._round(FORK)
