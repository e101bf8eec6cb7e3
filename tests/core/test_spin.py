"""The policy of spin.c in simulated time: what it does, and what it can cost at most.

spin.c is compiled a second time, with the clock, the yield and the number of CPUs replaced by
functions of the test.  So nothing here depends on the speed of the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cffi
import pytest

from core.conftest import CSRC
from core.crew import load
from core.kit import FOREVER

FREE, TOKEN, CHANGE = range(3)
WAITER = 1 << 32
SLICE = 4_000_000  # ns that the scheduler gives to a stranger
TURN = 300  # ns between two looks at the clock, about what 16 pauses take

CDEF = """
#define SHORT ...
#define LONG ...
#define BACK ...
#define YIELD_AFTER ...
#define LATE ...
#define LATE_FIRST ...
#define LATE_LAST ...
#define QUIET ...
#define FIRST_CLOSURE ...
#define LAST_CLOSURE ...
#define DOUBT ...
#define TRUST ...
#define SELDOM ...
#define MANY ...
int spin(uint64_t *word, int hope, uint32_t low, int woken, int64_t deadline);
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
static int spin(uint64_t *word, int hope, uint32_t low, int woken, int64_t deadline) {
    altsem_watch watch = {(_Atomic uint64_t *)word, hope, low, woken, deadline};
    return altsem_spin(&watch);
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    ffi = cffi.FFI()
    ffi.cdef(CDEF)
    ffi.set_source(
        "_altsem_core",
        SOURCE,
        include_dirs=[str(CSRC)],
        extra_compile_args=["-std=c11", "-O2", "-g"],
    )
    return load(Path(ffi.compile(tmpdir=str(tmp_path_factory.mktemp("spin")))))


class World:
    """Simulated time, and what happens in it."""

    def __init__(self, module: ModuleType) -> None:
        self.lib, self.ffi = module.lib, module.ffi
        self.words = self.ffi.new("uint64_t[]", 8 * 64)  # a slot has 8
        self.now = 10**12
        self.cpus = 2
        self.yields = self.forgotten = 0
        self.yield_takes = 200
        self.on_yield: Callable[[], None] = lambda: None
        self.events: list[tuple[int, int]] = []  # (when, what the first word is from then on)
        define = self.ffi.def_extern
        define(name="simulated_clock")(self._clock)
        define(name="simulated_yield")(self._yield)
        define(name="simulated_cpus")(lambda: self.cpus)
        define(name="simulated_forget")(self._forget)
        self.lib.fork_happens()  # forgets what an earlier test has taught
        self.forgotten = 0

    def _clock(self) -> int:
        self.now += TURN
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
        hope: int = TOKEN,
        *,
        low: int = 0,
        woken: bool = False,
        deadline: int = FOREVER,
        slot: int = 0,
    ) -> tuple[bool, int]:
        """What the watch said, and how long it took, in nanoseconds."""
        start = self.now
        said = self.lib.spin(self.words + 8 * slot, hope, low, woken, deadline)
        return bool(said), self.now - start

    def later(self, ns: int, word: int) -> None:
        self.events.append((self.now + ns, word))


@pytest.fixture
def world(module: ModuleType) -> World:
    return World(module)


def short_of(world: World) -> int:
    """The longest that a short watch takes."""
    return int(world.lib.SHORT) + 2 * TURN


def long_of(world: World) -> int:
    return int(world.lib.LONG) + 3 * TURN + world.yield_takes


