"""Who am I, and is that owner still alive."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

import pytest

from core import sandbox
from core.crew import Crew
from core.kit import Kit


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_the_thread_id_is_the_kernels_in_every_thread(kit: Kit, crew: Crew) -> None:
    def ids() -> tuple[int, int, int]:
        first = kit.lib.altsem_tid()
        return first, kit.lib.altsem_tid(), threading.get_native_id()

    seen = [ids(), *(crew.task(ids).result() for _ in range(3)), crew.child(ids).result()]
    assert all(len(set(three)) == 1 for three in seen)
    assert seen[0] != seen[-1]


def test_a_child_forked_before_any_segment_was_made_is_not_its_parent(program) -> None:
    code = """
import os
mine, myself = lib.altsem_tid(), lib.altsem_process_id()
child = Child(lambda: (os.getpid(), lib.altsem_tid(), lib.altsem_process_id() >> 42))
pid, tid, identity = child.result()
print(mine == os.getpid(), pid == tid == identity, lib.altsem_tid() == mine)
"""
    assert program(code) == "True True True\n"


def test_the_identity_of_a_process_is_its_pid_start_and_namespace(kit: Kit, crew: Crew) -> None:
    lib, here = kit.lib, os.stat("/proc/self/ns/pid").st_ino

    def expected() -> int:
        pid, start = os.getpid(), start_time(os.getpid()) % 2**32
        origin = (start ^ here << 32) * 0x9E3779B97F4A7C15 % 2**64 >> 43
        return pid << 42 | 1 << 41 | origin << 20

    mine = lib.altsem_process_id()
    assert mine == expected() == lib.altsem_id_from(os.getpid(), start_time(os.getpid()), here)
    assert crew.task(lib.altsem_process_id).result() == mine
    theirs, right = crew.child(lambda: (lib.altsem_process_id(), expected())).result()
    assert theirs == right != mine


def test_each_thread_of_a_process_has_an_identity_of_its_own(kit: Kit, crew: Crew) -> None:
    def ids() -> tuple[int, int]:
        return kit.lib.altsem_self().id, kit.lib.altsem_self().id

    seen = [ids(), *(crew.task(ids).result() for _ in range(20))]
    assert all(first == second for first, second in seen)
    assert len({first for first, _ in seen}) == len(seen)
    assert {first >> 20 << 20 for first, _ in seen} == {kit.lib.altsem_process_id()}


def test_namespaces_and_starts_that_follow_each_other_never_have_one_identity(kit: Kit) -> None:
    """Of processes with one pid: born in one tick in sibling namespaces, or in one namespace."""
    identity, first = kit.lib.altsem_id_from, 0xF0000000
    assert len({identity(1, 4711, first + n) for n in range(20000)}) == 20000
    assert len({identity(1, 4711 + n, first) for n in range(20000)}) == 20000


@pytest.mark.parametrize("name", [b"a) Z 1 2 3", b"((((", b") X )", b" ", b"\xff\n) Z"])
def test_a_strange_name_of_a_program_deceives_nobody(kit: Kit, crew: Crew, name: bytes) -> None:
    def work() -> tuple[int, int, tuple[int, int, int]]:
        pr_set_name = 15
        ctypes.CDLL(None).prctl(pr_set_name, name, 0, 0, 0)
        pid, here = os.getpid(), kit.lib.altsem_pid_namespace()
        text = Path("/proc/self/stat").read_bytes()
        start = int(text.rpartition(b")")[2].split()[19])
        mine = kit.lib.altsem_process_id()
        return mine, kit.lib.altsem_id_from(pid, start, here), kit.judge(pid, mine, here)

    child = crew.child(work)
    mine, right, judged = child.result()
    assert mine == right and judged == (child.pid, 1, 1)


def test_the_pid_namespace_is_the_kernels(kit: Kit) -> None:
    assert kit.lib.altsem_pid_namespace() == os.stat("/proc/self/ns/pid").st_ino


def test_without_proc_a_process_still_has_an_identity_of_its_own(program) -> None:
    code = """
import os
try:
    own_mounts()
    mount_tmpfs("/proc", "")
except OSError as error:
    print("skip", error)
    sys.exit()
mine = lib.altsem_process_id()
lock = kit.lock()
other = Child(lambda: (lib.altsem_process_id(), lock.lock_try(), lock.lock_is_mine()))
theirs, took, is_mine = other.result()
assert mine >> 42 == os.getpid() and lib.altsem_process_id() == mine
assert theirs >> 42 == other.pid and (took, is_mine) == (0, 1)
assert (mine >> 20 ^ theirs >> 20) % 2**21 and not (mine | theirs) >> 41 & 1
assert lib.altsem_pid_namespace() == 0
assert lock.lock_is_mine() == 0 and lock.lock_owner_pid() == other.pid
"""
    if (out := program(code)).startswith("skip"):
        pytest.skip(out)


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_a_segment_knows_that_another_pid_namespace_uses_it(kit: Kit, program) -> None:
    """Owners of another namespace cannot be judged, so nobody may take over from them."""
    sem = kit.sem()
    foreign = kit.header_field(sem, "foreign")
    fd = kit.lib.altsem_segment_fd(sem.segment)

    code = """
import ctypes, os
fd = os.open(sys.argv[1], os.O_RDWR)
inside = len(sys.argv) > 2
if inside:
    assert ctypes.CDLL(None).unshare(0x20000000) == 0
def work():
    global fd
    error, segment, took = kit.attach(fd)
    assert error == 0 and took
    return 0
print(Child(work).result())
"""
    path = f"/proc/{os.getpid()}/fd/{fd}"
    assert program(code, path) == "0\n" and bytes(foreign) == bytes(4)
    assert kit.lib.altsem_segment_namespace(sem.segment) == kit.lib.altsem_pid_namespace()
    assert program(code, path, "inside") == "0\n"
    seen = int.from_bytes(foreign, "little"), kit.lib.altsem_segment_namespace(sem.segment)
    foreign[:] = bytes(4)  # else it would be of no use to the tests that come later
    assert seen == (1, 0)


def test_can_refuse_knows_this_machine() -> None:
    assert sandbox.can_refuse() or os.uname().machine not in ("x86_64", "aarch64")
