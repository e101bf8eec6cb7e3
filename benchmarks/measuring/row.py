"""One line of the table: what was found, what was asked for, and whether it was reached."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What is asked of a row; None is no limit."""

    at_most: float | None = None  # the ratio
    at_most_seconds: float | None = None  # our time, in seconds per operation
    share_at_least: float | None = None  # the smallest share of a crowd by the largest


@dataclass(frozen=True)
class Found:
    """What the rounds gave.  Times are medians, in seconds per operation."""

    ours: float
    theirs: float
    ratio: float
    low: float  # the ratios of the middle 80 % of the rounds lie between low and high
    high: float
    rounds: int


@dataclass(frozen=True)
class Row:
    part: str  # the heading it belongs under
    work: str
    peer: str
    found: Found
    limits: Limits = Limits()
    share: float | None = None  # of our crowd, the median over the rounds
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether all that is asked for was reached; None if nothing is."""
        found, limits = self.found, self.limits
        verdicts = []
        if limits.at_most is not None:
            verdicts.append(found.ratio <= limits.at_most)
        if limits.at_most_seconds is not None:
            verdicts.append(found.ours <= limits.at_most_seconds)
        if limits.share_at_least is not None:
            verdicts.append(self.share is not None and self.share >= limits.share_at_least)
        return all(verdicts) if verdicts else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summary(pairs: list[tuple[float, float]]) -> Found:
    """Medians and spread of paired rounds.  The ratio is the median of the pairs' ratios, not the
    ratio of the medians: what disturbs the machine for a while is in both halves of a pair."""
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    tenth = len(ratios) // 10
    return Found(
        ours=statistics.median(ours for ours, _ in pairs),
        theirs=statistics.median(theirs for _, theirs in pairs),
        ratio=statistics.median(ratios),
        low=ratios[tenth],
        high=ratios[-1 - tenth],
        rounds=len(pairs),
    )
