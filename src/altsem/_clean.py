"""``python -m altsem clean``: removes what killed programs have left in the system."""

from __future__ import annotations

from . import _core

USAGE = """usage: python -m {} clean

Removes the SysV semaphore sets that the backend `sysv` made for programs which were all killed
since.  Only those of the calling user, and never one that a living process uses: nothing can go
wrong by calling it at any time.  (The next program that needs such a set does the same.)"""


def main(argv: list[str]) -> int:
    """Remove them, and say how many they were.  Returns the exit status."""
    if argv:
        print(USAGE.format(__package__))
        return 0 if argv in (["-h"], ["--help"]) else 2
    try:
        removed = _core.clean()
    except OSError as error:
        print(f"SysV semaphore sets cannot be listed here: {error.strerror}")
        return 1
    print(f"removed {removed} SysV semaphore set{'s' * (removed != 1)}")
    return 0
