"""The rendezvous of a fixed number of parties."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core import sandbox
from core.crew import Child, Crew, state_of, until
from core.kit import (
    BARRIER,
    EAGAIN,
    EINTR,
    EINVAL,
    EPIPE,
    ETIMEDOUT,
    FOREVER,
    NOW,
    OK,
    PAST,
    Kit,
    Thing,
)

ACTION, NO_ACTION = 1, 0


def arrive(barrier: Thing, deadline: int = FOREVER, to_act: int = ACTION) -> tuple[int, int, int]:
    """The answer, the index, the generation."""
    index, generation = barrier.kit.out("uint32_t"), barrier.kit.out("uint32_t")
    answer = barrier.persist("barrier_arrive", to_act, deadline, index, generation)
    return answer, index[0], generation[0]


def party(barrier: Thing, deadline: int = FOREVER, to_act: int = NO_ACTION) -> int:
    """What a binding does: the index, or the error."""
    answer = EAGAIN
    while answer == EAGAIN:
        answer, index, generation = arrive(barrier, FOREVER, to_act)
        if answer == 1:
            answer = barrier.barrier_trip(generation) if to_act else OK
        elif answer == OK:
            answer = barrier.persist("barrier_wait", generation, deadline)
    return int(answer or index)


# --- against a model ------------------------------------------------------------------------------


@dataclass
class Person:
    """One that has arrived."""

    here: int  # its generation, as the barrier numbers it
    then: int  # as the model does
    index: int
    is_last: bool = False
    gone: bool = False


@dataclass
class Gathering:
    """What a barrier must do.  Every generation is an object, and keeps how it ended for ever."""

    parties: int
    broken: bool = False
    present: int = 0
    full: bool = False
    how: dict[int, str] = field(default_factory=dict)  # generation -> how it ended
    now: int = 0

    def end(self, how: str, *, broken: bool = False) -> None:
        self.how[self.now] = how
        self.now += 1
        self.present = 0
        self.full = False
        self.broken = broken


STEPS = (
    "arrive", "wait first", "wait last", "wait all", "trip", "fail", "withdraw first",
    "withdraw last", "abort", "reset",
)  # fmt: skip


def run_against_model(barrier: Thing, parties: int, to_act: int, steps: tuple[str, ...]) -> None:
    """`wait` has a deadline that has passed: it answers, or breaks the barrier."""
    model = Gathering(parties)
    people: list[Person] = []
    for step in steps:
        what, _, which = step.partition(" ")
        if what == "arrive":
            answer, index, generation = arrive(barrier, NOW, to_act)
            if model.broken:
                assert answer == EPIPE, steps
            elif model.full:
                assert answer == ETIMEDOUT, steps
            else:
                is_last = model.present + 1 == parties
                assert (answer, index) == (int(is_last), model.present), steps
                people.append(Person(generation, model.now, index, is_last))
                model.present += 1
                model.full = is_last
                if is_last and not to_act:
                    model.end("tripped")
        elif what in ("trip", "fail"):
            # The last of a generation calls it, which may have ended in the meantime.
            last = next((one for one in reversed(people) if one.is_last), None)
            if not to_act or last is None:
                continue
            goes_on = last.then == model.now
            if what == "fail":
                barrier.barrier_fail(last.here)
            else:
                assert barrier.barrier_trip(last.here) == (OK if goes_on else EPIPE), steps
            if goes_on:
                model.end("tripped" if what == "trip" else "broken", broken=what == "fail")
        elif what == "abort":
            barrier.barrier_abort()
            if not model.broken:
                model.end("broken", broken=True)
        elif what == "reset":
            barrier.barrier_reset()
            if model.broken or model.present:
                model.end("broken")
        else:
            waiting = [one for one in people if not one.is_last and not one.gone]
            for one in {"first": waiting[:1], "last": waiting[-1:], "all": waiting}[which]:
                ended = model.how.get(one.then)
                if what == "withdraw":
                    one.gone = True
                    barrier.barrier_withdraw(one.here)
                    if not ended and not model.full:
                        if model.present > 1:
                            model.end("begun anew")
                        else:
                            model.present = 0
                    continue
                if not ended and model.full:
                    continue  # waits for the action, whatever its deadline
                answer = barrier.barrier_wait(one.here, PAST)
                expected = {"tripped": OK, "broken": EPIPE, "begun anew": EAGAIN, None: ETIMEDOUT}
                assert answer == expected[ended], steps
                if not ended:
                    model.end("broken", broken=True)
        assert barrier.barrier_waiting() == (0 if model.full else model.present), steps
        assert barrier.barrier_broken() == model.broken, steps
    # Whoever passes has an index that no other of its generation has.
    passed = [
        (one.then, one.index)
        for one in people
        if model.how.get(one.then) == "tripped" and not one.gone
    ]
    assert len(set(passed)) == len(passed), steps
    assert all(index < parties for _, index in passed), steps


@pytest.mark.limit(60)
@pytest.mark.parametrize("to_act", [ACTION, NO_ACTION])
@pytest.mark.parametrize(("parties", "length"), [(1, 4), (2, 5), (3, 4)])
def test_every_short_sequence_of_calls_does_what_the_model_does(
    kit: Kit, parties: int, length: int, to_act: int
) -> None:
    """Three parties: all that can come after the first two have arrived."""
    steps = STEPS if to_act else tuple(step for step in STEPS if step not in ("trip", "fail"))
    for way in itertools.product(steps, repeat=length):
        barrier = kit.barrier(parties)
        run_against_model(barrier, parties, to_act, ("arrive",) * (parties - 1) + way)
        barrier.free()


def test_many_generations_do_what_the_model_does(kit: Kit) -> None:
    """Numbers of generations wrap at 2^32, of which the half that waiters sleep on has 2^24."""
    for start in (2**24 - 4, 2**32 - 4):
        barrier = kit.barrier(2)
        barrier.poke("word", start << 8)
        barrier.poke("tripped_since", start)
        cycle = ("arrive", "arrive", "wait first", "abort", "wait last", "reset", "arrive", "reset")
        run_against_model(barrier, 2, ACTION, cycle)
        for _ in range(20):
            answers = arrive(barrier), arrive(barrier)
            assert [answer[0] for answer in answers] == [0, 1]
            assert barrier.barrier_trip(answers[1][2]) == OK
            assert barrier.barrier_wait(answers[0][2], NOW) == OK


def trip(barrier: Thing) -> None:
    assert [arrive(barrier, NOW, NO_ACTION)[0] for _ in range(barrier.slot_maxvalue())][-1] == 1


@pytest.mark.parametrize("how", ["tripped", "broken"])
def test_how_a_generation_ended_is_known_four_generations_later(kit: Kit, how: str) -> None:
    barrier = kit.barrier(2)
    _, _, mine = arrive(barrier)
    barrier.barrier_reset() if how == "broken" else arrive(barrier, NOW, NO_ACTION)
    for number in range(3):
        # The opposite of what is asked for.
        if how == "broken":
            trip(barrier)
        else:
            arrive(barrier)
            barrier.barrier_reset()
        assert barrier.barrier_wait(mine, NOW) == (OK if how == "tripped" else EPIPE), number


def test_a_generation_that_tripped_is_known_for_ever_unless_a_later_one_ended_badly(
    kit: Kit,
) -> None:
    """Not the 65536 generations of a number that comes round again, nor what was broken before."""
    barrier = kit.barrier(2)
    barrier.barrier_abort()
    barrier.barrier_reset()
    _, _, mine = arrive(barrier)
    for number in range(70_000):
        assert number == 0 or barrier.barrier_wait(mine, NOW) == OK
        trip(barrier) if number else arrive(barrier, NOW, NO_ACTION)
    arrive(barrier)
    barrier.barrier_reset()
    assert barrier.barrier_wait(mine, NOW) == EPIPE  # it may have been


@pytest.mark.parametrize("how", ["reset", "abort", "timeout", "withdraw"])
def test_a_generation_that_did_not_trip_is_never_taken_for_tripped(kit: Kit, how: str) -> None:
    barrier = kit.barrier(3)
    _, _, mine = arrive(barrier)
    _, _, other = arrive(barrier)
    if how == "timeout":
        assert barrier.barrier_wait(other, PAST) == ETIMEDOUT
    elif how == "withdraw":
        barrier.barrier_withdraw(other)
    else:
        getattr(barrier, f"barrier_{how}")()
    if how in ("abort", "timeout"):
        barrier.barrier_reset()
    answers = set()
    for _ in range(70_000):
        trip(barrier)
        answers.add(barrier.barrier_wait(mine, NOW))
    assert answers == ({EAGAIN, EPIPE} if how == "withdraw" else {EPIPE})


@pytest.mark.parametrize("parties", [0, -1, -(2**63), 2**31, 2**63 - 1])
def test_a_number_of_parties_that_cannot_be_is_refused(kit: Kit, parties: int) -> None:
    assert kit.raw_new(BARRIER, 0, parties) == (EINVAL, None)


def test_as_many_parties_as_there_can_be_threads_can_gather(kit: Kit) -> None:
    most = 2**22
    barrier = kit.barrier(most)
    barrier.poke("word", most - 2 << 40)
    assert (arrive(barrier)[:2], barrier.barrier_waiting()) == ((0, most - 2), most - 1)
    answer, index, generation = arrive(barrier)
    assert (answer, index, barrier.barrier_broken()) == (1, most - 1, 0)
    assert (barrier.barrier_trip(generation), barrier.barrier_waiting()) == (OK, 0)


def test_arrivals_that_cannot_be_counted_are_refused(kit: Kit) -> None:
    barrier = kit.barrier(2**31 - 1)
    barrier.poke("word", 2**23 - 2 << 40)
    assert [arrive(barrier, NOW)[0] for _ in range(3)] == [OK, EAGAIN, EAGAIN]
    assert (barrier.barrier_waiting(), barrier.barrier_broken()) == (2**23 - 1, 0)


# --- asleep ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_act", [ACTION, NO_ACTION])
def test_all_parties_of_all_processes_pass_together_again_and_again(
    kit: Kit, crew: Crew, to_act: int
) -> None:
    """Nobody is a round ahead of those it met; every index is given once a round."""
    parties, rounds = 5, 60
    barrier, here = kit.barrier(parties), [kit.sem() for _ in range(parties)]

    def work(me: int) -> list[int]:
        indexes = []
        for number in range(rounds):
            here[me].poke("holder", number)
            indexes.append(party(barrier, FOREVER, to_act))
            for other in here:
                assert number <= other.peek("holder") <= number + 1
        return indexes

    people = [crew.child(work, me) for me in range(3)]
    people += [crew.task(work, me) for me in range(3, parties)]  # type: ignore[misc]
    for indexes in zip(*(one.result() for one in people), strict=True):
        assert sorted(indexes) == list(range(parties))


@pytest.mark.parametrize("how", ["abort", "reset", "timeout"])
def test_the_end_of_a_generation_wakes_all_who_sleep_in_it(kit: Kit, crew: Crew, how: str) -> None:
    barrier = kit.barrier(4)
    people = [crew.child(kit.telling(party), barrier), crew.task(kit.telling(party), barrier)]
    until(lambda: barrier.barrier_waiting() == 2 and all(one.asleep() for one in people))
    if how == "abort":
        barrier.barrier_abort()
    elif how == "reset":
        barrier.barrier_reset()
    else:
        assert party(barrier, kit.deadline(0.05)) == ETIMEDOUT
    assert kit.woken(*people) == [EPIPE, EPIPE]
    assert barrier.barrier_broken() == (how != "reset")
    if how != "reset":
        assert party(barrier) == EPIPE
        barrier.barrier_reset()
    assert barrier.barrier_waiting() == 0


def test_who_comes_while_the_last_is_busy_waits_for_the_next_generation(
    kit: Kit, crew: Crew
) -> None:
    barrier = kit.barrier(1)
    answer, _, generation = arrive(barrier)
    assert answer == 1
    assert arrive(barrier, kit.deadline(0.01))[0] == ETIMEDOUT
    late = crew.child(kit.telling(arrive), barrier)
    until(late.asleep)
    assert barrier.barrier_trip(generation) == OK
    assert kit.woken(late) == [(1, 0, generation + 1)]


def test_who_comes_while_the_last_is_busy_learns_of_an_abort(kit: Kit, crew: Crew) -> None:
    barrier = kit.barrier(1)
    _, _, generation = arrive(barrier)
    late = crew.child(kit.telling(arrive), barrier)
    until(late.asleep)
    barrier.barrier_abort()
    assert kit.woken(late)[0][0] == EPIPE
    assert barrier.barrier_trip(generation) == EPIPE


def test_a_signal_ends_the_sleep_and_the_party_may_go_or_stay(kit: Kit, crew: Crew) -> None:
    crew.handle(signal.SIGUSR1)
    barrier = kit.barrier(2)
    _, _, generation = arrive(barrier)
    before = barrier.image()
    for _ in range(10):
        task = crew.task(lambda: barrier.barrier_wait(generation, FOREVER))
        until(task.asleep)
        while task.running():
            task.signal(signal.SIGUSR1)
        assert task.result() == EINTR and barrier.image() == before
    barrier.barrier_withdraw(generation)
    assert (barrier.barrier_waiting(), barrier.barrier_broken()) == (0, 0)
    # A whole round without the one who left.
    other = crew.child(party, barrier)
    until(lambda: barrier.barrier_waiting() == 1)
    assert party(barrier) == 1 and other.result() == 0


def test_dead_parties_block_nobody(kit: Kit, crew: Crew) -> None:
    """One that died asleep stays counted: its round goes on when the others have come."""
    barrier = kit.barrier(3)
    dead = crew.child(party, barrier)
    until(lambda: barrier.barrier_waiting() == 1 and dead.asleep())
    dead.kill()
    other = crew.child(kit.telling(party), barrier)
    until(lambda: barrier.barrier_waiting() == 2 and other.asleep())
    assert (party(barrier), kit.woken(other)) == (2, [1])
    # Asleep in a round that is broken, and in one that is reset.
    for end in (barrier.barrier_abort, barrier.barrier_reset):
        dead = crew.child(party, barrier)
        until(lambda d=dead: barrier.barrier_waiting() == 1 and d.asleep())
        dead.kill()
        end()
        barrier.barrier_reset()
        assert (barrier.barrier_waiting(), barrier.barrier_broken()) == (0, 0)
    everybody = [crew.child(party, barrier) for _ in range(3)]
    assert sorted(child.result() for child in everybody) == [0, 1, 2]


def test_a_last_one_that_died_in_its_action_is_overcome_by_a_reset(kit: Kit, crew: Crew) -> None:
    barrier = kit.barrier(2)
    waiting = crew.child(party, barrier)
    until(lambda: barrier.barrier_waiting() == 1)
    dead = crew.child(lambda: (arrive(barrier), signal.pause()))
    until(lambda: barrier.barrier_waiting() == 0)
    dead.kill()
    barrier.barrier_reset()
    assert waiting.result() == EPIPE
    assert (barrier.barrier_waiting(), barrier.barrier_broken()) == (0, 0)


# --- the action -----------------------------------------------------------------------------------


def in_action(barrier: Thing, crew: Crew, others: int) -> Child:
    """A child that is the last to arrive, and stays in its action."""
    until(lambda: barrier.barrier_waiting() == others)
    child = crew.child(lambda: (arrive(barrier), signal.pause()))
    until(lambda: barrier.peek("word") >> 63)
    until(child.asleep)
    return child


def test_a_timeout_during_the_action_breaks_nothing(kit: Kit, crew: Crew) -> None:
    """All have arrived: natively all pass, however long the action takes."""
    barrier = kit.barrier(3)
    _, _, generation = arrive(barrier)
    deadline = kit.deadline(0.05)
    asleep = crew.task(party, barrier, deadline)
    until(lambda: barrier.barrier_waiting() == 2)
    assert arrive(barrier) == (1, 2, generation)
    until(lambda: kit.lib.altsem_clock() > deadline)
    answers = [barrier.barrier_wait(generation, at) for at in (NOW, kit.deadline(0.01))]
    assert answers == [EINTR, EINTR]  # the end of a slice: call again
    broken = barrier.barrier_broken()
    assert barrier.barrier_trip(generation) == OK
    assert (broken, asleep.result()) == (0, 1)
    assert barrier.barrier_wait(generation, NOW) == OK


def test_a_newcomer_whose_time_is_over_breaks_nothing(kit: Kit) -> None:
    barrier = kit.barrier(2)
    _, _, generation = arrive(barrier)
    arrive(barrier)
    before = barrier.image()
    for deadline in (NOW, PAST, kit.deadline(0.02)):
        assert arrive(barrier, deadline)[0] == ETIMEDOUT
        assert barrier.image() == before
    assert barrier.barrier_trip(generation) == OK


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_an_action_that_fails_breaks_no_later_generation(kit: Kit, end: str) -> None:
    barrier = kit.barrier(2)
    arrive(barrier)
    _, _, generation = arrive(barrier)
    getattr(barrier, f"barrier_{end}")()
    barrier.barrier_reset()
    _, _, next_one = arrive(barrier)
    barrier.barrier_fail(generation)
    assert (barrier.barrier_waiting(), barrier.barrier_broken()) == (1, 0)
    assert arrive(barrier, FOREVER, NO_ACTION)[0] == 1
    assert barrier.barrier_wait(next_one, NOW) == OK


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "a zombie"])
def test_the_death_of_the_last_one_in_its_action_breaks_the_generation(
    kit: Kit, crew: Crew, reaped: bool
) -> None:
    """Those who wait are told, and those who come; all within a slice, which they need not call."""
    barrier = kit.barrier(3)
    waiting = [crew.child(party, barrier), crew.task(party, barrier)]
    last = in_action(barrier, crew, 2)
    late = crew.child(party, barrier)
    until(late.asleep)
    last.kill() if reaped else last.signal(signal.SIGKILL)
    answers = [one.result() for one in (*waiting, late)]
    assert answers == [EPIPE] * 3
    assert barrier.barrier_broken() == 1
    barrier.barrier_reset()
    everybody = [crew.child(party, barrier) for _ in range(3)]
    assert sorted(child.result() for child in everybody) == [0, 1, 2]


def test_a_death_is_noticed_at_the_end_of_the_slice_in_which_it_comes(kit: Kit, crew: Crew) -> None:
    """Not only by the next call."""
    for _ in range(20):
        barrier = kit.barrier(2)
        _, _, generation = arrive(barrier)
        last = in_action(barrier, crew, 1)
        began = time.monotonic()
        waiting = crew.task(barrier.barrier_wait, generation, FOREVER)
        until(waiting.asleep)
        last.kill()
        took = time.monotonic() - began
        answer = waiting.result()
        if took < 0.9:  # else the slice may have ended before
            assert answer == EPIPE
            return
    raise AssertionError("never killed within a slice")


@pytest.mark.limit(60)
def test_the_last_one_is_not_taken_for_dead_while_it_is_stopped_or_cannot_be_judged(
    kit: Kit, crew: Crew
) -> None:
    barrier = kit.barrier(2)
    _, _, generation = arrive(barrier)
    last = in_action(barrier, crew, 1)
    last.stop()
    assert barrier.barrier_wait(generation, FOREVER) == EINTR
    last.kill()
    # In a segment that processes of several PID namespaces use, a number proves nothing.
    foreign = kit.header_field(barrier, "foreign")
    foreign[:] = b"\1\0\0\0"
    assert barrier.barrier_wait(generation, FOREVER) == EINTR
    foreign[:] = bytes(4)
    assert barrier.barrier_wait(generation, FOREVER) == EPIPE


def act_in_another_namespace(kit: Kit) -> tuple[int, ...] | None:
    barrier, crew = kit.barrier(2), Crew()
    _, _, generation = arrive(barrier)

    def act() -> None:
        if Path(f"/proc/{os.getpid()}").exists():  # /proc is that of the test still
            Child(act).result()
        arrive(barrier)
        signal.pause()

    def elsewhere() -> None:
        sandbox.unshare(sandbox.NEW_PID)
        Child(act).result()

    child = crew.child(elsewhere)
    until(lambda: barrier.peek("word") >> 63 or state_of(child.pid) in ("", "Z"))
    if not barrier.peek("word") >> 63:
        return None
    seen = barrier.barrier_wait(generation, FOREVER), barrier.barrier_broken()
    barrier.barrier_abort()
    crew.close()
    return (*seen, barrier.barrier_wait(generation, FOREVER))


def test_the_last_one_in_another_pid_namespace_is_never_taken_for_dead(
    program: Callable[..., str],
) -> None:
    """Here nobody has the number that it has there.

    In a program of its own: the child has also the segments of all other libraries of its parent,
    and what several namespaces have used is never judged any more.
    """
    told = program("from core import test_barrier as t\nprint(t.act_in_another_namespace(kit))")
    if told == "None\n":
        pytest.skip("no PID namespaces are permitted here")
    assert told == f"{(EINTR, 0, EPIPE)}\n"


def test_the_last_one_is_dead_when_its_number_is_that_of_another_process(
    kit: Kit, crew: Crew
) -> None:
    """Nobody has waited meanwhile: the number was given to a thread that lives for ever."""
    barrier = kit.barrier(1)
    other = crew.child(signal.pause)
    last = in_action(barrier, crew, 0)
    signature = barrier.peek("holder")
    last.kill()
    who = (1 << 23) - 1 << 40
    barrier.poke("word", barrier.peek("word") & ~who | other.pid << 40)
    # Not signed, or signed by one that came too late for its own generation.
    for unknown in (0, signature + (1 << 32), signature - (1 << 32) & (1 << 64) - 1):
        barrier.poke("holder", unknown)
        assert arrive_once(barrier) == EINTR
    barrier.poke("holder", signature)
    assert arrive_once(barrier) == EPIPE
    assert barrier.barrier_broken() == 1


def arrive_once(barrier: Thing) -> int:
    """For a slice at most."""
    index, generation = barrier.kit.out("uint32_t"), barrier.kit.out("uint32_t")
    return int(barrier.barrier_arrive(ACTION, FOREVER, index, generation))


# --- a party that withdraws -----------------------------------------------------------------------


def test_after_a_withdrawal_every_index_is_given_once(kit: Kit, crew: Crew) -> None:
    """Whoever had come before and after it begins anew, by itself."""
    barrier = kit.barrier(4)
    _, _, generation = arrive(barrier)
    others = [crew.child(party, barrier), crew.task(party, barrier)]
    until(lambda: barrier.barrier_waiting() == 3 and all(one.asleep() for one in others))
    barrier.barrier_withdraw(generation)
    until(lambda: barrier.barrier_waiting() == 2)
    assert not barrier.barrier_broken()
    others += [crew.child(party, barrier)]
    until(lambda: barrier.barrier_waiting() == 3)
    indexes = [party(barrier), *(one.result() for one in others)]
    assert sorted(indexes) == [0, 1, 2, 3] and indexes[0] == 3


def test_one_that_begins_anew_keeps_its_deadline(kit: Kit, crew: Crew) -> None:
    barrier = kit.barrier(3)
    _, _, generation = arrive(barrier)
    deadline = kit.deadline(0.3)
    other = crew.task(party, barrier, deadline)
    until(lambda: barrier.barrier_waiting() == 2)
    barrier.barrier_withdraw(generation)
    assert other.result() == ETIMEDOUT
    assert kit.lib.altsem_clock() >= deadline and barrier.barrier_broken()
