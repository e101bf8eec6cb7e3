"""Figures that are no pairs: how they are found and shown is up to the modules called here."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest

from .. import growth, million
from ..instructions import page as instructions
from ..instructions.runner import run as count
from ..measuring.quick import quick
from ..page.results import Results

pytestmark = pytest.mark.benchmark(timer=perf_counter, group="Figures that are no pairs")

Keep = Callable[..., None]


@pytest.fixture
def keep(benchmark: Any, results: Results) -> Keep:
    """Calls once, and keeps the answer under a name of the JSON file."""

    def call(name: str, function: Callable[..., Any], *arguments: Any) -> None:
        results.more[name] = benchmark.pedantic(function, args=arguments)
        benchmark.extra_info[name] = results.more[name]

    return call


def test_million_locks(keep: Keep) -> None:
    keep("million", million.run)


def test_growth(keep: Keep) -> None:
    keep("growth", growth.run, quick())


def test_instructions(keep: Keep) -> None:
    keep("instructions", lambda: instructions.kept(count()))
