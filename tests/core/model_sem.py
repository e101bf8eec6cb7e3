"""The semaphore of csrc/sem.c and fast.h as a state machine, small enough to visit every state.

A step is one atomic access or one system call in C; what a thread does by itself goes with the step
before.  The word is (value, waiters, HUNGRY).  Time is not modelled: whoever has slept may be
starving or not, and a short sleep may end at any moment.  The kernel may wake any sleeper.  Threads
can be killed anywhere, and any sleep may end by itself (a slice, a signal): the waiter then leaves,
and comes back.  Threads that do the same are interchangeable, and kept sorted: fewer states to
visit.  `Faults` says which liberties are taken, to show that the search finds them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .search import without_a_way_out


class Word(NamedTuple):
    value: int
    waiters: int = 0
    hungry: int = 0

    def takeable(self, slept: int) -> bool:
        return self.value > (self.hungry and not slept and self.waiters > 0)

    def without_waiter(self) -> Word:
        return self._replace(waiters=max(self.waiters - 1, 0))


class Thread(NamedTuple):
    at: str
    posts: int = 0  # how often it still posts; 0: a taker
    seen: Word = Word(0)  # only while it matters
    result: int = 0  # the sleep ended by itself
    slept: int = 0


class State(NamedTuple):
    word: Word
    threads: tuple[Thread, ...]
    posted: int = 0
    taken: int = 0
    kills: int = 0  # how many may still be killed
    stranded: bool = False  # one was killed between its wake and its next look
    gone: bool = False  # whoever took the last token has freed the slot
    touched: bool = False  # somebody touched it after that
    barged: bool = False  # one that had not slept took the token that is reserved


@dataclass(frozen=True)
class Faults:
    announces_not: bool = False  # sleeps without having announced itself
    wakes_only_from_zero: bool = False  # two posts before the first waiter runs: one wake
    sleeps_without_comparing: bool = False
    reads_waiters_later: bool = False  # not in the step that publishes the token
    repairs_the_count: bool = False  # a wake that found nobody takes a waiter away
    checks_bound_before: bool = False  # not inside the compare-and-swap
    leaves_without_looking: bool = False  # a sleep that ended by itself does not look again
    ignores_reservation: bool = False  # one that has not slept takes what is reserved
    reserves_blindly: bool = False  # does not compare the word when it sets HUNGRY
    sleeps_on_what_was: bool = False  # compares with zero, not with what it has written


@dataclass(frozen=True)
class World:
    takers: int
    posters: tuple[int, ...]  # how often each posts
    bound: int = 9
    value: int = 0
    kills: int = 0
    slices: bool = False
    frees: bool = False  # the taker of the last token frees the slot
    faults: Faults = Faults()

    def start(self) -> State:
        threads = [Thread("try")] * self.takers + [Thread("load", n) for n in self.posters]
        return State(Word(self.value), tuple(sorted(threads)), kills=self.kills)

    def tokens(self) -> int:
        return self.value + sum(self.posters)


ENDS = ("done", "dead")


def put(state: State, me: int, thread: Thread, word: Word | None = None) -> State:
    threads = sorted((*state.threads[:me], thread, *state.threads[me + 1 :]))
    return state._replace(threads=tuple(threads), word=state.word if word is None else word)


def steps(state: State, world: World) -> Iterator[tuple[str, State]]:
    for me, thread in enumerate(state.threads):
        if thread.at in ENDS:
            continue
        if thread.at not in ("asleep", "nap"):
            for after in step(state, me, thread, world):
                touches = state.gone and thread.at not in ("wake", "sleep")
                yield "step", after._replace(touched=True) if touches else after
        elif thread.at == "nap":
            yield "step", put(state, me, Thread("woken", slept=1))
        elif world.slices:
            yield "slice", put(state, me, Thread("woken", result=1, slept=1))
        if state.kills:
            # On its way from a wake to the token, or from the token to the wake.
            strands = thread.at in ("take", "wake", "let", "nap", "reserve") or (
                thread.at == "woken" and not thread.result
            )
            yield (
                "kill",
                put(state, me, Thread("dead"))._replace(
                    kills=state.kills - 1, stranded=state.stranded or strands
                ),
            )


def looks(seen: Word, result: int, slept: int) -> Iterator[Thread]:
    """Only at what was seen: no access."""
    if seen.takeable(slept):
        yield Thread("take", seen=seen, result=result, slept=slept)
    elif result:
        yield Thread("leave")
    elif seen.value:
        yield Thread("let", seen=seen)
    else:
        yield Thread("sleep", seen=Word(0, 0, seen.hungry), slept=slept)
        if slept and not seen.hungry:
            yield Thread("reserve", seen=seen, slept=slept)


def took(state: State, me: int, word: Word, world: World, slept: int = 0) -> State:
    after = put(state, me, Thread("done"), word)._replace(taken=state.taken + 1)
    barged = not slept and state.word.hungry and state.word.waiters and state.word.value == 1
    return after._replace(
        gone=world.frees and after.taken == world.tokens(), barged=state.barged or bool(barged)
    )


def step(state: State, me: int, thread: Thread, world: World) -> Iterator[State]:
    word, seen, faults = state.word, thread.seen, world.faults
    again = Thread("load", thread.posts - 1) if thread.posts > 1 else Thread("done")
    match thread.at:
        # --- altsem_sem_wait
        case "try":
            if word.takeable(faults.ignores_reservation):
                hungry = word.hungry and min(word.waiters, 1)
                yield took(state, me, Word(word.value - 1, word.waiters, hungry), world)
            else:
                yield put(state, me, Thread("announce"))
        case "announce":
            new = word if faults.announces_not else word._replace(waiters=word.waiters + 1)
            for then in looks(new, 0, 0):
                yield put(state, me, then, new)
        case "take":
            if word == seen:
                new = word.without_waiter()
                new = Word(word.value - 1, new.waiters, 0 if thread.slept else new.hungry)
                yield took(state, me, new, world, thread.slept)
            else:
                for then in looks(word, thread.result, thread.slept):
                    yield put(state, me, then)
        case "let":
            asleep = (word.value, word.hungry) == (seen.value, seen.hungry)
            yield put(state, me, Thread("nap") if asleep else Thread("woken", slept=1))
        case "reserve":
            if word == seen or faults.reserves_blindly:
                after = Thread("sleep", seen=Word(0, 0, 1), slept=1)
                yield put(state, me, after, seen._replace(hungry=1))
            else:
                for then in looks(word, 0, 1):
                    yield put(state, me, then)
        case "sleep":
            hungry = 0 if faults.sleeps_on_what_was else seen.hungry
            asleep = (word.value, word.hungry) == (0, hungry) or faults.sleeps_without_comparing
            yield put(state, me, Thread("asleep") if asleep else Thread("woken", slept=1))
        case "woken":
            if faults.leaves_without_looking and thread.result:
                yield put(state, me, Thread("leave"))
            else:
                for then in looks(word, thread.result, thread.slept):
                    yield put(state, me, then)
        case "leave":  # -EINTR; the caller comes back
            yield put(state, me, Thread("try"), word.without_waiter())
        # --- altsem_sem_post
        case "load":
            yield put(state, me, Thread("post", thread.posts, word))
        case "post":
            if seen.value >= world.bound:
                yield put(state, me, Thread("done"))
            elif word != seen and not faults.checks_bound_before:
                yield put(state, me, Thread("post", thread.posts, word))
            else:
                wakes = word.waiters and not (faults.wakes_only_from_zero and word.value)
                after = Thread("wake", thread.posts) if wakes else again
                if faults.reads_waiters_later:
                    after = Thread("later", thread.posts)
                new = word._replace(value=word.value + 1)
                yield put(state, me, after, new)._replace(posted=state.posted + 1)
        case "later":
            yield put(state, me, Thread("wake", thread.posts) if word.waiters else again)
        case "wake":
            sleepers = {
                other.at: n
                for n, other in enumerate(state.threads)
                if other.at in ("asleep", "nap")
            }.values()  # one of a kind is as good as another
            for sleeper in sleepers:
                woken = list(state.threads)
                woken[sleeper] = Thread("woken", slept=1)
                yield put(state._replace(threads=tuple(woken)), me, again)
            if not sleepers:
                repair = Thread("repair", thread.posts)
                yield put(state, me, repair if faults.repairs_the_count else again)
        case "repair":
            yield put(state, me, again, word._replace(waiters=max(word.waiters - 1, 0)))


def search(world: World) -> tuple[int, list[str]]:
    """Visits every state: how many there are, and what is wrong with them."""
    start = world.start()
    known, todo, wrong = {start}, [start], set()
    before: dict[State, list[State]] = {}
    finished = []
    while todo:
        state = todo.pop()
        word = state.word
        if not 0 <= word.value <= world.bound:
            wrong.add("value outside its bounds")
        if word.value != world.value + state.posted - state.taken:
            wrong.add("tokens came or went")
        if state.barged:
            wrong.add("took what was reserved")
        if state.touched:
            wrong.add("touched after it was freed")
        following = list(steps(state, world))
        living = [thread for thread in state.threads if thread.at not in ENDS]
        # Nothing but a slice or a death will happen any more.
        if all(how != "step" for how, _ in following):
            sleepers = sum(thread.at == "asleep" for thread in living)
            if word.value and sleepers and not state.stranded:
                wrong.add("asleep, a token there, nobody to wake")
            if word.waiters < sleepers:
                wrong.add("more asleep than announced")
        if not living or (word.value == 0 and all(t.at == "asleep" for t in living)):
            finished.append(state)
        for _, each in following:
            before.setdefault(each, []).append(state)
            if each not in known:
                known.add(each)
                todo.append(each)
    # Whatever happened, all tokens can still find their takers.
    if world.slices and without_a_way_out(known, before, finished):
        wrong.add("no way out")
    return len(known), sorted(wrong)
