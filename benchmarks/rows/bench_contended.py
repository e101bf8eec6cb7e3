"""Several processes want the same thing: what bench_turns.py does not make of a Lock."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from ..workloads.crowd import Crowd
from ..workloads.peers import FORK, OURS
from .conftest import Pair

PART = "Several want the same"


def crowds(
    pair: Pair,
    work: str,
    locks: tuple[Any, Any],
    count: int,
    threads: int,
    at_most: float | None,
    share_at_least: float | None,
) -> None:
    with (
        closing(Crowd(locks[0], count, threads)) as ours,
        closing(Crowd(locks[1], count, threads)) as theirs,
    ):
        pair(
            work,
            "native",
            ours,
            theirs,
            at_most,
            15,
            share_at_least=share_at_least,
            share=ours.share,
            note=lambda: f"smallest/largest share {ours.share():.2f}, native {theirs.share():.2f}",
        )


def test_contended_semaphore(pair: Pair) -> None:
    work = "contended Semaphore(1), 4 processes"
    crowds(pair, work, (OURS.Semaphore(1), FORK.Semaphore(1)), 4, 1, 0.67, 0.5)


def test_contended_threads(pair: Pair) -> None:
    work = "contended Lock, 2 processes x 8 threads"
    crowds(pair, work, (OURS.Lock(), FORK.Lock()), 2, 8, None, None)
