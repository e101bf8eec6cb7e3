"""Which threads sleep on which slot.

The kernel tells in which system call a thread is, and its arguments; a thread that sleeps in the
futex backend gives the address of the slot.  It tells root, a debugger, and (unless hardened) the
same user; and of the other backends it tells nothing: then there is only the count in the slot.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from .segments import SLOT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .processes import Mapping

# A sleeper wakes for an instant every second: looked at once more, it is asleep again.
LOOKS = 3
PAUSE = 0.01


class Sleeper(NamedTuple):
    pid: int
    tid: int


def sleepers(mappings: Iterable[Mapping], expected: int) -> dict[int, set[Sleeper]]:
    """By the number of the slot, all that are found in the processes of these mappings of one
    segment.  Looks again if they are fewer than `expected`."""
    found: dict[int, set[Sleeper]] = {}
    known = list(mappings)
    for look in range(LOOKS):
        if look:
            time.sleep(PAUSE)
        found = {}
        for mapping in known:
            for tid in _threads(mapping.pid):
                address = _first_argument(mapping.pid, tid)
                if address is not None and mapping.start <= address < mapping.end:
                    number = (address - mapping.start) // SLOT_BYTES
                    found.setdefault(number, set()).add(Sleeper(mapping.pid, tid))
        if sum(map(len, found.values())) >= expected:
            break
    return found


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _first_argument(pid: int, tid: int) -> int | None:
    """Of the system call that the thread is in; None if it is in none, or that is not told."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/task/{tid}/syscall") as file:
        words = file.read().split()
        if len(words) > 2:
            return int(words[1], 16)
    return None
