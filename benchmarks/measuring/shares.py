"""How several that want the same fared: who got how much of it, and how long each waited."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Both = tuple[float, float]  # ours, theirs


@dataclass(frozen=True)
class Shares:
    """One round of one side.  Waits are in seconds."""

    jain: float
    share: float  # the smallest by the largest
    median: float
    rare: float  # what one wait in a thousand exceeds
    longest: float


@dataclass(frozen=True)
class Fared:
    """Both sides, medians over the rounds."""

    jain: Both
    share: Both
    median: Both
    rare: Both
    longest: Both
    longest_ratio: float  # the median of the pairs' ratios


def jain(turns: Sequence[float]) -> float:
    """Jain's index: 1 if all have the same, 1/n if one has everything."""
    squares = sum(n * n for n in turns)
    return sum(turns) ** 2 / (len(turns) * squares) if squares else 0.0


def smallest_by_largest(turns: Sequence[float]) -> float:
    return min(turns) / max(turns) if max(turns) else 0.0


def quantiles(weighted: Iterable[tuple[float, float]], parts: Sequence[float]) -> list[float]:
    """For each of `parts`, in rising order, the value that this part of the weight does not
    exceed.  `weighted` are values with the weight of each."""
    values = sorted(weighted)
    total = sum(weight for _, weight in values)
    found: list[float] = []
    below = 0.0
    for value, weight in values:
        below += weight
        while len(found) < len(parts) and below >= parts[len(found)] * total:
            found.append(value)
    return found + [values[-1][0]] * (len(parts) - len(found))


def fared(ours: Sequence[Shares], theirs: Sequence[Shares]) -> Fared:
    """From the rounds of both sides, which were made in pairs."""

    def medians(name: str) -> Both:
        return (
            statistics.median(getattr(shares, name) for shares in ours),
            statistics.median(getattr(shares, name) for shares in theirs),
        )

    pairs = zip(ours, theirs, strict=True)
    return Fared(
        **{name: medians(name) for name in ("jain", "share", "median", "rare", "longest")},
        longest_ratio=statistics.median(mine.longest / peer.longest for mine, peer in pairs),
    )
