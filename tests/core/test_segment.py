"""Segments: what is shared, how it is passed on, what is refused."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import struct
from collections.abc import Iterator

import pytest

from core import sandbox
from core.crew import Crew
from core.kit import (
    BARRIER,
    EACCES,
    EBADF,
    EINVAL,
    ENOSYS,
    EPROTONOSUPPORT,
    ESTALE,
    EXDEV,
    FIRST,
    OK,
    PAGE,
    SEM,
    Kit,
    Thing,
)


@pytest.fixture
def descriptors() -> Iterator[list[int]]:
    """Those put in are closed, unless somebody closed them."""
    opened: list[int] = []
    yield opened
    for fd in opened:
        with contextlib.suppress(OSError):
            os.close(fd)


def image(kit: Kit, thing: Thing, fresh: bool = True) -> bytearray:
    """What stands in the segment; with another identity, so that it is not found to be known."""
    fd = kit.lib.altsem_segment_fd(thing.segment)
    data = bytearray(os.pread(fd, thing.segment_size(), 0))
    if fresh:
        data[kit.lib.at_header_id : kit.lib.at_header_id + 16] = os.urandom(16)
    return data


def forged(data: bytes, descriptors: list[int]) -> int:
    fd = os.memfd_create("forged", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    descriptors.append(fd)
    os.write(fd, data)
    return fd


def damage(kit: Kit, data: bytearray, field: str, value: int) -> bytearray:
    form = "=Q" if field in ("magic", "size") else "=I"
    struct.pack_into(form, data, getattr(kit.lib, f"at_header_{field}"), value)
    return data


# --- arriving -------------------------------------------------------------------------------------


def test_a_segment_that_is_known_is_mapped_once_and_the_descriptor_not_taken(
    kit: Kit, descriptors: list[int]
) -> None:
    sem = kit.sem(3)
    before = kit.lib.altsem_segment_count()
    descriptors.append(os.dup(kit.lib.altsem_segment_fd(sem.segment)))
    for identity in (None, kit.identity(sem.segment)):
        assert kit.attach(descriptors[0], identity) == (OK, sem.segment, 0)
        kit.lib.altsem_segment_decref(sem.segment)
    assert kit.lib.altsem_segment_count() == before
    os.fstat(descriptors[0])


def test_a_segment_that_is_new_takes_the_descriptor_and_closes_it_at_the_end(
    kit: Kit, descriptors: list[int]
) -> None:
    sem = kit.sem(3)
    before = kit.lib.altsem_segment_count()
    data = image(kit, sem)
    fd = forged(data, descriptors)
    os.set_inheritable(fd, True)
    error, segment, took = kit.attach(fd)
    assert (error, took, kit.lib.altsem_segment_count()) == (OK, 1, before + 1)
    assert kit.lib.altsem_segment_fd(segment) == fd and not os.get_inheritable(fd)
    assert kit.lib.altsem_segment_size(segment) == sem.segment_size()
    assert kit.identity(segment) == data[kit.lib.at_header_id :][:16] != kit.identity(sem.segment)
    error, copy = kit.at(segment, sem.offset, SEM)
    assert copy is not None and copy.sem_value() == 3 and copy.address != sem.address
    kit.lib.altsem_segment_decref(segment)
    copy.free()
    assert kit.lib.altsem_segment_count() == before
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_lookup_finds_what_is_mapped_and_nothing_else(kit: Kit) -> None:
    sem = kit.sem()
    assert kit.lib.altsem_segment_lookup(kit.identity(sem.segment)) == sem.segment
    kit.lib.altsem_segment_decref(sem.segment)
    assert kit.lib.altsem_segment_lookup(os.urandom(16)) == kit.ffi.NULL


def test_many_segments_are_told_apart_also_when_some_have_gone(
    kit: Kit, descriptors: list[int]
) -> None:
    """More than the table has rows at first, let go in another order than they came."""
    lib, sem, before = kit.lib, kit.sem(), kit.lib.altsem_segment_count()
    known = {}
    for _ in range(200):
        _, segment, took = kit.attach(forged(image(kit, sem), descriptors))
        assert took == 1
        known[kit.identity(segment)] = segment
    assert lib.altsem_segment_count() == before + len(known) == before + 200
    order = list(known)
    random.Random(3).shuffle(order)
    for number, identity in enumerate(order):
        assert lib.altsem_segment_lookup(identity) == known[identity]
        lib.altsem_segment_decref(known[identity])
        lib.altsem_segment_decref(known[identity])
        assert lib.altsem_segment_lookup(identity) == kit.ffi.NULL
        assert lib.altsem_segment_count() == before + 199 - number
        if rest := order[number + 1 :]:
            assert lib.altsem_segment_lookup(rest[-1]) == known[rest[-1]]
            lib.altsem_segment_decref(known[rest[-1]])


def test_an_identity_that_is_scribbled_over_changes_nothing_here(
    kit: Kit, descriptors: list[int]
) -> None:
    """Others can write the header; what is known of a segment is a copy."""
    fd = forged(damage(kit, image(kit, kit.sem()), "foreign", 0), descriptors)
    before = kit.lib.altsem_segment_count()
    _, segment, _ = kit.attach(fd)
    identity = kit.identity(segment)
    namespace = kit.lib.altsem_segment_namespace(segment)
    assert namespace != 0
    os.pwrite(fd, os.urandom(16), kit.lib.at_header_id)
    os.pwrite(fd, b"garb", kit.lib.at_header_pid_namespace)
    assert kit.identity(segment) == identity
    assert kit.lib.altsem_segment_namespace(segment) == namespace
    assert kit.lib.altsem_segment_lookup(identity) == segment
    kit.lib.altsem_segment_decref(segment)
    kit.lib.altsem_segment_decref(segment)
    assert kit.lib.altsem_segment_count() == before


def test_references_keep_a_segment_and_the_last_one_lets_it_go(
    kit: Kit, descriptors: list[int]
) -> None:
    before = kit.lib.altsem_segment_count()
    _, segment, _ = kit.attach(forged(image(kit, kit.sem()), descriptors))
    for _ in range(3):
        kit.lib.altsem_segment_incref(segment)
    for _ in range(4):
        assert kit.lib.altsem_segment_count() == before + 1
        kit.lib.altsem_segment_decref(segment)
    assert kit.lib.altsem_segment_count() == before


def test_identities_are_different_and_not_zero(kit: Kit) -> None:
    things = [kit.sem()]
    while things[-1].segment == things[0].segment:  # as large as those of earlier tests together
        things.append(kit.sem())
    segments = {thing.segment for thing in things}
    identities = {kit.identity(segment) for segment in segments}
    assert len(identities) == len(segments) > 1 and bytes(16) not in identities


def test_a_primitive_works_in_a_process_that_got_the_descriptor(kit: Kit, program) -> None:
    sem, answer = kit.sem(), kit.event()
    assert sem.segment == answer.segment
    fd = kit.lib.altsem_segment_fd(sem.segment)
    assert not os.get_inheritable(fd)
    code = """
