"""The rendezvous of a fixed number of parties."""

from __future__ import annotations

import itertools
import signal
from dataclasses import dataclass, field

import pytest

from core.crew import Crew, until
from core.kit import (
    BARRIER,
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


def arrive(barrier: Thing, deadline: int = FOREVER) -> tuple[int, int, int]:
    index, generation = barrier.kit.out("uint32_t"), barrier.kit.out("uint32_t")
    answer = barrier.persist("barrier_arrive", deadline, index, generation)
    return answer, index[0], generation[0]


def party(barrier: Thing, deadline: int = FOREVER) -> int:
    """What a binding does: the index, or the error."""
    answer, index, generation = arrive(barrier, deadline)
    if answer < 0:
        return answer
    if answer == 1:
        answer = barrier.barrier_trip(generation)
    else:
        answer = barrier.persist("barrier_wait", generation, deadline)
    return int(answer or index)


# --- against a model ------------------------------------------------------------------------------


@dataclass
class Gathering:
    """What a barrier must do.  Every generation is an object, and keeps how it ended for ever."""

    parties: int
    broken: bool = False
    present: list[int] = field(default_factory=list)
    how: dict[int, str] = field(default_factory=dict)  # generation -> "tripped" or "broken"
    now: int = 0

    def end(self, how: str) -> None:
        self.how[self.now] = how
        self.now += 1
        self.present = []

    def full(self) -> bool:
        return len(self.present) == self.parties


STEPS = (
    "arrive", "wait first", "wait last", "wait all", "trip", "withdraw first", "withdraw last",
    "abort", "reset",
)  # fmt: skip


def run_against_model(barrier: Thing, parties: int, steps: tuple[str, ...]) -> None:
    """`wait` has a deadline that has passed: it answers, or breaks the barrier."""
    model = Gathering(parties)
    people: list[tuple[int, int]] = []  # (generation here, generation of the model)
    for step in steps:
        what, _, which = step.partition(" ")
        if what == "arrive":
            answer, index, generation = arrive(barrier, NOW)
            if model.broken:
                assert answer == EPIPE, steps
            elif model.full():
                assert answer == ETIMEDOUT, steps
            else:
                assert index == len(model.present), steps
                model.present.append(len(people))
                people.append((generation, model.now))
                assert answer == (1 if model.full() else 0), steps
        elif what == "trip":
            # Only the last of a generation may call it, which may have ended in the meantime.
            if not people or (people[-1][1] == model.now and not model.full()):
                continue
            here, then = people[-1]
            assert barrier.barrier_trip(here) == (OK if then == model.now else EPIPE), steps
            if then == model.now:
                model.end("tripped")
        elif what == "abort":
            barrier.barrier_abort()
            if not model.broken:
                model.end("broken")
                model.broken = True
        elif what == "reset":
            barrier.barrier_reset()
            if model.broken or model.present:
                model.end("broken")
                model.broken = False
        else:
            chosen = {"first": people[:1], "last": people[-1:], "all": people}[which]
            for here, then in chosen:
                ended = model.how.get(then)
                if what == "withdraw":
                    barrier.barrier_withdraw(here)
                    if not ended and model.present and not model.full():
                        model.present.pop()
                    continue
                answer = barrier.barrier_wait(here, PAST)
                expected = {"tripped": OK, "broken": EPIPE, None: ETIMEDOUT}[ended]
                assert answer == expected, steps
                if not ended:
                    model.end("broken")
                    model.broken = True
        waiting = 0 if model.full() else len(model.present)
        assert barrier.barrier_waiting() == waiting, steps
        assert barrier.barrier_broken() == model.broken, steps


@pytest.mark.limit(60)
@pytest.mark.parametrize(("parties", "length"), [(1, 4), (2, 5), (3, 4)])
def test_every_short_sequence_of_calls_does_what_the_model_does(
    kit: Kit, parties: int, length: int
) -> None:
    for steps in itertools.product(STEPS, repeat=length):
        barrier = kit.barrier(parties)
        run_against_model(barrier, parties, ("arrive", *steps))
        barrier.free()


def test_many_generations_do_what_the_model_does(kit: Kit) -> None:
    """Numbers of generations wrap at 2^16."""
    barrier = kit.barrier(2)
    barrier.poke("word", 0xFFF8 << 16)
    cycle = ("arrive", "arrive", "wait first", "abort", "wait last", "reset", "arrive", "reset")
    run_against_model(barrier, 2, cycle)
    for _ in range(20):
        answers = arrive(barrier), arrive(barrier)
        assert [answer[0] for answer in answers] == [0, 1]
        assert barrier.barrier_trip(answers[1][2]) == OK
        assert barrier.barrier_wait(answers[0][2], NOW) == OK


@pytest.mark.parametrize("how", ["tripped", "broken"])
def test_how_a_generation_ended_is_known_sixteen_generations_later(kit: Kit, how: str) -> None:
    barrier = kit.barrier(2)
    _, _, mine = arrive(barrier)
    if how == "tripped":
        assert barrier.barrier_trip(arrive(barrier)[2]) == OK
    else:
        barrier.barrier_reset()
    for number in range(15):
        arrive(barrier)
        # The opposite of what is asked for.
        if how == "broken":
            assert barrier.barrier_trip(arrive(barrier)[2]) == OK
        else:
            barrier.barrier_reset()
        assert barrier.barrier_wait(mine, NOW) == (OK if how == "tripped" else EPIPE), number


@pytest.mark.parametrize("parties", [0, -1, -(2**63), 2**31, 2**63 - 1])
def test_a_number_of_parties_that_cannot_be_is_refused(kit: Kit, parties: int) -> None:
    assert kit.raw_new(BARRIER, 0, parties) == (EINVAL, None)


def test_the_greatest_number_of_parties_can_gather(kit: Kit) -> None:
    most = 2**31 - 1
    barrier = kit.barrier(most)
    barrier.poke("word", most - 2 << 32)
    assert (arrive(barrier)[:2], barrier.barrier_waiting()) == ((0, most - 2), most - 1)
    answer, index, generation = arrive(barrier)
    assert (answer, index, barrier.barrier_broken()) == (1, most - 1, 0)
    assert (barrier.barrier_trip(generation), barrier.barrier_waiting()) == (OK, 0)


# --- asleep ---------------------------------------------------------------------------------------


def test_all_parties_of_all_processes_pass_together_again_and_again(kit: Kit, crew: Crew) -> None:
    """Nobody is a round ahead of those it met; every index is given once a round."""
    parties, rounds = 5, 60
    barrier, here = kit.barrier(parties), [kit.sem() for _ in range(parties)]

    def work(me: int) -> list[int]:
        indexes = []
        for number in range(rounds):
            here[me].poke("holder", number)
            indexes.append(party(barrier))
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
