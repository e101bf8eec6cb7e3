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
import time
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
from benchmarks.measuring.shares import (
    Fared,
    Shares,
    fared,
    jain,
    quantiles,
    smallest_by_largest,
)
from benchmarks.page import kept, report
from benchmarks.page import summary as first_page
from benchmarks.page.bars import Bar, Group, bars, step
from benchmarks.page.chart import chart
from benchmarks.page.results import Results
from benchmarks.page.table import table
from benchmarks.page.text import line, verdict
from benchmarks.workloads import gil, places, turns
from benchmarks.workloads.apart import PAIRS
from benchmarks.workloads.fresh import Fresh
from benchmarks.workloads.partner import Partner, ping_pong
from benchmarks.workloads.peers import FORK

from altsem import _core

DOCS = ROOT / "docs" / "benchmarks"
FOUND = Found(ours=5e-7, theirs=1e-6, ratio=0.5, low=0.4, high=0.6, rounds=10)
FARED = Fared(
    jain=(0.95, 0.96),
    share=(0.5, 0.6),
    median=(1e-6, 2e-6),
    rare=(1e-3, 2e-3),
    longest=(0.1, 0.2),
    longest_ratio=0.5,
)


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


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits(), None),
        (Limits(jain_at_least=0.95), True),
        (Limits(jain_at_least=0.96), False),
        (Limits(jain_behind_at_most=0.01), True),
        (Limits(jain_behind_at_most=0.0), False),
        (Limits(share_behind_at_most=0.1), True),
        (Limits(share_behind_at_most=0.0), False),
        (Limits(longest_at_most=0.5), True),
        (Limits(longest_at_most=0.49), False),
        (Limits(at_most=0.49, jain_at_least=0.9), False),
    ],
)
def test_verdict_of_a_crowd(limits: Limits, reached: bool | None) -> None:
    row = Row("part", "work", "peer", FOUND, limits, 0.5, fared=FARED)
    assert row.reached is reached
    assert ("NOT REACHED" in line(row)) == (reached is False)
    assert "Jain 0.95 / 0.96" in line(row)
    assert kept.row_of(json.loads(json.dumps(kept.flat(row)))) == row


def test_a_ratio_that_is_shown_as_its_limit_reaches_it() -> None:
    for ratio, reached in ((1.004, True), (1.006, False)):
        found = Found(1.0, 1.0, ratio, 1.0, 1.0, 3)
        assert Row("part", "work", "peer", found, Limits(at_most=1.0)).reached is reached


def test_shares() -> None:
    assert jain([5, 5, 5, 5]) == 1.0
    assert jain([1, 0, 0, 0]) == 0.25
    assert jain([0, 0]) == smallest_by_largest([0, 0]) == 0.0
    assert smallest_by_largest([2, 8, 4]) == 0.25
    weighted = [(3.0, 1), (1.0, 998), (2.0, 1)]
    assert quantiles(weighted, (0.5, 0.999, 1.0)) == [1.0, 2.0, 3.0]
    mine = [
        Shares(n, 0.5, 1.0, 2.0, longest) for n, longest in ((0.8, 1.0), (0.9, 2.0), (1.0, 9.0))
    ]
    peers = [Shares(1.0, 0.5, 1.0, 2.0, longest) for longest in (2.0, 2.0, 3.0)]
    found = fared(mine, peers)
    assert (found.jain, found.longest, found.longest_ratio) == ((0.9, 1.0), (2.0, 2.0), 1.0)


