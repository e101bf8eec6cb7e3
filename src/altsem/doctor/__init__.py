"""``python -m altsem doctor``: what works here, why not, and what helps.

Everything is tried, nothing guessed, and whatever may hang is tried in a child within a time limit.

- machine.py, mounts.py, shm.py, surroundings.py   the facts, read from files and variables
- trial.py, trials.py, system.py, programs/        what is tried, and how it is kept from hanging
- patient.py                                       facts and answers together
- checks.py, causes.py, symptoms.py, remedies.py   tables: what the answers mean, what helps
- verdict.py, report.py                            the end of it
"""

from __future__ import annotations

import json
import time

from .._arguments import WRONG_USE, Parser, seconds
from . import checks, symptoms, trials
from .machine import Machine
from .patient import examine
from .report import Report, wants_colours
from .verdict import decide

ROOT = __package__.rpartition(".")[0]
SECONDS = 4.0
EPILOG = f"""\
Exit status: 0 native multiprocessing works; 1 it does not, and altsem does; 2 neither;
{WRONG_USE} wrong arguments.  Of every command: `python -m {ROOT} -h`.
"""


def diagnose(machine: Machine, seconds: float = SECONDS) -> Report:
    """The whole examination, in little more than `seconds`.  Never raises."""
    begun = time.monotonic()
    patient = examine(machine)
    patient.answers = trials.run(machine, seconds)
    rows = checks.examine(patient)
    return Report(
        patient, rows, symptoms.recognise(patient), decide(patient), time.monotonic() - begun
    )


def main(argv: list[str]) -> int:
    """Print the report; return the exit status."""
    parser = Parser(
        prog=f"python -m {ROOT} doctor",
        description="Find out what works here, why not, and what helps.",
        epilog=EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="for programs; see docs/doctor.md")
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=SECONDS,
        help="what has not answered by then counts as silent (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    report = diagnose(Machine(), options.seconds)
    if options.json:
        print(json.dumps(report.json(), indent=2))
    else:
        print(report.text(wants_colours()))
    return report.verdict.status
