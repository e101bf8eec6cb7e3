"""The policy of spin.c in simulated time: what it does, and what it can cost at most.

spin.c is compiled a second time, with the clock, the yield and the number of CPUs replaced by
functions of the test.  So nothing here depends on the speed of the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from core.conftest import compiled
from core.kit import FOREVER

FREE, TOKEN, CHANGE = range(3)
WAITER = 1 << 32
SLICE = 4_000_000  # ns that the scheduler gives to another process
TURN = 300  # ns between two readings of the clock, about what 16 pauses take

CDEF = """
#define SHORT_SPIN ...
#define LONG_SPIN ...
#define BACK_OFF ...
#define YIELD_AFTER ...
#define LATE_YIELD ...
#define FIRST_YIELD_COOL_DOWN ...
#define LAST_YIELD_COOL_DOWN ...
#define IN_A_ROW ...
#define FIRST_COOL_DOWN ...
#define LAST_COOL_DOWN ...
#define MOST_FAILURES ...
#define SUCCESS_LOWERS_BY ...
#define RETRY_ONE_IN ...
#define YIELDS_FIRST ...
#define RECOUNT_CPUS_ONE_IN ...
int spin_once(uint64_t *word, int until, uint32_t low, int woken, int64_t deadline);
void fork_happens(void);
extern "Python" {
    int64_t simulated_clock(void);
    int simulated_yield(void);
    unsigned simulated_cpus(void);
    void simulated_forget(void);
}
"""
SOURCE = """
#include <stdint.h>
static int64_t simulated_clock(void);
static int simulated_yield(void);
static unsigned simulated_cpus(void);
static void simulated_forget(void);
#define altsem_clock other_clock
#define altsem_cpus other_cpus
#define altsem_cpus_forget other_forget
#include <sched.h>
#include "process/clock.h"
#include "process/fork.h"
#include "wait/cpus.h"
#undef altsem_clock
#undef altsem_cpus
#undef altsem_cpus_forget
#define altsem_clock simulated_clock
#define altsem_cpus simulated_cpus
#define altsem_cpus_forget simulated_forget
#define sched_yield simulated_yield
#include "wait/spin.c"
static altsem_fork_hooks *hooks;
void altsem_at_fork(altsem_fork_hooks *of_spin) { hooks = of_spin; }
void fork_happens(void) { hooks->in_child(); }
static int spin_once(uint64_t *word, int until, uint32_t low, int woken, int64_t deadline) {
    altsem_spinner spinner = {(_Atomic uint64_t *)word, until, low, woken, deadline};
    return altsem_spin(&spinner);
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled(CDEF, SOURCE, tmp_path_factory.mktemp("spin"))


class World:
    """Simulated time, and what happens in it."""

    def __init__(self, module: ModuleType) -> None:
        self.lib, self.ffi = module.lib, module.ffi
        self.words = self.ffi.new("uint64_t[]", 8 * 64)  # a slot has 8
        self.now = 10**12
        self.cpus = 2
        self.turn = TURN
        self.yields = self.forgotten = 0
        self.yield_takes = 200
        self.on_yield: Callable[[], None] = lambda: None
        self.events: list[tuple[int, int]] = []  # (when, what the first word is from then on)
        define = self.ffi.def_extern
        define(name="simulated_clock")(self._clock)
        define(name="simulated_yield")(self._yield)
        define(name="simulated_cpus")(lambda: self.cpus)
        define(name="simulated_forget")(self._forget)
        self.lib.fork_happens()  # forgets the history that an earlier test has made
        self.forgotten = 0

    def _clock(self) -> int:
        self.now += self.turn
        while self.events and self.events[0][0] <= self.now:
            self.words[0] = self.events.pop(0)[1]
        return self.now

    def _yield(self) -> int:
        self.yields += 1
        self.now += self.yield_takes
        self.on_yield()
        return 0

    def _forget(self) -> None:
        self.forgotten += 1

    def spin(
        self,
        until: int = TOKEN,
        *,
        low: int = 0,
        woken: bool = False,
        deadline: int = FOREVER,
        slot: int = 0,
    ) -> tuple[bool, int]:
        """What the spin said, and how long it took, in nanoseconds."""
        start = self.now
        said = self.lib.spin_once(self.words + 8 * slot, until, low, woken, deadline)
        return bool(said), self.now - start

    def later(self, ns: int, word: int) -> None:
        self.events.append((self.now + ns, word))


@pytest.fixture
def world(module: ModuleType) -> World:
    return World(module)


def short_spin(world: World) -> int:
    """The longest that a short spin takes."""
    return int(world.lib.SHORT_SPIN) + 2 * TURN


def long_spin(world: World) -> int:
    return int(world.lib.LONG_SPIN) + 3 * TURN + world.yield_takes


@pytest.mark.parametrize(
    ("until", "low", "before", "after"),
    [
        (FREE, 0, 4711, 0),
        (FREE, 0, 4711, 1 << 30),  # WOKEN, which is no owner
        (TOKEN, 0, 0, 1),
        (CHANGE, 6, 6, 9),
        (CHANGE, 6, 6 + 5 * WAITER, 9 + 5 * WAITER),
    ],
)
def test_it_sees_what_it_waits_for(
    world: World, until: int, low: int, before: int, after: int
) -> None:
    world.words[0] = before
    world.later(world.lib.SHORT_SPIN // 2, after)
    said, took = world.spin(until, low=low)
    assert said
    assert took <= short_spin(world)
    assert world.yields == 0  # too short for that
    assert world.words[0] == after  # it only loads


def test_it_outlasts_a_dear_wake_up(world: World) -> None:
    world.later(80_000, 1)
    said, took = world.spin()
    assert said
    assert 80_000 <= took <= long_spin(world)


def test_the_first_yield_comes_when_a_long_spin_is_that_old(world: World) -> None:
    """Neither at the look at the clock before, nor only at the one after."""
    start, yielded = world.now, []
    world.turn = world.lib.YIELD_AFTER // 4
    world.on_yield = lambda: yielded.append(world.now)
    world.spin()
    # The spin starts with the first look at the clock.
    assert yielded[0] == start + world.turn + world.lib.YIELD_AFTER + world.yield_takes


def test_a_failed_long_spin_ends_and_starts_a_cool_down(world: World) -> None:
    said, took = world.spin()
    assert not said
    assert world.lib.LONG_SPIN <= took <= long_spin(world)
    assert world.yields > 10
    yields = world.yields
    said, took = world.spin()
    assert not said
    assert took <= short_spin(world)
    assert world.yields == yields


def test_cool_downs_double_up_to_the_last_and_halve_after_a_success(world: World) -> None:
    def cool_down_of() -> int:
        """How long no long spin is made after a failed one, at most one step too much."""
        start, step = world.now, world.lib.FIRST_COOL_DOWN // 8
        while world.spin()[1] <= short_spin(world):
            world.now += step
        return world.now - start

    world.spin()
    first, last = world.lib.FIRST_COOL_DOWN, world.lib.LAST_COOL_DOWN
    expected = [first, first * 2, first * 4, last, last]
    for cool_down in expected:
        assert cool_down <= cool_down_of() <= cool_down * 1.2 + long_spin(world)
    world.now += last
    for _ in range(2):
        world.words[0] = 0
        world.later(world.lib.SHORT_SPIN * 10, 1)
        assert world.spin()[0]  # halves it
    world.words[0] = 0
    world.spin()  # doubles it
    assert last // 2 <= cool_down_of() <= last // 2 * 1.2 + long_spin(world)


@pytest.mark.parametrize("sleep", [1_000, 5_000, 50_000, 1_000_000, 30_000_000, 1_000_000_000])
def test_failed_spins_cost_three_percent_at_most(world: World, sleep: int) -> None:
    """Of the time; plus, while the failure score rises, the short spins."""
    lost = 0
    for _ in range(world.lib.MOST_FAILURES):
        lost += world.spin()[1]
        world.now += sleep
    assert lost <= world.lib.MOST_FAILURES * max(short_spin(world), long_spin(world))
    start, lost, waits = world.now, 0, 0
    while world.now < start + 100 * max(sleep, world.lib.LAST_COOL_DOWN):
        lost += world.spin()[1]
        waits += 1
        world.now += sleep
    short = waits * TURN + waits // world.lib.RETRY_ONE_IN * short_spin(world)
    assert lost <= (world.now - start) * 0.03 + short + long_spin(world)


def test_the_failure_score_rises_and_falls(world: World) -> None:
    def spun() -> bool:
        return world.spin()[1] > TURN

    world.words[0] = WAITER  # somebody sleeps: no long spin
    assert all(spun() for _ in range(world.lib.MOST_FAILURES))
    assert world.forgotten == 1  # perhaps the affinity is another now
    seldom = [spun() for _ in range(world.lib.RETRY_ONE_IN * 10)]
    assert sum(seldom) == 10
    # One success in a try, and it is done for a while again.
    while True:
        world.words[0] = WAITER
        world.later(TURN, 1 + WAITER)
        if world.spin()[0]:
            break
    world.events.clear()
    world.words[0] = WAITER
    assert [spun() for _ in range(world.lib.SUCCESS_LOWERS_BY)] == [
        True
    ] * world.lib.SUCCESS_LOWERS_BY


@pytest.mark.parametrize("until", [FREE, TOKEN])
def test_sleepers_come_first(world: World, until: int) -> None:
    world.words[0] = WAITER | (4711 if until == FREE else 0)
    said, took = world.spin(until)
    assert not said
    assert took <= short_spin(world)
    assert world.yields == 0


def test_a_change_is_for_all_whoever_sleeps(world: World) -> None:
    world.words[0] = 6 + 5 * WAITER
    said, took = world.spin(CHANGE, low=6)
    assert not said
    assert took >= world.lib.LONG_SPIN


def test_a_long_spin_ends_when_somebody_goes_to_sleep(world: World) -> None:
    world.later(20_000, WAITER)
    said, took = world.spin()
    assert not said
    assert 20_000 <= took <= 20_000 + 2 * TURN + world.yield_takes
    world.words[0] = 0
    assert world.spin()[1] >= world.lib.LONG_SPIN  # it was no failure


def test_a_woken_waiter_makes_a_short_spin_whoever_sleeps(world: World) -> None:
    world.words[0] = 3 * WAITER
    world.later(world.lib.SHORT_SPIN // 2, 1 + 3 * WAITER)
    assert world.spin(woken=True)[0]
    world.words[0] = 3 * WAITER
    said, took = world.spin(woken=True)
    assert not said
    assert took <= short_spin(world)
    assert world.yields == 0  # no release wakes another before it has decided


@pytest.mark.parametrize("left", [-1_000, 0, 10, 700, 5_000, 60_000])
def test_the_deadline_is_kept(world: World, left: int) -> None:
    said, took = world.spin(deadline=world.now + left)
    assert not said
    assert took <= max(left, 0) + 3 * TURN + world.yield_takes


def test_a_spin_that_a_deadline_cut_short_is_no_failed_long_spin(world: World) -> None:
    world.spin(deadline=world.now + world.lib.LONG_SPIN // 2)
    assert world.spin()[1] >= world.lib.LONG_SPIN


def yield_cool_down(world: World, step: int) -> int:
    """Lets a yield be late; how long none is made then, at most one step too much."""
    world.cpus, world.yield_takes = 1, SLICE
    yields = world.yields
    world.spin()
    assert world.yields == yields + 1
    start, yields = world.now, world.yields
    world.yield_takes = 0
    while world.yields == yields:
        world.now += step
        world.spin()
    return world.now - start


def test_late_yields_start_a_cool_down_of_yields(world: World) -> None:
    """For longer each time, up to a limit; after a long time it begins anew."""
    lib = world.lib
    times = [lib.FIRST_YIELD_COOL_DOWN * 2**i for i in range(8)]
    expected = [min(t, lib.LAST_YIELD_COOL_DOWN) for t in times]
    assert expected[-2:] == [lib.LAST_YIELD_COOL_DOWN] * 2
    for number in [*expected, lib.LAST_YIELD_COOL_DOWN]:
        cool_down = number * SLICE
        assert cool_down <= yield_cool_down(world, cool_down // 8) <= cool_down * 1.2
    world.now += (lib.IN_A_ROW + 1) * lib.LAST_YIELD_COOL_DOWN * SLICE
    cool_down = lib.FIRST_YIELD_COOL_DOWN * SLICE
    assert cool_down <= yield_cool_down(world, cool_down // 8) <= cool_down * 1.2


def test_with_two_cpus_late_yields_do_so_too(world: World) -> None:
    world.yield_takes = SLICE
    world.spin()
    assert world.yields == 1  # it returned when the spin was over
    world.yield_takes = 0
    world.now += world.lib.LAST_COOL_DOWN
    assert world.spin()[1] >= world.lib.LONG_SPIN  # spins, and does not yield
    assert world.yields == 1


def partner_on_this_cpu(world: World) -> None:
    """It answers when it gets the CPU, and the answer has been taken before the next wait."""

    def answer() -> None:
        world.words[0] = 1

    world.on_yield = answer


def wait_for_partner(world: World) -> int:
    """Nanoseconds."""
    world.words[0] = 0
    said, took = world.spin()
    assert said
    return took


def test_where_a_yield_brought_it_the_next_waits_yield_first(world: World) -> None:
    partner_on_this_cpu(world)
    assert wait_for_partner(world) > world.lib.YIELD_AFTER
    for _ in range(world.lib.YIELDS_FIRST - 1):
        assert wait_for_partner(world) <= world.yield_takes + 3 * TURN
    assert wait_for_partner(world) > world.lib.YIELD_AFTER, "now and then it is tried without"
    assert wait_for_partner(world) <= world.yield_takes + 3 * TURN
    assert world.yields == world.lib.YIELDS_FIRST + 2


def test_once_spinning_brings_it_nobody_yields_first(world: World) -> None:
    partner_on_this_cpu(world)
    wait_for_partner(world)
    world.on_yield = lambda: None  # the other has a CPU of its own now, and answers quickly
    yields = world.yields
    for _ in range(3 * world.lib.YIELDS_FIRST):
        world.later(400, 1)
        assert wait_for_partner(world) < world.lib.SHORT_SPIN
    assert yields < world.yields < yields + world.lib.YIELDS_FIRST


def test_a_yield_that_did_not_bring_it_is_the_last_to_come_first(world: World) -> None:
    partner_on_this_cpu(world)
    wait_for_partner(world)
    world.on_yield = lambda: None
    world.words[0] = 0
    world.later(world.lib.SHORT_SPIN, 1)
    yields = world.yields
    assert world.spin()[0]
    assert world.yields == yields + 1
    world.words[0] = 0
    world.later(world.lib.SHORT_SPIN, 1)
    assert world.spin()[0]
    assert world.yields == yields + 1


def test_with_one_cpu_it_only_yields(world: World) -> None:
    world.cpus = 1
    said, took = world.spin()
    assert (said, world.yields) == (False, 2)
    assert took <= 2 * world.yield_takes + 4 * TURN

    def answer() -> None:
        world.words[0] = 1

    world.on_yield = answer
    assert world.spin()[0]
    assert world.yields == 3


def test_with_one_cpu_failures_stop_the_yields(world: World) -> None:
    world.cpus = 1
    for _ in range(world.lib.MOST_FAILURES):
        world.spin()
    assert world.yields == 2 * world.lib.MOST_FAILURES
    for _ in range(world.lib.RETRY_ONE_IN * 10):
        world.spin()
    assert world.yields == 2 * world.lib.MOST_FAILURES + 2 * 10


def test_with_one_cpu_a_late_yield_is_no_failure(world: World) -> None:
    world.cpus = 1
    world.yield_takes = SLICE
    world.spin()
    yields = world.yields
    for _ in range(10 * world.lib.MOST_FAILURES):
        world.spin()
    assert world.yields == yields
    world.now += (world.lib.FIRST_YIELD_COOL_DOWN + 1) * SLICE
    world.spin()
    assert (
        world.yields == yields + 1
    )  # no failure yet; the second yield is not made: the first was late


def test_with_one_cpu_sleepers_come_first(world: World) -> None:
    world.cpus = 1
    world.words[0] = WAITER
    assert world.spin() == (False, 0)
    assert world.yields == 0


def test_more_cpus_are_noticed_in_time(world: World) -> None:
    world.cpus = 1
    for _ in range(3 * world.lib.RECOUNT_CPUS_ONE_IN):
        world.spin()
    assert world.forgotten in (3, 4)  # once more after many failures


def test_each_word_has_a_history_of_its_own(world: World) -> None:
    world.spin(slot=0)
    others = [world.spin(slot=slot)[1] for slot in range(1, 8)]
    # By the hash two may share one, but neighbours do not.
    assert sum(took >= world.lib.LONG_SPIN for took in others) >= 6


def test_words_that_stand_together_are_spread_over_all_histories(world: World) -> None:
    """A failed long spin at one word keeps those that share its history from such a spin."""
    start, histories = world.now, 0
    for slot in range(64):
        world.now = start  # before the end of every cool-down
        histories += world.spin(slot=slot)[1] >= world.lib.LONG_SPIN
    assert histories > 32, "as many as half of them would be"


def test_the_child_of_a_fork_starts_without_a_history(world: World) -> None:
    world.spin()
    assert world.spin()[1] <= short_spin(world)
    world.lib.fork_happens()
    assert world.forgotten == 1
    assert world.spin()[1] >= world.lib.LONG_SPIN


def test_the_figures_belong_together(world: World) -> None:
    lib: Any = world.lib
    assert lib.SHORT_SPIN < lib.YIELD_AFTER < lib.LATE_YIELD < lib.LONG_SPIN
    # What a sleep and a wake cost at the most; and on one CPU, where only a yield helps.
    assert 80_000 <= lib.LONG_SPIN < 2 * 80_000
    assert lib.YIELD_AFTER < 3_000
    # As the head of spin.c says.
    assert 2 * lib.BACK_OFF == lib.SHORT_SPIN
    assert (lib.FIRST_YIELD_COOL_DOWN, lib.LAST_YIELD_COOL_DOWN, lib.RETRY_ONE_IN) == (8, 512, 64)
    assert lib.FIRST_COOL_DOWN >= 32 * lib.LONG_SPIN
    assert lib.FIRST_COOL_DOWN < lib.LAST_COOL_DOWN


def test_a_waiter_for_a_lock_backs_off_before_the_first_load(module: ModuleType) -> None:
    """What it waits for is there at once, so how long it takes is when the first load is."""
    for until, back in [(FREE, module.lib.BACK_OFF), (TOKEN, 0), (CHANGE, 0)]:
        world = World(module)
        world.words[0] = 0 if until == FREE else 1
        found, took = world.spin(until)
        assert found
        assert back <= took - TURN < back + TURN, until


def test_the_back_off_ends_with_the_deadline(module: ModuleType) -> None:
    world = World(module)
    world.words[0] = 7  # held
    found, took = world.spin(FREE, deadline=world.now + TURN + 100)
    assert not found
    assert took <= 4 * TURN