@pytest.mark.parametrize(
    ("hope", "low", "before", "after"),
    [
        (FREE, 0, 4711, 0),
        (FREE, 0, 4711, 1 << 30),  # WOKEN, which is no owner
        (TOKEN, 0, 0, 1),
        (CHANGE, 6, 6, 9),
        (CHANGE, 6, 6 + 5 * WAITER, 9 + 5 * WAITER),
    ],
)
def test_it_sees_what_is_hoped_for(
    world: World, hope: int, low: int, before: int, after: int
) -> None:
    world.words[0] = before
    world.later(world.lib.SHORT // 2, after)
    said, took = world.spin(hope, low=low)
    assert said
    assert took <= short_of(world)
    assert world.yields == 0  # too short for that
    assert world.words[0] == after  # it only looks


def test_it_outlasts_a_dear_wake_up(world: World) -> None:
    world.later(80_000, 1)
    said, took = world.spin()
    assert said
    assert 80_000 <= took <= long_of(world)


def test_a_vain_watch_ends_and_closes_the_long_way(world: World) -> None:
    said, took = world.spin()
    assert not said
    assert world.lib.LONG <= took <= long_of(world)
    assert world.yields > 10
    yields = world.yields
    said, took = world.spin()
    assert not said
    assert took <= short_of(world)
    assert world.yields == yields


def test_closures_double_up_to_the_last_and_halve_after_a_success(world: World) -> None:
    def closed_for() -> int:
        """How long the long way stays closed after a vain watch, at most one step too much."""
        start, step = world.now, world.lib.FIRST_CLOSURE // 8
        while world.spin()[1] <= short_of(world):
            world.now += step
        return world.now - start

    world.spin()
    first, last = world.lib.FIRST_CLOSURE, world.lib.LAST_CLOSURE
    expected = [first, first * 2, first * 4, last, last]
    for closure in expected:
        assert closure <= closed_for() <= closure * 1.2 + long_of(world)
    world.now += last
    world.later(world.lib.SHORT * 10, 1)
    assert world.spin()[0]  # halves it
    world.words[0] = 0
    world.spin()  # doubles it
    assert last <= closed_for() <= last * 1.2 + long_of(world)


@pytest.mark.parametrize("sleep", [1_000, 5_000, 50_000, 1_000_000, 30_000_000, 1_000_000_000])
def test_vain_watching_costs_three_percent_at_most(world: World, sleep: int) -> None:
    """Of the time; plus, while the doubt grows, the short watches."""
    lost = 0
    for _ in range(world.lib.DOUBT):
        lost += world.spin()[1]
        world.now += sleep
    assert lost <= world.lib.DOUBT * max(short_of(world), long_of(world))
    start, lost, waits = world.now, 0, 0
    while world.now < start + 100 * max(sleep, world.lib.LAST_CLOSURE):
        lost += world.spin()[1]
        waits += 1
        world.now += sleep
    short = waits * TURN + waits // world.lib.SELDOM * short_of(world)
    assert lost <= (world.now - start) * 0.03 + short + long_of(world)


def test_doubt_grows_and_goes(world: World) -> None:
    def watched() -> bool:
        return world.spin()[1] > TURN

    world.words[0] = WAITER  # somebody sleeps: no long watch
    assert all(watched() for _ in range(world.lib.DOUBT))
    assert world.forgotten == 1  # perhaps the affinity is another now
    seldom = [watched() for _ in range(world.lib.SELDOM * 10)]
    assert sum(seldom) == 10
    # One success in a try, and it is done for a while again.
    while True:
        world.words[0] = WAITER
        world.later(TURN, 1 + WAITER)
        if world.spin()[0]:
            break
    world.events.clear()
    world.words[0] = WAITER
    assert [watched() for _ in range(world.lib.TRUST)] == [True] * world.lib.TRUST


@pytest.mark.parametrize("hope", [FREE, TOKEN])
def test_who_sleeps_comes_first(world: World, hope: int) -> None:
    world.words[0] = WAITER | (4711 if hope == FREE else 0)
    said, took = world.spin(hope)
    assert not said
    assert took <= short_of(world)
    assert world.yields == 0


def test_what_is_for_all_is_watched_whoever_sleeps(world: World) -> None:
    world.words[0] = 6 + 5 * WAITER
    said, took = world.spin(CHANGE, low=6)
    assert not said
    assert took >= world.lib.LONG


def test_a_long_watch_ends_when_somebody_goes_to_sleep(world: World) -> None:
    world.later(20_000, WAITER)
    said, took = world.spin()
    assert not said
    assert 20_000 <= took <= 20_000 + 2 * TURN + world.yield_takes
    world.words[0] = 0
    assert world.spin()[1] >= world.lib.LONG  # it taught nothing


def test_one_that_was_woken_watches_for_a_moment_whoever_sleeps(world: World) -> None:
    world.words[0] = 3 * WAITER
    world.later(world.lib.SHORT // 2, 1 + 3 * WAITER)
    assert world.spin(woken=True)[0]
    world.words[0] = 3 * WAITER
    said, took = world.spin(woken=True)
    assert not said
    assert took <= short_of(world)
    assert world.yields == 0  # it stands for all who sleep: it does not give way


@pytest.mark.parametrize("left", [-1_000, 0, 10, 700, 5_000, 60_000])
def test_the_deadline_is_kept(world: World, left: int) -> None:
    said, took = world.spin(deadline=world.now + left)
    assert not said
    assert took <= max(left, 0) + 3 * TURN + world.yield_takes


def test_a_watch_that_a_deadline_cut_short_teaches_nothing_about_long_ones(world: World) -> None:
    world.spin(deadline=world.now + world.lib.LONG // 2)
    assert world.spin()[1] >= world.lib.LONG


def banned_for(world: World, step: int) -> int:
    """Lets a yield be late, and tells how long none is made then, at most one step too much."""
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


def test_strangers_on_the_cpu_stop_the_yields(world: World) -> None:
    """For longer each time, up to a limit; after a quiet time it begins anew."""
    lib = world.lib
    times = [lib.LATE_FIRST * 2**i for i in range(8)]
    expected = [min(t, lib.LATE_LAST) for t in times]
    assert expected[-2:] == [lib.LATE_LAST] * 2
    for number in [*expected, lib.LATE_LAST]:
        ban = number * SLICE
        assert ban <= banned_for(world, ban // 8) <= ban * 1.2
    world.now += (lib.QUIET + 1) * lib.LATE_LAST * SLICE
    ban = lib.LATE_FIRST * SLICE
    assert ban <= banned_for(world, ban // 8) <= ban * 1.2


def test_with_two_cpus_strangers_stop_the_yields_too(world: World) -> None:
    world.yield_takes = SLICE
    world.spin()
    assert world.yields == 1  # it came back when the watch was over
    world.yield_takes = 0
    world.now += world.lib.LAST_CLOSURE
    assert world.spin()[1] >= world.lib.LONG  # watches, and does not yield
    assert world.yields == 1


def test_with_one_cpu_it_only_gives_way(world: World) -> None:
    world.cpus = 1
    said, took = world.spin()
    assert (said, world.yields) == (False, 2)
    assert took <= 2 * world.yield_takes + 4 * TURN

    def answer() -> None:
        world.words[0] = 1

    world.on_yield = answer
    assert world.spin()[0]
    assert world.yields == 3


def test_with_one_cpu_it_stops_giving_way_in_vain(world: World) -> None:
    world.cpus = 1
    for _ in range(world.lib.DOUBT):
        world.spin()
    assert world.yields == 2 * world.lib.DOUBT
    for _ in range(world.lib.SELDOM * 10):
        world.spin()
    assert world.yields == 2 * world.lib.DOUBT + 2 * 10


def test_with_one_cpu_a_stranger_stops_the_yields_and_teaches_nothing(world: World) -> None:
    world.cpus = 1
    world.yield_takes = SLICE
    world.spin()
    yields = world.yields
    for _ in range(10 * world.lib.DOUBT):
        world.spin()
    assert world.yields == yields
    world.now += (world.lib.LATE_FIRST + 1) * SLICE
    world.spin()
    assert world.yields == yields + 1  # trusted still; the second is not tried: the first was late


def test_with_one_cpu_who_sleeps_comes_first(world: World) -> None:
    world.cpus = 1
    world.words[0] = WAITER
    assert world.spin() == (False, 0)
    assert world.yields == 0


def test_more_cpus_are_noticed_in_time(world: World) -> None:
    world.cpus = 1
    for _ in range(3 * world.lib.MANY):
        world.spin()
    assert world.forgotten >= 3


def test_words_do_not_teach_each_other(world: World) -> None:
    world.spin(slot=0)
    others = [world.spin(slot=slot)[1] for slot in range(1, 8)]
    # By the hash two may share a lesson, but neighbours do not.
    assert sum(took >= world.lib.LONG for took in others) >= 6


def test_the_child_of_a_fork_learns_anew(world: World) -> None:
    world.spin()
    assert world.spin()[1] <= short_of(world)
    world.lib.fork_happens()
    assert world.forgotten == 1
    assert world.spin()[1] >= world.lib.LONG


def test_the_figures_belong_together(world: World) -> None:
    lib: Any = world.lib
    assert lib.SHORT < lib.YIELD_AFTER < lib.LATE < lib.LONG
    assert lib.FIRST_CLOSURE >= 32 * lib.LONG
    assert lib.FIRST_CLOSURE < lib.LAST_CLOSURE


def test_who_wants_a_lock_stands_back_before_the_first_look(module: ModuleType) -> None:
    """What is waited for is there at once, so how long it takes is when the first look is."""
    for hope, back in [(FREE, module.lib.BACK), (TOKEN, 0), (CHANGE, 0)]:
        world = World(module)
        world.words[0] = 0 if hope == FREE else 1
        found, took = world.spin(hope)
        assert found
        assert back <= took - TURN < back + TURN, hope


def test_standing_back_ends_with_the_deadline(module: ModuleType) -> None:
    world = World(module)
    world.words[0] = 7  # held
    found, took = world.spin(FREE, deadline=world.now + TURN + 100)
    assert not found
    assert took <= 4 * TURN