class Clock:
    """A clock that goes on by a second whenever it is read."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 1.0
        return self.time


def test_a_wait_at_the_end_is_no_turn_and_lasts_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(turns, "perf_counter", clock)

    class Slow(contextlib.nullcontext[None]):
        """Each wait takes ten seconds."""

        def __enter__(self) -> None:
            clock.time += 10.0

    count, waits = turns.work(Slow(), 0.0, 20.0)  # got at 12 and, too late, at 24
    assert count == 1
    assert list(waits) == [11.0, 7.0]
    clock.time = 0.0
    count, waits = turns.work(Slow(), 5.0, 12.0)
    assert (count, list(waits)) == (1, [11.0])
    assert clock.time > 12.0 + 5.0  # it was held


def test_turns_are_counted_for_each_process_and_waits_for_all() -> None:
    with contextlib.closing(turns.Turns(FORK.Lock(), 3, 1e-4, 0.05)) as crowd:
        assert 1e-4 < crowd() < 1
        assert not crowd.rounds  # it was for warming up
        assert 1e-4 < crowd() < 1
        (shares,) = crowd.rounds
        assert 1 / 3 <= shares.jain <= 1
        assert 0 <= shares.median <= shares.rare <= shares.longest <= 0.05
        children = list(crowd._children)
    assert all(child.exitcode == 0 for child in children)


def test_a_fresh_round_is_the_first_of_a_process() -> None:
    seen = FORK.SimpleQueue()

    class Timing:
        def __init__(self, n: int) -> None:
            self._n, self._calls = n, 0

        def __call__(self) -> float:
            self._calls += 1
            seen.put((os.getpid(), self._n, self._calls))
            return float(self._calls)

        def close(self) -> None:
            pass

    assert Fresh(lambda _, n: Timing(n), 7).ours() == 1.0
    assert Fresh(lambda _, n: Timing(n), 7, of=3).theirs() == 2.0  # the first is not counted
    heard = [seen.get() for _ in range(7)]
    seen.close()
    assert len({pid for pid, _, _ in heard}) == 4
    assert os.getpid() not in {pid for pid, _, _ in heard}
    assert {n for _, n, _ in heard} == {7}


def test_a_fresh_round_that_fails_says_so() -> None:
    def fails(_ctx: object, _n: int) -> Any:
        os._exit(1)

    with pytest.raises(EOFError):
        Fresh(fails, 1).ours()


def test_partners_are_there_before_the_first_round() -> None:
    there = FORK.Value("i", 0)

    class Seen(Partner):
        @staticmethod
        def _serve(*arguments: Any) -> None:
            time.sleep(0.2)  # late, as where no CPU is free
            with there:
                there.value += 1
            Partner._serve(*arguments)

    forever = FORK.Semaphore(0)
    with contextlib.closing(Seen(forever.acquire, int, 1, processes=5)):
        assert there.value == 5


def test_a_fresh_hand_off() -> None:
    fresh = Fresh(ping_pong, 10)
    assert 0 < fresh.ours() < 1
    assert 0 < fresh.theirs() < 1


def test_hogs_leave_one_cpu_free_and_go() -> None:
    before = os.sched_getaffinity(0)
    with places.one_free_cpu():
        pinned = [os.sched_getaffinity(hog.pid) for hog in FORK.active_children()]
        assert sorted(pinned, key=min) == [{cpu} for cpu in sorted(before)[1:]]
        assert os.sched_getaffinity(0) == before
    assert not FORK.active_children()
    assert os.sched_getaffinity(0) == before


ROWS = [
    Row("Alone", "`with L:` <here>", "native & co", FOUND, Limits(at_most=0.67)),
    Row("Alone", "create", "native", Found(1e-7, 1e-3, 1e-4, 1e-5, 1e-3, 9), Limits(at_most=1e-5)),
    Row("Together", "crowd", "native", FOUND, Limits(share_at_least=0.5), 0.9, "share 0.90"),
    Row("Together", "slow", "native", Found(3e-3, 1e-4, 30, 20, 40, 9)),
    Row("Together", "turns", "native", FOUND, share=0.5, fared=FARED),
]


def test_table() -> None:
    lines = table(ROWS).splitlines()
    assert [text for text in lines if text.startswith("#")] == ["### Alone", "### Together"]
    cells = [text.split(" | ") for text in lines if text.startswith("| ")]
    rows = [row for row in cells if row[0] != "| work"]
    assert [row[0] for row in rows] == [f"| {row.work}" for row in ROWS]
    assert [row[-1] for row in rows] == [" |", " |", "share 0.90 |", " |", "0.50 |"]
    assert "0.95, 0.96" in rows[-1] and "100 ms, 200 ms" in rows[-1]
    assert [len(row) for row in rows] == [6, 6, 6, 6, 9]


def test_chart() -> None:
    drawing = ET.fromstring(chart(ROWS, "title"))
    width, height = float(drawing.attrib["width"]), float(drawing.attrib["height"])
    texts = [
        "".join(element.itertext()) for element in drawing.iter() if element.tag.endswith("text")
    ]
    for label in ("Alone", "with L: <here> / native & co", "crowd / native", "1: the peer"):
        assert label in texts
    assert "0.0001" in texts
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
    details = (docs / "details.md").read_text()
    names = {file.name for file in docs.iterdir()}
    assert names >= {"README.md", "details.md", "3.9.json", "3.13.json"}
    assert details.index("## CPython 3.9.1") < details.index("## CPython 3.13.0")
    assert "CPython 3.12" not in details
    assert "| locks | 10 |" in details
    assert "| shared bytes per lock | 64.0 |" in details
    assert table(ROWS) in details
    assert "CPython 3.13.0" in page and "CPython 3.9.1" not in page
    for word in ("reached", "asked for", "at most"):
        assert word not in page


def test_what_is_missed_of_a_million_locks() -> None:
    fine = {"locks": 1_000_000, "shared bytes per lock": 65.1}
    assert million.missed(fine) == []
    assert len(million.missed({"locks": 10, "shared bytes per lock": 67.0})) == 2


WAKE, TURNS = "futex, from release to a sleeper's acquire", "Lock held 20 µs, 8 processes"
FIRST_PAGE = [
    Row("Alone", "`with L:`, Lock", "native", Found(5e-8, 2e-7, 0.25, 0.2, 0.3, 9)),
    Row("Alone", "`with L:`, Lock", "threading.Lock", FOUND),
    Row("Together", TURNS, "native", Found(1e-5, 1e-5, 1.0, 0.98, 1.02, 9), fared=FARED),
    Row("Backends", WAKE, "native", Found(6e-5, 4e-5, 1.2, 0.5, 2.0, 9)),
    Row("Backends", f"filelock{WAKE[5:]}", "native", Found(1e-3, 4e-5, 20, 15, 30, 9)),
]


def test_first_page_says_where_it_is_slower_beside_where_it_is_faster() -> None:
    page = first_page.page(FIRST_PAGE, {"Python": "CPython 3.13.0", "usable CPUs": "2"})
    (sentence,) = (text for text in page.splitlines() if text.startswith("altsem is faster"))
    assert sentence.startswith("altsem is faster in 2 of the 5 lines, and slower in 2: ")
    assert "slept for a while (1.5 times slower); " in sentence
    assert sentence.endswith("(25 times slower).")
    cells = [text.strip("| ").split(" | ") for text in page.splitlines() if text.startswith("| ")]
    assert [row[-1] for row in cells[1:]] == [
        "4 times faster",
        "as fast",
        "2 times shorter",
        "**1.5 times slower**; varies, 2 times faster to 2 times slower",
        "**25 times slower**",
    ]
    assert cells[1][1:3] == ["200 ns", "50 ns"]
    assert len(page.splitlines()) < 40


def test_every_line_of_the_first_page_is_a_row_that_is_measured() -> None:
    """By the names in the code: a row that is renamed there must not vanish from the page."""
    rows = (ROOT / "benchmarks" / "rows").glob("bench_*.py")
    code = "".join(file.read_text() for file in rows)
    from benchmarks.rows import bench_turns

    names = {
        bench_turns.name_of(count, hold, busy)
        for count in (2, 4, 8, 32)
        for hold in (0.0, 2e-5, 1e-3)
        for busy in (False, True)
    }
    wanted = {one.work for one in first_page.LINES}
    wanted |= {work for _, work in (*first_page.ALONE, *first_page.TOGETHER)}
    for work in wanted - names:
        what = work.removesuffix(", the first 1,000")
        for start in ("futex", "filelock", "the same with ", "Queue"):
            what = what.removeprefix(start)
        assert what.removesuffix("Lock") in code, work


def test_picture_has_a_linear_axis_from_zero_in_each_group() -> None:
    groups = [
        Group("A", "ns", 1e-9, [Bar("x < y", 2e-7, 5e-8), Bar("z", 1e-7, 4e-7)]),
        Group("B", "µs", 1e-6, [Bar("w", 3e-5, 6e-5)]),
    ]
    drawing = ET.fromstring(bars(groups, "T & t", "note"))
    svg = "{http://www.w3.org/2000/svg}"
    rects = [r for r in drawing.iter(f"{svg}rect") if r.get("x")]
    width = [float(r.attrib["width"]) for r in rects]
    assert [w / width[3] for w in width[:4]] == pytest.approx([0.5, 0.125, 0.25, 1.0], abs=0.01)
    assert width[4] / width[5] == pytest.approx(0.5, abs=0.01)
    texts = {"".join(t.itertext()) for t in drawing.iter(f"{svg}text")}
    assert {"T & t", "note", "A, ns", "B, µs", "x < y", "200 ns", "60 µs", "0"} <= texts
    for most in (0.3, 1.0, 1.9, 3.0, 6.9, 9.9, 405.0, 62.0):
        assert 3 <= most / step(most) < 8


def test_newest_is_one_with_the_gil_if_there_is_any() -> None:
    assert kept.newest(["3.11", "3.13", "3.13t"]) == "3.13"
    assert kept.newest(["3.13t"]) == "3.13t"
    assert kept.newest([]) == ""


def pictures(docs: Path) -> set[str]:
    return {file.name for file in docs.glob("*.svg")}


def links(page: str) -> set[str]:
    return set(re.findall(r"!\[[^\]]*\]\(([^)]*)\)", page))


def test_pictures_are_those_of_the_newest_and_others_on_request(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def details() -> set[str]:
        write("3.9.1")
        found = links((docs / "details.md").read_text())
        assert pictures(docs) == found
        return found

    write("3.12.0")
    assert details() == {"3.12.svg"}
    write("3.13.0")
    assert details() == {"3.13.svg"}
    monkeypatch.setenv("PICTURES", "3.9 3.8")
    assert details() == {"3.13.svg", "3.9.svg"}
    monkeypatch.delenv("PICTURES")
    assert details() == {"3.13.svg"}


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
    report.page(docs, SECTIONS)
    linked = links((docs / "details.md").read_text()) | {"summary.svg"}
    assert linked == pictures(docs) == pictures(DOCS)
    for name in ("README.md", "details.md", *linked):
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
