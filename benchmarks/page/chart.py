"""The rows as a chart (SVG): bars on a logarithmic axis, for 0.0007 and 1.1 must both be seen."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from math import ceil, floor, log10

from ..measuring.row import Row
from .text import SAME, ratio

LABELS, BARS, VALUES = 430, 380, 70  # widths
LINE, HEADING, TOP, BOTTOM = 19, 30, 68, 14  # heights
GREEN, RED, BLUE = "#2f7d4f", "#b3423a", "#4a78a8"


def chart(rows: Sequence[Row], title: str) -> str:
    """Each bar is the time of altsem with the peer's being 1."""
    groups = [(part, list(group)) for part, group in groupby(rows, lambda row: row.part)]
    height = TOP + HEADING * len(groups) + LINE * len(rows) + BOTTOM
    axis = Axis(rows)
    bottom = height - BOTTOM + 4
    parts = [_head(title, height), *axis.draw(TOP - 4, bottom)]
    y = TOP
    for part, group in groups:
        y += HEADING
        parts.append(
            f'<text x="8" y="{y - 8}" font-weight="bold" font-size="13">{escape(part)}</text>'
        )
        for row in group:
            parts += _bar(row, y, axis)
            y += LINE
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


class Axis:
    """From a whole power of ten on, such that all ratios and spreads lie within."""

    def __init__(self, rows: Sequence[Row]) -> None:
        shown = [value for row in rows for value in (row.found.low, row.found.high)]
        self._first = floor(log10(min([*shown, 0.1])) - 0.1)
        # The line at 1 must not be the edge.
        self._end = log10(max([*shown, 1.0])) + 0.15

    def x(self, value: float) -> float:
        return LABELS + BARS * (log10(value) - self._first) / (self._end - self._first)

    def draw(self, top: int, bottom: int) -> list[str]:
        parts = []
        for power in range(self._first, ceil(self._end)):
            x, one = self.x(10.0**power), not power
            stroke = '"#222" stroke-dasharray="5 3"' if one else '"#ddd"'
            label = "1: the peer" if one else f"{10.0**power:.10g}"
            parts += [
                f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke={stroke}/>',
                f'<text x="{x:.1f}" y="{top - 6}" text-anchor="middle">{label}</text>',
            ]
        return parts


def _head(title: str, height: int) -> str:
    width = LABELS + BARS + VALUES
    colours = ((GREEN, "faster"), (RED, "slower"), (BLUE, "the same"))
    legend = "".join(
        f'<tspan fill="{colour}">■</tspan> {what} \u00a0\u00a0' for colour, what in colours
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>\n'
        f'<text x="8" y="38">{legend}— 80 % of rounds</text>'
    )


def _bar(row: Row, y: int, axis: Axis) -> list[str]:
    """Label, bar, spread, and the figure in a column of its own."""
    found = row.found
    same = 1 / SAME <= found.ratio <= SAME
    colour = BLUE if same else GREEN if found.ratio < 1 else RED
    end, low, high = axis.x(found.ratio), axis.x(found.low), axis.x(found.high)
    middle = y + LINE / 2
    label = escape(f"{row.work.replace('`', '')} / {row.peer}")
    parts = [
        f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end">{label}</text>',
        (
            f'<rect x="{LABELS}" y="{y + 3}" width="{end - LABELS:.1f}" height="{LINE - 6}" '
            f'fill="{colour}"/>'
        ),
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="#888"/>',
    ]
    parts.append(f'<text x="{LABELS + BARS + 8}" y="{y + 13}">{ratio(found.ratio)}</text>')
    return parts
