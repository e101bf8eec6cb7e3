"""Visits every state that a few threads can reach, when each is a generator that yields before
every access to what they share.

A state is what the world's key says, and where each thread stands with which local variables.
Generators cannot be copied, so a state is reached again by taking the same steps from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from types import FrameType, GeneratorType
from typing import Any, Protocol

Steps = Generator[None, None, Any]
Choice = tuple[str, int]  # what happens, and to which thread


class World(Protocol):
    def key(self) -> Hashable: ...
    def choices(self, run: Run) -> Iterable[Choice]:
        """What can happen now."""

    def happen(self, run: Run, choice: Choice) -> None: ...


class Run:
    """One way through: the threads, and how far they have come."""

    def __init__(self, world: Any, threads: Iterable[Callable[[Any, int], Steps]]) -> None:
        self.world = world
        self.threads: list[Steps | None] = [work(world, me) for me, work in enumerate(threads)]
        for me in range(len(self.threads)):
            self.step(me)

    def step(self, me: int) -> None:
        thread = self.threads[me]
        assert thread is not None
        try:
            next(thread)
        except StopIteration:
            self.threads[me] = None

    def kill(self, me: int) -> None:
        """It takes no further step; closing it would run what a killed thread does not."""
        self.threads[me] = None

    def key(self) -> Hashable:
        return self.world.key(), tuple(place(thread) for thread in self.threads)


def place(thread: Any) -> Hashable:
    """Where a generator stands, and the generators it waits for."""
    found = []
    while isinstance(thread, GeneratorType):
        frame: FrameType | None = thread.gi_frame
        if frame is None:
            break
        values = tuple((k, v) for k, v in frame.f_locals.items() if k not in ("world", "self"))
        found.append((frame.f_code.co_name, frame.f_lasti, values))
        thread = thread.gi_yieldfrom
    return tuple(found)


def without_a_way_out(
    known: set[Any], before: Mapping[Any, Iterable[Any]], finished: Iterable[Any]
) -> set[Any]:
    """Those of the known states from which none that is finished can be reached.  `before` has the
    states from which each is one step away."""
    todo = list(finished)
    good = set(todo)
    while todo:
        for each in before.get(todo.pop(), ()):
            if each not in good:
                good.add(each)
                todo.append(each)
    return known - good


def search(
    start: Callable[[], Run], wrong: Callable[[Run], str | None], most: int = 2_000_000
) -> tuple[int, list[str]]:
    """Visits all states; how many there are, and what is wrong with those where nothing more can
    happen."""
    known: set[Hashable] = set()
    faults: list[str] = []
    todo: list[tuple[Choice, ...]] = [()]
    while todo and len(faults) < 5:
        path = todo.pop()
        run = start()
        for choice in path:
            run.world.happen(run, choice)
        while (key := run.key()) not in known:
            known.add(key)
            assert len(known) < most, "too many states"
            choices = list(run.world.choices(run))
            if not choices:
                fault = wrong(run)
                if fault:
                    faults.append(f"{fault} after {path}")
                break
            todo += [(*path, other) for other in choices[1:]]
            path = (*path, choices[0])
            run.world.happen(run, choices[0])
    return len(known), faults
