"""The figures of one interpreter as they are kept: JSON, with no more in it than the page shows.

Every run writes these files anew, and they are in the repository: so a row is one line, what a
row has not got is left out, and so are digits that mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from itertools import repeat
from pathlib import Path
from typing import Any

from ..measuring.row import Found, Limits, Row
from ..measuring.shares import Fared

FORM = 3  # what was written in another is not shown
BOTH = ("jain", "share", "median", "rare", "longest")  # what Fared has of both sides
WIDTH = 200  # characters of one line in which parts may have parts

Figures = Mapping[str, Any]


def tag(figures: Figures) -> str:
    """3.13, or 3.13t for a build without the GIL: the name of the file."""
    _, version, *build = figures["machine"]["Python"].split()
    return ".".join(version.split(".")[:2]) + ("t" if build else "")


def by_version(file: Path) -> tuple[int, bool]:
    minor = file.stem.partition(".")[2]
    return int(minor.rstrip("t")), minor.endswith("t")


def flat(row: Row) -> dict[str, Any]:
    """A row without its inner structure, and without what it has not got."""
    parts = {"part": row.part, "work": row.work, "peer": row.peer}
    more = {"share": row.share, "note": row.note or None}
    entries = {**parts, **asdict(row.found), **asdict(row.limits), **more, **_fared(row)}
    return {name: value for name, value in entries.items() if value is not None}


def _fared(row: Row) -> dict[str, float]:
    """Of both sides, each figure under a name of its own."""
    if row.fared is None:
        return {}
    both = {name: getattr(row.fared, name) for name in BOTH}
    return {
        **{f"our {name}": ours for name, (ours, _) in both.items()},
        **{f"their {name}": theirs for name, (_, theirs) in both.items()},
        "longest_ratio": row.fared.longest_ratio,
    }


def row_of(entries: Mapping[str, Any]) -> Row:
    """The inverse of flat()."""
    left = dict(entries)

    def taken(kind: type) -> dict[str, Any]:
        names = [field.name for field in fields(kind)]
        return {name: left.pop(name) for name in names if name in left}

    found, limits = Found(**taken(Found)), Limits(**taken(Limits))
    if "longest_ratio" in left:
        both = {name: (left.pop(f"our {name}"), left.pop(f"their {name}")) for name in BOTH}
        left["fared"] = Fared(**both, longest_ratio=left.pop("longest_ratio"))
    return Row(found=found, limits=limits, **left)


def rounded(value: Any) -> Any:
    """Nine significant digits: enough for counts over some thousand turns, which are exact, and for
    times to be rounded again in the page as if they had not been here."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def lines(value: Any, indent: str = "") -> str:
    """JSON in which what is short, or has no parts within its parts, is one line."""
    parts = list(value.values()) if isinstance(value, dict) else value
    text = json.dumps(value, ensure_ascii=False)
    if not isinstance(parts, list) or not any(isinstance(part, (dict, list)) for part in parts):
        return text
    if len(text) <= WIDTH and indent:
        return text
    names = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else repeat("")
    deeper = indent + " "
    body = ",\n".join(
        f"{deeper}{name}{lines(part, deeper)}" for name, part in zip(names, parts, strict=False)
    )
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{body}\n{indent}{last}"


def save(figures: Figures, folder: Path) -> None:
    text = lines(rounded(dict(figures)))
    (folder / f"{tag(figures)}.json").write_text(text + "\n", encoding="utf-8")


def newest(tags: Iterable[str]) -> str:
    """Of builds with the GIL, which most people have, if there are any; "" of none."""
    known = list(tags)  # in the order of the page
    return ([tag for tag in known if not tag.endswith("t")] or known or [""])[-1]


def load(folder: Path) -> dict[str, Figures]:
    """Those of all interpreters, by tag, in the order of the page."""
    files = sorted(folder.glob("[0-9]*.[0-9]*.json"), key=by_version)
    known = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    return {tag: figures for tag, figures in known.items() if figures.get("form") == FORM}
