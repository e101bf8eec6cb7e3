"""The rows as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ..measuring.row import Row
from .text import asked, ratio, seconds, verdict

HEAD = (
    "| work | against | altsem | peer | ratio (80 % of rounds) | at most | |",
    "|---|---|---|---|---|---|---|",
)


def table(rows: Iterable[Row]) -> str:
    """A table for each part, under its heading."""
    return "\n\n".join(
        "\n".join((f"### {part}\n", *HEAD, *map(_line, group)))
        for part, group in groupby(rows, lambda row: row.part)
    )


def _line(row: Row) -> str:
    found = row.found
    spread = f"{ratio(found.ratio)} ({ratio(found.low)} to {ratio(found.high)})"
    word = f"**{verdict(row)}**" if row.reached is False else verdict(row)
    last = "; ".join(text for text in (word, row.note) if text)
    times = f"{seconds(found.ours)} | {seconds(found.theirs)}"
    return f"| {row.work} | {row.peer} | {times} | {spread} | {asked(row)} | {last} |"
