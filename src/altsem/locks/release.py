"""Frees a lock by hand, if it is proved that its owner is dead.

For those that are not robust: what a dead one held stays held, and a program may hang over it that
nobody wants to end.  The core judges once more, and takes the lock over before it frees it
(csrc/primitives/robust.c): so whatever happens meanwhile, nobody is robbed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from .. import _core
from .processes import mappings, open_writable
from .report import lines_of
from .segments import SLOT_BYTES

if TYPE_CHECKING:
    from .view import Primitive, Segment, View

NOT_RELEASED, NOT_FOUND = 1, 2


def release(view: View, which: str) -> int:
    """Asks, and does it; the exit status."""
    found = _find(view, which)
    if isinstance(found, str):
        print(found, file=sys.stderr)
        return NOT_FOUND
    segment, primitive = found
    print("\n".join(lines_of(view, primitive)))
    if not _is_dead(primitive):
        print("not released: it is not held by an owner that is proved dead", file=sys.stderr)
        return NOT_RELEASED
    print("What it protects may be half done.  Release it? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print("not released", file=sys.stderr)
        return NOT_RELEASED
    try:
        done = _free(segment, primitive)
    except OSError as error:
        print(f"not released: {error.strerror or error}", file=sys.stderr)
        return NOT_RELEASED
    print("released" if done else "not released: another has it by now")
    return 0 if done else NOT_RELEASED


def _find(view: View, which: str) -> tuple[Segment, Primitive] | str:
    """The lock, or what is wrong."""
    name, _, offset = which.partition(":")
    if not name or not offset.isdecimal():
        return f"{which!r} is no SEGMENT:OFFSET, such as 0123456789ab:128"
    segments = [each for each in view.segments if each.header.id.startswith(name)]
    if len(segments) != 1:
        return f"{len(segments) or 'no'} segments that can be looked at are called {name}"
    for primitive in segments[0].primitives:
        if primitive.slot.number * SLOT_BYTES == int(offset):
            if primitive.slot.is_lock:
                return segments[0], primitive
            return f"a {primitive.slot.type} has no owner"
    return f"there is nothing at {offset} of segment {name}"


def _is_dead(primitive: Primitive) -> bool:
    owner = primitive.owner
    if owner is None:
        return False
    by_thread = primitive.slot.type == "RLock" or owner.alive is None
    return owner.alive is False or (by_thread and owner.thread_alive is False)


def _free(segment: Segment, primitive: Primitive) -> bool:
    """Whether it is free now."""
    cls = _core.RLock if primitive.slot.type == "RLock" else _core.Lock
    known = _attach(segment)
    lock = _core.adopt(cls, known, primitive.slot.number * SLOT_BYTES)
    return _core.free_dead(lock)


def _attach(segment: Segment) -> _core.Segment:
    identity = bytes.fromhex(segment.header.id)
    refused = OSError(0, "no process lets its memory be written")
    for pid in segment.processes:
        found = []
        with contextlib.suppress(OSError):
            found = mappings(pid)
        for mapping in found:
            try:
                fd = open_writable(mapping)
            except OSError as error:
                refused = error
                continue
            took = False
            try:
                known, took = _core.attach(fd, identity)
            except OSError as error:
                refused = error
                continue
            finally:
                if not took:
                    os.close(fd)
            return known
    raise refused
