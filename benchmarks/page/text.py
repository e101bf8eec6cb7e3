"""Figures as people read them."""

from __future__ import annotations

from altsem.bench.report import ratio, seconds

from ..measuring.row import Row
from ..measuring.shares import Fared

SAME = 1.05  # a ratio between this and its inverse is no difference to speak of

__all__ = ["SAME", "asked", "fared", "line", "ratio", "seconds", "verdict"]


def asked(row: Row) -> str:
    """What is asked of a row: "0.67, share ≥ 0.5"."""
    limits, texts = row.limits, []
    if limits.at_most is not None:
        texts.append(f"{limits.at_most:g}")
    if limits.at_most_seconds is not None:
        texts.append(seconds(limits.at_most_seconds))
    if limits.share_at_least is not None:
        texts.append(f"share ≥ {limits.share_at_least:g}")
    if limits.share_behind_at_most is not None:
        texts.append(f"share ≥ native's{_less(limits.share_behind_at_most)}")
    if limits.jain_at_least is not None:
        texts.append(f"Jain ≥ {limits.jain_at_least:g}")
    if limits.jain_behind_at_most is not None:
        texts.append(f"Jain ≥ native's{_less(limits.jain_behind_at_most)}")
    if limits.longest_at_most is not None:
        texts.append(f"longest wait {limits.longest_at_most:g}")
    return ", ".join(texts)


def _less(value: float) -> str:
    return f" - {value:g}" if value else ""


def fared(of: Fared) -> str:
    """How a crowd fared, for a terminal: each figure ours, then the peer's."""

    def waits(median: float, rare: float, longest: float) -> str:
        return f"{seconds(median)} {seconds(rare)} {seconds(longest)}"

    ours, theirs = zip(of.median, of.rare, of.longest, strict=True)
    return (
        f"Jain {of.jain[0]:.2f} / {of.jain[1]:.2f}, share {of.share[0]:.2f} / {of.share[1]:.2f}, "
        f"waits (median, 99.9 %, longest) {waits(*ours)} / {waits(*theirs)}, "
        f"longest {ratio(of.longest_ratio)}"
    )


def verdict(row: Row) -> str:
    return {None: "", True: "reached", False: "not reached"}[row.reached]


def line(row: Row) -> str:
    """A row for a terminal."""
    found = row.found
    spread = f"[{ratio(found.low)}, {ratio(found.high)}]"
    limit = f"{asked(row)}: {verdict(row).upper()}" if asked(row) else ""
    note = fared(row.fared) if row.fared else row.note
    return (
        f"{row.work:45} / {row.peer:23} {ratio(found.ratio):>7} {spread:<18} "
        f"{seconds(found.ours):>8} {seconds(found.theirs):>8}  {limit} {note}"
    ).rstrip()
