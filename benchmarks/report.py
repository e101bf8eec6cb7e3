"""The figures as JSON, a Markdown page and a chart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from .measure import Row, quick

DOCS = Path(__file__).resolve().parent.parent / "docs"


def seconds(value: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def ratio(value: float) -> str:
    return f"{value:.4f}" if value < 0.02 else f"{value:.2f}"


def table(rows: Iterable[Row]) -> str:
    lines = [
        "| work | against | altsem | peer | ratio (80 % of rounds) | at most | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = {None: "", True: "reached", False: "**not reached**"}[row.reached]
        spread = f"{ratio(row.ratio)} ({ratio(row.low)} to {ratio(row.high)})"
        limit = "" if row.at_most is None else f"{row.at_most:g}"
        note = f" {row.note}" if row.note else ""
        lines.append(
            f"| {row.work} | {row.peer} | {seconds(row.ours)} | {seconds(row.theirs)} | {spread} "
            f"| {limit} | {verdict}{note} |"
        )
    return "\n".join(lines)


def chart(rows: list[Row]) -> str:
    """Bars: the time of altsem as a part of the peer's, which is the line at 1."""
    height, left, width = 22, 330, 360
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" '
            f'height="{height * len(rows) + 50}" font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="16">time of altsem, the peer\'s being 1 (shorter is better)</text>',
    ]
    scale = width / 1.25
    for number, row in enumerate(rows):
        y = 28 + number * height
        long = min(row.ratio, 1.25) * scale
        colour = "#2f7d4f" if row.ratio <= 1 else "#b3423a"
        label = escape(f"{row.work.replace('`', '')} / {row.peer}")
        parts += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end" font-size="11">{label}</text>',
            (
                f'<rect x="{left}" y="{y + 3}" width="{max(long, 1):.1f}" height="14" '
                f'fill="{colour}"/>'
            ),
            f'<text x="{left + long + 5:.1f}" y="{y + 14}">{ratio(row.ratio)}</text>',
        ]
    end = 28 + len(rows) * height
    parts += [
        (
            f'<line x1="{left + scale}" y1="24" x2="{left + scale}" y2="{end}" stroke="#444" '
            'stroke-dasharray="4 3"/>'
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def write(
    machine: dict[str, str], rows: list[Row], million: dict[str, float], elapsed: float
) -> None:
    """Adds this interpreter's figures to those of the others, and makes the page anew from all."""
    version = ".".join(machine["Python"].split()[1].split(".")[:2])
    DOCS.mkdir(exist_ok=True)
    (DOCS / f"benchmarks-{version}.svg").write_text(chart(rows))
    figures = {
        "machine": machine,
        "run": f"{elapsed:.0f} s" + (", the short run" if quick() else ""),
        "rows": [row.as_dict() for row in rows],
        "million": million,
    }
    (DOCS / f"benchmarks-{version}.json").write_text(json.dumps(figures, indent=1) + "\n")
    files = sorted(DOCS.glob("benchmarks-*.json"), key=lambda file: int(file.stem.split(".")[1]))
    sections = [section(file.stem, json.loads(file.read_text())) for file in files]
    (DOCS / "benchmarks.md").write_text(HEAD + "".join(sections))


HEAD = """# Benchmarks

Made by `make bench`, `make bench PYTHON=…` for another interpreter; do not edit.  Each ratio is
the time of altsem as a part of the peer's: the median over paired rounds, ours and theirs in turn
in one run, with the range of the middle 80 % of the rounds.  "At most" is what the design asks for.
"""


def section(stem: str, figures: dict[str, Any]) -> str:
    facts = "\n".join(f"- {what}: {value}" for what, value in figures["machine"].items())
    many = "\n".join(f"| {what} | {value:,.1f} |" for what, value in figures["million"].items())
    rows = [Row(**row) for row in figures["rows"]]
    return f"""
## {figures["machine"]["Python"]}

{facts}
- run: {figures["run"]}

{table(rows)}

![chart]({stem}.svg)

### Many locks

| | |
|---|---|
{many}
"""
