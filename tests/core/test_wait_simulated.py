"""wait.c and sysv.c in a simulated machine: the moments that no test meets by chance, and the order
of what others see, which the order of instructions on this kind of machine does not show.

Both files are compiled a second time, with simulated.c for the clock, the system calls and the
memory.  What a thread writes is seen by others only after a fence, or a step: on some machines it
is so.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from core.conftest import compiled
from core.kit import EINTR, ETIMEDOUT, FOREVER, NOW, OK

SECOND, MS = 1_000_000_000, 1_000_000
LOOKS_AT_WORD, LOOKS_AT_COUNT, STEPS_COUNT = range(3)
CHANGED = 1
TIME_SLICE = 8 * MS  # of a machine that is busy

CDEF = """
void begin_anew(void);
uint32_t *count_of_sleepers(void);
uint64_t *word_of_slot(void);
void write_word_unseen(uint64_t value);
int sleep_in_set(uint32_t expected, int64_t until);
int wake_in_set(uint32_t n);
int sleep_once(int64_t deadline);
void exit_begins(void);
extern "Python" {
    int64_t simulated_clock(void);
    int simulated_semaphore(int operation, int64_t limit);
    int simulated_sleep(int64_t time);
    int simulated_backend(int64_t until);
    void before_step(int what);
}
"""


def build(folder: Path, *flags: str) -> ModuleType:
    return compiled(CDEF, '#include "simulated.c"', folder, *flags)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return build(tmp_path_factory.mktemp("simulated"))


@pytest.fixture(scope="module")
def polling(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return build(tmp_path_factory.mktemp("simulated"), "-DALTSEM_NO_SEMTIMEDOP")


class Machine:
    """Its time stands still but for sleeps.  What happens in it is said by the functions."""

    def __init__(self, module: ModuleType) -> None:
        self.lib = module.lib
        self.lib.begin_anew()
        self.count, self.word = self.lib.count_of_sleepers(), self.lib.word_of_slot()
        self.now = 10**12
        self.slept: list[int] = []  # the pauses, in nanoseconds
        self.operations: list[tuple[int, int]] = []  # on the semaphore; with the limit, -1 for none
        self.before: Callable[[int], None] = lambda what: None
        self.tokens = 0
        self.backend: Callable[[int], int] = lambda until: 0
        define = module.ffi.def_extern
        define(name="simulated_clock")(lambda: self.now)
        define(name="simulated_semaphore")(self._semaphore)
        define(name="simulated_sleep")(self._sleep)
        define(name="simulated_backend")(self._backend)
        define(name="before_step")(self._before)

    def _backend(self, until: int) -> int:
        return self.backend(until)

    def _before(self, what: int) -> None:
        self.before(what)

    def _semaphore(self, operation: int, limit: int) -> int:
        self.operations.append((operation, limit))
        if self.tokens + operation >= 0:
            self.tokens += operation
            return 0
        self.now += max(limit, 0)
        return errno.EAGAIN

    def _sleep(self, time: int) -> int:
        self.slept.append(time)
        self.now += time
        return 0


@pytest.fixture
def machine(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("ALTSEM_BACKEND", "futex")  # the one that sleeps as the test says
    return Machine(module)


# --- wait.c: slices and deadlines -----------------------------------------------------------------


def slept(machine: Machine, deadline: int, oversleeps: int = 0) -> tuple[int, list[int]]:
    """What a sleep answers whose time runs out, and until when, from now, the backend slept."""
    told: list[int] = []
    start = machine.now

    def backend(until: int) -> int:
        told.append(until - start)
        machine.now = until + oversleeps
        return ETIMEDOUT

    machine.backend = backend
    return machine.lib.sleep_once(deadline), told


def test_a_sleep_that_ends_just_at_its_deadline_says_so(machine: Machine) -> None:
    for left in (1, MS, SECOND):
        assert slept(machine, machine.now + left) == (ETIMEDOUT, [left])


def test_a_sleep_that_ends_before_its_deadline_was_a_slice(machine: Machine) -> None:
    """Some systems do not sleep as long as they are told to."""
    assert slept(machine, machine.now + MS, oversleeps=-1) == (EINTR, [MS])
    assert slept(machine, machine.now + SECOND + 1) == (EINTR, [SECOND])
    assert slept(machine, FOREVER) == (EINTR, [SECOND])


def test_a_deadline_that_was_missed_by_a_slice_is_answered_by_the_next_call(
    machine: Machine,
) -> None:
    deadline = machine.now + SECOND + 1
    assert slept(machine, deadline, oversleeps=1) == (EINTR, [SECOND])
    assert slept(machine, deadline) == (ETIMEDOUT, [])


def test_nobody_sleeps_whose_time_is_over(machine: Machine) -> None:
    for deadline in (machine.now, machine.now - 1, NOW):
        assert slept(machine, deadline) == (ETIMEDOUT, [])


# --- sysv.c: what others see ----------------------------------------------------------------------


def test_a_sleeper_is_seen_to_be_counted_before_it_looks_at_the_word(machine: Machine) -> None:
    """Else a waker changes the word after the look, and sees nobody to wake."""
    seen: list[int] = []

    def before(what: int) -> None:
        if what == LOOKS_AT_WORD:
            seen.append(machine.count[0])
            machine.word[0] = 1

    machine.before = before
    assert machine.lib.sleep_in_set(0, machine.now + MS) == CHANGED
    assert seen == [1]
    assert (machine.count[0], machine.operations) == (0, [])


def test_a_release_is_seen_before_the_waker_looks_for_sleepers(machine: Machine) -> None:
    """Else one is counted and looks at the old word, after a look that found nobody."""
    seen: list[int] = []

    def before(what: int) -> None:
        if what == LOOKS_AT_COUNT:
            seen.append(machine.word[0])

    machine.before = before
    machine.lib.write_word_unseen(7)
    assert machine.lib.wake_in_set(1) == OK
    assert (seen, machine.operations) == ([7], [])


def leaves(machine: Machine, *others: int) -> int:
    """A sleeper's time runs out; so many others arrive, or leave, before its first step out of the
    count, its second and so on.  How many steps there were."""
    steps = 0

    def before(what: int) -> None:
        nonlocal steps
        if what == STEPS_COUNT:
            machine.count[0] += others[steps] if steps < len(others) else 0
            steps += 1

    machine.before = before
    assert machine.lib.sleep_in_set(0, machine.now + MS) == ETIMEDOUT
    return steps


def test_a_sleeper_that_leaves_takes_itself_out_whoever_else_comes_and_goes(
    machine: Machine,
) -> None:
    """Once, and nobody else: one that is not counted is not woken."""
    assert (leaves(machine), machine.count[0]) == (1, 0)
    machine.count[0] = 4
    # A step that meets another's is made again.
    assert (leaves(machine, -1), machine.count[0]) == (2, 3)
    assert (leaves(machine, -1, 1), machine.count[0]) == (3, 3)
    # Comes just after the step that succeeds; then there is no further one.
    assert (leaves(machine, 0, 1), machine.count[0]) == (1, 3)
    assert machine.operations == [(-1, MS)] * 4


def test_a_sleeper_that_a_waker_has_counted_out_takes_the_token(machine: Machine) -> None:
    """Whether it is there already, or posted while the sleeper leaves."""

    def before(what: int) -> None:
        if what == LOOKS_AT_COUNT and machine.count[0] == 1:
            machine.before = lambda what: None
            assert machine.lib.wake_in_set(1) == OK

    machine.before = before
    assert machine.lib.sleep_in_set(0, machine.now + MS) == ETIMEDOUT
    assert (machine.count[0], machine.tokens) == (0, 0)
    assert [operation for operation, _ in machine.operations] == [-1, 1, -1]


def test_a_sleeper_waits_for_a_token_that_is_due_but_not_for_long(machine: Machine) -> None:
    """Its waker has lost the CPU for a time slice or two; or was killed, and there will be none."""
    machine.before = lambda what: machine.count.__setitem__(0, 0)
    assert machine.lib.sleep_in_set(0, machine.now + MS) == ETIMEDOUT
    (_, limit) = machine.operations[1]
    assert 2 * TIME_SLICE <= limit < 5 * TIME_SLICE


def test_a_time_of_more_than_a_second_is_given_to_the_kernel_as_it_is(machine: Machine) -> None:
    assert machine.lib.sleep_in_set(0, machine.now + 3 * SECOND // 2) == ETIMEDOUT
    assert machine.operations == [(-1, 3 * SECOND // 2)]


def test_a_wake_counts_out_no_more_than_it_has_tokens_for(machine: Machine) -> None:
    machine.count[0] = 5
    assert machine.lib.wake_in_set(3) == OK
    assert (machine.count[0], machine.operations) == (2, [(3, -1)])
    # One leaves meanwhile, whose token nobody would take.

    def before(what: int) -> None:
        if what == STEPS_COUNT:
            machine.count[0] = 1

    machine.before = before
    assert machine.lib.wake_in_set(9) == OK
    assert (machine.count[0], machine.operations[1:]) == (0, [(1, -1)])


# --- sysv.c: polling ------------------------------------------------------------------------------

DOUBLING = [1, 2, 4, 8, 10, 10]  # ms


def test_where_nothing_ends_the_call_a_sleeper_looks_at_doubling_intervals(
    polling: ModuleType,
) -> None:
    machine = Machine(polling)
    assert machine.lib.sleep_in_set(0, machine.now + 100 * MS) == ETIMEDOUT
    first = [MS // 10 * 2**n for n in range(7)] + [10 * MS]
    assert machine.slept[:-1] == (first + [10 * MS] * 10)[: len(machine.slept) - 1]
    assert sum(machine.slept) == 100 * MS
    assert machine.count[0] == 0


def test_a_thread_that_outlasts_its_process_looks_at_doubling_intervals(
    machine: Machine,
) -> None:
    machine.lib.exit_begins()
    start = machine.now
    assert machine.lib.sleep_in_set(0, machine.now + 40 * MS) == ETIMEDOUT
    assert machine.slept == [n * MS for n in (*DOUBLING, 5)]
    assert machine.now == start + 40 * MS
    assert (machine.count[0], machine.operations) == (0, [])
