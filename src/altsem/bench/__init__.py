"""``python -m altsem bench``: how fast altsem is here, against what it replaces.

The short version of the project's own benchmarks, for a user's container: paired rounds, ours and
the peer's in turn, so that a drift of the machine hits both.  All that is measured happens in child
processes; this one waits for them, within time limits, and therefore always gets to end them.

- alone.py, together.py       what is timed: in one process, between several
- crew.py                     the children: started, asked, ended
- contenders.py, rounds.py    one side of a row; two sides against each other
- rows.py                     the table of what is measured, and the run through it
- interrupt.py, progress.py   Ctrl-C, and the bar on a terminal
- facts.py                    the machine, and how many CPUs of it may be used
- report.py                   table and JSON
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time

from .._arguments import seconds
from . import report
from .crew import CrewError, stop_helpers
from .interrupt import Interrupt, Interrupted
from .progress import Bar
from .rows import measure

SECONDS = 10.0
METHODS = ("fork", "spawn")
EPILOG = """\
Exit status: 0; 1 if altsem does not work here or a process of the benchmark was killed; 2 for wrong
arguments; 130 after Ctrl-C.
"""


def start_methods() -> list[str]:
    """Those of METHODS that work here, the one to take unless another is asked for first.

    This process has one thread, so it may fork, except where system libraries have threads of
    their own.
    """
    known = multiprocessing.get_all_start_methods()
    found = [method for method in METHODS if method in known]
    return found[::-1] if sys.platform == "darwin" else found


def main(argv: list[str]) -> int:
    """Measure and print; return the exit status."""
    package = __package__.rpartition(".")[0]
    methods = start_methods()
    parser = argparse.ArgumentParser(
        prog=f"python -m {package} bench",
        description="How fast altsem is here, against the native semaphores where they work.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=SECONDS,
        help="how long it may take, roughly (default: %(default)g); longer is more exact",
    )
    parser.add_argument("--json", action="store_true", help="for programs; see docs/bench.md")
    parser.add_argument(
        "--method",
        choices=methods,
        default=methods[0],
        help="how processes are started (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    with Interrupt() as interrupt:
        try:
            status, told = _run(options, interrupt)
        finally:
            # Not before _run has ended: what it holds, the helper may have to know of.
            stop_helpers()
    if status == 0:
        print(report.printable(told, sys.stdout.encoding))
    else:
        print(f"{package} bench: {told}", file=sys.stderr)
    return status


def _run(options: argparse.Namespace, interrupt: Interrupt) -> tuple[int, str]:
    """The exit status, and what to say: the figures if it is 0, else what is wrong."""
    # Late: a child that is spawned imports this module, and has no use for what this imports.
    from . import facts

    package = __package__.rpartition(".")[0]
    begun = time.monotonic()
    try:
        machine = facts.machine(options.method)
    except OSError as error:
        return 1, f"{package} does not work here: {error}; `python -m {package} doctor` tells more"
    # As it is before this very program adds to it.
    hint = facts.busy(machine)
    bar = Bar(options.seconds)
    try:
        rows = measure(options.method, machine["usable CPUs"], options.seconds, interrupt, bar)
    except Interrupted:
        return 130, "interrupted"
    except CrewError as error:
        return 1, str(error)
    finally:
        bar.erase()
    took = time.monotonic() - begun
    if options.json:
        return 0, json.dumps(report.document(machine, rows, hint, took), indent=2)
    return 0, report.text(machine, rows, hint, took)
