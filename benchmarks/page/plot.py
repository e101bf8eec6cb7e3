"""Line plots with logarithmic axes, as SVG written by hand: a picture needs no dependency.

Both axes are logarithmic because what is asked of them is a slope: a cost that stays the same is
level, one that grows with the work rises one decade per decade.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

Line = Sequence[tuple[float, float]]

# Told apart without colours too: each line has a dash and a mark of its own.
COLOURS = ("#1f5fa8", "#b3423a", "#2f7d4f", "#7a4fa0", "#a8751f", "#3b8a93")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")

LEFT, TOP, WIDTH, HEIGHT = 80, 40, 430, 260
BELOW = 56
CHARACTER = 6.6  # pixels, of 12 pixel sans-serif, rather too many than too few


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values, at least one decade apart."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return (low, high) if high > low else (low, low + 1)


def _text(where: str, what: str) -> str:
    return f"<text {where}>{escape(what)}</text>"


def _mark(number: int, x: float, y: float, colour: str) -> str:
    if number % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    if number % 3 == 1:
        return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{colour}"/>'
    return (
        f'<path d="M{x:.1f} {y - 4:.1f} L{x + 4:.1f} {y + 3:.1f} L{x - 4:.1f} {y + 3:.1f} Z" '
        f'fill="{colour}"/>'
    )


def log_log(
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Line],
    y_text: Callable[[float], str],
) -> str:
    """The plot of `lines`, by name.  `y_text` says a value of the vertical axis with its unit.

    A point that has no logarithm is left out; a line without any point stays in the legend.
    """
    shown = {name: [(x, y) for x, y in line if x > 0 and y > 0] for name, line in lines.items()}
    points = [point for line in shown.values() for point in line] or [(1.0, 1.0)]
    x_low, x_high = _decades([x for x, _ in points])
    y_low, y_high = _decades([y for _, y in points])

    def at_x(x: float) -> float:
        return LEFT + WIDTH * (log10(x) - x_low) / (x_high - x_low)

    def at_y(y: float) -> float:
        return TOP + HEIGHT * (y_high - log10(y)) / (y_high - y_low)

    legend = LEFT + WIDTH + 20
    whole = legend + 50 + CHARACTER * max(len(name) for name in lines)
    whole = max(whole, LEFT + CHARACTER * 1.2 * len(title))
    tall = max(TOP + HEIGHT + BELOW, TOP + 20 * len(lines) + 10)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole:.0f}" height="{tall}" '
            'font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    for power in range(x_low, x_high + 1):
        x = at_x(10.0**power)
        parts += [
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + HEIGHT}" stroke="#ddd"/>',
            f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{10**power:,}</text>',
        ]
    for power in range(y_low, y_high + 1):
        y = at_y(10.0**power)
        parts += [
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDTH}" y2="{y:.1f}" stroke="#ddd"/>',
            _text(f'x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end"', y_text(10.0**power)),
        ]
    middle = TOP + HEIGHT / 2
    parts += [
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#444"/>',
        _text(f'x="{LEFT + WIDTH / 2:.1f}" y="{TOP + HEIGHT + 42}" text-anchor="middle"', x_label),
        _text(f'transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle"', y_label),
    ]
    for number, (name, line) in enumerate(shown.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        style = f'fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"'
        if not dash:
            style = f'fill="none" stroke="{colour}" stroke-width="1.8"'
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line)
        y = TOP + 12 + 20 * number
        parts += [
            f'<polyline points="{path}" {style}/>',
            *(_mark(number, at_x(x), at_y(y), colour) for x, y in line),
            f'<polyline points="{legend},{y} {legend + 28},{y}" {style}/>',
            _mark(number, legend + 14, y, colour),
            f'<text x="{legend + 34}" y="{y + 4}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
