"""What a fork does, also one made from C."""

from __future__ import annotations

import ctypes
import os
import threading

import pytest

from core.crew import Child, Crew, until
from core.kit import OK, Kit


def test_forks_are_counted_on_both_sides(kit: Kit, crew: Crew) -> None:
    kit.sem()
    before = kit.lib.altsem_fork_count()
    assert crew.child(kit.lib.altsem_fork_count).result() == before + 1
    assert crew.child(lambda: Crew().child(kit.lib.altsem_fork_count).result()).result() == (
        before + 3
    )
    assert kit.lib.altsem_fork_count() == before + 2


def test_a_fork_made_from_c_is_counted_as_well(kit: Kit) -> None:
    kit.sem()
    before = kit.lib.altsem_fork_count()
    libc = ctypes.PyDLL(None)
    pid = libc.fork()
    if pid == 0:
        os._exit(kit.lib.altsem_fork_count() - before)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert kit.lib.altsem_fork_count() == before + 1


@pytest.mark.limit(60)
def test_a_child_forked_while_threads_take_slots_finds_everything_whole(
    kit: Kit, crew: Crew
) -> None:
    """The mutex is held across fork(): a child never inherits it locked by a thread it has not."""
    stop = threading.Event()

    def churn() -> None:
        segment, slot = kit.ffi.new("altsem_segment **"), kit.ffi.new("altsem_slot **")
        while not stop.is_set():
            assert kit.lib.altsem_slot_new(1, 0, 1, segment, slot) == OK
            kit.lib.altsem_slot_free(segment[0], slot[0])

    threads = [crew.task(churn) for _ in range(3)]
    sem = kit.sem()

    def work() -> int:
        mine = kit.sem()
        mine.post()
        return mine.sem_try() or sem.post() or kit.lib.altsem_segment_count() > 50

    try:
        for _ in range(40):
            assert crew.child(work).result() == OK
    finally:
        stop.set()
    for thread in threads:
        thread.result()
    assert sem.sem_value() == 40


def test_a_child_uses_what_it_inherited_and_frees_it_for_itself_only(kit: Kit, crew: Crew) -> None:
    sem, event, lock = kit.sem(), kit.event(), kit.lock()

    def work() -> None:
        sem.post()
        lock.wait()
        event.event_set()
        for thing in (sem, event):
            thing.free()
        lock.lock_release()
        lock.free()

    crew.child(work).result()
    assert (sem.sem_try(), event.event_is_set(), lock.lock_try()) == (OK, 1, OK)


def test_a_segment_outlives_the_process_that_made_it(kit: Kit, crew: Crew) -> None:
    """The parent has dropped everything when the child looks."""
    box, go = kit.sem(), kit.sem()

    def parent() -> None:
        things = [kit.sem(number) for number in range(200)]

        def child() -> None:
            go.wait()
            if all(thing.sem_value() == number for number, thing in enumerate(things)):
                box.post()

        Child(child, orphan=True)

    crew.child(parent).result()
    go.post()
    until(lambda: box.sem_value() == 1, "the grandchild says that all is well")
