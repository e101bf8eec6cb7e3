"""What the absence of the GIL changes: each row that has a limit, beside the same with the GIL."""

from __future__ import annotations

from .row import Row
from .text import ratio

AT_MOST = 1.2


def comparison(free: list[Row], locked: list[Row], python: str) -> str:
    """Markdown: the ratios of both runs, and how much worse the one without the GIL is."""
    before = {(row.work, row.peer): row.found.ratio for row in locked}
    lines = [
        f"### Against the same with the GIL ({python})\n",
        "| work | against | ratio here | with the GIL | here / there | at most 1.2 |",
        "|---|---|---|---|---|---|",
    ]
    for row in free:
        there = before.get((row.work, row.peer))
        if row.limits.at_most is None or there is None:
            continue
        here = row.found.ratio
        verdict = "reached" if here <= AT_MOST * there else "**not reached**"
        lines.append(
            f"| {row.work} | {row.peer} | {ratio(here)} | {ratio(there)} | {here / there:.2f} "
            f"| {verdict} |"
        )
    return "\n".join(lines) + "\n"
