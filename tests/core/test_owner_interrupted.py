"""A thread that a signal handler interrupts while it introduces itself is one and the same in both.

owner.c is compiled a second time; the handler comes right after a step, or at the fence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

import pytest

from core.conftest import compiled

T = TypeVar("T")

CDEF = """
typedef struct { int interrupted; uint64_t id, id_in_handler; uint32_t token_in_handler; } answer;
answer introduced(int at, int fence);
typedef struct { uint64_t id; uint32_t token; int reached, known; } fenced;
fenced at_the_fence(void);
"""
SOURCE = """
#include <stdatomic.h>
#include <stdint.h>
static int after_step(int);
static void fence(void);
#undef atomic_compare_exchange_strong
#define atomic_compare_exchange_strong(at, seen, next)                                  \\
    after_step(atomic_compare_exchange_strong_explicit(at, seen, next, memory_order_seq_cst, \\
                                                       memory_order_seq_cst))
#undef atomic_signal_fence
#define atomic_signal_fence(order) fence()
#include "process/clock.c"
#include "process/proc.c"
#include "process/owner.c"

typedef struct { int interrupted; uint64_t id, id_in_handler; uint32_t token_in_handler; } answer;
typedef struct { uint64_t id; uint32_t token; int reached, known; } fenced;
static _Thread_local int steps_left, at_fence, busy;
static _Thread_local answer seen;
static _Thread_local fenced what;

static void handler(void) {
    busy = seen.interrupted = 1;
    const altsem_thread *me = altsem_self();
    seen.id_in_handler = me->id, seen.token_in_handler = me->token;
    busy = 0;
}
static int after_step(int done) {
    if (steps_left > 0 && --steps_left == 0 && !busy) handler();
    return done;
}
static void fence(void) {
    if (!busy && !what.reached)
        what = (fenced){altsem_me.id, altsem_me.token, 1,
                        altsem_me.generation == altsem_generation()};
    if (at_fence && !busy) at_fence = 0, handler();
}
static answer introduced(int at, int fence) {
    seen = (answer){0};
    steps_left = at, at_fence = fence;
    seen.id = altsem_self()->id;
    steps_left = at_fence = 0;
    return seen;
}
static fenced at_the_fence(void) {
    altsem_self();
    return what;
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled(CDEF, SOURCE, tmp_path_factory.mktemp("owner"))


def in_a_thread(work: Callable[[], T]) -> T:
    """A new one, which has not introduced itself."""
    told: list[T] = []
    thread = threading.Thread(target=lambda: told.append(work()))
    thread.start()
    thread.join()
    return told[0]


def test_a_handler_finds_the_thread_to_be_who_it_is_afterwards(module: ModuleType) -> None:
    """A lock that the handler has taken belongs to the thread."""
    lib = module.lib
    # After the first step of the first thread, which names the process; after that of another,
    # which counts it; and at the fence.
    moments = [(1, 0), (1, 0), (0, 1)]
    interrupted = [in_a_thread(lambda m=moment: lib.introduced(*m)) for moment in moments]  # type: ignore[misc]
    for told in interrupted:
        assert told.interrupted and told.token_in_handler
        assert told.id == told.id_in_handler != 0
    assert len({told.id for told in interrupted}) == len(interrupted)


def test_a_thread_is_taken_for_known_only_when_all_of_it_is_written(module: ModuleType) -> None:
    told = in_a_thread(module.lib.at_the_fence)
    assert told.reached and told.id and told.token
    assert not told.known
