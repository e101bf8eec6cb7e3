"""The rows as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ..measuring.row import Row
from .text import ratio, seconds

HEAD = (
    "| work | against | altsem | peer | ratio (80 % of rounds) | |",
    "|---|---|---|---|---|---|",
)
CROWD_HEAD = (
    (
        "| work | time per turn | ratio | evenness | smallest / largest share | median wait "
        "| 99.9 % within | longest wait | its ratio |"
    ),
    "|---|---|---|---|---|---|---|---|---|",
)


def table(rows: Iterable[Row]) -> str:
    """A table for each part, under its heading; of crowds of which more is known, another."""
    parts = []
    for part, group in groupby(rows, lambda row: row.part):
        parts.append(f"### {part}")
        for crowd, some in groupby(group, lambda row: row.fared is not None):
            head, line = (CROWD_HEAD, _crowd) if crowd else (HEAD, _line)
            parts.append("\n".join((*head, *map(line, some))))
    return "\n\n".join(parts)


def _line(row: Row) -> str:
    found = row.found
    spread = f"{ratio(found.ratio)} ({ratio(found.low)} to {ratio(found.high)})"
    times = f"{seconds(found.ours)} | {seconds(found.theirs)}"
    return f"| {row.work} | {row.peer} | {times} | {spread} | {row.note} |"


def _crowd(row: Row) -> str:
    """Each figure altsem's, then the native one's."""
    found, fared = row.found, row.fared
    assert fared is not None
    cells = [
        row.work,
        f"{seconds(found.ours)}, {seconds(found.theirs)}",
        ratio(found.ratio),
        *(f"{ours:.2f}, {theirs:.2f}" for ours, theirs in (fared.jain, fared.share)),
        *(
            f"{seconds(ours)}, {seconds(theirs)}"
            for ours, theirs in (fared.median, fared.rare, fared.longest)
        ),
        ratio(fared.longest_ratio),
    ]
    return f"| {' | '.join(cells)} |"
