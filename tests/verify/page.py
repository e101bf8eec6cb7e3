"""The tables of docs/verification.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from . import faults, run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "verification.md"
Found = tuple[faults.Fault, list[run.Outcome]]


def write(name: str, table: Iterable[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replaced(text, name, table), encoding="utf-8")


def replaced(text: str, name: str, table: Iterable[str]) -> str:
    """The text with another table between the two comments of that name."""
    begin, end = f"<!-- {name}: made by a command -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"no place for the table {name}"
    return before + begin + "\n" + "".join(line + "\n" for line in table) + "\n" + end + after


def explored(outcomes: list[run.Outcome]) -> Iterable[str]:
    yield "| primitive | scenario | threads | what they do | states | steps | seconds | result |"
    yield "|---|---|---|---|---|---|---|---|"
    for each in outcomes:
        s = each.scenario
        yield (
            f"| {s.primitive} | {s.name}{' (long run)' if s.late else ''} | {s.threads} | {s.what} "
            f"| {each.number('states'):,.0f} | {each.number('transitions'):,.0f} "
            f"| {each.number('seconds'):.1f} | holds |"
        )
    total = sum(each.number("states") for each in outcomes)
    steps = sum(each.number("transitions") for each in outcomes)
    seconds = sum(each.number("seconds") for each in outcomes)
    yield f"| | **together** | | | **{total:,.0f}** | **{steps:,.0f}** | **{seconds:.1f}** | |"


def planted(found: list[Found]) -> Iterable[str]:
    yield "| primitive | fault | found by | as | after steps |"
    yield "|---|---|---|---|---|"
    for fault, outcomes in found:
        for each in outcomes:
            yield (
                f"| {fault.primitive} | {fault.what} | {each.scenario.name} | {each.violation} "
                f"| {each.length} |"
            )


def killed(rows: Iterable[tuple[str, int, int, int]]) -> Iterable[str]:
    yield "| call | instructions | kills | late | longest |"
    yield "|---|---|---|---|---|"
    total = 0
    for name, instructions, kills, milliseconds in rows:
        total += kills
        yield f"| {name} | {instructions:,} | {kills:,} | 0 | {milliseconds / 1000:.2f} s |"
    yield f"| **together** | | **{total:,}** | **0** | |"
