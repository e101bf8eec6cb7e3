"""How fast something grows: the slope of its logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

DECADES = 2.0


def exponent(points: Sequence[tuple[float, float]], decades: float = DECADES) -> float | None:
    """The b of the best c·n^b through the last `decades` of n, by least squares of the logarithms.

    Only the last decades count: at small n the cost that does not grow hides the one that does.
    None if fewer than two points with a logarithm are left.
    """
    least = max((n for n, _ in points), default=0) / 10**decades
    # The hundredth part of the largest n is one of the points, also if the division was inexact.
    logs = [(log(n), log(cost)) for n, cost in points if n >= least * 0.999 and n > 0 and cost > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    spread = sum((x - mean_x) ** 2 for x, _ in logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread
