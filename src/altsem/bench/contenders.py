"""One side of a row: a crew, and how its answers become seconds per operation.

Each is called with how many seconds a round should take, and returns the seconds per operation of
that round.
"""

from __future__ import annotations

import statistics
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from . import together
from .crew import PATIENCE, Crew

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 10_000_000  # operations a round


class Repeated:
    """A round is `n` times the same; `run(n)` returns the seconds it took.

    The first call finds out which `n` takes that long, from 1 upwards: what takes nanoseconds with
    one backend takes milliseconds with another.
    """

    def __init__(self, run: Callable[[int], float]) -> None:
        self._run = run
        self._n = 0

    def __call__(self, seconds: float) -> float:
        if not self._n:
            self._n = self._enough(seconds)
        return self._run(self._n) / self._n

    def _enough(self, seconds: float) -> int:
        n = 1
        while True:
            took = self._run(n)
            fit = min(MOST, n * seconds / max(took, 1e-9))
            if fit <= 3 * n:
                return max(1, int(fit))
            # Not all at once: the first few are slower than the rest.
            n = int(min(fit, 50 * n))


class Trip(Repeated):
    """Two processes pass the turn to each other; an operation is there and back.  On `cpu`
    both of them, if it is given."""

    KINDS: ClassVar[dict[str, tuple[Any, Any, tuple[Any, ...]]]] = {
        "Semaphore": (together.Ping, together.Pong, (0,)),
        "Event": (together.Asker, together.Answerer, ()),
    }

    def __init__(self, ctx: Any, kind: str, cpu: int | None, look: Callable[[], None]) -> None:
        first, second, arguments = self.KINDS[kind]
        pair = tuple(getattr(ctx, kind)(*arguments) for _ in range(2))
        self.crew = Crew(ctx, [(first, (*pair, cpu)), (second, (*pair, cpu))], look)
        super().__init__(lambda n: float(self.crew.round(n)[0]))


class Crowd:
    """`count` processes contend for one lock; the time of an operation is over all of them."""

    def __init__(self, ctx: Any, count: int, look: Callable[[], None]) -> None:
        self.crew = Crew(ctx, [(together.Contender, (ctx.Lock(),))] * count, look)
        self._count = count
        self._shares: list[float] = []

    def __call__(self, seconds: float) -> float:
        # All of them should be there when it begins.
        begin = perf_counter() + 0.002 + 0.0002 * self._count
        had = self.crew.round(begin, begin + seconds, limit=PATIENCE + seconds)
        self._shares.append(min(had) / max(had))
        return seconds / float(sum(had))

    def share(self) -> float:
        """The smallest share as a part of the largest: the median of the rounds."""
        return statistics.median(self._shares)
