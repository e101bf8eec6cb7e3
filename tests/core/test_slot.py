"""Slots: taken, given back, used again only when nobody else can know them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from core.conftest import build
from core.crew import Crew, load
from core.kit import BARRIER, EINVAL, EVENT, FIRST, FREE, OK, PAGE, SEM, VALUE_MAX, Kit, Thing

PER_PAGE = PAGE // 64 - 2


def usage() -> tuple[int, int]:
    with open("/proc/self/maps") as maps:
        return len(maps.readlines()), len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", [FREE, -1, 7, 255, 256, 257, 2**31 - 1])
def test_a_type_that_does_not_exist_is_refused_and_nothing_taken(kit: Kit, kind: int) -> None:
    before = kit.sem()
    assert kit.raw_new(kind, 0) == (EINVAL, None)
    address = before.address
    before.free()
    assert kit.sem().address == address


def test_a_refused_value_takes_no_slot_from_the_free_list(kit: Kit) -> None:
    first, second = kit.sem(), kit.sem()
    addresses = {first.address, second.address}
    first.free()
    second.free()
    for _ in range(3):
        assert kit.raw_new(1, -1) == (EINVAL, None)
    assert {kit.sem().address, kit.sem().address} == addresses


@pytest.mark.parametrize("parties", [0, -1, -(2**31)])
def test_a_barrier_of_nobody_is_refused(kit: Kit, parties: int) -> None:
    assert kit.raw_new(BARRIER, 0, parties) == (EINVAL, None)


def test_a_slot_is_a_cache_line_of_its_own_and_starts_clean(kit: Kit) -> None:
    things = [kit.sem(7) for _ in range(100)]
    assert len({thing.address for thing in things}) == 100
    assert all(thing.address % 64 == 0 and thing.offset >= FIRST for thing in things)
    thing = things[50]
    address = thing.address
    for kind in range(1, 7):
        kit.ffi.buffer(kit.ffi.cast("char *", thing.slot), 64)[:] = b"\x5a" * 64
        thing.poke("state", SEM)
        thing.poke("born", things[0].peek("born"))
        thing.poke("next", 0)
        thing.free()
        thing, other = kit.new(kind, 0, 2), kit.new(kind, 0, 2)
        assert thing.address == address != other.address  # which nobody has had
        assert thing.image() == other.image()
        assert (thing.slot_type(), thing.slot_maxvalue()) == (kind, 2)


def test_a_slot_that_nobody_else_knew_is_used_again(kit: Kit) -> None:
    address = kit.sem().address
    for _ in range(1000):
        kit.things[-1].free()
        assert kit.lock().address == address


def test_an_exported_slot_is_never_used_again(kit: Kit) -> None:
    seen = set()
    for _ in range(200):
        thing = kit.sem()
        assert thing.slot_export() == thing.offset == thing.slot_export()
        assert thing.address not in seen or thing.peek("state") & 0x100
        seen.add((thing.segment, kit.identity(thing.segment), thing.address))
        thing.free()
    assert len(seen) == 200


def test_a_slot_known_to_two_objects_is_never_used_again(kit: Kit) -> None:
    thing = kit.sem()
    keep = kit.sem()
    _, twin = kit.at(thing.segment, thing.offset)
    assert twin is not None
    address = thing.address
    thing.free()
    assert twin.post() == OK
    twin.free()
    assert address not in [kit.sem().address for _ in range(200)]
    assert keep.sem_value() == 0


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A core that says when it has unlocked its mutex."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CFLAGS", "-DTELL_UNLOCK")
        patch.setenv("LDFLAGS", "-Wl,--wrap=altsem_mutex_unlock")
        kit = Kit(load(build(tmp_path_factory.mktemp("telling"))))
    yield kit
    kit.close()


@pytest.mark.parametrize("how", ["at", "find"])
def test_a_slot_that_is_found_while_its_last_owner_frees_it_is_never_used_again(
    telling: Kit, how: str
) -> None:
    """Finding it and marking it as known to another are one step."""
    kit, lib, ffi = telling, telling.lib, telling.ffi
    keep, thing = kit.sem(), kit.sem()
    address, segment, slot = thing.address, ffi.new("altsem_segment **"), ffi.new("altsem_slot **")
    made: list[int] = []

    @ffi.callback("void(void)")
    def another_thread() -> None:
        if not made:
            made.append(0)
            thing.free()
            made[0] = kit.event().address

    lib.after_unlock = another_thread
    try:
        if how == "at":
            error = lib.altsem_slot_at(thing.segment, thing.offset, SEM, slot)
            segment[0] = thing.segment
        else:
            error = lib.altsem_slot_find(address, segment, slot)
    finally:
        lib.after_unlock = ffi.NULL
    assert error == OK and made and made[0] != address
    found = kit.keep(segment[0], slot[0])
    assert (found.address, found.slot_type(), found.post()) == (address, SEM, OK)
    assert kit.things[-2].slot_type() == EVENT and keep.sem_value() == 0
    found.free()
    assert address not in {kit.sem().address for _ in range(200)}


def test_a_slot_that_was_live_at_a_fork_is_never_used_again(kit: Kit, crew: Crew) -> None:
    old = kit.sem()
    keep = kit.sem()
    crew.child(lambda: None).result()
    new = kit.sem()
    addresses = old.address, new.address
    old.free()
    new.free()
    again = {kit.sem().address for _ in range(200)}
    assert addresses[0] not in again and addresses[1] in again
    assert keep.sem_value() == 0


def test_a_slot_freed_before_a_fork_may_be_used_again_by_its_maker_only(
    kit: Kit, crew: Crew
) -> None:
    keep, thing = kit.sem(), kit.sem()
    address = thing.address
    thing.free()
    segments = {keep.segment}
    assert crew.child(lambda: kit.sem().segment in segments).result() is False
    assert kit.sem().address == address


def test_a_child_never_takes_slots_from_what_it_inherited(kit: Kit, crew: Crew) -> None:
    """It and its parent would give the same slot to two different locks."""
    sem = kit.sem()
    for _ in range(10):  # a free list, too
        kit.sem()
    for thing in kit.things[-5:]:
        thing.free()
    inherited = kit.identity(sem.segment)

    def work() -> bool:
        mine = [kit.sem() for _ in range(3 * PER_PAGE)]
        for thing in mine:
            thing.free()
        mine = [kit.sem() for _ in range(3 * PER_PAGE)]
        sem.free()
        mine += [kit.sem() for _ in range(3)]
        grandchild = Crew().child(lambda: kit.sem().segment in {m.segment for m in mine})
        return inherited in {kit.identity(thing.segment) for thing in mine} or grandchild.result()

    assert crew.child(work).result() is False
    assert sem.sem_value() == 0 and sem.slot_type() == 1


def test_the_first_segment_is_a_page(program) -> None:
    code = """
