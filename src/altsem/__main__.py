"""``python -m altsem COMMAND``: one module per command, imported only when it is asked for.

Whatever becomes of the output, a command ends without a traceback and with a status that is
documented: its own, or one of those in `EPILOG`.
"""

from __future__ import annotations

import importlib
import sys

from ._streams import CANNOT_WRITE, in_place
from ._text import printable
from ._version import __version__

FAILED = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130
EPILOG = f"""\
Exit status: each command tells its own; 2 if there is no such command.  Of all of them:
{FAILED}   an error in altsem itself
{CANNOT_WRITE}   the output could not be written; but if it is closed, or its reader has left, the
     status is what it would have been
{INTERRUPTED}  Ctrl-C
"""

# command: (module of this package with `main(argv) -> exit status`, what it does).
COMMANDS = {
    "run": ("dropin.run", "run a program with altsem in place of the semaphores that fail here"),
    "enable": ("dropin.enable", "do so for every program of this interpreter (image builds)"),
    "disable": ("dropin.enable", "undo enable"),
    "clean": ("_clean", "remove what killed programs have left in the system"),
    "doctor": ("doctor", "find out what works here, why not, and what helps"),
    "locks": ("locks", "show who holds which lock, and who waits for it"),
    "bench": ("bench", "measure how fast it is here, against the native semaphores"),
    "status": ("dropin.enable", "tell whether it is enabled, and what works here"),
}


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items())
    return "\n".join(
        [
            f"usage: python -m {__package__} COMMAND [ARGUMENTS]",
            "",
            *lines,
            "",
            "-h, --help: this text; -V, --version: the version of altsem",
            "",
            EPILOG.rstrip(),
        ]
    )


def main(argv: list[str]) -> int:
    """Run the command `argv[0]` with the rest of `argv`; return the exit status."""
    command = argv[0] if argv else ""
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command in ("-V", "--version"):
        print(f"altsem {__version__}")
        return 0
    if command not in COMMANDS:
        print(f"{_problem(command)}\n\n{usage()}", file=sys.stderr)
        return 2
    module = importlib.import_module(f".{COMMANDS[command][0]}", __package__)
    # A module that serves several commands gets to know which.
    status: int = module.main(argv if COMMANDS[command][0] == "dropin.enable" else argv[1:])
    return status


def _problem(command: str) -> str:
    if not command:
        return "no command"
    import difflib

    near = difflib.get_close_matches(command, COMMANDS, 1)
    return f"no such command: {printable(command)}" + (f"; did you mean {near[0]}?" if near else "")


def guarded(argv: list[str]) -> int:
    """The same, whatever becomes of the output."""
    with in_place() as streams:
        try:
            status = main(argv)
        except SystemExit as end:  # of argparse
            status = end.code if isinstance(end.code, int) else 0
        except KeyboardInterrupt:
            status = INTERRUPTED
        except Exception:  # noqa: BLE001 - status 1 would mean something
            import traceback

            traceback.print_exc()
            status = FAILED
        return streams.status(status, " ".join([__package__, *map(printable, argv[:1])]))


if __name__ == "__main__":
    # Not sys.argv[0]: what runs below must find argv as the program called directly would.
    sys.exit(guarded(sys.argv[1:]))
