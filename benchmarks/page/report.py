"""One Markdown page from the figures of all interpreters, which are kept as JSON beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import ROOT
from . import kept
from .chart import chart
from .kept import Figures
from .pictures import PICTURED, Pictures
from .table import table

# What is shown of the figures that have a name of their own in the JSON file, and are no rows.
Section = Callable[[Any, Pictures], str]

HEAD = f"""# Benchmarks

Made by `make bench`, `make bench PYTHON=…` for another interpreter; do not edit.  Each ratio is
the time of altsem as a part of the peer's: the median over paired rounds, ours and theirs in turn
in one run, with the range of the middle 80 % of the rounds.  "At most" is what the design asks for.
Times are per operation, the medians.  Where two hand something to and fro, the processes
are made anew every few rounds, for where the scheduler puts them decides what a wake-up costs.
Shares are those of the crowd: how often the one that got the lock least had it, by the one that got
it most.

The pictures are those of {PICTURED}; `PICTURES=3.11 python -m benchmarks` also draws those of
another interpreter, from the figures that are kept here.
"""


def docs() -> Path:
    """Where the page goes: docs/benchmarks/, or where ALTSEM_BENCH_DOCS says."""
    return Path(os.environ.get("ALTSEM_BENCH_DOCS") or ROOT / "docs" / "benchmarks")


def write(figures: Figures, sections: Mapping[str, Section]) -> Path:
    """Adds this interpreter's figures to those of the others, and makes the page anew from all."""
    folder = docs()
    folder.mkdir(exist_ok=True)
    kept.save(figures, folder)
    return page(folder, sections)


def page(folder: Path, sections: Mapping[str, Section]) -> Path:
    """The page, from the figures in this folder.

    Those that were written in another form are left out until their run is made again.
    """
    parts = [
        part(figures, Pictures(folder, tag), sections) for tag, figures in kept.load(folder).items()
    ]
    file = folder / "README.md"
    text = "\n".join([HEAD, *parts, notes()]).rstrip() + "\n"
    file.write_text(text, encoding="utf-8")
    return file


def part(figures: Figures, pictures: Pictures, sections: Mapping[str, Section]) -> str:
    """All about one interpreter; its pictures are files of their own beside the page."""
    rows = [kept.row_of(row) for row in figures["rows"]]
    python = figures["machine"]["Python"]
    title = f"Time of altsem, the peer's being 1 (shorter is better), {python}"
    facts = "\n".join(f"- {what}: {value}" for what, value in figures["machine"].items())
    return "\n".join(
        [
            f"## {python}\n",
            f"{facts}\n- run: {figures['run']}\n",
            *(f"{shown}\n" for shown in pictures.show("chart", lambda: chart(rows, title))),
            f"{table(rows)}\n",
            *(section(figures[name], pictures) for name, section in sections.items()),
        ]
    )


def notes() -> str:
    """What people have written about these figures: notes.md, if there is one."""
    file = Path(__file__).with_name("notes.md")
    if not file.exists():
        return ""
    return f"## Where a figure is not reached, and why\n\n{file.read_text(encoding='utf-8')}"
