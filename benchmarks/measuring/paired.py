"""Paired rounds: ours, the peer's, ours, the peer's, so that a drift of the machine hits both."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from . import clock

Timing = Callable[[], float]  # one round; seconds per operation
Pedantic = Callable[..., Any]  # pytest-benchmark's benchmark.pedantic


def paired(
    ours: Timing, theirs: Timing, rounds: int, pedantic: Pedantic
) -> list[tuple[float, float]]:
    """The times of `rounds` pairs, after one of each that is not counted.

    Our half is what pytest-benchmark measures; the peer's is run as its setup or as its teardown by
    turns, in case the first of a pair disturbs the second.  The garbage collector rests meanwhile:
    what it finds in this process is pytest's.
    """
    pairs: list[tuple[float, float]] = []
    a = b = 0.0

    def before() -> None:
        nonlocal b
        if len(pairs) % 2:
            b = theirs()
        clock.restart()

    def target() -> None:
        nonlocal a
        a = ours()
        clock.advance(a)

    def after() -> None:
        nonlocal b
        if not len(pairs) % 2:
            b = theirs()
        pairs.append((a, b))

    gc.collect()
    gc.disable()
    try:
        pedantic(target, setup=before, teardown=after, rounds=rounds, warmup_rounds=1)
    finally:
        gc.enable()
    return pairs[1:]
