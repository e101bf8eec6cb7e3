"""The lock view: who holds what and who waits, told from outside and from the lock itself."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

import altsem
from altsem import _core, _owner
from altsem.locks import processes, report
from altsem.locks import segments as layout
from altsem.locks import view as lock_view
from altsem.locks.segments import NotASegmentError

CTX = altsem.get_context("fork")


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.002)


def locks(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "altsem", "locks", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def hold(lock: Any, ready: Any) -> None:
    lock.acquire()
    ready.set()
    time.sleep(600)


def want(lock: Any) -> None:
    lock.acquire()


@contextmanager
def children(*targets: tuple[Callable[..., None], tuple[Any, ...]]) -> Iterator[list[BaseProcess]]:
    started: list[BaseProcess] = [CTX.Process(target=f, args=a) for f, a in targets]
    for process in started:
        process.start()
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.join()


def entry(told: dict[str, Any], primitive: Any) -> dict[str, Any]:
    """What is told of a primitive of this process.  (Locks that are gone may still be told of.)"""
    segment, offset = _core.export(primitive)
    (found,) = (
        one
        for shown in told["segments"]
        if shown["id"] == segment.id.hex()
        for one in shown["primitives"]
        if one["offset"] == offset
    )
    return dict(found)


def own_view(primitive: Any) -> dict[str, Any]:
    return entry(lock_view.look({os.getpid()}).json(True), primitive)


def test_names_holder_and_waiters_and_says_when_the_holder_is_dead() -> None:
    lock, ready = CTX.Lock(), CTX.Event()
    with children((hold, (lock, ready))) as (holder,):
        assert ready.wait(30)
        with children((want, (lock,)), (want, (lock,))) as waiting:
            until(lambda: lock.waiters == 2)
            mine = os.getpid()
            said = locks("--json", mine)
            told = json.loads(said.stdout)
            # Other tests of this process may have left a lock whose holder they killed.
            states = [
                one["owner"]["state"]
                for segment in told["segments"]
                for one in segment["primitives"]
                if one.get("owner")
            ]
            assert said.returncode == int("dead" in states), said.stderr
            shown = entry(told, lock)
            assert shown["owner"]["pid"] == holder.pid
            assert shown["owner"]["state"] == "alive"
            assert shown["owner"]["command"] == _owner.command(mine)
            assert shown["waiters"] == 2
            assert {one["pid"] for one in shown["waiting"]} <= {one.pid for one in waiting}
            text = locks().stdout
            assert f"held by pid {holder.pid}, thread {holder.pid}: alive, " in text

            assert holder.pid is not None
            os.kill(holder.pid, signal.SIGKILL)
            until(lambda: lock.owner is not None and lock.owner.alive is False)
            # Once as a zombie, once when it is quite gone; from inside and outside.
            for _ in range(2):
                owner = lock.owner
                assert owner is not None and owner.pid == holder.pid and owner.state == "dead"
                said = locks("--json", waiting[0].pid)
                assert said.returncode == 1
                assert entry(json.loads(said.stdout), lock)["owner"]["state"] == "dead"
                holder.join()
            assert f"held by pid {holder.pid}, thread {holder.pid}: dead" in locks(mine).stdout


def may_look_into_calls() -> bool:
    with children((want, (CTX.Semaphore(0),))) as (child,):
        try:
            with open(f"/proc/{child.pid}/syscall") as file:
                file.read()
        except OSError:
            return False
    return True


def test_names_the_threads_that_sleep() -> None:
    if _core.backend() != "futex" or not may_look_into_calls():
        pytest.skip("the kernel does not tell in which system call a process is")
    lock, event = CTX.Lock(), CTX.Event()
    with lock, children((want, (lock,)), (event.wait, ())) as (first, second):
        until(lambda: lock.waiters == 1 and event.waiters == 1)

        def seen() -> bool:
            # All: a sleeper is not counted for the instant in which it looks, once a second.
            told = json.loads(locks("--json", "--all", os.getpid()).stdout)
            asleep = [[one["pid"] for one in entry(told, p)["waiting"]] for p in (lock, event)]
            return asleep == [[first.pid], [second.pid]]

        until(seen)
        event.set()
    assert lock.owner is None


def test_owner_of_a_free_and_of_an_own_lock() -> None:
    for lock in (CTX.Lock(), CTX.RLock()):
        assert lock.owner is None and lock.waiters == 0
        with lock:
            owner = lock.owner
            assert owner is not None
            assert (owner.pid, owner.tid) == (os.getpid(), threading.get_native_id())
            assert owner.alive is True and owner.thread_alive is True
            assert owner.command == _owner.command(os.getpid())
        assert lock.owner is None


def test_a_thread_that_ended_is_not_called_alive() -> None:
    lock = CTX.Lock()
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    until(lambda: lock.owner is not None and lock.owner.state == "thread ended")
    owner = lock.owner
    assert owner is not None and owner.alive is True
    lock.release()


def test_waiters_of_everything() -> None:
    semaphore, condition, barrier = CTX.Semaphore(0), CTX.Condition(), CTX.Barrier(3)

    def wait_for_notice() -> None:
        with condition:
            condition.wait()

    targets: list[Callable[..., object]] = [semaphore.acquire, wait_for_notice, barrier.wait]
    threads = [threading.Thread(target=target) for target in (*targets, barrier.wait)]
    for thread in threads:
        thread.start()
    until(
        lambda: (
            (semaphore.waiters, condition.waiters, barrier.n_waiting) == (1, 1, 2)
            # The view from outside sees the same.
            and [own_view(p)["waiters"] for p in (semaphore, condition._room, barrier._rendezvous)]
            == [1, 1, 2]
        )
    )
    semaphore.release()
    with condition:
        condition.notify()
    barrier.wait()
    for thread in threads:
        thread.join()


def test_layout_is_that_of_the_core() -> None:
    made = [CTX.Semaphore(7), CTX.Lock(), CTX.RLock(), CTX.Event(), CTX.BoundedSemaphore(3)]
    made[3].set()
    made[2].acquire()
    made[2].acquire()
    shown = [own_view(one) for one in made]
    assert [(one["type"], one["value"], one["held"]) for one in shown] == [
        ("Semaphore", 7, False),
        ("Lock", 1, False),
        ("RLock", 0, True),
        ("Event", 1, False),
        ("Semaphore", 3, False),
    ]
    assert shown[2]["owner"]["pid"] == os.getpid()
    assert set(layout.BACKENDS.values()) >= set(_core.backends())
    identity = _core.export(made[0])[0].id.hex()
    (backend,) = (
        segment.header.backend
        for segment in lock_view.look({os.getpid()}).segments
        if segment.header.id == identity
    )
    assert backend == _core.backend()


def test_a_named_semaphore_is_seen_though_nobody_keeps_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name: to look into the mapping of another process takes more than being its user."""
    opened = []

    def cautious(path: str) -> int:
        opened.append(path)
        if "map_files" in path or path.endswith("/mem"):
            raise PermissionError(path)
        return os.open(path, os.O_RDONLY)

    monkeypatch.setattr(processes, "_open", cautious)
    monkeypatch.setenv("ALTSEM_DIR", str(tmp_path))
    name = f"/seen-{os.getpid()}"
    made = altsem.SemLock(1, 1, 1, name, False)
    made.acquire()
    shown = own_view(made)
    assert (shown["type"], shown["owner"]["pid"]) == ("Lock", os.getpid())
    assert any(path.endswith(f"sem.{name[1:]}") for path in opened)
    altsem.sem_unlink(name)
    # Another one may have the name now.
    again = altsem.SemLock(1, 1, 1, name, False)
    assert own_view(again)["held"] is False
    with pytest.raises(ValueError, match="unpack"):
        own_view(made)
    altsem.sem_unlink(name)


