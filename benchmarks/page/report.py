"""The figures of each interpreter as JSON and a chart, and one Markdown page made from all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .. import ROOT, million
from ..measuring.row import Row
from .chart import chart
from .table import table

HERE = Path(__file__).resolve().parent

HEAD = """# Benchmarks

Made by `make bench`, `make bench PYTHON=…` for another interpreter; do not edit.  Each ratio is
the time of altsem as a part of the peer's: the median over paired rounds, ours and theirs in turn
in one run, with the range of the middle 80 % of the rounds.  "At most" is what the design asks for.
Times are per operation, the medians.  Where two hand something to and fro, the processes
are made anew every few rounds, for where the scheduler puts them decides what a wake-up costs.
Shares are those of the crowd: how often the one that got the lock least had it, by the one that got
it most.
"""


def docs() -> Path:
    """Where the page goes: docs/, or where ALTSEM_BENCH_DOCS says."""
    return Path(os.environ.get("ALTSEM_BENCH_DOCS") or ROOT / "docs")


def write(figures: dict[str, Any]) -> Path:
    """Adds this interpreter's figures to those of the others, and makes the page anew from all.

    Those that were written in another form are left out until their run is made again.
    """
    folder = docs()
    folder.mkdir(exist_ok=True)
    stem = f"benchmarks-{tag(figures)}"
    (folder / f"{stem}.json").write_text(json.dumps(figures, indent=1) + "\n")
    files = sorted(folder.glob("benchmarks-*.json"), key=by_version)
    known = {file.stem: json.loads(file.read_text()) for file in files}
    known = {stem: kept for stem, kept in known.items() if kept.get("form") == figures["form"]}
    sections = [section(kept, folder, stem) for stem, kept in known.items()]
    page = folder / "benchmarks.md"
    page.write_text("\n".join([HEAD, *sections, notes()]).rstrip() + "\n")
    return page


def tag(figures: dict[str, Any]) -> str:
    """3.13, or 3.13t for a build without the GIL."""
    _, version, *build = figures["machine"]["Python"].split()
    return ".".join(version.split(".")[:2]) + ("t" if build else "")


def by_version(file: Path) -> tuple[int, bool]:
    minor = file.stem.partition(".")[2]
    return int(minor.rstrip("t")), minor.endswith("t")


def rows_of(figures: dict[str, Any]) -> list[Row]:
    return [Row.from_dict(row) for row in figures["rows"]]


def section(figures: dict[str, Any], folder: Path, stem: str) -> str:
    """All about one interpreter; its charts are files of their own beside the page."""
    rows = rows_of(figures)
    python = figures["machine"]["Python"]
    title = f"Time of altsem, the peer's being 1 (shorter is better), {python}"
    (folder / f"{stem}.svg").write_text(chart(rows, title))
    facts = "\n".join(f"- {what}: {value}" for what, value in figures["machine"].items())
    return "\n".join(
        [
            f"## {python}\n",
            f"{facts}\n- run: {figures['run']}\n",
            f"![chart]({stem}.svg)\n",
            f"{table(rows)}\n",
            million.section(figures["million"]),
            *more(figures, folder, stem),
        ]
    )


def more(figures: dict[str, Any], folder: Path, stem: str) -> list[str]:
    """What modules of their own have measured and know how to show."""
    from .. import growth
    from ..instructions import page as instructions

    counted = figures["instructions"]
    return [
        growth.section(figures["growth"], folder, stem),
        "### Instructions\n\nNot counted: there was no valgrind.\n"
        if counted is None
        else instructions.section(counted),
    ]


def notes() -> str:
    """What people have written about these figures: notes.md, if there is one."""
    file = HERE / "notes.md"
    if not file.exists():
        return ""
    return f"## Where a figure is not reached, and why\n\n{file.read_text()}"
