"""One line of the table: what was found, what was asked for, and whether it was reached."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from .shares import Fared


@dataclass(frozen=True)
class Limits:
    """What is asked of a row; None is no limit."""

    at_most: float | None = None  # the ratio
    at_most_seconds: float | None = None  # our time, in seconds per operation
    share_at_least: float | None = None  # the smallest share of a crowd by the largest
    # How far that may be below the peer's.
    share_behind_at_most: float | None = None
    jain_at_least: float | None = None  # Jain's index of the shares
    jain_behind_at_most: float | None = None
    longest_at_most: float | None = None  # the longest wait, the peer's being 1


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
    fared: Fared | None = None  # a crowd of which more is known

    @property
    def reached(self) -> bool | None:
        """Whether all that is asked for was reached; None if nothing is."""
        found, limits, fared = self.found, self.limits, self.fared
        verdicts = []
        if limits.at_most is not None:
            verdicts.append(shown(found.ratio) <= limits.at_most)
        if limits.at_most_seconds is not None:
            verdicts.append(found.ours <= limits.at_most_seconds)
        if limits.share_at_least is not None:
            verdicts.append(self.share is not None and self.share >= limits.share_at_least)
        if fared is not None:
            verdicts += _fairness(fared, limits)
        return all(verdicts) if verdicts else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def shown(value: float) -> float:
    """With the digits that a reader sees: where nothing is to be gained, 1.002 is 1."""
    return float(f"{value:.3g}")


def _fairness(fared: Fared, limits: Limits) -> list[bool]:
    """Shares are compared in hundredths, for the same reason."""
    jain, peers_jain = (round(value, 2) for value in fared.jain)
    share, peers_share = (round(value, 2) for value in fared.share)
    verdicts = []
    if limits.jain_at_least is not None:
        verdicts.append(jain >= limits.jain_at_least)
    if limits.jain_behind_at_most is not None:
        verdicts.append(round(peers_jain - jain, 2) <= limits.jain_behind_at_most)
    if limits.share_behind_at_most is not None:
        verdicts.append(round(peers_share - share, 2) <= limits.share_behind_at_most)
    if limits.longest_at_most is not None:
        verdicts.append(shown(fared.longest_ratio) <= limits.longest_at_most)
    return verdicts


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
