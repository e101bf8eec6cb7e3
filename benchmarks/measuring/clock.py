"""The clock by which pytest-benchmark measures here.

A round times itself, because only it knows where the work begins and how many operations it was: a
round of eight processes that contend lasts 0.3 s whatever the lock does.  It moves this clock on by
what it found, in seconds per operation, so that pytest-benchmark's own figures are those as well.
"""

from __future__ import annotations

_now = 0.0


def now() -> float:
    """What pytest-benchmark reads before and after a round."""
    return _now


def advance(seconds: float) -> None:
    # From zero each time: a long history would leave fewer digits for nanoseconds.
    global _now
    _now = seconds


def restart() -> None:
    global _now
    _now = 0.0
