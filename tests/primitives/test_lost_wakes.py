"""Python's primitives where slices never end and nobody spins: whoever is not woken hangs.

A build of its own (csrc/wait/testing.h).  In what is shipped a slice of a second would make good
what is lost, and no test would see it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from altsem import _core

ROOT = Path(__file__).resolve().parents[2]
SWITCH = b"ALTSEM_TEST_NO_SLICES"
LIMIT = 20.0
BACKENDS = ("futex", "sysv")  # filelock's sleepers poll, and need no wake
HOW = ("processes", "threads")

Script = Callable[..., "subprocess.CompletedProcess[str]"]
Run = Callable[..., None]

HEAD = """
import os, sys, threading
import altsem
from altsem import _core
from support import state, wait_for_waiters, wait_until, waiters

how = sys.argv[1]
ctx = altsem.get_context("fork")

class Person:
    "A process or a thread that ends well, or never."
    def __init__(self, work, *args):
        self.done = ctx.Value("i", 0, lock=False)
        def run():
            work(*args)
            self.done.value = 1
        make = ctx.Process if how == "processes" else threading.Thread
        self.runs = make(target=run, daemon=True)
        self.runs.start()
    def asleep(self):
        if how == "processes":
            return state(self.runs.pid) == "S"
        return state(os.getpid(), self.runs.native_id) == "S"

def gather(number, work, *args):
    return [Person(work, *args) for _ in range(number)]

def asleep(people, primitive, number=None):
    number = len(people) if number is None else number
    wait_until(lambda: waiters(primitive) >= number and all(p.asleep() for p in people),
               f"{number} asleep in {primitive!r}")

def come_back(people):
    for person in people:
        person.runs.join()
        assert person.done.value == 1
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the test build of the package can be imported from."""
    folder = tmp_path_factory.mktemp("test-build")
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", f"--build-lib={folder}",
         f"--build-temp={folder / 'objects'}"],
        cwd=ROOT,
        env={**os.environ, "ALTSEM_TEST_BUILD": "1"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(ROOT / "src" / "altsem", folder / "altsem", dirs_exist_ok=True)
    return folder


@pytest.fixture(params=[(backend, how) for backend in BACKENDS for how in HOW], ids="-".join)
def run(request: pytest.FixtureRequest, build: Path, run_script: Script) -> Run:
    backend, how = request.param
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, (build, ROOT / "tests"))),
        "ALTSEM_TEST_NO_SLICES": "1",
        "ALTSEM_BACKEND": backend,
    }

    def run(code: str) -> None:
        head = f"{HEAD}\nassert _core.__file__.startswith({str(build)!r})\n"
        script = head + code + '\nprint("all came back")\n'
        done = run_script(script, how, timeout=LIMIT, env=environment)
        assert (done.returncode, done.stdout) == (0, "all came back\n"), done.stderr

    return run


def test_what_is_shipped_has_nothing_of_it(build: Path) -> None:
    (library,) = (build / "altsem").glob("_core*.so")
    assert SWITCH in library.read_bytes(), "or the next line would show nothing"
    shipped = Path(_core.__file__).read_bytes()
    assert b"ALTSEM_TEST" not in shipped
    assert b"altsem_test" not in shipped


LOCKS = {
    "Lock": "ctx.Lock()",
    "RLock": "ctx.RLock()",
    "Semaphore": "ctx.Semaphore(1)",
    "BoundedSemaphore": "ctx.BoundedSemaphore(1)",
    "SemLock-lock": "altsem.SemLock(1, 1, 1, '/unused', True)",
    "SemLock-recursive": "altsem.SemLock(0, 1, 1, '/unused', True)",
    "SemLock-counting": "altsem.SemLock(1, 1, 3, '/unused', True)",
}


@pytest.mark.parametrize("make", LOCKS.values(), ids=LOCKS)
def test_each_release_wakes_the_next(run: Run, make: str) -> None:
    run(f"""
lock = {make}
def work():
    with lock:
        pass
    for _ in range(50):
        assert lock.acquire(timeout=None)
        lock.release()
for _ in range(2):
    lock.acquire()
    people = gather(3, work)
    asleep(people, lock)
    lock.release()
    come_back(people)
""")


def test_as_many_releases_as_waiters_wake_all(run: Run) -> None:
    run("""
semaphore = ctx.Semaphore(0)
people = gather(3, semaphore.acquire)
asleep(people, semaphore)
for _ in range(3):
    semaphore.release()
come_back(people)
assert semaphore.get_value() == 0
""")


def test_set_wakes_all_who_wait_for_an_event(run: Run) -> None:
    run("""
event = ctx.Event()
for pulse in (False, True, False):
    people = gather(3, event.wait)
    asleep(people, event)
    event.set()
    if pulse:
        event.clear()
    come_back(people)
    event.clear()
""")


ROOM_LOCKS = {"default": "", "Lock": "ctx.Lock()", "RLock": "ctx.RLock()"}


@pytest.mark.parametrize("lock", ROOM_LOCKS.values(), ids=ROOM_LOCKS)
@pytest.mark.parametrize("call", ["notify()", "notify(2)", "notify_all()"])
def test_notify_wakes_those_who_wait_in_a_condition(run: Run, lock: str, call: str) -> None:
    run(f"""
condition = ctx.Condition({lock})
def work():
    with condition:
        assert condition.wait()
for _ in range(3):
    people = gather(4, work)
    asleep(people, condition)
    left = 4
    while left:
        with condition:
            condition.{call}
        left -= {{"notify()": 1, "notify(2)": 2, "notify_all()": 4}}["{call}"]
        wait_until(lambda: sum(p.done.value for p in people) == 4 - left, "they come back")
    come_back(people)
""")


@pytest.mark.parametrize("how", ["wait", "abort", "reset", "timeout"])
def test_every_end_of_a_round_wakes_all_who_wait_at_a_barrier(run: Run, how: str) -> None:
    run(f"""
barrier = ctx.Barrier({5 if how == "timeout" else 4})
def work():
    try:
        barrier.wait()
        broken = False
    except threading.BrokenBarrierError:
        broken = True
    assert broken == ({how!r} != "wait")
for _ in range(2):
    people = gather(3, work)
    asleep(people, barrier)
    if {how!r} == "timeout":
        try:
            barrier.wait(0.01)
        except threading.BrokenBarrierError:
            pass
    else:
        barrier.{how if how != "timeout" else "reset"}()
    come_back(people)
    barrier.reset()
""")


def test_queues_and_pools_never_stop(run: Run) -> None:
    run("""
there, back = ctx.Queue(1), ctx.SimpleQueue()
def work():
    while (item := there.get()) is not None:
        back.put(item + 1)
people = gather(2, work)
for number in range(100):
    there.put(number)
assert sorted(back.get() for _ in range(100)) == list(range(1, 101))
for _ in people:
    there.put(None)
come_back(people)
there.close()
there.join_thread()
with ctx.Pool(2) as pool:
    assert pool.map(abs, range(-20, 0), chunksize=1) == list(range(20, 0, -1))
""")