things = [kit.sem()]
print(things[0].segment_size(), lib.altsem_segment_count())
while lib.altsem_segment_count() == 1:
    things.append(kit.sem())
print(len(things) - 1, things[-1].segment_size())
for number in range(10000):
    kit.things[-1].free()
    kit.sem()
print(lib.altsem_segment_count())
"""
    assert program(code).split() == [*map(str, (PAGE, 1, PER_PAGE, PAGE, 2))]


CLOSED = """
import os
def fd_of(thing):
    return lib.altsem_segment_fd(thing.segment)

for reused in (False, True):
    for free in (0, 3):
        old = [kit.sem() for _ in range(10)]
        fd = fd_of(old[0])
        for thing in old[:free]:
            thing.free()
        os.close(fd)
        if reused:
            null = os.open("/dev/null", os.O_RDONLY)
            assert null == fd or os.dup2(null, fd) == fd and os.close(null) is None
        new = kit.sem()
        assert new.segment != old[-1].segment and fd_of(new) >= 0
        # What there was goes on working; given back, it is not used again.
        assert old[-1].sem_try() == -11 and old[-1].post() == 0 and old[-1].sem_value() == 1
        old[-1].free()
        assert all(fd_of(kit.sem()) >= 0 for _ in range(100))
        if reused:
            os.close(fd)
print("done")
"""


def test_after_the_descriptors_were_closed_slots_come_from_a_new_segment(program) -> None:
    """At once, and whether the number is free or a stranger's now."""
    assert program(CLOSED) == "done\n"


