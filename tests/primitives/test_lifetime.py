"""What primitives cost while they live, what is left when they go, and what a fork does."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import altsem
import leaks
from altsem import _core
from support import (
    GENEROUS,
    METHODS,
    descriptors,
    fork,
    get_context,
    join,
    reap,
    wait_for_waiters,
    wait_until,
)

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def collected_segments() -> int:
    gc.collect()
    return _core.segments()


def test_a_hundred_thousand_locks_alive_at_once() -> None:
    def shared() -> int:
        return Path("/proc/self/maps").read_text().count(" rw-s ")

    before = descriptors(), shared(), collected_segments()
    locks = [altsem.Lock() for _ in range(100_000)]
    grown = descriptors() - before[0], shared() - before[1], _core.segments() - before[2]
    assert max(grown) < 30
    # They are locks, each of its own.
    assert locks[0].acquire(False) and locks[-1].acquire(False)
    assert not locks[1].locked()
    assert len({lock.handle for lock in locks}) == 100_000
    locks[0].release()
    locks[-1].release()
    del locks
    # Each took a place of its own; none of it is left but what may be used again.
    assert collected_segments() <= before[2] + 1
    assert descriptors() <= before[0] + 1


def test_a_lock_is_64_bytes_in_its_segment() -> None:
    locks = [altsem.Lock() for _ in range(30)]
    handles = sorted(lock.handle for lock in locks)
    assert min(b - a for a, b in itertools.pairwise(handles)) == 64


def test_making_and_dropping_uses_the_same_place_again() -> None:
    altsem.Lock()
    handles = {altsem.Lock().handle for _ in range(100)}
    assert len(handles) == 1
    before = descriptors(), _core.segments()
    for _ in range(2000):
        altsem.Lock(), altsem.Event(), altsem.Condition(), altsem.Barrier(2)
    assert (descriptors(), _core.segments()) == before


def test_a_place_is_not_used_again_after_a_fork() -> None:
    """A child may know it: two locks in one place would exclude each other, or worse."""
    locks = [altsem.Lock()]
    handle = locks[0].handle
    go_on = altsem.Event()

    def child() -> None:
        assert go_on.wait(GENEROUS)
        assert locks[0].acquire(False)  # nobody else has it
        # Nor is a place of the parent's given out here.
        assert handle not in {altsem.Lock().handle for _ in range(100)}

    pid = fork(child)
    locks.clear()
    others = [altsem.Lock() for _ in range(200)]
    for other in others:
        other.acquire()
    go_on.set()
    assert reap(pid) == 0
    assert handle not in {other.handle for other in others}


def test_a_place_is_not_used_again_after_it_was_sent() -> None:
    import pickle

    lock = altsem.Lock()
    handle = lock.handle
    pickle.dumps(lock)
    del lock
    assert handle not in {lock.handle for lock in [altsem.Lock() for _ in range(200)]}


def test_initialised_again_while_somebody_waits() -> None:
    """The one who waits goes on waiting for what it was, and nothing crashes."""
    # In a segment that nobody else holds on to.
    semaphores = [altsem.Semaphore(0) for _ in range(500)]
    waiting = semaphores[250]
    for each in semaphores:
        _core.export(each)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(waiting.acquire(timeout=1.2)))
    thread.start()
    wait_for_waiters(waiting)
    semaphores.clear()
    for _ in range(100):
        waiting.__init__(0)  # type: ignore[misc]
        altsem.Semaphore(5)  # would be in the old place, if that were free
    gc.collect()
    thread.join(GENEROUS)
    assert results == [False]


CHURN = 30


def test_forks_while_threads_make_use_and_drop_locks() -> None:
    stop = threading.Event()
    lock, failed = altsem.Lock(), []

    def churn() -> None:
        try:
            while not stop.is_set():
                mine = altsem.RLock()
                with mine, lock:
                    altsem.Event().set()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        for _ in range(20):
            with altsem.Lock(), altsem.RLock():
                pass
        # Held by a thread of the parent at the fork or not: in the end it is to be had.
        assert lock.acquire(timeout=GENEROUS)
        lock.release()

    try:
        for _ in range(CHURN):
            assert reap(fork(child)) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []


def test_a_fork_made_from_c(tmp_path: Path, run_script: Script) -> None:
    (tmp_path / "forker.c").write_text(
        "#include <sys/wait.h>\n#include <unistd.h>\n"
        "int fork_and_wait(void) {\n"
        "    pid_t pid = fork();\n"
        "    if (pid == 0) { pause(); _exit(0); }\n"
        "    return pid;\n"
        "}\n"
    )
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", "forker.so", "forker.c"], cwd=tmp_path, check=True
    )
    done = run_script(
        "import altsem, ctypes, os, signal, sys\n"
        "library = ctypes.CDLL(sys.argv[1])\n"
        "handle = (lock := altsem.Lock()).handle\n"
        "del lock\n"
        "assert (lock := altsem.Lock()).handle == handle\n"
        "pid = library.fork_and_wait()\n"
        "del lock\n"
        "print(altsem.Lock().handle == handle)\n"
        "os.kill(pid, signal.SIGKILL)\n"
        "os.waitpid(pid, 0)\n",
        tmp_path / "forker.so",
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("method", METHODS)
def test_children_leave_their_parent_as_it_was(method: str) -> None:
    ctx = get_context(method)
    lock = ctx.Lock()
    join_one(ctx, lock)
    before = descriptors(), collected_segments()
    for _ in range(3):
        join_one(ctx, lock)
    assert (descriptors(), collected_segments()) == before


def join_one(ctx: Any, lock: Any) -> None:
    process = ctx.Process(target=use, args=(lock,))
    process.start()
    assert join(process) == [0]


def use(lock: Any) -> None:
    with lock:
        pass


TREE = """
import altsem, multiprocessing, os, sys, time

