"""Two sides in turn: medians, and how far the rounds lie apart."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    # Gets the seconds a round should take; returns seconds per operation.
    Side = Callable[[float], float]

FEWEST = 3  # rounds, however little time there is


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds, in seconds per operation; the ratio is the median of the ratios.
    The ratios of the middle 80 % of the rounds lie from `low` to `high`.  None: there is no peer.
    """

    ours: float
    theirs: float | None
    ratio: float | None
    low: float | None
    high: float | None
    rounds: int


def compare(ours: Side, theirs: Side | None, seconds: float, until: float) -> Figures:
    """Rounds of `seconds` each until `until` (of time.monotonic), after one that is not counted."""
    ours(seconds)
    if theirs is None:
        times = [ours(seconds)]
        while len(times) < FEWEST or time.monotonic() + seconds < until:
            times.append(ours(seconds))
        return Figures(statistics.median(times), None, None, None, None, len(times))
    theirs(seconds)
    pairs: list[tuple[float, float]] = []
    while len(pairs) < FEWEST or time.monotonic() + 2 * seconds < until:
        # Which comes first is alternated, in case the first disturbs the second.
        if len(pairs) % 2:
            b, a = theirs(seconds), ours(seconds)
        else:
            a, b = ours(seconds), theirs(seconds)
        pairs.append((a, b))
    ratios = sorted(a / b for a, b in pairs)
    tenth = len(ratios) // 10
    return Figures(
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
        ratios[tenth],
        ratios[-1 - tenth],
        len(ratios),
    )
