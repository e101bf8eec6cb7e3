"""The counts as Markdown, and what is kept of them for it."""

from __future__ import annotations

from typing import Any

from .counted import FEW, MANY

WITH_PARTS = ("altsem", "SemLock")  # of these all COUNTS are shown, else only the first
COUNTS = ("total", "inside", "locked")


def exact(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def table(figures: dict[str, Any]) -> str:
    lines = [
        "| | altsem | inside | locked | SemLock | inside | locked | multiprocessing's class |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for pair, found in figures["pairs"].items():
        form, _, kind = pair.partition(" ")
        work = "bound `a(); r()`" if form == "bound" else "`with L:`"
        cells = [
            exact(found[whose][key]) if found.get(whose) else "-"
            for whose in WITH_PARTS
            for key in COUNTS
        ]
        wrapped = found.get("multiprocessing")
        cells.append(exact(wrapped["total"]) if wrapped else "-")
        lines.append(f"| {work}, {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def kept(figures: dict[str, Any] | None) -> dict[str, Any] | None:
    """Only what the table shows."""
    if figures is None:
        return None
    pairs = {
        pair: {
            whose: {key: seen[key] for key in COUNTS[: None if whose in WITH_PARTS else 1]}
            for whose, seen in found.items()
            if seen is not None
        }
        for pair, found in figures["pairs"].items()
    }
    return {**figures, "pairs": pairs}


def section(figures: dict[str, Any] | None) -> str:
    """The Markdown of the counts; None is that nothing was counted."""
    if figures is None:
        return "### Instructions\n\nNot counted: there was no valgrind.\n"
    same = "the same in both runs" if figures["repeatable"] else "**not the same in both runs**"
    return f"""
### Instructions

Executed by one acquire and release, {figures["key"]}, counted by callgrind, {same}: what {MANY}
turns of a loop execute more than {FEW}, divided by their number.  The first figure is everything,
the interpreter's loop and its calls included; inside is what our functions execute, or those of
`_multiprocessing`, with all that they call; locked are the atomic read-modify-write instructions
executed outside the interpreter itself.

{table(figures)}
"""
