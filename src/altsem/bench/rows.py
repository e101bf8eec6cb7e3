"""What is measured, in which order, and how much of the time each row gets."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..dropin.native import semaphores, words
from .alone import ALTSEM, JOBS, NATIVE, Alone, context
from .contenders import Crowd, Repeated, Trip
from .crew import Crew, PartError
from .rounds import Figures, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from .interrupt import Interrupt
    from .progress import Bar
    from .rounds import Side

MOST_PROCESSES = 32  # in a crowd: each side has its own, and they should be there within seconds


@dataclass(frozen=True)
class Row:
    """A line of the table.  Without `figures`, altsem's side has failed, with `error`; with figures
    that have no peer's, the peer's has.  `extra`: further facts, by name."""

    key: str
    title: str
    peer: str
    figures: Figures | None
    error: str | None = None
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A row to be: how much of the time it gets, how long a round is at most (in seconds), and how
    to open a side of it."""

    key: str
    title: str
    weight: float
    longest: float
    open: Callable[[str, contextlib.ExitStack], Any]
    peer: str = NATIVE


def measure(method: str, cpus: int, seconds: float, interrupt: Interrupt, bar: Bar) -> list[Row]:
    """All rows, in about `seconds`.  Raises Interrupted; CrewError if a child is killed."""
    return _Run(method, seconds, interrupt, bar).rows(cpus)


class _Run:
    def __init__(self, method: str, seconds: float, interrupt: Interrupt, bar: Bar) -> None:
        self._method = method
        self._end = time.monotonic() + seconds
        self._interrupt, self._bar = interrupt, bar
        self._all = self._done = self._weight = 0.0
        self._begun = self._until = 0.0
        self._title = ""
        self._alone: Crew | None = None
        broken = semaphores()
        self._broken = None if broken is None else words(broken)

    def rows(self, cpus: int) -> list[Row]:
        entries = self._entries(cpus)
        self._all = sum(entry.weight for entry in entries)
        try:
            return [self._row(entry) for entry in entries]
        finally:
            # Always in peace: it waits for nobody, and the native semaphores that it has made have
            # names if it was spawned, which it takes with it.
            if self._alone:
                self._alone.end()

    def _entries(self, cpus: int) -> list[Entry]:
        found = [
            Entry(key, job.title, 1.0, 0.005, self._job(key), job.peer) for key, job in JOBS.items()
        ]
        # Where each has a CPU, waking an idle one is most of what sleeping costs; on one CPU nobody
        # can do anything but sleep.
        anywhere = self._trip("Semaphore", None)
        found.append(Entry("ping-pong", "ping-pong of two processes", 1.5, 0.02, anywhere))
        if hasattr(os, "sched_setaffinity") and cpus > 1:
            on_one = self._trip("Semaphore", min(os.sched_getaffinity(0)))
            found.append(Entry("ping-pong-one-cpu", "ping-pong on one CPU", 1.5, 0.02, on_one))
        event = self._trip("Event", None)
        found.append(Entry("event-trip", "Event round trip", 1.5, 0.02, event))
        for count in sorted({2, min(2 * cpus, MOST_PROCESSES)}):
            title = f"{count} processes, one Lock"
            found.append(Entry(f"contended-{count}", title, 2.0, 0.1, self._crowd(count)))
        return found

    # --- opening a side ---------------------------------------------------------------------------

    def _job(self, key: str) -> Callable[[str, contextlib.ExitStack], Side]:
        def open_side(side: str, _: contextlib.ExitStack) -> Side:
            if self._alone is None:
                # One for all the rows: where processes are spawned, each start takes a while.
                ctx = context(ALTSEM, self._method)
                self._alone = Crew(ctx, [(Alone, (self._method,))], self._look)
            crew = self._alone
            return Repeated(lambda n: float(crew.round(key, side, n)[0]))

        return open_side

    def _trip(self, kind: str, cpu: int | None) -> Callable[[str, contextlib.ExitStack], Side]:
        def open_side(side: str, stack: contextlib.ExitStack) -> Side:
            trip = Trip(context(side, self._method), kind, cpu, self._look)
            stack.enter_context(trip.crew)
            return trip

        return open_side

    def _crowd(self, count: int) -> Callable[[str, contextlib.ExitStack], Side]:
        def open_side(side: str, stack: contextlib.ExitStack) -> Side:
            crowd = Crowd(context(side, self._method), count, self._look)
            stack.enter_context(crowd.crew)
            return crowd

        return open_side

    # --- a row ------------------------------------------------------------------------------------

    def _row(self, entry: Entry) -> Row:
        self._title, self._weight = entry.title, entry.weight
        self._begun = time.monotonic()
        # What is left, in parts: a row that took longer takes it from all that follow.
        left = max(0.0, self._end - self._begun)
        budget = left * entry.weight / (self._all - self._done)
        self._until = self._begun + budget
        seconds = max(0.0005, min(entry.longest, budget / 20))
        error = self._broken if entry.peer == NATIVE else None
        try:
            row = self._try(entry, seconds, peer=error is None, error=error)
        except _PeerError as failure:
            row = self._try(entry, seconds, peer=False, error=str(failure))
        self._done += entry.weight
        return row

    def _try(self, entry: Entry, seconds: float, *, peer: bool, error: str | None) -> Row:
        with contextlib.ExitStack() as stack:
            try:
                ours = entry.open(ALTSEM, stack)
                theirs = _Guarded(entry.open, entry.peer, stack) if peer else None
                figures = compare(ours, theirs, seconds, self._until)
            except (OSError, PartError) as failure:
                return Row(entry.key, entry.title, entry.peer, None, words(failure))
            extra = _shares(ours, theirs and theirs.side) if isinstance(ours, Crowd) else {}
            return Row(entry.key, entry.title, entry.peer, figures, error, extra)

    def _look(self) -> None:
        self._interrupt.check()
        now = time.monotonic()
        span = max(self._until - self._begun, 1e-9)
        part = self._weight * min(1.0, (now - self._begun) / span)
        self._bar.show(self._title, (self._done + part) / self._all)


class _PeerError(Exception):
    """It is the peer that does not work."""


class _Guarded:
    """The peer's side, whose errors are told from ours.  Raises _PeerError."""

    def __init__(
        self,
        open_side: Callable[[str, contextlib.ExitStack], Any],
        peer: str,
        stack: contextlib.ExitStack,
    ) -> None:
        try:
            self.side = open_side(peer, stack)
        except (OSError, ImportError, PartError) as error:
            raise _PeerError(words(error)) from None

    def __call__(self, seconds: float) -> float:
        try:
            return float(self.side(seconds))
        except PartError as error:
            raise _PeerError(words(error)) from None


def _shares(ours: Crowd, theirs: Any) -> dict[str, float]:
    found = {"share": ours.share()}
    if theirs:
        found["peer_share"] = theirs.share()
    return found
