"""What the commands that use argparse share."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING

from ._text import printable

if TYPE_CHECKING:
    from typing import NoReturn

WRONG_USE = 64  # EX_USAGE of sysexits.h
MOST = 3600.0


class Parser(argparse.ArgumentParser):
    """Exits with WRONG_USE for wrong arguments, where 2 means something else."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(WRONG_USE, f"{self.prog}: error: {printable(message)}\n")


def seconds(text: str) -> float:
    """A time limit, as `type` of an argument."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, up to {MOST:g}")
    return value
