"""The page and the picture for those who wonder whether to use it: a screen, in plain words.

Which figures are on it is decided here, not by how they came out.  All of them are of the newest
Python that was measured; the other page has everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..measuring.row import Row
from .bars import Bar, Group, bars
from .text import SAME, seconds

APART = 1.5  # by which the 80 % of a ratio must differ to be called a wide range

WITH, PAIR = "`with L:`, Lock", "`L.acquire(); L.release()`, Lock"
CREATE, IS_SET = "create and drop, Lock", "`Event.is_set()`"
HAND_OFF = "hand-off ping-pong of two processes"
QUEUE, POOL = "Queue, an item to another process", "Pool(2).map, a task"
SLEEPER = "from release to a sleeper's acquire"


@dataclass(frozen=True)
class Line:
    """What is measured, in the words of the page, and the row that has it."""

    text: str
    work: str
    name: str = ""  # in a sentence, if the text needs the line above it
    longest: bool = False  # the longest wait of a round, not the time


@dataclass(frozen=True)
class Shown:
    """A line with its figures, in seconds."""

    line: Line
    theirs: float
    ours: float
    low: float = 1.0  # the ratios of 80 % of the rounds
    high: float = 1.0

    @property
    def ratio(self) -> float:
        """Of what is shown, so that readers find the same."""
        return self.ours / self.theirs

    @property
    def compared(self) -> str:
        return times(self.ratio, wait=self.line.longest)

    @property
    def range(self) -> str:
        """How far, if rounds differed much and went both ways."""
        if self.low < 1 / SAME and self.high > SAME and self.high / self.low > APART:
            return f"{times(self.low)} to {times(self.high)}"
        return ""


LINES = (
    Line("`with lock:`, nobody else wants it", WITH),
    Line("`lock.acquire(); lock.release()`, nobody else wants it", PAIR),
    Line("`lock.acquire(False)`, somebody has it", "`acquire(False)` on a held Lock"),
    Line("`event.is_set()`", IS_SET),
    Line("make a Lock and drop it", CREATE),
    Line("8 processes want one Lock and release it at once: a turn", "contended Lock, 8 processes"),
    Line("8 processes, each holds it for 20 µs: a turn", "Lock held 20 µs, 8 processes"),
    Line(
        "the same, the longest wait",
        "Lock held 20 µs, 8 processes",
        "the longest wait of 8 processes that hold a Lock for 20 µs",
        longest=True,
    ),
    Line(
        "32 processes, each holds it for 1 ms: the longest wait",
        "Lock held 1 ms, 32 processes",
        longest=True,
    ),
    Line(
        "8 processes, each holds it for 1 ms, and four programs compute beside them: a turn",
        "Lock held 1 ms, 8 processes beside 4 that compute",
    ),
    Line("two processes wait for each other in turn: there and back", HAND_OFF),
    Line(
        "the same, the first 1,000 times of new processes",
        f"{HAND_OFF}, the first 1,000",
        "the first 1,000 times that two new processes wait for each other",
    ),
    Line(
        "the same, both on one CPU",
        "the same with one usable CPU",
        "two processes on one CPU that wait for each other",
    ),
    Line("Event: set, the other wakes and answers", "Event set, wait round trip"),
    Line("Condition: notify, the other wakes and answers", "Condition notify, wait round trip"),
    Line("wake a process that has slept for a while", f"futex, {SLEEPER}"),
    Line("an item through a Queue to another process", QUEUE),
    Line("a task of `Pool(2).map`", POOL),
    Line(
        "wake a process with file locks, the last resort where nothing else works",
        f"filelock, {SLEEPER}",
    ),
)

ALONE = (
    ("with lock:", WITH),
    ("lock.acquire(); lock.release()", PAIR),
    ("event.is_set()", IS_SET),
)
TOGETHER = (
    ("two processes in turn, there and back", HAND_OFF),
    ("the same, the first 1,000 times", f"{HAND_OFF}, the first 1,000"),
    ("wake one who has slept a while", f"futex, {SLEEPER}"),
    ("an item through a Queue", QUEUE),
    ("a task of Pool(2).map", POOL),
)


def native(rows: Iterable[Row]) -> dict[str, Row]:
    return {row.work: row for row in rows if row.peer == "native"}


def times(ratio: float, *, wait: bool = False) -> str:
    """A ratio in words: 0.5 is "2 times faster", or of a wait "2 times shorter"."""
    less, more, same = ("shorter", "longer", "as long") if wait else ("faster", "slower", "as fast")
    if 1 / SAME <= ratio <= SAME:
        return same
    factor, word = (1 / ratio, less) if ratio < 1 else (ratio, more)
    return f"{factor:,.0f} times {word}" if factor >= 10 else f"{factor:.2g} times {word}"


def shown(rows: Iterable[Row]) -> list[Shown]:
    """The lines whose rows were measured."""
    known = native(rows)
    found = []
    for line in LINES:
        row = known.get(line.work)
        if row is None:
            continue
        if not line.longest:
            times_of = row.found
            found.append(Shown(line, times_of.theirs, times_of.ours, times_of.low, times_of.high))
        elif row.fared is not None:
            ours, theirs = row.fared.longest
            found.append(Shown(line, theirs, ours))
    return found


def comparison(lines: Sequence[Shown]) -> str:
    """Where it is faster and where slower, in one paragraph."""
    slower = [
        f"{one.line.name or one.line.text} ({one.compared})" for one in lines if one.ratio > SAME
    ]
    faster = sum(one.ratio < 1 / SAME for one in lines)
    text = f"altsem is faster in {faster} of the {len(lines)} lines"
    return f"{text}, and slower in {len(slower) or 'none'}" + (
        f": {'; '.join(slower)}." if slower else "."
    )


def table(lines: Sequence[Shown]) -> str:
    parts = ["| | native | altsem | altsem is |", "|---|---|---|---|"]
    for one in lines:
        compared = f"**{one.compared}**" if one.ratio > SAME else one.compared
        last = f"{compared}; varies, {one.range}" if one.range else compared
        cells = (one.line.text, seconds(one.theirs), seconds(one.ours), last)
        parts.append(f"| {' | '.join(cells)} |")
    return "\n".join(parts)


def page(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """The whole page, as Markdown."""
    where = f"{machine['Python']}, {machine.get('usable CPUs', '?')} CPUs"
    lines = shown(rows)
    where += f" ({machine['processor']})" if "processor" in machine else ""
    return f"""# Benchmarks