def test_another_pid_namespace_cannot_be_judged(run_script: Any) -> None:
    done = run_script(
        """
import ctypes, os, sys
import altsem
lock = altsem.Lock()
gone = altsem.Semaphore(0)
libc = ctypes.CDLL(None, use_errno=True)
new_user, new_pid = 0x10000000, 0x20000000
if libc.unshare(new_pid) and libc.unshare(new_user | new_pid):
    print("not permitted")
    sys.exit()
pid = os.fork()
if pid == 0:
    lock.acquire()
    gone.release()
    os._exit(0)
gone.acquire()
print(lock.owner.state, lock.owner.alive)
os.waitpid(pid, 0)
"""
    )
    if "not permitted" in done.stdout:
        pytest.skip("no PID namespace to be had here")
    assert done.stdout == "cannot be judged None\n", done.stderr


def test_a_process_whose_main_thread_has_ended_is_not_called_dead(run_script: Any) -> None:
    done = run_script(
        """
import ctypes, os, signal, subprocess, sys, threading, time
import altsem
context = altsem.get_context("fork")
lock, taken = context.Lock(), context.Event()

def hold():
    lock.acquire()
    taken.set()
    time.sleep(600)

pid = os.fork()
if pid == 0:
    threading.Thread(target=hold, daemon=True).start()
    taken.wait()
    ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)  # this thread only
try:
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.001)
    owner = lock.owner
    print(owner.pid == pid, owner.state, owner.thread_alive)
    command = [sys.executable, "-m", "altsem", "locks", str(os.getpid())]
    print(subprocess.run(command, stdout=subprocess.DEVNULL).returncode)
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(lock.owner.state)
"""
    )
    assert done.stdout == "True alive True\n0\ndead\n", done.stderr


