"""Prints the counts.

`--check` compares those of our own functions with benchmarks/instructions.json and fails if one
rose; `--update [WHY]` writes that file.
"""

from __future__ import annotations

import argparse
import sys

from . import reference
from .page import exact, table
from .runner import run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if one of our counts rose")
    parser.add_argument("--update", nargs="?", const="", metavar="WHY", help="write the reference")
    options = parser.parse_args(arguments)
    figures = run()
    if figures is None:
        return 0
    if options.update is not None:
        reference.update(figures, options.update)
        return 0
    if options.check:
        return reference.check(figures)
    print(f"{figures['key']}, repeatable: {figures['repeatable']}\n{table(figures)}")
    for pair, found in figures["pairs"].items():
        for whose, seen in found.items():
            inside = seen and ", ".join(f"{n} {exact(c)}" for n, c in seen["functions"].items())
            print(f"{pair:16} {whose:16} {inside or 'not counted'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
