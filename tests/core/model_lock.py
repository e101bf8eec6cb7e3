"""The lock of csrc/lock.c and fast.h as a state machine, small enough to visit every state.

A thread is a tuple (place, seen, result, rounds left); a step is what is one atomic access
or one system call in C.  The word is (owner, WOKEN, HUNGRY, waiters).  Sleepers are a set: the
kernel may wake any of them.  Time is not modelled: whoever has slept may be starving or not, and a
short sleep may end at any moment.  In worlds that say so threads are killed, and slices end.
`Faults` says which liberties are taken, to show that the search finds them out.

A robust lock (csrc/primitives/robust.c) is one whose owner may be killed as well, also in the steps
between which it names itself beside the word.  A thread may have the token of an earlier one: it is
born when that one has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .search import without_a_way_out


class Word(NamedTuple):
    owner: int = 0
    woken: int = 0
    waiters: int = 0
    hungry: int = 0
    suspect: int = 0

    @property
    def low(self) -> tuple[int, int, int, int]:
        return self.owner, self.woken, self.hungry, self.suspect

    def takeable(self, slept: int) -> bool:
        return not self.owner and bool(slept or not self.hungry)


class Thread(NamedTuple):
    at: str = "try"
    seen: Word = Word()
    result: int = 0  # the sleep ended by a time-out or signal
    rounds: int = 1
    slept: int = 0
    judged: int = 0  # the one named as the owner when it was judged; 0: nobody was


class State(NamedTuple):
    word: Word
    asleep: frozenset[int]
    threads: tuple[Thread, ...]
    signals: int  # how many sleeps may still be interrupted
    kills: int = 0  # how many may still be killed
    died: int = 0
    barged: bool = False  # one that had not slept took what was reserved
    # Of a robust lock only:
    tokens: tuple[int, ...] = ()  # of each thread
    holder: int = 0  # who is named beside the word
    owner: int = 0  # who took it last, if it was not freed; no step depends on it
    robbed: bool = False  # it was taken over from one that lives

    def token(self, me: int) -> int:
        return self.tokens[me - 1] if self.tokens else me

    def lives(self, me: int) -> bool:
        return self.threads[me - 1].at not in (*ENDS, "unborn")

    def is_proved_dead(self, token: int, holder: int) -> bool:
        if holder:  # of that process no thread may have that number
            return not self.lives(holder) or self.token(holder) != token
        return not any(
            self.lives(me) for me, its in enumerate(self.tokens, start=1) if its == token
        )


@dataclass(frozen=True)
class Faults:
    sleeps_on_owner_only: bool = False  # the kernel does not compare WOKEN
    keeps_woken: bool = False  # goes to sleep without taking WOKEN away
    announces_late: bool = False  # sleeps without having announced itself
    takes_without_looking: bool = False  # does not compare the word when it takes the lock
    ignores_reservation: bool = False  # one that has not slept takes what is reserved
    reserves_blindly: bool = False  # does not compare the word when it sets HUNGRY
    # Of a robust lock only:
    judges_first: bool = False  # sets SUSPECT after it has judged
    keeps_suspect: bool = False  # a release leaves SUSPECT in the word, and who takes it too
    does_not_judge: bool = False  # takes the lock over from anybody
    judges_another: bool = False  # does not look whether the name it has read is of that owner
    leaves_the_name: bool = False  # of the dead one beside the word, when it has taken it over


ENDS = ("done", "dead")


def steps(state: State, faults: Faults) -> Iterator[State]:
    for number, thread in enumerate(state.threads):
        if number not in state.asleep and thread.at not in (*ENDS, "unborn"):
            yield from step(state, number + 1, faults)
        if thread.at == "unborn" and state.is_proved_dead(state.token(number + 1), 0):
            yield put(state, number + 1, at="try")  # its number is free
    for number in state.asleep:
        if state.threads[number].at == "nap":
            yield wake(state, number, 0)  # its limit
        if state.signals:
            yield wake(state, number, 1)._replace(signals=state.signals - 1)
        elif state.died:
            yield wake(state, number, 1)  # a slice
    if state.kills:
        for number, thread in enumerate(state.threads):
            # Not the owner, unless it is robust: that nobody gets its lock is another matter.
            mortal = () if state.tokens else ("hold", "release")
            if thread.at not in (*ENDS, *mortal, "unborn"):
                after = state._replace(
                    asleep=state.asleep - {number}, kills=state.kills - 1, died=1
                )
                yield put(after, number + 1, at="dead")


OUTSIDE = (
    "try", "announce", "name", "hold", "unname", "release", "wake", "again", "unborn", *ENDS,
)  # fmt: skip
USES_SEEN = (
    "take",
    "prepare",
    "let",
    "sleep",
    "release",
    "suspect",
    "judge",
    "named",
    "claim",
    "swap",
)


def put(state: State, me: int, word: Word | None = None, **change: object) -> State:
    """What does not matter any more is forgotten: fewer states to visit."""
    thread = state.threads[me - 1]._replace(**change)  # type: ignore[arg-type]
    if thread.at in OUTSIDE:
        thread = thread._replace(result=0, slept=0, judged=0)
    if thread.at not in USES_SEEN or me - 1 in state.asleep:
        thread = thread._replace(seen=Word())
    threads = (*state.threads[: me - 1], thread, *state.threads[me:])
    return state._replace(threads=threads, word=state.word if word is None else word)


def fall_asleep(state: State, me: int, at: str) -> State:
    return put(state._replace(asleep=state.asleep | {me - 1}), me, at=at)


def wake(state: State, number: int, result: int) -> State:
    state = state._replace(asleep=state.asleep - {number})
    return put(state, number + 1, at="slept", result=result, slept=1)


def taken(state: State, me: int, word: Word, faults: Faults) -> State:
    """It has the lock by a step to that word."""
    suspect = state.word.suspect if faults.keeps_suspect else 0
    after = put(state, me, word._replace(suspect=suspect), at="name" if state.tokens else "hold")
    return after._replace(owner=me if state.tokens else 0)


def step(state: State, me: int, faults: Faults) -> Iterator[State]:
    thread, word = state.threads[me - 1], state.word
    seen = thread.seen
    match thread.at:
        case "try":
            if word.takeable(faults.ignores_reservation):
                after = taken(state, me, word._replace(owner=state.token(me)), faults)
                yield after._replace(barged=state.barged or bool(word.hungry))
            else:
                yield put(state, me, at="announce")
        case "announce":
            new = word if faults.announces_late else word._replace(waiters=word.waiters + 1)
            yield put(state, me, new, at="take", seen=new, slept=0)
        case "take":
            if not seen.takeable(thread.slept):
                yield put(state, me, at="load")
            elif word != seen and not faults.takes_without_looking:
                yield put(state, me, seen=word)
            else:
                waiters = max(word.waiters - 1, 0)
                after = taken(state, me, Word(state.token(me), 0, waiters), faults)
                yield after._replace(barged=state.barged or bool(word.hungry and not thread.slept))
        case "load":
            at = "take" if word.takeable(thread.slept) else "prepare" if word.owner else "let"
            if at == "prepare" and thread.result and state.tokens:
                at = "judge" if faults.judges_first else "suspect"
            yield put(state, me, seen=word, at=at)
        case "let":
            if word.low == seen.low:
                yield fall_asleep(state, me, "nap")
            else:
                yield put(state, me, at="slept", slept=1)
        case "suspect" | "judge" | "named" | "claim" | "look" | "swap":
            yield take_over(state, me, faults)
        case "prepare":
            woken = seen.woken if faults.keeps_woken else 0
            waiters = seen.waiters - thread.result
            kept = seen._replace(woken=woken, waiters=waiters)
            reserved = kept._replace(hungry=1)
            starving = thread.slept and not thread.result
            for new in {kept, reserved} if starving else {kept}:
                blind = faults.reserves_blindly and new == reserved
                if new != seen and word != seen and not blind:
                    yield put(state, me, seen=word, at="take")
                elif thread.result:
                    # The caller comes back, where it is a slice that has ended.
                    at = "try" if state.died else "done"
                    yield put(state, me, new, at=at, result=0, slept=0)
                else:
                    yield put(state, me, new if new != seen else word, seen=new, at="sleep")
        case "sleep":
            same = word.low == seen.low
            if faults.sleeps_on_owner_only:
                same = word.owner == seen.owner
            if same:
                yield fall_asleep(state, me, "sleep")
            else:
                yield put(state, me, at="slept", slept=1)
        case "slept":
            yield put(state, me, seen=word, at="take")
        case "name":
            yield put(state, me, at="hold")._replace(holder=me)
        case "hold":
            at = "unname" if state.tokens else "release"
            yield put(state, me, seen=word, at=at)
        case "unname":
            yield put(state, me, seen=word, at="release")._replace(holder=0)
        case "release":
            if word != seen:
                yield put(state, me, seen=word)
                return
            new = Word(0, 1, word.waiters, word.hungry) if word.waiters else Word()
            if faults.keeps_suspect:
                new = new._replace(suspect=word.suspect)
            state = state._replace(owner=0)
            after = "wake" if word.waiters and not word.woken else "again"
            yield put(state, me, new, at=after)
        case "wake":
            state = put(state, me, at="again")
            if not state.asleep:
                yield state
            for number in state.asleep:
                yield wake(state, number, 0)
        case "again":
            left = thread.rounds - 1
            yield put(state, me, at="try" if left else "done", rounds=left)


def take_over(state: State, me: int, faults: Faults) -> State:
    """The steps (a) to (d) of robust.c, by one whose slice has ended.  `seen` is the word with the
    owner that it suspects."""
    thread, word = state.threads[me - 1], state.word
    seen = thread.seen
    refused = put(state, me, at="prepare", seen=word)
    still = word.owner == seen.owner
    if thread.at == "suspect":
        if not still:
            return put(state, me, at="take", seen=word)
        after = "claim" if faults.judges_first else "judge"
        return put(state, me, word._replace(suspect=1), at=after)
    if thread.at == "judge":
        return put(state, me, at="named", judged=state.holder)
    if thread.at == "named":
        holder = thread.judged
        blind = faults.judges_another or faults.judges_first
        if not ((still and word.suspect) or blind):
            return put(state, me, at="take", seen=word, judged=0)
        if not (state.is_proved_dead(seen.owner, holder) or faults.does_not_judge):
            return refused if word.owner else put(state, me, at="take", seen=word)
        return put(state, me, at="suspect" if faults.judges_first else "claim", judged=holder)
    if thread.at == "claim":
        if not thread.judged or faults.leaves_the_name:
            return put(state, me, at="swap", seen=word._replace(owner=seen.owner))
        if state.holder != thread.judged:
            return put(state, me, at="take", seen=word)
        after = put(state, me, at="swap", seen=word._replace(owner=seen.owner), judged=0)
        return after._replace(holder=0)
    # The look at `holder` before the step, and the step.
    named = state.holder and not faults.leaves_the_name
    if not still or not word.suspect or named or word != seen:
        at = "swap" if still and word.suspect and not named else "take"
        return put(state, me, at=at, seen=word)
    robbed = state.robbed or bool(state.owner and state.lives(state.owner))
    after = taken(state, me, Word(state.token(me), 0, word.waiters - 1), faults)
    return after._replace(robbed=robbed)


def violations(
    threads: int,
    rounds: int,
    signals: int,
    faults: Faults,
    kills: int = 0,
    tokens: tuple[int, ...] = (),
) -> tuple[int, list[str]]:
    """Visits every state: how many there are, and what is wrong with them.

    Where one is killed, slices end from then on, and whatever happened, all others can still get
    through.  Otherwise nobody is left asleep.  `tokens`: of a robust lock's threads.  If one has
    the number of another, it is too much to ask that it gets through: whom it may be is not dead.
    """
    people = tuple(
        Thread("unborn" if token in tokens[:number] else "try", rounds=rounds)
        for number, token in enumerate(tokens or range(1, threads + 1))
    )
    start = State(Word(), frozenset(), people, signals, kills, tokens=tokens)
    apart = len(set(tokens)) == len(tokens)
    known, todo, wrong = {start}, [start], []
    before: dict[State, list[State]] = {}
    finished = []
    while todo:
        state = todo.pop()
        if sum(thread.at in ("hold", "unname", "release") for thread in state.threads) > 1:
            wrong.append(f"two inside: {state}")
        if state.robbed:
            wrong.append(f"robbed one that lives: {state}")
        if tokens and state.holder == 0 and any(t.at == "hold" for t in state.threads):
            wrong.append(f"took the name of one that lives: {state}")
        if state.barged:
            wrong.append(f"took what was reserved: {state}")
        if all(thread.at in ENDS for thread in state.threads):
            finished.append(state)
        following = list(steps(state, faults))
        # An interruption or a death must not be what saves the sleepers.
        if (
            not tokens
            and state.asleep
            and all(
                (after.signals, after.kills) < (state.signals, state.kills) for after in following
            )
        ):
            wrong.append(f"asleep, and nobody left to wake: {state}")
        for each in following:
            if kills:
                before.setdefault(each, []).append(state)
            if each not in known:
                known.add(each)
                todo.append(each)
    if kills and apart:
        wrong += [f"no way out: {state}" for state in without_a_way_out(known, before, finished)]
    return len(known), wrong