MOUNT = """
import ctypes, os, signal, sys
import altsem
import altsem._owner  # while its file may be read
libc = ctypes.CDLL(None, use_errno=True)

def may(result):
    if result != 0:
        print("not permitted")
        sys.exit()

def mount_proc(options):
    may(libc.unshare(0x20000))
    may(libc.mount(b"none", b"/", None, 0x44000, None))  # private, all of them
    may(libc.mount(b"proc", b"/proc", b"proc", 0, options))

def hold(lock, context=altsem.get_context("fork")):
    taken = context.Semaphore(0)
    pid = os.fork()
    if pid == 0:
        lock.acquire()
        taken.release()
        signal.pause()
    taken.acquire()
    return pid

def tell(lock, pid):
    print(lock.owner.pid == pid, lock.owner.state)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(lock.owner.state, flush=True)
"""


def test_a_process_that_proc_hides_is_not_called_dead(run_script: Any) -> None:
    """hidepid=2, for another user than the holder's."""
    done = run_script(
        MOUNT
        + """
if os.getuid() != 0:
    may(-1)
mount_proc(b"hidepid=2")
lock, report, over = altsem.Lock(), altsem.Event(), altsem.Event()
pid = hold(lock)
child = os.fork()
if child == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    try:
        print(lock.owner.pid == pid, lock.owner.state, lock.owner.command, flush=True)
        report.set()
        over.wait(30)
        print(lock.owner.state, flush=True)
    finally:
        os._exit(0)
report.wait(30)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
over.set()
os.waitpid(child, 0)
"""
    )
    if "not permitted" in done.stdout:
        pytest.skip("no /proc with hidepid to be had here")
    assert done.stdout == "True cannot be judged None\ndead\n", done.stderr


def test_a_proc_of_another_namespace_makes_nobody_dead(run_script: Any) -> None:
    """A PID namespace that goes on seeing the /proc of the one around it."""
    done = run_script(
        MOUNT
        + """
if libc.unshare(0x20000000) and libc.unshare(0x30000000):
    may(-1)
first = os.fork()
if first == 0:
    try:
        lock = altsem.Lock()
        tell(lock, hold(lock))
    finally:
        os._exit(0)
os.waitpid(first, 0)
"""
    )
    if "not permitted" in done.stdout:
        pytest.skip("no PID namespace to be had here")
    assert done.stdout == "True cannot be judged\ndead\n", done.stderr


def test_a_pid_that_is_used_again_is_not_the_owner() -> None:
    with (lock := CTX.Lock()):
        me, real, here = _core.holder(lock) or (0, 0, 0)
    assert real >> 42 == me & 0x3FFFFF == os.getpid()
    assert _owner.judge(me, real, here).state == "alive"
    assert _owner.judge(me, real ^ 1 << 30, here).state == "dead"
    assert _owner.judge(me, real, here + 1).state == "cannot be judged"


def test_a_process_that_is_not_there() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    said = locks("--json", gone.pid)
    assert said.returncode == 2
    assert json.loads(said.stdout)["refused"] == [{"pid": gone.pid, "error": "No such process"}]