@pytest.mark.parametrize("freed", [0, 2])
def test_where_no_new_segment_can_be_had_a_closed_one_is_filled(program, freed: int) -> None:
    code = """
import os, resource, signal
signal.alarm(20)
old, *others = [kit.sem() for _ in range(1 + int(sys.argv[1]))]
for other in others:
    other.free()
fd = lib.altsem_segment_fd(old.segment)
os.dup2(os.open("/dev/null", os.O_RDONLY), fd)
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
new = kit.sem(2)
print(new.segment == old.segment, new.sem_value())
"""
    assert program(code, freed) == "True 2\n"


def test_what_was_freed_in_several_segments_is_used_before_a_new_one_is_made(program) -> None:
    code = """
things = [kit.sem()]
while lib.altsem_segment_count() < 4:
    things.append(kit.sem())
freed = {}
for thing in things:
    freed.setdefault(thing.segment, thing)
addresses = {thing.address for thing in freed.values()}
for thing in freed.values():
    thing.free()
print(len(freed), {kit.sem().address for _ in freed} == addresses, lib.altsem_segment_count())
"""
    assert program(code) == "4 True 4\n"


def test_making_and_dropping_stays_within_a_page(program) -> None:
    code = """
for number in range(5000):
    thing = kit.sem()
    if number % 2:
        thing.slot_export()
    assert thing.segment_size() == PAGE
    thing.free()
    assert lib.altsem_segment_count() <= 2
"""
    assert program(code) == ""


@pytest.mark.parametrize("export", [False, True])
def test_a_hundred_thousand_slots_need_few_mappings_and_descriptors(program, export: bool) -> None:
    """Whether they travel or not: a program may well send every lock that it makes to somebody."""
    code = f"""
from core.test_slot import usage
before = usage()
segment, slot = ffi.new("altsem_segment **"), ffi.new("altsem_slot **")
new, export = lib.altsem_slot_new, lib.altsem_slot_export
kept = []
for number in range(100_000):
    assert new(1, number, {VALUE_MAX}, segment, slot) == 0
    if {export}:
        export(segment[0], slot[0])
    kept.append((segment[0], slot[0]))
grown = [now - then for now, then in zip(usage(), before)]
# The interpreter's own memory grows, too.
assert lib.altsem_segment_count() <= 30 and grown[0] < 200 and grown[1] <= 30, grown
value = lib.altsem_sem_value
assert all(value(slot) == number for number, (segment, slot) in enumerate(kept))
for segment, slot in kept:
    lib.altsem_slot_free(segment, slot)
assert lib.altsem_segment_count() <= 2
"""
    assert program(code) == ""


def test_many_threads_take_and_give_back_at_once(kit: Kit, crew: Crew) -> None:
    """No slot is ever with two of them."""

    def work(me: int) -> None:
        mine: list[Thing] = []
        for number in range(600):
            thing = Thing(kit, *take())
            mine.append(thing)
            assert thing.sem_value() == 0
            assert thing.sem_post(1) == OK
            thing.poke("holder", me)
            if number % 3 == 2:
                for old in (mine.pop(0), mine.pop()):
                    assert (old.sem_try(), old.peek("holder")) == (OK, me)
                    kit.lib.altsem_slot_free(old.segment, old.slot)
        for thing in mine:
            assert thing.peek("holder") == me
            kit.lib.altsem_slot_free(thing.segment, thing.slot)

    def take() -> tuple[object, object]:
        segment, slot = kit.ffi.new("altsem_segment **"), kit.ffi.new("altsem_slot **")
        assert kit.lib.altsem_slot_new(1, 0, 1, segment, slot) == OK
        return segment[0], slot[0]

    for task in [crew.task(work, me + 1) for me in range(6)]:
        task.result()


def test_a_damaged_free_list_leads_nowhere_outside(kit: Kit) -> None:
    """It stands in memory that others can write."""
    for bad in (1, 2**31, 2**32 - 1):
        first, second = kit.sem(), kit.sem()
        second.free()
        first.poke("next", bad)
        kit.things.remove(first)
        kit.lib.altsem_slot_free(first.segment, first.slot)
        first.poke("next", bad)
        things = [kit.sem() for _ in range(4)]
        assert all(FIRST <= t.offset < t.segment_size() for t in things)
        assert len({t.address for t in things}) == 4
