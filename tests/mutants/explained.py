"""The faults that no test can notice, each with the reason: `explained.txt` beside this file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("explained.txt")
_HEAD = re.compile(r"^\[([0-9a-f]{8})\] ([^\s:]+)")


class Entry(NamedTuple):
    path: str
    reason: str


class ExplainedError(Exception):
    """The list is not as it should be."""


def read(text: str) -> dict[str, Entry]:
    """The entry for each id.

    An entry is what the tool prints of the fault (three lines, of which the first begins with the
    id), and then, indented, why nothing can be noticed.
    """
    entries: dict[str, Entry] = {}
    for entry in re.split(r"\n\s*\n", text.strip()):
        lines = [line for line in entry.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        head = _HEAD.match(lines[0])
        reason = " ".join(line.strip() for line in lines[3:])
        if not head or len(lines) < 3 or not reason:
            raise ExplainedError(f"not an entry with a reason:\n{entry}")
        if head[1] in entries:
            raise ExplainedError(f"twice in the list: {head[1]}")
        entries[head[1]] = Entry(head[2], reason)
    return entries
