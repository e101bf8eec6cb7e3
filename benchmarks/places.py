"""Circumstances of a measurement, for the process that enters them and those it starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from .peers import FORK


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def one_cpu() -> Iterator[None]:
    """Only one CPU may be used."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


@contextlib.contextmanager
def busy_cpus() -> Iterator[None]:
    """For each usable CPU a process that computes all the time."""
    children = [FORK.Process(target=_spin, daemon=True) for _ in os.sched_getaffinity(0)]
    for child in children:
        child.start()
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.join()


@contextlib.contextmanager
def one_busy_cpu() -> Iterator[None]:
    """Only one CPU may be used, and another process computes on it all the time."""
    with one_cpu(), busy_cpus():
        yield
