"""The rows as a chart (SVG): bars on a logarithmic axis, for 0.0007 and 1.1 must both be seen."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from math import ceil, floor, log10

from .row import Row
from .text import ratio

LABELS, BARS, VALUES = 430, 400, 130  # widths
LINE, HEADING, TOP, BOTTOM = 19, 30, 62, 14  # heights
GREEN, RED, BLUE = "#2f7d4f", "#b3423a", "#4a78a8"


def chart(rows: Sequence[Row], title: str) -> str:
    """Each bar is the time of altsem with the peer's being 1; a tick shows what is asked for."""
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
    parts += [*axis.peer(TOP - 4, bottom), "</svg>"]
    return "\n".join(parts) + "\n"


class Axis:
    """Whole powers of ten, such that all ratios and limits lie within."""

    def __init__(self, rows: Sequence[Row]) -> None:
        shown = [row.found.ratio for row in rows]
        shown += [row.limits.at_most for row in rows if row.limits.at_most]
        self._first = floor(min([log10(value) for value in shown] + [-1]) - 0.1)
        # The line at 1 must not be the edge.
        self._end = max([log10(value) for value in shown] + [0.0]) + 0.15

    def x(self, value: float) -> float:
        return LABELS + BARS * (log10(value) - self._first) / (self._end - self._first)

    def draw(self, top: int, bottom: int) -> list[str]:
        parts = []
        for power in range(self._first, ceil(self._end)):
            x, label = self.x(10**power), f"{10.0**power:.10g}"
            colour = "#ddd"
            parts.append(
                f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}"/>'
            )
            if power:
                parts.append(
                    f'<text x="{x:.1f}" y="{top - 4}" text-anchor="middle" fill="#555">{label}</text>'
                )
        return parts

    def peer(self, top: int, bottom: int) -> list[str]:
        x = self.x(1)
        return [
            f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#222" '
            'stroke-dasharray="5 3"/>',
            f'<text x="{x:.1f}" y="{top - 4}" text-anchor="middle">1: the peer</text>',
        ]


def _head(title: str, height: int) -> str:
    width = LABELS + BARS + VALUES
    legend = "".join(
        f'<tspan dx="{dx}" fill="{colour}">■</tspan> {what}'
        for dx, colour, what in (
            (0, GREEN, "reached"),
            (10, RED, "not reached"),
            (10, BLUE, "nothing asked for"),
            (10, "#000", "▏asked for at most"),
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>\n'
        f'<text x="8" y="40">{legend}</text>'
    )


def _bar(row: Row, y: int, axis: Axis) -> list[str]:
    found, limits = row.found, row.limits
    colour = {True: GREEN, False: RED, None: BLUE}[row.reached]
    start, end = axis.x(10.0**axis._first), axis.x(found.ratio)
    label = escape(f"{row.work.replace('`', '')} / {row.peer}")
    parts = [
        f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end">{label}</text>',
        f'<rect x="{start:.1f}" y="{y + 3}" width="{max(end - start, 1):.1f}" '
        f'height="{LINE - 6}" fill="{colour}"/>',
    ]
    value = ratio(found.ratio)
    if limits.at_most is not None:
        x = axis.x(limits.at_most)
        parts.append(
            f'<line x1="{x:.1f}" y1="{y + 1}" x2="{x:.1f}" y2="{y + LINE - 1}" stroke="#000" '
            'stroke-width="2"/>'
        )
        value += f" ≤ {limits.at_most:g}" if row.reached else f" (asked: {limits.at_most:g})"
    parts.append(f'<text x="{LABELS + BARS + 8}" y="{y + 13}">{value}</text>')
    return parts