@pytest.mark.parametrize("number", [0, -1, 1 << 31, 1 << 32 | 1, 10**30])
def test_a_number_that_no_process_can_have(number: int) -> None:
    said = locks(number)
    assert (said.returncode, said.stderr) == (2, "")
    assert said.stdout.splitlines()[-1] == f"process {number}: No such process"


HOLDER = """
import sys, altsem
lock = altsem.Lock()
lock.acquire()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("fetched", [True, False], ids=["gone", "zombie"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_a_process_that_ends_while_it_is_looked_at_is_an_error_only_if_it_was_named(
    monkeypatch: pytest.MonkeyPatch, fetched: bool, named: bool
) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"

        def end_it(mapping: Any) -> Any:
            if mapping.pid == process.pid:
                process.kill()
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                if fetched:
                    process.wait()
            return real(mapping)

        real = lock_view.open_source
        monkeypatch.setattr(lock_view, "open_source", end_it)
        seen = lock_view.look({process.pid} if named else set())
        process.wait()
    if named:
        assert seen.refused == {process.pid: "No such process"}
        assert process.pid not in seen.looked_at  # which makes the exit status 2
    else:
        assert process.pid not in seen.refused
        # Not the number alone: where a lock lies, in somebody's segment, may be the same.
        text = report.text(seen, True)
        assert f"pid {process.pid}:" not in text and f"process {process.pid}:" not in text


def test_a_process_that_has_ended_before_its_command_line_was_read_is_said_to_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = CTX.Lock()
    with lock:
        monkeypatch.setattr(lock_view, "command", lambda pid: None)
        said = report.text(lock_view.look({os.getpid()}), False)
    assert f"used by pid {os.getpid()}: (has ended)\n" in said


class Bytes:
    """In place of a source."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size].ljust(size, b"\0")


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("=QII16sQIIIII", 1, layout.LAYOUT, 1, b"", 4096, 64, 0, 0, 64, 0),
        struct.pack("=QII16sQIIIII", layout.MAGIC, 99, 1, b"", 4096, 64, 0, 0, 64, 0),
        struct.pack("=QII16sQIIIII", layout.MAGIC, layout.LAYOUT, 1, b"", 4096, 65, 0, 0, 64, 0),
        struct.pack(
            "=QII16sQIIIII", layout.MAGIC, layout.LAYOUT, 1, b"", 1 << 40, 1 << 30, 0, 0, 64, 0
        ),
    ],
    ids=["foreign", "other layout", "too many slots", "too large"],
)
def test_what_is_no_segment_is_refused(header: bytes) -> None:
    with pytest.raises(NotASegmentError):
        layout.read_header(Bytes(header))  # type: ignore[arg-type]


# --- robust locks, and those that are released by hand -------------------------------------------


def hold_and_die(lock: Any, ready: Any) -> None:
    lock.acquire()
    ready.set()
    os.kill(os.getpid(), signal.SIGKILL)


def die_with(lock: Any) -> int:
    ready = CTX.Event()
    with children((hold_and_die, (lock, ready))) as (holder,):
        holder.join()
        assert holder.pid is not None and ready.is_set()
        return holder.pid


def place_of(lock: Any) -> str:
    segment, offset = _core.export(lock)
    return f"{segment.id.hex()[:12]}:{offset}"


def release_by_hand(where: str, answer: str = "y\n") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "altsem", "locks", "--release", where, str(os.getpid())]
    return subprocess.run(command, input=answer, capture_output=True, text=True, timeout=60)


def test_tells_of_robust_locks_and_their_deaths() -> None:
    lock = CTX.Lock(robust=True)
    assert own_view(lock)["robust"] is True and own_view(lock)["deaths"] == 0
    assert own_view(CTX.Lock())["robust"] is False
    die_with(lock)
    with pytest.warns(altsem.OwnerDiedWarning):
        lock.acquire()
    lock._midway = True
    lines = locks(os.getpid()).stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if f"robust Lock at {place_of(lock)[13:]}:" in line)
    assert f"held by pid {os.getpid()}" in lines[at]
    assert lines[at + 1].strip() == "was taken over once from an owner that had died"
    assert lines[at + 2].strip() == "who holds it, or held it last, is in the middle of something"
    lock._midway = False
    lock.release()
    assert own_view(lock)["deaths"] == 1
    assert f"robust Lock at {place_of(lock)[13:]}: free" in locks(os.getpid()).stdout


