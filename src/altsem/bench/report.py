"""The figures for people, and for programs (docs/bench.md describes the latter)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .rows import Row

# Raised when a field changes its meaning or goes; new fields may come without.
SCHEMA = 1
BROKEN = "does not work here"
WIDTH = 80


def seconds(value: float) -> str:
    """With three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def ratio(value: float) -> str:
    return f"{value:.4f}" if value < 0.02 else f"{value:.2f}"


def rate(per_operation: float) -> str:
    """Operations per second."""
    value = 1 / per_operation
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}/s"
    return f"{value:.3g} /s"


def document(
    machine: dict[str, Any], rows: list[Row], hint: str | None, took: float
) -> dict[str, Any]:
    """What --json prints."""
    return {
        "schema": SCHEMA,
        "machine": machine,
        "rows": [_entry(row) for row in rows],
        "hint": hint,
        "seconds": round(took, 3),
    }


def _entry(row: Row) -> dict[str, Any]:
    figures = row.figures
    return {
        "key": row.key,
        "peer": row.peer,
        "ours": figures and figures.ours,
        "theirs": figures and figures.theirs,
        "ratio": figures and figures.ratio,
        "low": figures and figures.low,
        "high": figures and figures.high,
        "rounds": figures.rounds if figures else 0,
        "error": row.error,
        **row.extra,
    }


def text(machine: dict[str, Any], rows: list[Row], hint: str | None, took: float) -> str:
    """No wider than WIDTH, but for names of the machine and texts of errors."""
    return "\n".join(_lines(machine, rows, hint, took))


def _lines(
    machine: dict[str, Any], rows: list[Row], hint: str | None, took: float
) -> Iterator[str]:
    cpus = machine["usable CPUs"]
    yield f"altsem {machine['altsem']}: backend {machine['backend']}, memory {machine['memory']}"
    yield f"  {machine['reason']}"
    yield f"{machine['processor']}, {cpus} usable CPU{'s' * (cpus != 1)}"
    yield (
        f"{machine['kernel']}, {machine['libc']}, {machine['Python']}, "
        f"start method {machine['start method']}"
    )
    yield ""
    yield f"{'':31} {'altsem':>9} {'native':>9} {'ratio':>7}  80 % of rounds"
    errors: list[str] = []
    for row in rows:
        yield from _row(row, errors)
    for number, error in enumerate(errors, 1):
        yield f"({number}) {error}"
    yield ""
    yield "Times are medians, per operation.  The ratio is altsem's time as a part of the"
    yield "native one: below 1, altsem is faster.  Beside it, the ratios of the middle 80 %"
    yield f"of the rounds.  Measured in {took:.1f} s."
    if hint:
        yield hint


def _row(row: Row, errors: list[str]) -> Iterator[str]:
    figures = row.figures
    head = f"{row.title:31} "
    broken = ""
    if row.error is not None:
        who = "altsem" if figures is None else row.peer
        told = f"{who} {BROKEN}: {row.error}"
        if told not in errors:
            errors.append(told)
        broken = f"{BROKEN} ({errors.index(told) + 1})"
    if figures is None:
        yield f"{head}{broken}"
        return
    if figures.theirs is None or figures.ratio is None:
        yield f"{head}{seconds(figures.ours):>9}   {broken}"
    else:
        spread = f"{ratio(figures.low or 0.0)} to {ratio(figures.high or 0.0)}"
        yield (
            f"{head}{seconds(figures.ours):>9} {seconds(figures.theirs):>9} "
            f"{ratio(figures.ratio):>7}  {spread}"
        )
    if row.extra:
        rates, shares = [rate(figures.ours)], [f"{row.extra['share']:.2f}"]
        if figures.theirs is not None:
            rates.append(rate(figures.theirs))
            shares.append(f"{row.extra['peer_share']:.2f}")
        yield (f"    {', native '.join(rates)}; smallest/largest share {', native '.join(shares)}")


def printable(said: str, encoding: str | None) -> str:
    """What a terminal of this encoding can show."""
    try:
        said.encode(encoding or "ascii")
    except UnicodeEncodeError:
        said = said.replace("µ", "u")
        said = said.encode(encoding or "ascii", "backslashreplace").decode(encoding or "ascii")
    return said