import os
path, identity, sem, event = sys.argv[1], bytes.fromhex(sys.argv[2]), *map(int, sys.argv[3:])
for number in range(2):
    fd = os.open(path, os.O_RDWR)
    error, segment, took = kit.attach(fd, identity)
    assert (error, took) == (0, number == 0)
assert lib.altsem_segment_count() == 1
error, sem = kit.at(segment, sem, SEM)
error, event = kit.at(segment, event, EVENT)
print(sem.post(), event.event_set())
"""
    args = f"/proc/{os.getpid()}/fd/{fd}", kit.identity(sem.segment).hex()
    assert program(code, *args, sem.offset, answer.offset) == "0 0\n"
    assert (sem.sem_try(), answer.event_is_set()) == (OK, 1)


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "values", "error"),
    [
        ("magic", [0, 1, 2**64 - 1], EINVAL),
        ("layout", [0, 1, 3, 2**32 - 1], EPROTONOSUPPORT),
        ("slot_bytes", [0, 32, 128], EPROTONOSUPPORT),
        ("backend", [0, 77, 2**32 - 1], EXDEV),
        ("size", [0, PAGE - 1, PAGE + 1, 2**63, 2**64 - 1], EINVAL),
        ("slots", [0, 1, 2, 2**31, 2**32 - 1], EINVAL),
    ],
)
def test_a_damaged_header_is_refused(
    kit: Kit, descriptors: list[int], field: str, values: list[int], error: int
) -> None:
    sem = kit.sem()
    before = kit.lib.altsem_segment_count()
    for value in values:
        fd = forged(damage(kit, image(kit, sem), field, value), descriptors)
        assert kit.attach(fd)[::2] == (error, 0), value
        os.fstat(fd)
    assert kit.lib.altsem_segment_count() == before


def test_a_segment_larger_than_any_that_is_made_is_refused(
    kit: Kit, descriptors: list[int]
) -> None:
    """A sparse file costs its sender nothing, but whoever allocates by its number of slots."""
    most = 32768
    for slots, size, error in [
        (most, most * 64, OK),
        (most + PAGE // 64, most * 64 + PAGE, EINVAL),
        (3, most * 64 + PAGE, EINVAL),
        (2**32 - 1, 2**38, EINVAL),
    ]:
        data = damage(kit, damage(kit, image(kit, kit.sem()), "slots", slots), "size", size)
        fd = forged(data, descriptors)
        os.ftruncate(fd, size)
        answer, segment, took = kit.attach(fd)
        assert (answer, took) == (error, error == OK), (slots, size)
        if took:
            descriptors.remove(fd)
            kit.lib.altsem_segment_decref(segment)


def test_another_segment_than_the_one_that_was_promised_is_refused(
    kit: Kit, descriptors: list[int]
) -> None:
    sem = kit.sem()
    fd = os.dup(kit.lib.altsem_segment_fd(sem.segment))
    descriptors.append(fd)
    assert kit.attach(fd, os.urandom(16))[::2] == (ESTALE, 0)
    fd = forged(image(kit, sem), descriptors)
    assert kit.attach(fd, kit.identity(sem.segment))[::2] == (ESTALE, 0)


def test_what_is_no_segment_is_refused(kit: Kit, descriptors: list[int]) -> None:
    reader, writer = os.pipe()
    others = [reader, writer, os.open("/dev/null", os.O_RDWR), os.open("/", os.O_RDONLY)]
    others += [os.open("/dev/zero", os.O_RDWR), os.memfd_create("empty")]
    descriptors += others
    for fd in others:
        assert kit.attach(fd)[::2] == (EINVAL, 0), os.readlink(f"/proc/self/fd/{fd}")
    for size in (1, 127, 128, PAGE, 3 * PAGE + 5):
        assert kit.attach(forged(bytes(size), descriptors))[0] == EINVAL
    assert kit.attach(-1)[0] == EBADF and kit.attach(10**6)[0] == EBADF


def test_a_truncated_or_grown_file_is_refused(kit: Kit, descriptors: list[int]) -> None:
    data = image(kit, kit.sem())
    for size in (0, 64, 127, 128, len(data) - 1):
        assert kit.attach(forged(data[:size], descriptors))[0] == EINVAL
    assert kit.attach(forged(data + bytes(PAGE), descriptors))[0] == EINVAL


def test_a_descriptor_that_cannot_be_written_is_refused(kit: Kit, descriptors: list[int]) -> None:
    fd = forged(image(kit, kit.sem()), descriptors)
    for mode in (os.O_RDONLY, os.O_WRONLY):
        descriptors.append(os.open(f"/proc/self/fd/{fd}", mode))
        assert kit.attach(descriptors[-1])[0] == EACCES


FOLLOW = """
import os
print(kit.attach(os.open(sys.argv[1], os.O_RDWR))[0])
print(ffi.string(lib.altsem_backend(ffi.new("int *"))).decode())
"""


def test_a_process_without_a_backend_follows_the_segment(
    kit: Kit, program, descriptors: list[int]
) -> None:
    sem = kit.sem()
    mine = kit.ffi.string(kit.lib.altsem_backend(kit.out("int"))).decode()
    path = f"/proc/{os.getpid()}/fd/{kit.lib.altsem_segment_fd(sem.segment)}"
    assert program(FOLLOW, path).split() == ["0", mine]
    # Even against its environment: the choice holds for the whole tree of processes.
    others = [kit.lib.altsem_backend_name(number) for number in range(3)]
    for other in (kit.ffi.string(name).decode() for name in others if name):
        assert program(FOLLOW, path, env={"ALTSEM_BACKEND": other}).split() == ["0", mine]
    fd = forged(damage(kit, image(kit, sem), "backend", 77), descriptors)
    path = f"/proc/{os.getpid()}/fd/{fd}"
    assert program(FOLLOW, path).splitlines()[0] == str(EPROTONOSUPPORT)


REFUSED = """
import errno, os
none = ffi.NULL
def told():
    return lib.altsem_backend_reason()
