"""What stands in a segment, as csrc/segment.h and csrc/word.h lay it out.

The names of types and backends, and the numbers in the formats, must follow those headers: a test
compares what is read here with what the core says of the same primitives.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .processes import Source

MAGIC = 0x6D65733174746C61
LAYOUT = 2
SLOT_BYTES = 64
HEADER_SLOTS = 2
NOBODY = 0x80000000
WOKEN, HUNGRY, SUSPECT = 0x40000000, 0x20000000, 0x10000000
SEM_VALUE = 0x7FFFFFFF
MOST = 32768 * SLOT_BYTES  # bytes; nobody makes larger ones, and the core takes none

BACKENDS = {1: "futex", 2: "sysv", 3: "filelock"}
TYPES = {1: "Semaphore", 2: "Lock", 3: "RLock", 4: "Event", 5: "Condition", 6: "Barrier"}
LOCKS = (2, 3)

# magic, layout, backend, id, size, slots, pid namespace, maker, slot bytes, foreign
_HEADER = struct.Struct("=QII16sQIIIII")
# word, holder (of a condition: joining), again, state, maxvalue, born, word2, current, deaths
_SLOT = struct.Struct("=QQIIiIQQI")
ROBUST, MIDWAY = 0x200, 0x80000000  # in the state, and in deaths
_LOOKS = 50


class NotASegmentError(ValueError):
    """It is none, or of a layout that this version does not know."""


@dataclass(frozen=True)
class Header:
    """The header of a segment."""

    id: str
    backend: str
    size: int
    slots: int
    namespace: int  # in which owners are to be understood; 0: in several
    maker: int


@dataclass(frozen=True)
class Slot:
    """A primitive.  `holder` and `thread` are 0 unless somebody holds a lock.

    `value`: what is left of a semaphore; 1 if a lock is free, an event set; the parties of a
    barrier.
    """

    number: int
    type: str
    value: int
    waiters: int
    thread: int = 0  # its token (csrc/word.h)
    holder: int = 0
    again: int = 0
    held_by_nobody: bool = False
    robust: bool = False
    deaths: int = 0  # how often it was taken over from the dead
    midway: bool = False  # who held it noted that nobody could go on, and may have died

    @property
    def is_lock(self) -> bool:
        return self.type in ("Lock", "RLock")

    @property
    def idle(self) -> bool:
        """Nobody holds it, nobody waits for it, and nobody has died with it."""
        used = self.waiters or self.thread or self.held_by_nobody
        return not used and not self.deaths and not self.midway


def read_header(source: Source) -> Header:
    """Raises NotASegmentError, OSError."""
    fields = _HEADER.unpack(source.read(0, _HEADER.size))
    magic, layout, backend, identity, size, slots, where, maker, slot_bytes, foreign = fields
    if magic != MAGIC:
        raise NotASegmentError("no segment of altsem")
    if layout != LAYOUT or slot_bytes != SLOT_BYTES:
        raise NotASegmentError(f"a segment of layout {layout}, not {LAYOUT}")
    if slots * SLOT_BYTES > size or size > MOST:
        raise NotASegmentError("a damaged segment")
    name = BACKENDS.get(backend, f"number {backend}")
    return Header(identity.hex(), name, size, slots, 0 if foreign else where, maker)


def read_slots(source: Source, header: Header) -> list[Slot]:
    """All that are in use.  Raises OSError."""
    found = []
    data = source.read(0, header.slots * SLOT_BYTES)
    for number in range(HEADER_SLOTS, header.slots):
        at = number * SLOT_BYTES
        slot = _slot(number, data[at : at + SLOT_BYTES])
        # Owner and process are written one after the other; a lock in use is looked at until they
        # belong together.
        for _ in range(_LOOKS):
            if slot is None or not slot.thread:
                break
            again = _slot(number, source.read(at, SLOT_BYTES))
            if again is not None and again.holder and again.holder == slot.holder:
                break
            slot = again
        if slot is not None:
            found.append(slot)
    return found


def _slot(number: int, data: bytes) -> Slot | None:
    """The primitive in the bytes of a slot, None if there is none."""
    word, holder, again, state, maxvalue, _, _, current, deaths = _SLOT.unpack_from(data)
    kind = state & 0xFF
    if kind not in TYPES:
        return None
    name = TYPES[kind]
    low, high = word & 0xFFFFFFFF, word >> 32
    if kind in LOCKS:
        low &= ~(WOKEN | HUNGRY | SUSPECT)
        robust = bool(state & ROBUST)
        died = (deaths & ~MIDWAY, bool(deaths & MIDWAY)) if robust else (0, False)
        if low in (0, NOBODY):
            return Slot(number, name, int(low == 0), high, 0, 0, 0, low == NOBODY, robust, *died)
        return Slot(number, name, 0, high, low, holder, again, False, robust, *died)
    if name == "Condition":
        return Slot(number, name, 0, (current & 0xFFFFFFFF) + (holder & 0x7FFFFFFF))
    if name == "Barrier":
        closed = high >> 31
        return Slot(number, name, maxvalue, 0 if closed else high >> 8)
    return Slot(number, name, low & (1 if name == "Event" else SEM_VALUE), high)
