"""Figures as people read them."""

from __future__ import annotations

from altsem.bench.report import ratio, seconds

from ..measuring.row import Row

__all__ = ["asked", "line", "ratio", "seconds", "verdict"]


def asked(row: Row) -> str:
    """What is asked of a row: "0.67, share ≥ 0.5"."""
    limits, texts = row.limits, []
    if limits.at_most is not None:
        texts.append(f"{limits.at_most:g}")
    if limits.at_most_seconds is not None:
        texts.append(seconds(limits.at_most_seconds))
    if limits.share_at_least is not None:
        texts.append(f"share ≥ {limits.share_at_least:g}")
    return ", ".join(texts)


def verdict(row: Row) -> str:
    return {None: "", True: "reached", False: "not reached"}[row.reached]


def line(row: Row) -> str:
    """A row for a terminal."""
    found = row.found
    spread = f"[{ratio(found.low)}, {ratio(found.high)}]"
    limit = f"{asked(row)}: {verdict(row).upper()}" if asked(row) else ""
    return (
        f"{row.work:45} / {row.peer:23} {ratio(found.ratio):>7} {spread:<18} "
        f"{seconds(found.ours):>8} {seconds(found.theirs):>8}  {limit} {row.note}"
    ).rstrip()
