"""What the workers of a round share beside the primitives, and what each has done: plain memory.

Every number has one writer, and is written in one step.  So whoever is killed leaves numbers that
are right, or behind by the one step that it was about to make.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

WORKERS = 6
PARTIES = 3


class Own(IntEnum):
    """The numbers of a worker.  Its successor goes on with them."""

    OPERATIONS = 0
    LOCKED = 1  # three: times that it has counted up under a lock
    RECOVERED = 4  # deaths that it was told of
    DOUBLE = 5  # times that it met somebody where it had to be alone
    LOST = 6  # what was guarded was not as it had to be
    TOKEN = 7  # two: what it does with a semaphore (Token)
    PUT = 9
    GOT = 10
    AT_BARRIER = 11
    PASSED = 12  # PARTIES: by index
    PARKED = 12 + PARTIES
    LEAVING = 13 + PARTIES  # SIGTERM has come
    DENIED = 14 + PARTIES  # errors that it had to have


class Token(IntEnum):
    NONE, TAKING, HELD, GIVING = range(4)


class Common(IntEnum):
    SEQUENCE = 0  # three: counted up under a lock
    INSIDE = 3  # three: who is there
    STOCK = 6
    PAUSE = 7
    STOP = 8


WIDTH = 32


class Ledger:
    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, (WORKERS + 1) * WIDTH * 8)
        self._all = memoryview(self._memory).cast("Q")
        self.common = self._all[:WIDTH]
        self.rows = [self._all[WIDTH * n : WIDTH * (n + 1)] for n in range(1, WORKERS + 1)]

    def sum(self, what: int) -> int:
        return sum(row[what] for row in self.rows)
