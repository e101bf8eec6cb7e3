"""``python -m altsem locks``: who holds which lock, and who waits for it.

Looks from outside, through /proc, so it works while the program hangs, and for any process whose
memory this user may see.  It only reads.

- processes.py   which processes have segments of altsem mapped, and how to get at them
- segments.py    what stands in a segment: the layout of csrc/word.h and csrc/segment.h
- sleepers.py    which threads sleep on which slot
- view.py        all of it together; report.py as text
"""

from __future__ import annotations

import json

from .._arguments import WRONG_USE, Parser
from .report import text
from .view import look

ROOT = __package__.rpartition(".")[0]
EPILOG = f"""\
Exit status: 0; 1 if a lock is held by a dead process; 2 if a process that was named is not there or
may not be looked at; {WRONG_USE} wrong arguments.  Of every command: `python -m {ROOT} -h`.
"""


def main(argv: list[str]) -> int:
    """Print the view; return the exit status."""
    parser = Parser(
        prog=f"python -m {ROOT} locks",
        description="Who holds which lock of altsem, and who waits for it.",
        epilog=EPILOG,
    )
    parser.add_argument("pid", nargs="*", type=int, help="only what these processes use")
    parser.add_argument("--all", action="store_true", help="also what is free and not waited for")
    parser.add_argument("--json", action="store_true", help="for programs; see docs/doctor.md")
    options = parser.parse_args(argv)
    seen = look(set(options.pid))
    if options.json:
        print(json.dumps(seen.json(options.all), indent=2))
    else:
        print(text(seen, options.all))
    if any(pid not in seen.looked_at for pid in options.pid):
        return 2
    return 1 if seen.held_by_the_dead() else 0
