"""What the benchmarks compute from what they measure; the measuring itself is not tested here."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from benchmarks.growth.fit import exponent
from benchmarks.growth.page import section
from benchmarks.growth.runner import SERIES, best, shown
from benchmarks.growth.series import Column, Series, exponents
from benchmarks.instructions import page, reference
from benchmarks.instructions.callgrind import parse
from benchmarks.page.pictures import Pictures
from benchmarks.page.plot import log_log

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponent_of_a_power(power: float) -> None:
    points = [(n, 3 * n**power) for n in (1, 10, 100, 1000)]
    assert exponent(points) == pytest.approx(power, abs=1e-9)


def test_exponent_is_of_the_last_decades() -> None:
    points = [(1, 1e9), (10, 1e9), (100, 1.0), (1000, 10.0), (10_000, 100.0)]
    assert exponent(points, decades=2) == pytest.approx(1.0)


@pytest.mark.parametrize("points", [[], [(1, 2.0)], [(1, 0.0), (10, 0.0)], [(1, 0.0), (10, 1.0)]])
def test_no_exponent_of_too_little(points: list[tuple[float, float]]) -> None:
    assert exponent(points) is None


def _series(*columns: Column) -> Series:
    return Series("name", "Title", "things", columns, (), "", lambda quick: [])


def test_an_exponent_above_its_limit_is_said() -> None:
    series = _series(Column("flat", "flat", at_most=0.15), Column("steep", "steep", at_most=1.15))
    points = [{"n": n, "pace": 1.0, "flat": 5.0, "steep": float(n**2)} for n in (1, 10, 100)]
    assert [found["holds"] for found in exponents(series, points)] == [True, False]


def test_pace_is_taken_out_of_times_of_computing_only() -> None:
    series = _series(Column("work", "work", paced=True), Column("wait", "wait"))
    slow = [{"n": 1, "pace": 2.0, "work": 8.0, "wait": 3.0}]
    fast = [{"n": 1, "pace": 1.0, "work": 5.0, "wait": 4.0}]
    assert best(series, [slow, fast]) == [{"n": 1, "pace": 2.0, "work": 4.0, "wait": 3.0}]


def test_plot_is_xml_with_every_line() -> None:
    lines = {"a < b": [(1, 1e-9), (10, 2e-9)], "none": [], "zero": [(1, 0.0), (10, 5.0)]}
    root = ET.fromstring(log_log("T & t", "n", "time (s)", lines, lambda y: f"{y:g} s"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"T & t", "n", "time (s)", *lines} <= set(texts)
    assert len(list(root.iter(f"{SVG}polyline"))) == 2 * len(lines)  # and its legend
    width = float(root.attrib["width"])
    assert all(float(text.attrib["x"]) < width for text in root.iter(f"{SVG}text") if text.get("x"))


def test_section_shows_every_series_and_writes_what_it_links(tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    for name, series in SERIES.items():
        points = [
            {"n": n, "pace": 1e-8, **{column.key: n * 1e-6 for column in series.columns}}
            for n in (1, 10, 100)
        ]
        found[name] = shown(series, points)
        assert "pace" not in found[name][0]
    text = section(found, Pictures(tmp_path, "3.13", newest=True))
    assert text.lstrip().startswith("### As work grows")
    assert "grows faster than it should" in text  # creating must not be proportional
    for file in tmp_path.iterdir():
        assert file.name.startswith("3.13-growth-") and f"({file.name})" in text
        ET.parse(file)
    assert len(list(tmp_path.iterdir())) == sum(len(series.charts) for series in SERIES.values())


def test_section_without_pictures_links_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PICTURES", raising=False)
    found = {
        name: [{"n": 1, **{column.key: 1e-6 for column in series.columns}}]
        for name, series in SERIES.items()
    }
    (tmp_path / "3.9-growth-locks-times.svg").write_text("of an earlier run")
    text = section(found, Pictures(tmp_path, "3.9", newest=False))
    assert "#### Locks alive" in text and "![" not in text
    assert not list(tmp_path.iterdir())


CALLGRIND = """# callgrind format
version: 1
positions: instr
events: Ir
summary: 321


