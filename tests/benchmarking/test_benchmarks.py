"""The arithmetic and the page of the benchmarks.  Nothing here is about how fast anything is."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Container, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from benchmarks import ROOT, million
from benchmarks.figures import SECTIONS
from benchmarks.measuring import clock
from benchmarks.measuring.paired import paired
from benchmarks.measuring.row import Found, Limits, Row, summary
from benchmarks.page import kept, report
from benchmarks.page.chart import chart
from benchmarks.page.pictures import PICTURED
from benchmarks.page.results import Results
from benchmarks.page.table import table
from benchmarks.page.text import line, verdict
from benchmarks.workloads import gil, places
from benchmarks.workloads.apart import PAIRS

from altsem import _core

DOCS = ROOT / "docs" / "benchmarks"
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
    assert kept.row_of(json.loads(json.dumps(kept.flat(row)))) == row


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


def figures(version: str) -> dict[str, Any]:
    """What a full run has found."""
    results = Results(
        rows=list(ROWS), more={"million": {"locks": 10, "shared bytes per lock": 64.0}}
    )
    machine = {"CPUs": "2", "Python": f"CPython {version}"}
    return {**results.as_dict(), "machine": machine, "run": "1 s"}


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that gets the page instead of docs/benchmarks/."""
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.setenv("ALTSEM_BENCH_DOCS", str(folder))
    monkeypatch.delenv("PICTURES", raising=False)
    return folder


def write(version: str) -> str:
    """The page after a run on this version."""
    sections: dict[str, report.Section] = {"million": lambda found, _: million.section(found)}
    return report.write(figures(version), sections).read_text()


def test_page(docs: Path) -> None:
    (docs / "3.12.json").write_text('{"rows": []}')  # of another form
    for version in ("3.9.1", "3.13.0"):
        page = write(version)
    assert {file.name for file in docs.iterdir()} >= {"README.md", "3.9.json", "3.13.json"}
    assert page.index("## CPython 3.9.1") < page.index("## CPython 3.13.0")
    assert "CPython 3.12" not in page
    assert "| locks | 10 | ≥ 1,000,000 | **not reached** |" in page
    assert "| shared bytes per lock | 64.0 | ≤ 64 | reached |" in page
    assert table(ROWS) in page


def pictures(docs: Path) -> set[str]:
    return {file.name for file in docs.glob("*.svg")}


def links(page: str) -> set[str]:
    return set(re.findall(r"!\[[^\]]*\]\(([^)]*)\)", page))


def test_pictures_are_those_of_one_version_and_others_on_request(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f"{PICTURED}.0")
    page = write("3.9.1")
    assert links(page) == pictures(docs) == {f"{PICTURED}.svg"}
    monkeypatch.setenv("PICTURES", "3.9 3.8")
    page = write("3.9.1")
    assert links(page) == pictures(docs) == {f"{PICTURED}.svg", "3.9.svg"}
    monkeypatch.delenv("PICTURES")
    page = write("3.9.1")
    assert links(page) == pictures(docs) == {f"{PICTURED}.svg"}


def test_figures_are_kept_with_a_line_for_each_row(docs: Path) -> None:
    long = "note " * 100
    found = Found(1 / 3e7, 2 / 3e7, 0.5, 0.4, 0.6, 10)
    everything = [*ROWS, Row("Together", "long", "native", found, note=long)]
    points = [{"n": n, "create": 1.0} for n in range(20)]
    total = 4661.9825  # over a few thousand turns: exact
    more = {"growth": {"locks": points}, "instructions": {"pairs": {"a": {"total": total}}}}
    kept.save({**figures("3.9.1"), "rows": [kept.flat(row) for row in everything], **more}, docs)
    text = (docs / "3.9.json").read_text()
    lines = text.splitlines()
    kept_rows = [json.loads(line.strip().rstrip(",")) for line in lines if '"work": ' in line]
    assert [kept.row_of(row).work for row in kept_rows] == [row.work for row in everything]
    assert [kept.row_of(row).limits for row in kept_rows] == [row.limits for row in everything]
    assert sum('"n": ' in line for line in lines) == len(points)
    assert len(lines) < len(everything) + len(points) + 20
    assert "null" not in text and "0.0333333333" not in text and "3.33333333e-08" in text
    assert json.loads(text)["instructions"]["pairs"]["a"]["total"] == total


