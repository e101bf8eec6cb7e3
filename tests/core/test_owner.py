"""Who am I, and is that owner still alive."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from pathlib import Path

import pytest

from core import sandbox
from core.crew import Crew, state_of, until
from core.kit import OK, Kit


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
mine, myself = lib.altsem_tid(), lib.altsem_self()
child = Child(lambda: (os.getpid(), lib.altsem_tid(), lib.altsem_self() >> 32))
pid, tid, identity = child.result()
print(mine == os.getpid(), pid == tid == identity, lib.altsem_tid() == mine)
"""
    assert program(code) == "True True True\n"


def test_the_identity_of_a_process_is_its_pid_and_start_time(kit: Kit, crew: Crew) -> None:
    expected = os.getpid() << 32 | start_time(os.getpid()) % 2**32
    assert kit.lib.altsem_self() == expected
    assert crew.task(kit.lib.altsem_self).result() == expected
    assert crew.child(lambda: (kit.lib.altsem_self(), os.getpid())).result() != (
        expected, os.getpid()
    )  # fmt: skip


def test_a_process_is_seen_by_others_as_it_sees_itself(kit: Kit, crew: Crew) -> None:
    go, told = kit.event(), kit.sem()

    def work() -> int:
        told.poke("holder", kit.lib.altsem_self())
        told.post()
        go.persist("event_wait", 0, 2**63 - 1)
        return 0

    child = crew.child(work)
    assert told.wait() == OK
    assert kit.lib.altsem_id_of(child.pid) == told.peek("holder")
    assert told.peek("holder") >> 32 == child.pid
    assert kit.lib.altsem_id_of(os.getpid()) == kit.lib.altsem_self()
    go.event_set()
    child.result()
    assert kit.lib.altsem_id_of(child.pid) == 0


def test_a_zombie_is_dead(kit: Kit, crew: Crew) -> None:
    child = crew.child(signal.pause)
    assert kit.lib.altsem_id_of(child.pid) != 0
    child.signal(signal.SIGKILL)
    until(lambda: state_of(child.pid) == "Z")
    os.kill(child.pid, 0)  # says alive
    assert kit.lib.altsem_id_of(child.pid) == 0


@pytest.mark.parametrize("pid", [0, 2**22 + 1, 2**31, 2**32 - 1])
def test_nobody_is_nobody(kit: Kit, pid: int) -> None:
    assert kit.lib.altsem_id_of(pid) == 0


@pytest.mark.parametrize("name", [b"a) Z 1 2 3", b"((((", b") X )", b" ", b"\xff\n) Z"])
def test_a_strange_name_of_a_program_deceives_nobody(kit: Kit, crew: Crew, name: bytes) -> None:
    def work() -> tuple[int, int, int]:
        pr_set_name = 15
        ctypes.CDLL(None).prctl(pr_set_name, name, 0, 0, 0)
        pid = os.getpid()
        text = Path("/proc/self/stat").read_bytes()
        return (
            kit.lib.altsem_id_of(pid),
            kit.lib.altsem_self(),
            int(text.rpartition(b")")[2].split()[19]),
        )

    seen, told, start = crew.child(work).result()
    assert seen == told and seen % 2**32 == start


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
mine = lib.altsem_self()
lock = kit.lock()
other = Child(lambda: (lib.altsem_self(), lock.lock_try(), lock.lock_is_mine()))
theirs, took, is_mine = other.result()
assert mine >> 32 == os.getpid() and mine % 2**32 and lib.altsem_self() == mine
assert theirs >> 32 == other.pid and (took, is_mine) == (0, 1)
assert lib.altsem_pid_namespace() == 0 and lib.altsem_id_of(os.getpid()) == 0
assert lock.lock_is_mine() == 0 and lock.lock_owner_pid() == other.pid
"""
    if (out := program(code)).startswith("skip"):
        pytest.skip(out)


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_a_segment_knows_that_another_pid_namespace_uses_it(kit: Kit, program) -> None:
    """Owners of another namespace cannot be judged, so nobody may take over from them."""
    sem = kit.sem()
    fd = kit.lib.altsem_segment_fd(sem.segment)

    def foreign() -> int:
        at = kit.lib.at_header_foreign
        return int.from_bytes(os.pread(fd, 4, at), "little")

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
    assert program(code, path) == "0\n" and foreign() == 0
    assert kit.lib.altsem_segment_namespace(sem.segment) == kit.lib.altsem_pid_namespace()
    assert program(code, path, "inside") == "0\n"
    assert foreign() == 1 and kit.lib.altsem_segment_namespace(sem.segment) == 0


def test_can_refuse_knows_this_machine() -> None:
    assert sandbox.can_refuse() or os.uname().machine not in ("x86_64", "aarch64")
