"""The arithmetic and the page of the benchmarks.  Nothing here is about how fast anything is."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import ROOT
from benchmarks.measuring import clock
from benchmarks.measuring.paired import paired
from benchmarks.measuring.row import Found, Limits, Row, summary
from benchmarks.page import report
from benchmarks.page.chart import chart
from benchmarks.page.table import table
from benchmarks.page.text import line, verdict
from benchmarks.workloads import gil, places
from benchmarks.workloads.apart import PAIRS

from altsem import _core

FOUND = Found(ours=5e-7, theirs=1e-6, ratio=0.5, low=0.4, high=0.6, rounds=10)


class Pedantic:
    """pytest-benchmark's way of calling, and what its clock makes of it."""

    def __init__(self) -> None:
        self.durations: list[float] = []

    def __call__(
        self,
        target: Callable[[], None],
        setup: Callable[[], None],
        teardown: Callable[[], None],
        rounds: int,
        warmup_rounds: int,
    ) -> None:
        for number in range(warmup_rounds + rounds):
            setup()
            start = clock.now()
            target()
            if number >= warmup_rounds:
                self.durations.append(clock.now() - start)
            teardown()


def test_pairs_in_turn() -> None:
    order = ""
    times: Iterator[float] = iter([9.0, 1.0, 2.0, 3.0])

    def ours() -> float:
        nonlocal order
        order += "o"
        return next(times)

    def theirs() -> float:
        nonlocal order
        order += "t"
        return 4.0

    pedantic = Pedantic()
    assert paired(ours, theirs, 3, pedantic) == [(1.0, 4.0), (2.0, 4.0), (3.0, 4.0)]
    assert order == "ottootto"
    assert pedantic.durations == [1.0, 2.0, 3.0]


def test_summary() -> None:
    pairs = [(float(n), 2.0) for n in range(1, 12)]
    found = summary(pairs)
    assert (found.ours, found.theirs, found.ratio, found.rounds) == (6.0, 2.0, 3.0, 11)
    assert (found.low, found.high) == (1.0, 5.0)  # without the lowest and the highest


def test_ratio_of_a_disturbed_pair() -> None:
    """Twice as slow for a while: the ratio does not notice."""
    assert summary([(1.0, 2.0), (2.0, 4.0), (2.0, 4.0)]).ratio == 0.5


@pytest.mark.parametrize(
    ("limits", "share", "reached"),
    [
        (Limits(), None, None),
        (Limits(at_most=0.5), None, True),
        (Limits(at_most=0.49), None, False),
        (Limits(at_most_seconds=5e-7), None, True),
        (Limits(at_most_seconds=4e-7), None, False),
        (Limits(at_most=0.67, share_at_least=0.5), 0.5, True),
        (Limits(at_most=0.67, share_at_least=0.5), 0.49, False),
        (Limits(at_most=0.49, share_at_least=0.5), 0.9, False),
    ],
)
def test_verdict(limits: Limits, share: float | None, reached: bool | None) -> None:
    row = Row("part", "work", "peer", FOUND, limits, share)
    assert row.reached is reached
    assert verdict(row) == {None: "", True: "reached", False: "not reached"}[reached]
    assert ("NOT REACHED" in line(row)) == (reached is False)
    assert Row.from_dict(json.loads(json.dumps(row.as_dict()))) == row


ROWS = [
    Row("Alone", "`with L:` <here>", "native & co", FOUND, Limits(at_most=0.67)),
    Row("Alone", "create", "native", Found(1e-7, 1e-3, 1e-4, 1e-5, 1e-3, 9), Limits(at_most=1e-5)),
    Row("Together", "crowd", "native", FOUND, Limits(share_at_least=0.5), 0.9, "share 0.90"),
    Row("Together", "slow", "native", Found(3e-3, 1e-4, 30, 20, 40, 9)),
]


def test_table() -> None:
    lines = table(ROWS).splitlines()
    assert [text for text in lines if text.startswith("#")] == ["### Alone", "### Together"]
    cells = [text.split(" | ") for text in lines if text.startswith("| ")]
    rows = [row for row in cells if row[0] != "| work"]
    assert [row[0] for row in rows] == [f"| {row.work}" for row in ROWS]
    assert [row[-1] for row in rows] == [
        "reached |",
        "**not reached** |",
        "reached; share 0.90 |",
        " |",
    ]
    assert {len(row) for row in cells} == {7}


