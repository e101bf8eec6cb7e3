"""The view as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._text import printable
from .segments import SLOT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .view import Primitive, Segment, View


def text(view: View, idle: bool) -> str:
    """Everything that is held or waited for; with `idle` also the rest."""
    quiet = 0
    lines: list[str] = []
    for segment in view.segments:
        if idle or any(not primitive.slot.idle for primitive in segment.primitives):
            lines += _segment(view, segment, idle)
        else:
            quiet += 1
    if quiet:
        lines.append(f"{quiet} segments in which nothing is held or waited for (--all shows them)")
    lines += [f"process {pid}: {why}" for pid, why in sorted(view.refused.items())]
    if not lines:
        return "no process that this user may look at uses a lock of altsem"
    return "\n".join(lines)


def _segment(view: View, segment: Segment, idle: bool) -> Iterator[str]:
    header = segment.header
    where = printable(segment.source)
    yield f"segment {header.id[:12]}  {header.backend}, {where}, {header.size} bytes"
    for pid in segment.processes:
        yield f"  used by pid {pid}: {_command(view, pid)}"
    if not header.namespace:
        yield "  used from several PID namespaces: owners cannot be judged"
    shown = [one for one in segment.primitives if idle or not one.slot.idle]
    hidden = len(segment.primitives) - len(shown)
    for primitive in shown:
        yield from _primitive(view, primitive)
    if hidden:
        yield f"  {hidden} more, neither held nor waited for"


def _primitive(view: View, primitive: Primitive) -> Iterator[str]:
    slot = primitive.slot
    what = f"robust {slot.type}" if slot.robust else slot.type
    yield f"  {what} at {slot.number * SLOT_BYTES}: {_state(primitive)}"
    if slot.deaths:
        often = "once" if slot.deaths == 1 else f"{slot.deaths} times"
        yield f"    was taken over {often} from an owner that had died"
    if slot.midway:
        yield "    who holds it, or held it last, is in the middle of something"
    for pid, tid in primitive.waiting:
        yield f"    waits: pid {pid}, thread {tid}: {_command(view, pid)}"
    unseen = slot.waiters - len(primitive.waiting)
    if unseen > 0:
        # Killed while it waited, or in a process that may not be looked into.
        yield f"    waits: {unseen} that cannot be seen (killed ones stay counted)"


def lines_of(view: View, primitive: Primitive) -> list[str]:
    """What is said of one."""
    return list(_primitive(view, primitive))


def _command(view: View, pid: int) -> str:
    command = view.commands.get(pid)
    return "(has ended)" if command is None else printable(command)


def _state(primitive: Primitive) -> str:
    slot = primitive.slot
    if primitive.owner:
        depth = f", {slot.again + 1} times" if slot.again else ""
        return f"held by {primitive.owner}{depth}"
    if slot.held_by_nobody:
        return "held, by nobody in particular"
    return {
        "Semaphore": f"value {slot.value}",
        "Event": "set" if slot.value else "not set",
        "Condition": f"{slot.waiters} wait to be notified",
        "Barrier": f"{slot.waiters} of {slot.value} have come",
    }.get(slot.type, "free")