@pytest.mark.skipif(not DOCS.exists(), reason="a source distribution has no docs/")
def test_the_page_is_made_of_the_figures_beside_it(docs: Path) -> None:
    """If not: it was edited by hand, or `python -m benchmarks` has to be run."""
    for file in DOCS.glob("*.json"):
        assert len(file.read_text().splitlines()) < 300
        shutil.copy(file, docs)
    page = report.page(docs, SECTIONS).read_text()
    assert page == (DOCS / "README.md").read_text()
    assert links(page) == pictures(docs) == pictures(DOCS)
    for name in links(page):
        assert (docs / name).read_text() == (DOCS / name).read_text()


# Each line may use those above it, and nothing else of its own line.
ROOMS = (
    {"measuring"},
    {"workloads"},
    {"page"},
    {"million", "growth", "instructions"},
    {"figures"},
    {"__main__", "rows"},
)


def imports(path: str, source: str, modules: Container[str]) -> Iterator[str]:
    """The modules of the benchmarks, by path, that one of them imports, early or late."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        package = path.split("/")[: -node.level]
        base = "/".join([*package, *(node.module.split(".") if node.module else [])])
        for alias in node.names:
            whole = f"{base}/{alias.name}".lstrip("/")
            for found in (
                f"{whole}.py",
                f"{whole}/__init__.py",
                f"{base}.py",
                f"{base}/__init__.py",
            ):
                if found in modules:
                    yield found
                    break


def wrong_imports(sources: Mapping[str, str]) -> list[str]:
    """Those that lead upwards or to a neighbour, and circles."""
    level = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}

    def room(path: str) -> str:
        return path.partition("/")[0].removesuffix(".py")

    graph = {path: set(imports(path, source, sources)) for path, source in sources.items()}
    wrong = [
        f"{path} imports {other}"
        for path, others in sorted(graph.items())
        for other in sorted(others)
        if room(path) != room(other) and level[room(path)] <= level[room(other)]
    ]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append(f"a circle: {' '.join(error.args[1])}")
    return wrong


def sources() -> dict[str, str]:
    folder = ROOT / "benchmarks"
    found = {str(file.relative_to(folder)): file.read_text() for file in folder.glob("**/*.py")}
    del found["__init__.py"]  # which imports nothing of the rest
    return found


def test_rooms_use_only_what_is_below_them() -> None:
    found = sources()
    assert {path.partition("/")[0].removesuffix(".py") for path in found} == set().union(*ROOMS)
    assert wrong_imports(found) == []


@pytest.mark.parametrize(
    ("path", "planted", "said"),
    [
        ("measuring/paired.py", "from ..page.text import line", "imports page/text.py"),
        ("workloads/crowd.py", "from ..rows import conftest", "imports rows/conftest.py"),
        ("workloads/crowd.py", "def late():\n    from .. import million", "imports million.py"),
        ("page/report.py", "from .. import growth", "imports growth/__init__.py"),
        ("million.py", "from . import growth", "imports growth/__init__.py"),
        ("workloads/peers.py", "from .crowd import Crowd", "a circle"),
    ],
)
def test_an_import_that_leads_upwards_is_found(path: str, planted: str, said: str) -> None:
    found = sources()
    found[path] += f"\n{planted}\n"
    assert any(said in wrong for wrong in wrong_imports(found))


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


def test_builds_without_the_gil_have_figures_of_their_own(docs: Path) -> None:
    pythons = ("3.13.5 free-threaded", "3.13.0", "3.9.1")
    for python in pythons:
        kept.save(figures(python), docs)
    assert list(kept.load(docs)) == ["3.9", "3.13", "3.13t"]