def leaf(lock, event, barrier, ready):
    altsem.SemLock  # all of it
    mine = [altsem.Lock() for _ in range(500)]
    ready.release()
    lock.acquire()

def branch(methods, lock, event, barrier, ready):
    ctx = multiprocessing.get_context("altsem-" + methods[0])
    own = [ctx.Lock(), ctx.Value("i", 1), ctx.Queue()]
    target, args = (leaf, ()) if len(methods) == 1 else (branch, (methods[1:],))
    for _ in range(2 if len(methods) == 1 else 1):
        ctx.Process(target=target, args=(*args, lock, event, barrier, ready)).start()
    ready.release()
    event.wait()

if __name__ == "__main__":
    methods = sys.argv[1:]
    ctx = multiprocessing.get_context("altsem-" + methods[0])
    lock, event, barrier, ready = ctx.Lock(), ctx.Event(), ctx.Barrier(9), ctx.Semaphore(0)
    lock.acquire()
    shared = ctx.Array("i", 1000), ctx.JoinableQueue(), ctx.Condition()
    ctx.Process(target=branch, args=(methods, lock, event, barrier, ready)).start()
    for _ in range(len(methods) + 2):
        ready.acquire()
    print("ready", flush=True)
    barrier.wait()
"""


@pytest.mark.parametrize("methods", ["fork fork", "spawn fork", "fork spawn", "forkserver fork"])
def test_a_whole_tree_is_killed(tmp_path: Path, methods: str) -> None:
    program, temporary = tmp_path / "tree.py", tmp_path / "t"
    program.write_text(TREE)
    temporary.mkdir()
    before = leaks.snapshot()
    process = subprocess.Popen(
        [sys.executable, str(program), *methods.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        assert process.stdout.readline() == "ready\n"
        family = leaks.snapshot().processes - before.processes
        assert len(family) >= 5
    finally:
        for pid in leaks.snapshot().processes - before.processes:
            os.kill(pid, signal.SIGKILL)
        process.stdout.close()
        process.stderr.close()
        assert process.wait(GENEROUS) == -signal.SIGKILL
    wait_until(lambda: not leaks.snapshot().processes - before.processes)
    assert leaks.leaked(before) == []
    # The one thing that may lie there is the forkserver's own socket, which is multiprocessing's.
    sockets = "listener-", "sock-"  # up to 3.13, and from then on
    left = [p for p in temporary.rglob("*") if not p.is_dir() and not p.name.startswith(sockets)]
    assert left == []


DAEMON = """
import altsem, multiprocessing, os, pickle, subprocess, sys