altsem and Python's own `multiprocessing`, measured in turn in one run: {where}.

{comparison(lines)}

{table(lines)}

Times are medians; what varies is said with the range of 80 % of the rounds.  The longest wait is
that of a round of one second.  [All figures](details.md): every kind of lock and backend, other
Pythons, other packages, memory, and what was found out about single figures.

`python -m altsem bench` measures it where you are; `make bench` makes all the figures again
(`PYTHON=…` for another interpreter) and writes both pages, which are not edited by hand.
"""


def picture(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """As SVG; empty if there is nothing to draw."""
    known = native(rows)

    def group(title: str, unit: str, scale: float, wanted: Sequence[tuple[str, str]]) -> Group:
        found = [(label, known[work].found) for label, work in wanted if work in known]
        return Group(title, unit, scale, [Bar(label, f.theirs, f.ours) for label, f in found])

    groups = [
        group("One process", "ns", 1e-9, ALONE),
        group("Between processes", "µs", 1e-6, TOGETHER),
    ]
    last = known.get(f"filelock, {SLEEPER}")
    note = "Shorter is better."
    if last:
        ours, theirs = seconds(last.found.ours), seconds(last.found.theirs)
        note += (
            f" Not drawn: with file locks, the last resort, waking takes {ours} (native {theirs})."
        )
    drawn = [group for group in groups if group.bars]
    return bars(drawn, f"altsem beside native, {machine['Python']}", note) if drawn else ""
