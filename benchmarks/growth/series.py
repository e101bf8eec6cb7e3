"""What a series is: something that grows, the costs measured for each size, and what is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .fit import exponent

# What "constant" and "linear" mean for an exponent that was measured.
CONSTANT = 0.15
LINEAR = 1.15

Point = dict[str, float]  # "n", "pace", and the costs by the keys of the columns


@dataclass(frozen=True)
class Column:
    """One cost.  `unit` is s, B, or nothing for a count; `at_most` limits its exponent.

    `paced` is a time that the processor spends computing, so that its pace can be taken out of it.
    """

    key: str
    title: str
    unit: str = "s"
    at_most: float | None = None
    paced: bool = False


@dataclass(frozen=True)
class Chart:
    """Columns of one unit that are drawn together."""

    name: str
    title: str
    y_label: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """`measure(quick)` is run in an interpreter of its own, and gives the points in order of n."""

    name: str
    title: str
    of: str  # what n counts: the label of the horizontal axis
    columns: tuple[Column, ...]
    charts: tuple[Chart, ...]
    text: str  # what can be read from the table and the pictures
    measure: Callable[[bool], list[Point]]


def exponents(series: Series, points: list[Point]) -> list[dict[str, Any]]:
    """The exponent of each column, and whether it is as it should be (None: nothing is asked)."""
    found = []
    for column in series.columns:
        value = exponent([(point["n"], point[column.key]) for point in points])
        asked = None if value is None else column.at_most
        found.append(
            {
                "key": column.key,
                "exponent": value,
                "at most": column.at_most,
                "holds": None if value is None or asked is None else value <= asked,
            }
        )
    return found