lock, event = altsem.Lock(), altsem.Event()
others = [altsem.Lock() for _ in range(300)]  # of more than one segment
report = os.dup(1)
os.dup2(report, 200)
if os.fork():
    os._exit(0)
os.setsid()
os.closerange(3, 200)
os.closerange(201, 1024)
os.chdir("/")

def tell(*what):
    os.write(200, (" ".join(map(str, what)) + "\\n").encode())

# It goes on working: here, between processes, with locks made before and after.
with lock, others[-1]:
    tell("held", lock.locked())
if os.fork() == 0:
    lock.acquire()
    altsem.Lock().acquire()
    event.set()
    os._exit(0)
tell("event", event.wait(20), lock.locked())
os.wait()
lock.release()

# Whoever has it can still be sent it, but nobody else, whether its descriptor is closed or a
# stranger's now.  What is made now lies in a segment of its own.
RECEIVE = '''
import os, pickle, sys
lock = pickle.loads(bytes.fromhex(sys.argv[1]))
try:
    with lock:
        os.write(200, b"used\\\\n")
except OSError as error:
    os.write(200, f"error {error}\\\\n".encode())
'''

def send(lock):
    sent = pickle.dumps(lock).hex()
    null = os.open("/dev/null", os.O_RDWR)
    subprocess.run([sys.executable, "-c", RECEIVE, sent], pass_fds=[200], stdin=null, check=True)
    os.close(null)

tell("here", pickle.loads(pickle.dumps(others[0])).acquire(False))
new = altsem.Lock()
send(new)
send(others[1])
strangers = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
send(others[1])
send(new)
del others, event
import gc
gc.collect()
# What became somebody else's is still open.
null = os.stat("/dev/null").st_rdev
tell("strangers", all(os.fstat(fd).st_rdev == null for fd in strangers))
"""


def test_a_daemon_that_closes_every_descriptor(tmp_path: Path) -> None:
    program = tmp_path / "daemon.py"
    program.write_text(DAEMON)
    reader, writer = os.pipe()
    process = subprocess.Popen([sys.executable, str(program)], stdout=writer, stderr=writer)
    os.close(writer)
    assert process.wait(GENEROUS) == 0
    said = b""
    deadline = time.monotonic() + GENEROUS
    while chunk := os.read(reader, 4096):
        said += chunk
        assert time.monotonic() < deadline
    os.close(reader)
    lines = said.decode().splitlines()
    assert lines[:4] == ["held True", "event True True", "here True", "used"]
    for line in lines[4:6]:
        assert "the descriptor of a shared segment was closed or reused by other code" in line
        assert "can no longer be sent to another process" in line
    assert lines[6:] == ["used", "strangers True"]


INTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import altsem
lock = altsem.Lock()
lock.acquire()
CODE = '''
import sys
from altsem import _core
lock, event = _core.Lock(), _core.Event()
with lock:
    assert lock.locked() and lock._is_mine()
event.set()
assert event.wait(1)
assert _core.SemLock(1, 2, 3, "/x", True)._get_value() == 2
try:
    lock.release()
except ValueError:
    pass
else:
    raise AssertionError
'''
def run(id, code):
    done = getattr(interpreters, "exec", None) or interpreters.run_string
    failure = done(id, code)
    assert failure is None, failure
for _ in range(3):
    id = interpreters.create()
    run(id, CODE)
    interpreters.destroy(id)
id = interpreters.create()
run(id, CODE)
import threading
threads = [threading.Thread(target=run, args=(id, CODE))]
others = [interpreters.create() for _ in range(3)]
threads += [threading.Thread(target=run, args=(other, CODE * 20)) for other in others]
for thread in threads: thread.start()
for thread in threads: thread.join()
for other in [id, *others]:
    interpreters.destroy(other)
assert lock.locked() and lock._is_mine()
lock.release()
print("done", altsem._core.segments())
"""


if sys.version_info >= (3, 12):  # before, they share one lock, and have no end that can be tested

    def test_in_subinterpreters(run_script: Script) -> None:
        done = run_script(INTERPRETER)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("done ")
        assert done.stderr == ""