def test_only_what_the_dead_held_stays_held_and_each_is_named() -> None:
    locks_made: list[Any] = [kind() for _ in range(4) for kind in (CTX.Lock, CTX.RLock)]
    dead = {locks_made[n]: die_with(locks_made[n]) for n in (1, 2, 5)}
    said = locks("--json", os.getpid())
    assert said.returncode == 1
    told = json.loads(said.stdout)
    for lock in locks_made:
        assert lock.acquire(False) is (lock not in dead)
        if lock in dead:
            owner = entry(told, lock)["owner"]
            assert (owner["pid"], owner["state"]) == (dead[lock], "dead")
        else:
            lock.release()
    for lock in dead:
        assert release_by_hand(place_of(lock)).returncode == 0


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("kind", [CTX.Lock, CTX.RLock, lambda robust: CTX.BoundedSemaphore(1)])
def test_a_lock_of_the_dead_is_released_by_hand(kind: Any, robust: bool) -> None:
    lock = kind(robust=robust)
    pid = die_with(lock)
    before = locks("--json", os.getpid())
    assert before.returncode == 1
    said = release_by_hand(place_of(lock), "n\n")
    assert (said.returncode, said.stderr) == (1, "not released\n")
    assert f"held by pid {pid}, thread {pid}: dead" in said.stdout
    assert lock.locked()
    said = release_by_hand(place_of(lock))
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.endswith("Release it? [y/N] released\n")
    assert not lock.locked()
    assert entry(json.loads(locks("--json", "--all", os.getpid()).stdout), lock)["value"] == 1
    if lock._robust:
        with pytest.warns(altsem.OwnerDiedWarning), lock:
            assert lock.owner_died.pid == pid
    else:
        assert lock.acquire(False)
        lock.release()


def test_a_lock_of_the_living_is_not_released_by_hand() -> None:
    lock, ready = CTX.Lock(), CTX.Event()
    with children((hold, (lock, ready))):
        assert ready.wait(30)
        said = release_by_hand(place_of(lock))
        assert said.returncode == 1
        assert said.stderr == "not released: it is not held by an owner that is proved dead\n"
        assert lock.locked() and not _core.free_dead(lock)
    free, nobodys = CTX.Lock(), altsem.SemLock(1, 0, 1, "/any", True)
    for other in (free, nobodys):
        assert not _core.free_dead(other)
    assert release_by_hand(place_of(free)).returncode == 1


@pytest.mark.parametrize("where", ["", "abc", ":128", "0123:x", "zzzz:128"])
def test_what_is_no_place_is_not_released(where: str) -> None:
    said = release_by_hand(where)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.count("\n") == 1


def test_what_is_no_lock_is_not_released() -> None:
    event = CTX.Event()
    said = release_by_hand(place_of(event))
    assert (said.returncode, said.stderr) == (2, "a Event has no owner\n")
    segment, _ = place_of(event).split(":")
    assert "there is nothing at 64" in release_by_hand(f"{segment}:64").stderr


def test_goes_on_looking_until_it_is_interrupted() -> None:
    lock = CTX.Lock()
    command = [sys.executable, "-u", "-m", "altsem", "locks", "--watch", "0.05", str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def shows(text: str) -> bool:
            assert process.stdout is not None
            return text in process.stdout.readline()

        try:
            with lock:
                until(lambda: shows(f"Lock at {place_of(lock)[13:]}: held by pid {os.getpid()}"))
            other = CTX.RLock()
            with other:
                until(lambda: shows(f"RLock at {place_of(other)[13:]}: held by pid {os.getpid()}"))
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            assert process.returncode == 0
        finally:
            process.kill()
    assert locks("--watch", "0").returncode == 64


def test_watch_ends_when_its_reader_has_left() -> None:
    command = [sys.executable, "-m", "altsem", "locks", "--watch", "0.05", str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def test_watch_ends_when_there_is_no_room_for_what_it_says() -> None:
    command = [sys.executable, "-m", "altsem", "locks", "--watch", "0.05", str(os.getpid())]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    assert done.returncode == 74
    assert "could not be written" in done.stderr