fd, size = os.open(sys.argv[1], os.O_RDWR), int(sys.argv[2])
# Another segment than the one promised; one that cannot be written; one that cannot be mapped.
assert (kit.attach(fd, bytes(16))[0], told()) == (ESTALE, none)
reader = os.open(sys.argv[1], os.O_RDONLY)
assert (kit.attach(reader)[0], told()) == (EACCES, none)
import resource
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (0, limits[1]))
error = kit.attach(fd)[0]
resource.setrlimit(resource.RLIMIT_AS, limits)
assert (error, told()) == (-errno.ENOMEM, none)
assert lib.altsem_segment_count() == 0
assert os.pread(fd, 4, lib.at_header_foreign) == bytes(4)
print(kit.raw_new(SEM, 0)[0], ffi.string(lib.altsem_backend(ffi.new("int *"))).decode())
"""


def test_a_segment_that_is_refused_does_not_choose_the_backend_and_is_not_touched(
    kit: Kit, program, descriptors: list[int]
) -> None:
    sem = kit.sem()
    filelock = 3
    data = damage(kit, damage(kit, image(kit, sem), "backend", filelock), "foreign", 0)
    # Of another PID namespace: who accepts it leaves a mark in it.
    fd = forged(damage(kit, data, "pid_namespace", 1), descriptors)
    path = f"/proc/{os.getpid()}/fd/{fd}"
    env = {"ALTSEM_BACKEND": "futex"}
    assert program(REFUSED, path, sem.segment_size(), env=env).split() == ["0", "futex"]


@pytest.mark.skipif(not sandbox.can_refuse(), reason="no table of system calls for this machine")
def test_a_segment_whose_backend_does_not_work_here_is_refused(
    kit: Kit, program, descriptors: list[int]
) -> None:
    futex = 1
    fd = forged(damage(kit, image(kit, kit.sem()), "backend", futex), descriptors)
    code = "import os; refuse_futex(38); print(kit.attach(os.open(sys.argv[1], os.O_RDWR))[0])"
    assert program(code, f"/proc/{os.getpid()}/fd/{fd}").split() == [str(ENOSYS)]


@pytest.mark.parametrize("offset", [0, 1, 63, 64, FIRST + 1, FIRST + 32, 2**31, 2**63, 2**64 - 64])
def test_an_offset_outside_the_slots_is_refused(kit: Kit, offset: int) -> None:
    sem = kit.sem()
    assert kit.at(sem.segment, offset) == (EINVAL, None)


def test_an_offset_past_the_end_or_of_nothing_or_of_another_type_is_refused(
    kit: Kit, descriptors: list[int]
) -> None:
    sem = kit.sem()
    size = sem.segment_size()
    assert kit.at(sem.segment, size) == (EINVAL, None)
    for kind in range(BARRIER + 1):
        error, thing = kit.at(sem.segment, sem.offset, kind)
        assert error == (OK if kind in (0, SEM) else EINVAL)
        assert thing is None or thing.address == sem.address
    # Never taken, and of a type that does not exist: in a copy, which belongs to nobody else.
    data = image(kit, sem)
    data[-64:] = bytes(64)
    struct.pack_into("=I", data, sem.offset + kit.lib.at_slot_state, 0x107)
    _, segment, _ = kit.attach(forged(data, descriptors))
    assert kit.at(segment, size - 64) == (EINVAL, None)
    assert kit.at(segment, sem.offset) == (EINVAL, None)
    kit.lib.altsem_segment_decref(segment)


def test_fewer_slots_than_bytes_bound_the_offsets(kit: Kit, descriptors: list[int]) -> None:
    sem = kit.sem()
    data = damage(kit, image(kit, sem), "slots", 3)
    data[FIRST : FIRST + 64] = data[FIRST + 64 : FIRST + 128] = sem.image()
    _, segment, _ = kit.attach(forged(data, descriptors))
    assert kit.at(segment, FIRST)[0] == OK
    assert kit.at(segment, FIRST + 64)[0] == EINVAL
    kit.lib.altsem_segment_decref(segment)


def test_an_address_is_found_only_if_a_live_slot_is_there(kit: Kit) -> None:
    sem = kit.sem(9)
    segment, slot = kit.ffi.new("altsem_segment **"), kit.ffi.new("altsem_slot **")

    def find(address: int) -> int:
        return int(kit.lib.altsem_slot_find(address, segment, slot))

    base = sem.address - sem.offset
    bad = [0, 1, base, base + 64, sem.address + 1, base - 64, base + sem.segment_size(), 2**64 - 1]
    assert [find(address) for address in bad] == [EINVAL] * len(bad)
    assert find(sem.address) == OK
    found = kit.keep(segment[0], slot[0])
    assert (found.address, found.sem_value()) == (sem.address, 9)


# --- the descriptor is touched behind our back ----------------------------------------------------


def test_a_closed_descriptor_is_noticed_and_the_primitives_work_on(kit: Kit, crew: Crew) -> None:
    """Daemons close everything."""
    sem = kit.sem()

    def work() -> tuple[int, ...]:
        mine = kit.sem()  # a child never takes slots from what it inherited
        fd = kit.lib.altsem_segment_fd(mine.segment)
        os.close(fd)
        answers = [kit.lib.altsem_segment_fd(mine.segment), mine.post(), mine.sem_try(), sem.post()]
        mine.free()
        return (*answers, kit.sem().post())

    assert crew.child(work).result() == (EBADF, OK, OK, OK, OK)
    assert sem.sem_value() == 1


def test_a_reused_descriptor_is_neither_passed_on_nor_closed(
    kit: Kit, descriptors: list[int]
) -> None:
    before = kit.lib.altsem_segment_count()
    _, segment, _ = kit.attach(forged(image(kit, kit.sem()), descriptors))
    fd = kit.lib.altsem_segment_fd(segment)
    stranger = os.memfd_create("stranger")
    descriptors.append(stranger)
    os.dup2(stranger, fd)
    assert kit.lib.altsem_segment_fd(segment) == EBADF
    kit.lib.altsem_segment_decref(segment)
    assert kit.lib.altsem_segment_count() == before
    assert os.path.samestat(os.fstat(fd), os.fstat(stranger))


def test_the_memory_cannot_be_pulled_from_under_the_others(kit: Kit) -> None:
    fd = kit.lib.altsem_segment_fd(kit.sem().segment)
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        pytest.skip("no memfd here")
    assert seals & fcntl.F_SEAL_SHRINK
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)


def test_address_ranges_that_a_late_wake_may_read_are_used_again(program) -> None:
    """With the sysv backend they are not given back."""
    code = """
