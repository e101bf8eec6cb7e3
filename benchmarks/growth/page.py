"""The figures as Markdown, and the pictures beside it."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..page.pictures import Pictures
from ..page.plot import log_log
from ..page.text import seconds
from .runner import SERIES
from .series import Chart, Point, Series, exponents


def size(value: float) -> str:
    """Bytes, said short."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} B"


def said(value: float, unit: str) -> str:
    if unit == "s":
        return seconds(value)
    return size(value) if unit == "B" else f"{value:,.0f}"


def _verdict(found: dict[str, Any]) -> str:
    if found["exponent"] is None:
        return "-"
    value = f"{found['exponent']:.2f}"
    if found["at most"] is None:
        return value
    if not found["holds"]:
        return f"**{value}: grows faster than it should**"
    return f"{value}: {'constant' if found['at most'] < 1 else 'no more than linear'}"


def table(series: Series, points: list[Point]) -> str:
    """A row for each cost, a column for each n, and the exponent at the end."""
    found = {entry["key"]: entry for entry in exponents(series, points)}
    sizes = " | ".join(f"{point['n']:,.0f}" for point in points)
    lines = [
        f"| {series.of} | {sizes} | exponent |",
        "|---" * (len(points) + 2) + "|",
    ]
    for column in series.columns:
        cells = " | ".join(said(point[column.key], column.unit) for point in points)
        lines.append(f"| {column.title} | {cells} | {_verdict(found[column.key])} |")
    return "\n".join(lines)


def picture(series: Series, chart: Chart, points: list[Point]) -> str:
    columns = {column.key: column for column in series.columns}
    lines = {
        columns[key].title: [(point["n"], point[key]) for point in points] for key in chart.keys
    }
    unit = columns[chart.keys[0]].unit
    y_label = f"{chart.y_label} (s)" if unit == "s" else f"{chart.y_label} (bytes)"
    return log_log(
        f"{series.title}: {chart.title[0].lower()}{chart.title[1:]}",
        series.of,
        y_label,
        lines,
        (lambda value: said(value, unit)) if unit == "s" else decimal,
    )


def decimal(value: float) -> str:
    """Bytes at a power of ten, which powers of two would make odd."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:g} {unit}"
    return f"{value:g} B"


HEAD = (
    "The exponent is the slope of the cost's logarithm against that of n over the last two "
    "decades: 0 is a cost that does not depend on n, 1 one that is proportional to it.  As "
    "measured, up to 0.15 is called constant, which creating, taking and releasing should be, and "
    "up to 1.15 linear, which the total cost may be.  Each time is the best of several passes, and "
    "a time of computing is said at the best pace of the processor, known by a `threading.Lock` "
    "that is used before and after it."
)


def section(figures: dict[str, list[Point]], pictures: Pictures) -> str:
    """The Markdown of all series: the tables, and the pictures where they are wanted."""
    parts = [
        "### As work grows",
        HEAD,
    ]
    for name, series in SERIES.items():
        points = figures[name]
        parts += [f"#### {series.title}", table(series, points)]
        for chart in series.charts:
            draw = partial(picture, series, chart, points)
            title = f"{series.title}: {chart.title}"
            parts += pictures.show(title, draw, f"growth-{name}-{chart.name}")
        parts.append(series.text)
    return "\n" + "\n\n".join(parts) + "\n"
