"""``python -m altsem locks``: who holds which lock, and who waits for it.

Looks from outside, through /proc, so it works while the program hangs, and for any process whose
memory this user may see.  It only reads, but for --release.

- processes.py   which processes have segments of altsem mapped, and how to get at them
- segments.py    what stands in a segment: the layout of csrc/word.h and csrc/segment.h
- sleepers.py    which threads sleep on which slot
- view.py        all of it together; report.py as text
- release.py     frees a lock that is held by the dead
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from .._arguments import WRONG_USE, Parser
from .release import release
from .report import text
from .view import View, look

ROOT = __package__.rpartition(".")[0]
EPILOG = f"""\
Exit status: 0; 1 if a lock is held by a dead process, or was not released; 2 if a process or lock
that was named is not there or may not be looked at; {WRONG_USE} wrong arguments.  Of every command:
`python -m {ROOT} -h`.
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
    parser.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=2.0,
        metavar="SECONDS",
        help="go on looking, every 2 seconds unless said otherwise, until interrupted",
    )
    parser.add_argument(
        "--release",
        metavar="SEGMENT:OFFSET",
        help="free a lock whose owner is proved dead, after asking; SEGMENT and OFFSET as shown",
    )
    options = parser.parse_args(argv)
    if options.release is not None:
        return release(look(set(options.pid)), options.release)
    if options.watch:
        return _watch(options)
    seen = look(set(options.pid))
    _show(seen, options)
    if any(pid not in seen.looked_at for pid in options.pid):
        return 2
    return 1 if seen.held_by_the_dead() else 0


def seconds(word: str) -> float:
    """How often to look; its name is in the parser's words when it raises ValueError."""
    number = float(word)
    if not 0 < number <= 86400:
        raise ValueError
    return number


def _show(seen: View, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(seen.json(options.all), indent=2))
    else:
        print(text(seen, options.all))


def _watch(options: argparse.Namespace) -> int:
    try:
        while True:
            seen = look(set(options.pid))
            if sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            if not options.json:
                print(time.strftime("%H:%M:%S"))
            _show(seen, options)
            sys.stdout.flush()
            if getattr(sys.stdout, "lost", None) is not None:
                return 0  # the reader has left, or there is no room: _streams.py says which
            time.sleep(options.watch)
    except KeyboardInterrupt:
        return 0
