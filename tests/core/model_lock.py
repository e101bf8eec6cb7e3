"""The lock of csrc/lock.c and fast.h as a state machine, small enough to visit every state.

A thread is a tuple (place, seen, result, rounds left); a step is what is one atomic access
or one system call in C.  The word is (owner, WOKEN, waiters).  Sleepers are a set: the kernel may
wake any of them.  `Faults` says which liberties are taken, to show that the search finds them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Word(NamedTuple):
    owner: int = 0
    woken: int = 0
    waiters: int = 0

    @property
    def low(self) -> tuple[int, int]:
        return self.owner, self.woken


class Thread(NamedTuple):
    at: str = "try"
    seen: Word = Word()
    result: int = 0  # the sleep ended by a time-out or signal
    rounds: int = 1


class State(NamedTuple):
    word: Word
    asleep: frozenset[int]
    threads: tuple[Thread, ...]
    signals: int  # how many sleeps may still be interrupted


@dataclass(frozen=True)
class Faults:
    sleeps_on_owner_only: bool = False  # the kernel does not compare WOKEN
    keeps_woken: bool = False  # goes to sleep without taking WOKEN away
    announces_late: bool = False  # sleeps without having announced itself
    takes_without_looking: bool = False  # does not compare the word when it takes the lock


def steps(state: State, faults: Faults) -> Iterator[State]:
    for number, thread in enumerate(state.threads):
        if number not in state.asleep and thread.at != "done":
            yield from step(state, number + 1, faults)
    for number in state.asleep:
        if state.signals:
            yield wake(state, number, 1)._replace(signals=state.signals - 1)


def put(state: State, me: int, word: Word | None = None, **change: object) -> State:
    threads = list(state.threads)
    threads[me - 1] = threads[me - 1]._replace(**change)  # type: ignore[arg-type]
    return state._replace(threads=tuple(threads), word=state.word if word is None else word)


def wake(state: State, number: int, result: int) -> State:
    state = state._replace(asleep=state.asleep - {number})
    return put(state, number + 1, at="slept", result=result)


def step(state: State, me: int, faults: Faults) -> Iterator[State]:
    thread, word = state.threads[me - 1], state.word
    seen = thread.seen
    match thread.at:
        case "try":
            if word.owner == 0:
                yield put(state, me, word._replace(owner=me), at="hold")
            else:
                yield put(state, me, at="announce")
        case "announce":
            new = word if faults.announces_late else word._replace(waiters=word.waiters + 1)
            yield put(state, me, new, at="take", seen=new)
        case "take":
            if seen.owner != 0:
                yield put(state, me, at="load")
            elif word != seen and not faults.takes_without_looking:
                yield put(state, me, seen=word)
            else:
                waiters = max(word.waiters - 1, 0)
                yield put(state, me, Word(me, 0, waiters), at="hold", result=0)
        case "load":
            yield put(state, me, seen=word, at="take" if word.owner == 0 else "prepare")
        case "prepare":
            woken = seen.woken if faults.keeps_woken else 0
            new = Word(seen.owner, woken, seen.waiters - thread.result)
            if new != seen and word != seen:
                yield put(state, me, seen=word, at="take")
            elif thread.result:
                yield put(state, me, new, at="done")
            else:
                yield put(state, me, new if new != seen else word, seen=new, at="sleep")
        case "sleep":
            same = word.low == seen.low
            if faults.sleeps_on_owner_only:
                same = word.owner == seen.owner
            if same:
                yield put(state, me)._replace(asleep=state.asleep | {me - 1})
            else:
                yield put(state, me, at="slept")
        case "slept":
            yield put(state, me, seen=word, at="take")
        case "hold":
            yield put(state, me, seen=word, at="release")
        case "release":
            if word != seen:
                yield put(state, me, seen=word)
                return
            new = Word(0, 1, word.waiters) if word.waiters else Word()
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


def violations(threads: int, rounds: int, signals: int, faults: Faults) -> tuple[int, list[str]]:
    """Visits every state: how many there are, and what is wrong with them."""
    start = State(Word(), frozenset(), (Thread(rounds=rounds),) * threads, signals)
    known, todo, wrong = {start}, [start], []
    while todo:
        state = todo.pop()
        if sum(thread.at in ("hold", "release") for thread in state.threads) > 1:
            wrong.append(f"two inside: {state}")
        following = list(steps(state, faults))
        # An interruption must not be what saves the sleepers.
        if state.asleep and all(after.signals < state.signals for after in following):
            wrong.append(f"asleep, and nobody left to wake: {state}")
        for each in following:
            if each not in known:
                known.add(each)
                todo.append(each)
    return len(known), wrong
