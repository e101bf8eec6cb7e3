"""The wait queue of csrc/primitives/cond.c, step by step, to be searched through (search.py).

The functions have the names and the order of those in C; `yield` stands before every access to the
slot.  The caller's lock is part of the world; if its owner is killed, somebody releases it.
`Faults` says which liberties are taken, to show that the search finds them out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .search import Choice, Run, Steps, search

ALL = 99


@dataclass(frozen=True)
class Faults:
    tokens_first: bool = False  # notify: the token before the count
    word_read_late: bool = False  # take_notification: `current` before the word
    closes_not: bool = False  # the next group becomes current while members may leave it
    tokens_without_group: bool = False  # a token is taken whatever group the word names
    leaves_without_looking: bool = False  # a notification that came is not taken along
    blind_leave: bool = False  # takes itself off the count by a store, not by a swap
    goes_only_with_token: bool = False  # a group that has run out does not let its members go


@dataclass
class Queue:
    """The slot, the lock, and what has happened."""

    faults: Faults = Faults()
    kills: int = 0
    timeouts: int = 0
    slices: bool = False
    current: tuple[int, int] = (0, 0)
    joining: tuple[int, int, bool] = (1, 0, False)
    words: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0), (0, 0)])
    lock: int | None = None
    asleep: dict[int, int] = field(default_factory=dict)  # thread -> which word
    tickets: dict[int, int] = field(default_factory=dict)
    timed_out: set[int] = field(default_factory=set)
    entered: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)  # per notification: how many had entered
    notified: list[int] = field(default_factory=list)  # in order of going
    victims: frozenset[int] = frozenset()  # who may be killed
    dead: list[int] = field(default_factory=list)

    def key(self) -> Hashable:
        return (
            self.current, self.joining, tuple(self.words), self.lock, tuple(self.asleep.items()),
            tuple(sorted(self.timed_out)), tuple(self.entered), tuple(self.given),
            tuple(self.notified), self.kills, self.timeouts, tuple(self.dead),
        )  # fmt: skip

    # --- what can happen --------------------------------------------------------------------------

    def choices(self, run: Run) -> Iterator[Choice]:
        awake = False
        for me, thread in enumerate(run.threads):
            if thread is None:
                continue
            if self.kills and me in self.victims:
                yield "kill", me
            if me in self.asleep:
                if self.timeouts:
                    yield "time out", me
            elif self.may_step(me, thread):
                awake = True
                yield "step", me
        # Slices end one after the other when nothing else happens: they must not be what is needed
        # where nobody was killed, so they are had in the worlds with kills only.
        if not awake and self.slices:
            for me in self.asleep:
                if self.could_go(me, run):
                    yield "slice", me

    def happen(self, run: Run, choice: Choice) -> None:
        what, me = choice
        if what == "step":
            run.step(me)
        elif what == "kill":
            run.kill(me)
            self.kills -= 1
            self.dead.append(me)
            self.asleep.pop(me, None)
            if self.lock == me:
                self.lock = None
        else:
            if what == "time out":
                self.timeouts -= 1
                self.timed_out.add(me)
            del self.asleep[me]
            run.step(me)

    def may_step(self, me: int, thread: Any) -> bool:
        doing = innermost(thread)
        if doing == "take_lock":
            return self.lock in (None, me)
        return doing != "mourn" or bool(self.dead)

    def could_go(self, me: int, run: Run) -> bool:
        """Whether a look would let the sleeper go."""
        ticket = self.tickets[me]
        group, waiting = self.current
        tokens = self.words[ticket % 2]
        return group > ticket or (
            group == ticket and (waiting == 0 or (tokens[0] == ticket and tokens[1] > 0))
        )

    def wake(self, which: int, n: int) -> None:
        """In order of arrival; sleepers of the other word are not touched."""
        for me in [me for me, at in self.asleep.items() if at == which][:n]:
            del self.asleep[me]


def innermost(thread: Any) -> str:
    """What a thread is doing."""
    while thread.gi_yieldfrom is not None:
        thread = thread.gi_yieldfrom
    return str(thread.gi_code.co_name)


# --- cond.c ---------------------------------------------------------------------------------------


def take_lock(world: Queue, me: int) -> Steps:
    yield
    assert world.lock is None
    world.lock = me


def swap(world: Queue, name: str, seen: Any, new: Any) -> bool:
    if getattr(world, name) != seen:
        return False
    setattr(world, name, new)
    return True


def get_joining(world: Queue) -> Steps:
    while True:
        yield
        joining = world.joining
        if not joining[2]:
            return joining
        group, members, _ = joining
        yield
        swap(world, "current", (group - 1, 0), (group, members))
        yield
        swap(world, "joining", joining, (group + 1, 0, False))


def enter(world: Queue, me: int) -> Steps:
    while True:
        joining = yield from get_joining(world)
        group, members, _ = joining
        yield
        if swap(world, "joining", joining, (group, members + 1, False)):
            world.entered.append(me)
            return group


def take_notification(world: Queue, ticket: int) -> Steps:
    """None: notified; else what to sleep on."""
    which = ticket % 2
    if world.faults.word_read_late:
        yield
        current = world.current
        yield
        seen = world.words[which]
    else:
        yield
        seen = world.words[which]
        yield
        current = world.current
    while True:
        group, waiting = current
        if group > ticket:
            return None
        if group != ticket:
            return seen
        if waiting == 0 and not world.faults.goes_only_with_token:
            return None
        if seen[1] == 0 or (seen[0] != ticket and not world.faults.tokens_without_group):
            return seen
        yield
        if world.words[which] == seen:
            world.words[which] = (seen[0], seen[1] - 1)
            return None
        seen = world.words[which]
        yield
        current = world.current


def leave(world: Queue, ticket: int) -> Steps:
    """Whether a notification had come."""
    while True:
        joining = yield from get_joining(world)
        yield
        current = world.current
        if not world.faults.leaves_without_looking and (
            (yield from take_notification(world, ticket)) is None
        ):
            return True
        yield
        if current[0] == ticket:
            if world.faults.blind_leave:
                world.current = (current[0], current[1] - 1)
                return False
            if swap(world, "current", current, (ticket, current[1] - 1)):
                return False
        elif joining[0] == ticket and joining[1] != 0:
            if swap(world, "joining", joining, (ticket, joining[1] - 1, False)):
                return False
        else:
            return False


def add_tokens(world: Queue, group: int, n: int) -> Steps:
    which = group % 2
    yield
    seen = world.words[which]
    while True:
        if seen[0] > group:
            return
        yield
        if world.words[which] == seen:
            world.words[which] = (group, seen[1] + n if seen[0] == group else n)
            return
        seen = world.words[which]


def close(world: Queue, joining: tuple[int, int, bool]) -> Steps:
    group, members, _ = joining
    yield
    if not world.faults.closes_not:
        swap(world, "joining", joining, (group, members, True))
        return
    world.current = (group, members)
    yield
    world.joining = (group + 1, 0, False)


def notify(world: Queue, n: int) -> Steps:
    done = 0
    while done < n:
        joining = yield from get_joining(world)
        yield
        current = world.current
        group, waiting = current
        now = min(n - done, waiting)
        if waiting == 0:
            if joining[1] == 0:
                break
            yield from close(world, joining)
        elif world.faults.tokens_first:
            yield from add_tokens(world, group, now)
            yield
            world.current = (group, world.current[1] - now)
            yield
            world.wake(group % 2, now)
            done += now
        else:
            yield
            if swap(world, "current", current, (group, waiting - now)):
                yield from add_tokens(world, group, now)
                yield
                world.wake(group % 2, now)
                done += now
    return done


# --- who does what --------------------------------------------------------------------------------


def waiter(world: Queue, me: int) -> Steps:
    yield from take_lock(world, me)
    ticket = yield from enter(world, me)
    world.lock = None
    yield from wait(world, me, ticket)


def early_waiter(world: Queue, me: int) -> Steps:
    """Had entered before the search begins: fewer states, and the later ones are looked at."""
    world.joining = (1, world.joining[1] + 1, False)
    world.entered.append(me)
    yield from wait(world, me, 1)


def wait(world: Queue, me: int, ticket: int) -> Steps:
    world.tickets[me] = ticket
    while True:
        low = yield from take_notification(world, ticket)
        if low is None:
            world.notified.append(me)
            return
        if me in world.timed_out:
            break
        yield
        if world.words[ticket % 2] == low:
            world.asleep[me] = ticket % 2
            yield
    if (yield from leave(world, ticket)):
        world.notified.append(me)


def mourn(world: Queue) -> Steps:
    yield


def notifier(*numbers: int) -> Callable[[Queue, int], Steps]:
    """A survivor begins when somebody has been killed, where that can happen."""

    def work(world: Queue, me: int) -> Steps:
        if world.victims and me not in world.victims:
            yield from mourn(world)
        for n in numbers:
            yield from take_lock(world, me)
            inside = len(world.entered)
            done = yield from notify(world, n)
            world.given += [inside] * done
            world.lock = None

    return work


def wrong(run: Run) -> str | None:
    world: Queue = run.world
    for me in world.asleep:
        if world.could_go(me, run):
            return f"{me} is asleep on a notification"
    if world.victims and not world.dead:
        return None  # the survivors have not begun
    if any(thread is not None for me, thread in enumerate(run.threads) if me not in world.asleep):
        return "stuck"
    if not world.dead and len(world.notified) != len(world.given):
        return f"{len(world.given)} notifications, {len(world.notified)} notified"
    # A notification that a survivor has reported is acted on, though others were killed.
    if len(world.notified) < len(world.given):
        return f"{len(world.given)} notifications, only {len(world.notified)} notified"
    # Never one that came later.
    for moment in range(len(world.entered) + 1):
        late_ones = sum(world.entered.index(me) >= moment for me in world.notified)
        if not world.dead and late_ones > sum(inside > moment for inside in world.given):
            return f"one that came after {moment} others was notified too early"
    return None


def violations(
    *notifications: tuple[int, ...],
    early: int = 0,
    later: int = 0,
    faults: Faults = Faults(),
    **world: Any,
) -> tuple[int, list[str]]:
    """Each tuple is a notifier, and how many it notifies, call by call."""
    crew: list[Any] = [early_waiter] * early + [waiter] * later
    crew += [notifier(*numbers) for numbers in notifications]

    def start() -> Run:
        queue = Queue(faults, **world)
        queue.words = list(queue.words)
        return Run(queue, crew)

    return search(start, wrong)
