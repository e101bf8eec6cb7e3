"""Two Markdown pages from the figures of all interpreters, which are kept as JSON beside them:
README.md, a screen for people (summary.py), and details.md, with everything."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import ROOT
from . import kept, summary
from .chart import chart
from .kept import Figures
from .pictures import Pictures
from .table import table

# What is shown of the figures that have a name of their own in the JSON file, and are no rows.
Section = Callable[[Any, Pictures], str]

HEAD = """# Benchmarks, all figures

The [first page](README.md) has the most important ones.  Made by `make bench`, and for another
interpreter by `make bench PYTHON=…`; do not edit.  Each ratio is the time of altsem as a part of
the peer's: the median over paired rounds, ours and theirs in turn in one run, with the range of the
middle 80 % of the rounds.  Times are per operation, the medians.  What is aimed at is in
`benchmarks/rows/`, and `make bench` says which of it was missed.

Where two hand something to and fro, the processes are made anew every few rounds, for where the
scheduler puts them decides what a wake-up costs; "the first 1,000" are those of processes that have
done nothing before.  A round of a queue or a pool is the mean over processes that are made for it.

Where several processes want one lock, each figure is altsem's, then the native one's.  Evenness is
Jain's index of how often each had the lock: 1 if all had it equally often, 1/n if only one had it.
The smallest by the largest share is harsher: one unlucky process is enough.  Waits are those in
`acquire`, of all processes; the longest is that of a round, which lasts a second (0.7 s
where the lock is held for nothing; 0.3 s where two or four processes hold it, or it is held for a
microsecond).

Pictures are drawn of the newest Python; `PICTURES=3.11 python -m benchmarks` also draws those of
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
    """Both pages and the pictures, from the figures in this folder; the first page's path.

    Those that were written in another form are left out until their run is made again.
    """
    known = kept.load(folder)
    newest = kept.newest(known)
    parts = [
        part(figures, Pictures(folder, tag, newest=tag == newest), sections)
        for tag, figures in known.items()
    ]
    text = "\n".join([HEAD, *parts, notes()]).rstrip() + "\n"
    (folder / "details.md").write_text(text, encoding="utf-8")
    file = folder / "README.md"
    if newest:
        figures = known[newest]
        rows = [kept.row_of(row) for row in figures["rows"]]
        file.write_text(summary.page(rows, figures["machine"]), encoding="utf-8")
        drawing = summary.picture(rows, figures["machine"])
        if drawing:
            (folder / "summary.svg").write_text(drawing, encoding="utf-8")
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
    return f"## About single figures\n\n{file.read_text(encoding='utf-8')}"
