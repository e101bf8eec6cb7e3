"""Runs the series, each in an interpreter of its own, which takes with it whatever it made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from .. import ROOT
from . import locks, processes, segments, waiters
from .series import Point, Series

SERIES = {
    series.name: series
    for series in (locks.SERIES, processes.SERIES, waiters.SERIES, segments.SERIES)
}
PASSES = 3
LIMIT = 300.0  # seconds; a series that hangs must not hang the report


def _points(name: str, quick: bool) -> list[Point]:
    command = [sys.executable, "-m", "benchmarks.growth", "--series", name]
    process = subprocess.Popen(
        command + ["--quick"] * quick,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        answer, _ = process.communicate(timeout=LIMIT)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"the series `{name}` failed with status {process.returncode}")
    points: list[Point] = json.loads(answer)
    return points


def best(series: Series, passes: list[list[Point]]) -> list[Point]:
    """Of each time the least of all passes; of memory and counts those of the first.

    Whatever else a machine does only ever adds to a time.  And where the processor runs now slower
    and now faster, for longer than a pass, what it was at one size and not at another would look
    like growth: a time of computing is said at the best pace that was seen.
    """
    reference = min(point["pace"] for one in passes for point in one)
    points = [dict(point) for point in passes[0]]
    for column in series.columns:
        for number, point in enumerate(points):
            if column.paced:
                least = min(one[number][column.key] / one[number]["pace"] for one in passes)
                point[column.key] = least * reference
            elif column.unit == "s":
                point[column.key] = min(one[number][column.key] for one in passes)
    return points


def shown(series: Series, points: list[Point]) -> list[Point]:
    """Of each point what the columns show: the pace has done its work."""
    keys = ("n", *(column.key for column in series.columns))
    return [{key: point[key] for key in keys} for point in points]


def run(quick: bool) -> dict[str, list[Point]]:
    """The points of each series: n and its costs."""
    passes: dict[str, list[list[Point]]] = {name: [] for name in SERIES}
    # All series, and all again: so the passes of one are far apart.
    for _ in range(2 if quick else PASSES):
        for name in SERIES:
            passes[name].append(_points(name, quick))
    return {name: shown(series, best(series, passes[name])) for name, series in SERIES.items()}