def size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * PAGE
def use():
    things = [kit.sem() for _ in range(70)]  # more than a page has
    for thing in things:
        thing.slot_export()
    for thing in things:
        thing.free()
for _ in range(20):
    use()
before = size()
for _ in range(500):
    use()
print(size() - before < 250 * PAGE)
"""
    assert program(code, env={"ALTSEM_BACKEND": "sysv"}) == "True\n"


@pytest.mark.parametrize("source", ["getrandom", "/dev/urandom", "the clock"])
def test_segments_have_identities_of_their_own_wherever_chance_comes_from(
    kit: Kit, crew: Crew, source: str
) -> None:
    """Of one process, and of two that make theirs at the same time."""
    if source != "getrandom" and not sandbox.can_refuse():
        pytest.skip("no system call can be refused here")

    def work() -> list[bytes] | None:
        if source == "the clock":
            try:
                sandbox.own_mounts()
                sandbox.mount_tmpfs("/dev", "")
            except OSError:
                return None
        if source != "getrandom":
            sandbox.refuse("getrandom", errno.ENOSYS)
        made = [kit.sem() for _ in range(3 * PAGE // 64)]
        return list(dict.fromkeys(kit.identity(each.segment) for each in made))

    told = [child.result() for child in [crew.child(work) for _ in range(2)]]
    if None in told:
        pytest.skip("no mount namespace to be had here")
    # The first may have come from the parent's; all others are new.
    identities = [identity for each in told for identity in each]
    assert min(map(len, told)) >= 3
    assert len(set(identities)) == len(identities)
    assert bytes(16) not in identities


def test_an_address_range_is_not_lost_when_a_mapping_into_it_fails(program) -> None:
    """Where it has to stay readable: it is used again, or each failure would cost one."""
    code = """
import errno, fcntl, os
from core.test_segment import forged, image
SEAL_FUTURE_WRITE = 16
opened = []
def attached(seals=0):
    fd = forged(image(kit, kit.things[0]), opened)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    error, segment, took = kit.attach(fd)
    if took:
        opened.remove(fd)
    if error:
        return error
    start = int(ffi.cast("uintptr_t", lib.start_of(segment)))
    lib.altsem_segment_decref(segment)
    return start
kit.sem()
first = attached()
assert attached() == first
try:
    refused = [attached(SEAL_FUTURE_WRITE) for _ in range(2)]
except OSError:
    print("skip")
    sys.exit()
print(refused == [-errno.EPERM] * 2, attached() == first)
"""
    if (said := program(code, env={"ALTSEM_BACKEND": "sysv"})) == "skip\n":
        pytest.skip("files cannot be sealed against mappings here")
    assert said == "True True\n"
