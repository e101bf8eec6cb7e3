"""The fixture that measures a pair, and what becomes of the rows at the end.

`make bench` is the full run.  Only such a run, with nothing deselected, skipped or failed, writes
docs/benchmarks/; a partial one (`make bench ARGS="-k condition"`) only prints.  A limit that is not
reached fails nothing: the summary in the terminal tells.
"""

from __future__ import annotations

import faulthandler
import json
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol

import pytest

from .. import million
from ..figures import SECTIONS
from ..measuring import clock
from ..measuring.machine import machine
from ..measuring.paired import Timing, paired
from ..measuring.quick import scaled
from ..measuring.row import Limits, Row, summary
from ..measuring.shares import Fared
from ..page.report import write
from ..page.results import Results
from ..page.text import asked, line, verdict
from ..workloads.threads import FREE_THREADED

HERE = Path(__file__).parent
LIMIT = 600  # seconds; the longest takes a quarter of that

# In the order of the page.  First what wants a process that has not forked yet.
FILES = tuple(
    f"bench_{name}.py"
    for name in (
        "uncontended",
        "threads",
        "contended",
        "turns",
        "handover",
        "whole",
        "gil",
        "backends",
        "figures",
    )
)

_results = pytest.StashKey[Results]()
_partial = pytest.StashKey[bool]()
_stderr = pytest.StashKey[int]()


class Pair(Protocol):
    def __call__(
        self,
        work: str,
        peer: str,
        ours: Timing,
        theirs: Timing,
        at_most: float | None = None,
        rounds: int = 121,
        *,
        at_most_seconds: float | None = None,
        share_at_least: float | None = None,
        share: Callable[[], float | None] = ...,
        note: Callable[[], str] = ...,
        limits: Limits | None = ...,
        how: Callable[[], Fared | None] = ...,
    ) -> None: ...


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_results] = Results()
    config.stash[_partial] = False
    config.stash[_stderr] = os.dup(2)  # past the capture


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FILES.index(item.path.name))
    for item in items:
        if not item.get_closest_marker("benchmark"):
            item.add_marker(pytest.mark.benchmark(timer=clock.now))


def pytest_collection_finish(session: pytest.Session) -> None:
    files = {file.name for file in HERE.glob("bench_*.py")}
    if not FREE_THREADED:
        files.remove("bench_gil.py")
    if {item.path.name for item in session.items} != files:
        session.config.stash[_partial] = True


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[_partial] = True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A row that hangs ends the run, with all stacks."""
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not report.passed:
        item.config.stash[_partial] = True
    return report


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    return pytestconfig.stash[_results]


@pytest.fixture
def pair(request: pytest.FixtureRequest, benchmark: Any, results: Results) -> Pair:
    """Measures a row: `pair(work, peer, ours, theirs, at_most, rounds)`.

    `ours` and `theirs` each run a round and return seconds per operation.  `rounds` is for the full
    run.  `share`, `note` and `how` are asked after the last round; `limits` are all at once.
    """

    def measure(
        work: str,
        peer: str,
        ours: Timing,
        theirs: Timing,
        at_most: float | None = None,
        rounds: int = 121,
        *,
        at_most_seconds: float | None = None,
        share_at_least: float | None = None,
        share: Callable[[], float | None] = lambda: None,
        note: Callable[[], str] = str,
        limits: Limits | None = None,
        how: Callable[[], Fared | None] = lambda: None,
    ) -> None:
        found = summary(paired(ours, theirs, scaled(rounds), benchmark.pedantic))
        limits = limits or Limits(at_most, at_most_seconds, share_at_least)
        fared = how()
        smallest = fared.share[0] if fared else share()
        row = Row(request.module.PART, work, peer, found, limits, smallest, note(), fared)
        results.rows.append(row)
        benchmark.group = row.part
        benchmark.extra_info.update(row.as_dict(), verdict=verdict(row))

    return measure


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.pop("node", None)
    machine_info.update(machine())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    results = config.stash[_results]
    part = ""
    for row in results.rows:
        if row.part != part:
            part = row.part
            terminalreporter.section(part)
        terminalreporter.write_line(line(row))
    missed = [row for row in results.rows if row.reached is False]
    if missed:
        terminalreporter.section(f"{len(missed)} of {len(results.rows)} rows miss what is asked")
        for row in missed:
            terminalreporter.write_line(f"{row.part}: {row.work} / {row.peer}: {asked(row)}")
    for text in million.missed(results.more["million"]) if "million" in results.more else []:
        terminalreporter.write_line(f"a million locks: {text}")
    if config.stash[_partial]:  # else they are in the page, and readable there
        for name, figures in results.more.items():
            terminalreporter.section(name)
            terminalreporter.write_line(json.dumps(figures, indent=1))
    if exitstatus == pytest.ExitCode.OK and results.rows and not config.stash[_partial]:
        terminalreporter.write_line(f"written: {write(results.as_dict(), SECTIONS)}")
    else:
        terminalreporter.write_line("not the full run: nothing written")
