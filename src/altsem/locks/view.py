"""The whole view: segments, who has them mapped, what stands in them, who owns and who sleeps."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass, field
from typing import Any

from .._owner import Owner, command, judge
from .processes import Mapping, has_ended, mappings, open_source, pids
from .segments import SLOT_BYTES, Header, NotASegmentError, Slot, read_header, read_slots
from .sleepers import Sleeper, sleepers

SCHEMA = 1


@dataclass(frozen=True)
class Primitive:
    """A slot, with its owner judged and its sleepers, as far as they can be known."""

    slot: Slot
    owner: Owner | None
    waiting: tuple[Sleeper, ...]

    @property
    def name(self) -> str:
        # A BoundedSemaphore(1) is a lock in memory.
        return self.slot.type


@dataclass(frozen=True)
class Segment:
    """A segment and the processes that have it mapped."""

    header: Header
    source: str
    processes: tuple[int, ...]
    primitives: tuple[Primitive, ...]


@dataclass
class View:
    """What was seen.  `refused`: processes of which nothing could be learned, and why."""

    segments: list[Segment] = field(default_factory=list)
    commands: dict[int, str | None] = field(default_factory=dict)
    looked_at: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)

    def held_by_the_dead(self) -> list[Primitive]:
        """The locks whose owner is certainly dead."""
        return [
            primitive
            for segment in self.segments
            for primitive in segment.primitives
            if primitive.owner and primitive.owner.alive is False
        ]

    def json(self, idle: bool) -> dict[str, Any]:
        """As docs/doctor.md describes it; with `idle`, also what nobody holds or waits for."""
        return {
            "schema": SCHEMA,
            "segments": [self._segment(segment, idle) for segment in self.segments],
            "refused": [{"pid": pid, "error": text} for pid, text in sorted(self.refused.items())],
        }

    def _segment(self, segment: Segment, idle: bool) -> dict[str, Any]:
        return {
            "id": segment.header.id,
            "backend": segment.header.backend,
            "bytes": segment.header.size,
            "source": segment.source,
            "judgeable": segment.header.namespace != 0,
            "processes": [
                {"pid": pid, "command": self.commands.get(pid)} for pid in segment.processes
            ],
            "primitives": [
                {
                    "type": primitive.name,
                    "offset": primitive.slot.number * SLOT_BYTES,
                    "value": primitive.slot.value,
                    "held": bool(primitive.slot.thread) or primitive.slot.held_by_nobody,
                    "owner": primitive.owner
                    and {**primitive.owner._asdict(), "state": primitive.owner.state},
                    "robust": primitive.slot.robust,
                    "deaths": primitive.slot.deaths,
                    "waiters": primitive.slot.waiters,
                    "waiting": [
                        {"pid": pid, "tid": tid, "command": self.commands.get(pid)}
                        for pid, tid in primitive.waiting
                    ],
                }
                for primitive in segment.primitives
                if idle or not primitive.slot.idle
            ],
        }


def look(only: set[int]) -> View:
    """Looks at every process, and keeps the segments that one of `only` uses (empty: all)."""
    view = View()
    by_file: dict[tuple[str, int], list[Mapping]] = {}
    for pid in sorted({*pids(), *only}):
        try:
            found = mappings(pid)
        except OSError as error:
            # Processes of others are not to be looked at, and nobody asked for them.
            if pid in only:
                view.refused[pid] = (
                    os.strerror(errno.ESRCH) if has_ended(pid) else error.strerror or str(error)
                )
            continue
        view.looked_at.add(pid)
        for mapping in found:
            by_file.setdefault((mapping.device, mapping.inode), []).append(mapping)
    for users in by_file.values():
        if not only or any(mapping.pid in only for mapping in users):
            _add(view, users, only)
    return view


def _add(view: View, users: list[Mapping], only: set[int]) -> None:
    """Adds the segment that these processes have mapped, if it is one and can be read.

    That a process has ended meanwhile is no news, unless it is one of `only`.
    """
    error: Exception | None = None
    for mapping in users:
        try:
            source = open_source(mapping)
        except OSError as refused:
            error = refused
            continue
        with contextlib.closing(source):
            try:
                header = read_header(source)
                slots = read_slots(source, header)
            except NotASegmentError:
                return
            except OSError as gone:
                error = gone
                continue
        processes = tuple(sorted({user.pid for user in users}))
        for pid in processes:
            view.commands.setdefault(pid, command(pid))
        waiters = sum(slot.waiters for slot in slots)
        asleep = sleepers(users, waiters) if waiters else {}
        view.segments.append(
            Segment(
                header,
                users[0].path.removesuffix(" (deleted)"),
                processes,
                tuple(_primitive(slot, header, asleep) for slot in slots),
            )
        )
        return
    for pid in {mapping.pid for mapping in users}:
        if not has_ended(pid):
            view.refused.setdefault(pid, str(error))
        elif pid in only:
            view.looked_at.discard(pid)
            view.refused[pid] = os.strerror(errno.ESRCH)


def _primitive(slot: Slot, header: Header, asleep: dict[int, set[Sleeper]]) -> Primitive:
    owner = judge(slot.thread, slot.holder, header.namespace) if slot.thread else None
    return Primitive(slot, owner, tuple(sorted(asleep.get(slot.number, ()))))
