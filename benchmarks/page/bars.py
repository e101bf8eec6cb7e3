"""A small picture for those who do not want a table: pairs of bars, native beside altsem (SVG).

The bars of a group have one linear axis from zero, in one unit, so their lengths can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .text import seconds

LABELS, BARS, VALUES = 250, 330, 90  # widths
LINE, GAP, HEADING, TOP, NOTE = 13, 9, 34, 30, 22  # heights
NATIVE, ALTSEM = "#9aa5b1", "#1f5fa8"


@dataclass(frozen=True)
class Bar:
    label: str
    theirs: float  # seconds
    ours: float


@dataclass(frozen=True)
class Group:
    title: str
    unit: str
    scale: float  # seconds in a unit
    bars: Sequence[Bar]


def bars(groups: Sequence[Group], title: str, note: str) -> str:
    pair = 2 * LINE + GAP
    height = TOP + sum(HEADING + pair * len(group.bars) for group in groups) + NOTE
    width = LABELS + BARS + VALUES
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
        (
            f'<text x="{width - 8}" y="20" text-anchor="end"><tspan fill="{NATIVE}">■</tspan> '
            f'native \u00a0 <tspan fill="{ALTSEM}">■</tspan> altsem</text>'
        ),
    ]
    y = TOP
    for group in groups:
        most = max(max(bar.theirs, bar.ours) for bar in group.bars)
        parts += _axis(group, y, pair * len(group.bars), most)
        y += HEADING
        for bar in group.bars:
            parts.append(
                f'<text x="{LABELS - 8}" y="{y + LINE + 4}" text-anchor="end">'
                f"{escape(bar.label)}</text>"
            )
            parts += _bar(y, bar.theirs, most, NATIVE) + _bar(y + LINE, bar.ours, most, ALTSEM)
            y += pair
    parts.append(f'<text x="8" y="{y + 12}" font-size="11">{escape(note)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(y: int, value: float, most: float, colour: str) -> list[str]:
    width = max(1.0, BARS * value / most)
    return [
        (f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{LINE - 1}" fill="{colour}"/>'),
        f'<text x="{LABELS + width + 5:.1f}" y="{y + 10}" font-size="11">{seconds(value)}</text>',
    ]


def step(most: float) -> float:
    """A round distance between ticks, of which three to seven fit."""
    power = 1.0
    while most / power >= 10:
        power *= 10
    while most / power < 1:
        power /= 10
    return power * (
        0.25 if most < 2 * power else 0.5 if most < 3.5 * power else 1 if most < 7 * power else 2
    )


def _axis(group: Group, y: int, height: int, most: float) -> list[str]:
    """The heading, and a line with its number every so often, from zero on."""
    whole = most / group.scale
    every = step(whole)
    top, bottom = y + HEADING - 4, y + HEADING + height - GAP + 2
    heading = escape(f"{group.title}, {group.unit}")
    parts = [f'<text x="8" y="{y + HEADING - 8}" font-weight="bold">{heading}</text>']
    for number in range(int(whole / every) + 1):
        x = LABELS + BARS * number * every / whole
        parts += [
            f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>',
            (
                f'<text x="{x:.1f}" y="{top - 3}" text-anchor="middle" font-size="10" '
                f'fill="#555">{number * every:g}</text>'
            ),
        ]
    return parts
