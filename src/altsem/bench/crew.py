"""Child processes that do rounds of work together, when they are told to.

A child may be killed at any time, by anybody, and the others of its crew then wait for it for ever.
Here nobody does: this process waits only for pipes and for the ends of processes, never for longer
than PATIENCE.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import connection, resource_tracker
from typing import TYPE_CHECKING, Any

from ..dropin import native
from .interrupt import held_back

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    # What to call in the child, and with what; its value is called for each round.
    Part = tuple[Callable[..., Any], tuple[Any, ...]]

PATIENCE = 30.0  # seconds: far more than any start or round takes, even on a busy machine
LOOK = 0.1  # seconds between two looks at whether to go on
GRACE = 1.0  # seconds for a child to end by itself


class CrewError(Exception):
    """A child was killed, or does not answer."""


class PartError(Exception):
    """What a child does raises an error here."""


class Crew:
    """As many children as there are `parts`.  `look` is called several times a second while they
    are waited for, and may raise.

    Raises OSError if a child cannot be started; CrewError; PartError.
    """

    def __init__(self, ctx: Any, parts: Sequence[Part], look: Callable[[], None]) -> None:
        self._look = look
        self._children: list[Any] = []
        self._orders: list[Any] = []
        self._answers: list[Any] = []
        try:
            for part in parts:
                self._start(ctx, part)
            self._gather(PATIENCE)
        except BaseException:
            self.end(at_once=True)
            raise

    def _start(self, ctx: Any, part: Part) -> None:
        if ctx.get_start_method() != "fork":
            # It would permit the signal again, once it is running.
            resource_tracker.ensure_running()
        # One-way pipes: what is a pair of sockets otherwise may be forbidden.
        ours, theirs = [], []
        try:
            orders, order = connection.Pipe(duplex=False)
            theirs.append(orders)
            ours.append(order)
            answer, answers = connection.Pipe(duplex=False)
            theirs.append(answers)
            ours.append(answer)
            child = ctx.Process(target=_serve, args=(orders, answers, *part), daemon=True)
            with held_back():
                child.start()
        except BaseException:
            for end in ours:
                end.close()
            raise
        finally:
            for end in theirs:
                end.close()
        self._children.append(child)
        self._orders.append(order)
        self._answers.append(answer)

    def round(self, *order: object, limit: float = PATIENCE) -> list[Any]:
        """What each child answers to the order.  A PartError is that of the first who has one; a
        crew of more than one is of no use any more then."""
        for pipe in self._orders:
            with contextlib.suppress(OSError):  # it is dead, as the next step finds out
                pipe.send(order)
        return self._gather(limit)

    def _gather(self, limit: float) -> list[Any]:
        deadline = time.monotonic() + limit
        missing: dict[Any, int] = {pipe: number for number, pipe in enumerate(self._answers)}
        ends: dict[Any, int] = {
            child.sentinel: number for number, child in enumerate(self._children)
        }
        found: list[Any] = [None] * len(missing)
        while missing:
            ready = connection.wait([*missing, *ends], LOOK)
            pipe: Any
            for pipe in [pipe for pipe in ready if pipe in missing]:
                number = missing.pop(pipe)
                try:
                    done, value = pipe.recv()
                except (EOFError, OSError):
                    raise self._death(number) from None
                if not done:
                    raise PartError(value)
                found[number] = value
            for sentinel in ready:
                if sentinel in ends:
                    raise self._death(ends[sentinel])
            self._look()
            if missing and time.monotonic() > deadline:
                silent = self._children[min(missing.values())].pid
                raise CrewError(f"process {silent} has not answered for {limit:.0f} s")
        return found

    def _death(self, number: int) -> CrewError:
        child = self._children[number]
        child.join(GRACE)
        code = child.exitcode
        how = f"ended with status {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                how = f"was killed by {signal.Signals(-code).name}"
        return CrewError(f"process {child.pid}, which was being measured, {how}")

    def end(self, *, at_once: bool = False) -> None:
        """Nobody is left afterwards.  `at_once`: they may be waiting for one another."""
        for pipe in self._orders:
            if not at_once:
                with contextlib.suppress(OSError):
                    pipe.send(None)
            pipe.close()
        deadline = time.monotonic() + GRACE
        for child in self._children:
            if not at_once:
                child.join(max(0.0, deadline - time.monotonic()))
            child.kill()
        for child in self._children:
            child.join(GRACE)
            # One that is still not gone is in the kernel's hands.
            with contextlib.suppress(ValueError):
                child.close()
        for pipe in self._answers:
            pipe.close()
        self._children, self._orders, self._answers = [], [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end(at_once=kind is not None)


def stop_helpers() -> None:
    """The process that multiprocessing keeps would outlive this one by a moment."""
    tracker: Any = resource_tracker._resource_tracker
    if getattr(tracker, "_pid", None) is not None:
        # An exception may have left native semaphores in a cycle; they have names if processes are
        # spawned, and the helper is told when they go.
        gc.collect()
        with contextlib.suppress(Exception):
            tracker._stop()


# --- in the child ---------------------------------------------------------------------------------


def _serve(orders: Any, answers: Any, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        try:
            part = make(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            answers.send((False, native.words(error)))
            return
        answers.send((True, None))
        while (order := orders.recv()) is not None:
            try:
                answer = True, part(*order)
            except Exception as error:  # noqa: BLE001
                answer = False, native.words(error)
            answers.send(answer)


def _end_with_parent() -> None:
    """However that ends: a child may be waiting for a lock that nobody will release."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)