ob=/lib/interpreter
fl=loop.c
fn=loop
0x10 100
cob=/lib/ours.so
cfi=hot.c
cfn=hot_acquire
calls=10 0x40
0x12 210
cfn=helper
calls=1 0x18
0x13 1
0x14 10

ob=/lib/ours.so
fl=hot.c
fn=hot_acquire
0x40 100
fe=word.h
0x41 100
+3 10
""".replace("+3 10", "0x44 10")


def test_callgrind() -> None:
    profile = parse(CALLGRIND.splitlines(keepends=True))
    loop, acquire = ("/lib/interpreter", "loop"), ("/lib/ours.so", "hot_acquire")
    assert profile.total == 321
    assert profile.calls == {(loop, acquire): 210, (loop, ("/lib/interpreter", "helper")): 1}
    assert profile.own == {
        (loop, 0x10): 100,
        (loop, 0x14): 10,
        (acquire, 0x40): 100,
        (acquire, 0x41): 100,
        (acquire, 0x44): 10,
    }


def test_callgrind_with_other_positions() -> None:
    with pytest.raises(ValueError, match="positions"):
        parse(["positions: line\n"])


def _figures(inside: float, locked: float | None = 2.0) -> dict[str, Any]:
    ours = {"inside": inside, "locked": locked, "functions": {"hot_acquire": inside}}
    return {"key": "this one", "pairs": {"bound Lock": {"altsem": ours}}}


@pytest.fixture
def agreed(tmp_path: Path) -> Path:
    file = tmp_path / "instructions.json"
    reference.update(_figures(57.0), "the first counts", file)
    return file


@pytest.mark.parametrize(("inside", "status"), [(57.0, 0), (50.0, 0), (58.0, 1)])
def test_check(
    agreed: Path, inside: float, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reference.check(_figures(inside), agreed) == status
    assert ("has to say why" in capsys.readouterr().err) == bool(status)


def test_check_of_locked_instructions(agreed: Path) -> None:
    assert reference.check(_figures(57.0, 3.0), agreed) == 1
    assert reference.check(_figures(57.0, None), agreed) == 0


def test_check_without_reference(agreed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.check({**_figures(99.0), "key": "another"}, agreed) == 0
    assert reference.check(_figures(99.0), agreed.with_name("missing.json")) == 0
    assert capsys.readouterr().out.count("nothing was compared") == 2


def test_a_rise_needs_a_new_reason(agreed: Path) -> None:
    reference.update(_figures(60.0), file=agreed)
    assert reference.check(_figures(60.0), agreed) == 1  # `why` is empty
    reference.update(_figures(61.0), "it must", agreed)
    assert reference.check(_figures(61.0), agreed) == 0
    reference.update(_figures(61.0), file=agreed)  # what did not change keeps its reason
    assert json.loads(agreed.read_text())["this one"]["bound Lock"]["why"] == "it must"


def test_the_reference_gives_reasons() -> None:
    for entries in reference.load().values():
        assert all(entry["why"] for entry in entries.values())


def test_what_is_kept_of_the_counts_is_what_the_table_shows() -> None:
    counts = {"total": 500.5, "inside": 57.0, "own": 57.0, "locked": 2.0, "functions": {"f": 57.0}}
    found = {"altsem": counts, "SemLock": None, "multiprocessing": counts}
    figures = {"key": "this one", "repeatable": True, "pairs": {"with Lock": found}}
    kept = page.kept(figures)
    assert kept is not None
    assert kept["pairs"]["with Lock"] == {
        "altsem": {"total": 500.5, "inside": 57.0, "locked": 2.0},
        "multiprocessing": {"total": 500.5},
    }
    assert page.section(kept) == page.section(figures)
    assert page.kept(None) is None
    assert "there was no valgrind" in page.section(None)