def test_chart() -> None:
    drawing = ET.fromstring(chart(ROWS, "title"))
    width, height = float(drawing.attrib["width"]), float(drawing.attrib["height"])
    texts = [
        "".join(element.itertext()) for element in drawing.iter() if element.tag.endswith("text")
    ]
    for label in ("Alone", "with L: <here> / native & co", "crowd / native", "1: the peer"):
        assert label in texts
    assert any(text.startswith("0.0001   (asked: 1e-05") for text in texts)
    for element in drawing:
        for name in ("x", "x1", "x2"):
            assert 0 <= float(element.attrib.get(name, 0)) <= width
        for name in ("y", "y1", "y2"):
            assert 0 <= float(element.attrib.get(name, 0)) <= height
        if element.tag.endswith("rect") and "x" in element.attrib:
            assert float(element.attrib["width"]) > 0


def test_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTSEM_BENCH_DOCS", str(tmp_path))
    monkeypatch.setattr(report, "more", lambda *_: ["### More\n"])
    (tmp_path / "benchmarks-3.12.json").write_text('{"rows": []}')  # of another form
    for version in ("3.9.1", "3.13.0"):
        report.write(
            {
                "form": 2,
                "machine": {"CPUs": "2", "Python": f"CPython {version}"},
                "run": "1 s",
                "rows": [row.as_dict() for row in ROWS],
                "million": {"locks": 10, "shared bytes per lock": 64.0},
            }
        )
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.index("## CPython 3.9.1") < page.index("## CPython 3.13.0")
    assert "| locks | 10 | ≥ 1,000,000 | **not reached** |" in page
    assert "| shared bytes per lock | 64.0 | ≤ 64 | reached |" in page
    assert "![chart](benchmarks-3.13.svg)" in page
    assert {file.name for file in tmp_path.glob("*.svg")} == {
        "benchmarks-3.9.svg",
        "benchmarks-3.13.svg",
    }


def test_partial_run_writes_nothing(tmp_path: Path) -> None:
    docs, figures = tmp_path / "docs", tmp_path / "figures.json"
    docs.mkdir()
    command = [sys.executable, "-m", "pytest", "-c", "benchmarks/pytest.ini", "--rootdir=."]
    done = subprocess.run(
        [*command, "-k", "test_with_threading", f"--benchmark-json={figures}"],
        cwd=ROOT,
        env={**os.environ, "QUICK": "1", "ALTSEM_BENCH_DOCS": str(docs)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "threading.Lock" in done.stdout
    assert "not the full run: nothing written" in done.stdout
    assert not list(docs.iterdir())
    (measured,) = json.loads(figures.read_text())["benchmarks"]
    # What pytest-benchmark measured is what we say.
    assert measured["stats"]["median"] == measured["extra_info"]["found"]["ours"]
    assert measured["extra_info"]["verdict"] in ("reached", "not reached")


def test_a_side_is_a_process_that_is_new_from_time_to_time() -> None:
    with contextlib.closing(gil.Side("hand-off ping-pong of two processes", gil=True)) as side:
        seen = set()
        for _ in range(PAIRS + 1):
            assert 0 < side() < 1
            assert side._process is not None
            seen.add(side._process.pid)
        assert len(seen) == 2


def test_a_side_that_fails_says_so() -> None:
    side = gil.Side("no such work", gil=True)
    with contextlib.closing(side), pytest.raises(RuntimeError, match=r"status 1 of .*no such work"):
        side()


@pytest.mark.skipif(not places.can_set_quota(), reason="no control group can be made here")
def test_a_quota_is_there_for_a_while_and_the_core_sees_it() -> None:
    before = Path("/proc/self/cgroup").read_text(), _core.cpu_quota()
    with places.quota_of_one_cpu():
        assert _core.cpu_quota() == 1.0
        here = places._cpu_group()
        assert here.name.startswith("altsem-bench-")
    assert (Path("/proc/self/cgroup").read_text(), _core.cpu_quota()) == before
    assert not here.exists()


def test_builds_without_the_gil_have_figures_of_their_own(tmp_path: Path) -> None:
    pythons = ("CPython 3.13.0", "CPython 3.13.5 free-threaded")
    assert [report.tag({"machine": {"Python": python}}) for python in pythons] == ["3.13", "3.13t"]
    files = [tmp_path / f"benchmarks-{version}.json" for version in ("3.13t", "3.9", "3.13")]
    assert [file.stem[11:] for file in sorted(files, key=report.by_version)] == [
        "3.9", "3.13", "3.13t"
    ]  # fmt: skip
