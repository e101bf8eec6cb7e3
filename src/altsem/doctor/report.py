"""The report: for people, and for programs (docs/doctor.md describes the latter)."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .. import _version
from .._text import printable
from .symptoms import HAPPENS, POSSIBLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .checks import Row
    from .patient import Patient
    from .symptoms import Recognised
    from .verdict import Verdict

# Raised when a field changes its meaning or goes; new fields may come without.
SCHEMA = 1

COLOURS = {"ok": "32", "bad": "31", "note": "2", "unknown": "33", "strong": "1"}


@dataclass(frozen=True)
class Report:
    patient: Patient
    rows: list[Row]
    symptoms: list[Recognised]
    verdict: Verdict
    seconds: float

    def json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "altsem": _version.__version__,
            "python": {
                "version": platform.python_version(),
                "implementation": platform.python_implementation(),
                "executable": sys.executable,
            },
            "system": {
                "kernel": f"{platform.system()} {platform.release()}",
                "machine": platform.machine(),
                "libc": self.patient.libc,
                "uid": self.patient.uid,
            },
            "surroundings": [asdict(one) for one in self.patient.surroundings],
            "checks": [row.json() for row in self.rows],
            "symptoms": [asdict(one) for one in self.symptoms],
            "verdict": self.verdict.json(),
            "seconds": round(self.seconds, 3),
        }

    def text(self, colours: bool) -> str:
        return "\n".join(_text(self, colours))


def wants_colours() -> bool:
    """Only a terminal gets them, and only one that has not asked not to."""
    dull = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not dull


def _text(report: Report, colours: bool) -> Iterator[str]:
    # Paths, variables and errors may hold anything.
    def paint(kind: str, text: str) -> str:
        text = printable(text)
        return f"\x1b[{COLOURS[kind]}m{text}\x1b[0m" if colours else text

    patient, verdict = report.patient, report.verdict
    yield (
        f"altsem {_version.__version__}, {platform.python_implementation()} "
        f"{platform.python_version()}, {patient.libc or 'unknown libc'}, "
        f"{platform.system()} {platform.release()}, uid {patient.uid}"
    )
    yield ""
    names = {row.name: printable(row.name) for row in report.rows}
    width = max(map(len, names.values()))
    for row in report.rows:
        status = paint(row.status, f"{row.status:7}")
        yield f"{status}  {names[row.name]:{width}}  {printable(row.answer)}"
        if row.meaning:
            yield f"{'':7}  {'':{width}}  -> {printable(row.meaning)}"
    happening = [one for one in report.symptoms if one.state == HAPPENS]
    possible = [one for one in report.symptoms if one.state == POSSIBLE]
    if happening:
        yield ""
        yield paint("strong", "What you will see here without altsem:")
        for one in happening:
            yield f"  {one.text}"
            yield f"      {printable(one.why)}"
    if possible:
        yield ""
        yield paint("strong", "What native semaphores may do to a program here:")
        for one in possible:
            yield f"  {one.text}"
    yield ""
    yield paint("strong", f"Verdict: {verdict.summary()}.")
    if verdict.error:
        yield f"  {printable(verdict.error)}"
    if verdict.cause:
        yield f"  Cause: {printable(verdict.cause.text)}."
    for where, remedy in verdict.remedies:
        yield f"  Remedy ({where}): {printable(remedy.text)}"
        for line in remedy.lines:
            yield f"      {printable(line)}"
    yield f"  altsem will {printable(verdict.altsem_will())}."
    if not verdict.native:
        for line in verdict.how():
            yield f"      {line}"
