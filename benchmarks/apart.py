"""Both partners of a pair in a process of their own, under circumstances of their own.

What a process has learnt about waiting, how many CPUs it may use among it, is forgotten in a forked
child: so no row is measured with what another has taught, and a row under special circumstances
never with what was true before them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from .paired import Timing
from .peers import FORK, OURS

Make = Callable[[Any, int], Any]  # context, round trips in a round: a timing with close()
Place = Callable[[], contextlib.AbstractContextManager[None]]


class Apart:
    """Asks a child for a round of ours or of theirs, of `n` round trips each."""

    def __init__(self, make: Make, n: int, place: Place = contextlib.nullcontext) -> None:
        self._here, there = FORK.Pipe()
        self._child = FORK.Process(target=self._serve, args=(make, n, place, there))
        self._child.start()
        there.close()

    def _serve(self, make: Make, n: int, place: Place, there: Connection[Any, Any]) -> None:
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

    def ours(self) -> float:
        return self._ask("ours")

    def theirs(self) -> float:
        return self._ask("theirs")

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died: the measurement has said so
            self._here.send(None)
        self._child.join()
