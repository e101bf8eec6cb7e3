"""``python -m altsem COMMAND``: one module per command, imported only when it is asked for."""

from __future__ import annotations

import importlib
import sys

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
        [f"usage: python -m {__package__} COMMAND [ARGUMENTS]", "", *lines, "", "-h: this text"]
    )


def main(argv: list[str]) -> int:
    """Run the command `argv[0]` with the rest of `argv`; return the exit status."""
    command = argv[0] if argv else ""
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command not in COMMANDS:
        problem = f"no such command: {command}" if command else "no command"
        print(f"{problem}\n{usage()}", file=sys.stderr)
        return 2
    module = importlib.import_module(f".{COMMANDS[command][0]}", __package__)
    # A module that serves several commands gets to know which.
    status: int = module.main(argv if COMMANDS[command][0] == "dropin.enable" else argv[1:])
    return status


if __name__ == "__main__":
    # Not sys.argv[0]: what runs below must find argv as the program called directly would.
    sys.exit(main(sys.argv[1:]))
