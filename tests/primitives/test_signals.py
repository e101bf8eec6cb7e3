"""Signals, and clocks that jump, while something waits."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import altsem
from support import GENEROUS, fork, reap, wait_for_waiters, wait_until_asleep, waiters

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def taken(lock: Any) -> Any:
    while lock.acquire(False) and not isinstance(lock, altsem.RLock):
        pass
    return lock


def in_condition(lock: Any) -> Callable[[float | None], object]:
    condition = altsem.Condition(lock)

    def wait(timeout: float | None) -> object:
        with condition:
            return condition.wait(timeout)

    wait.primitive = condition  # type: ignore[attr-defined]
    return wait


def in_barrier(barrier: altsem.Barrier) -> Callable[[float | None], object]:
    def wait(timeout: float | None) -> object:
        try:
            barrier.wait(timeout)
        except threading.BrokenBarrierError:
            return False
        return True

    wait.primitive = barrier  # type: ignore[attr-defined]
    return wait


def bound(primitive: Any, call: Callable[[float | None], object]) -> Callable[..., object]:
    def wait(timeout: float | None) -> object:
        return call(timeout)

    wait.primitive = primitive  # type: ignore[attr-defined]
    return wait


def acquiring(lock: Any) -> Callable[..., object]:
    return bound(lock, lambda timeout: lock.acquire(True, timeout))


def entering(lock: Any) -> Callable[..., object]:
    return bound(lock, lambda timeout: lock.__enter__())


def wait_of_event(event: altsem.Event) -> Callable[..., object]:
    return bound(event, event.wait)


def held_elsewhere() -> altsem.RLock:
    lock = altsem.RLock()
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    return lock


WAITS: dict[str, Callable[[], Any]] = {
    "Lock": lambda: acquiring(taken(altsem.Lock())),
    "RLock": lambda: acquiring(held_elsewhere()),
    "Semaphore": lambda: acquiring(altsem.Semaphore(0)),
    "BoundedSemaphore": lambda: acquiring(taken(altsem.BoundedSemaphore(2))),
    "SemLock": lambda: acquiring(altsem.SemLock(1, 0, 1, "/unused", True)),
    "Event": lambda: wait_of_event(altsem.Event()),
    "Condition": lambda: in_condition(None),
    "Condition(Lock)": lambda: in_condition(altsem.Lock()),
    "Barrier": lambda: in_barrier(altsem.Barrier(2)),
}
WITH: dict[str, Callable[[], Any]] = {
    "with Lock": lambda: entering(taken(altsem.Lock())),
    "with Semaphore": lambda: entering(altsem.Semaphore(0)),
}
ENDLESS = {**WAITS, **WITH}


@pytest.mark.parametrize("name", ENDLESS)
def test_ctrl_c_ends_it(name: str) -> None:
    """A process that waits for ever dies of SIGINT as it should: by KeyboardInterrupt."""
    wait = ENDLESS[name]()

    def run() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            wait(None)
        except KeyboardInterrupt:
            os._exit(77)

    pid = fork(run)
    wait_for_waiters(wait.primitive)
    wait_until_asleep(pid)
    sent = time.monotonic()
    os.kill(pid, signal.SIGINT)
    assert reap(pid, limit=10) == 77
    print(f"{name}: ended {(time.monotonic() - sent) * 1000:.1f} ms after SIGINT")


@pytest.mark.parametrize("name", WAITS)
def test_a_handler_that_returns_neither_ends_it_nor_moves_its_deadline(name: str) -> None:
    """Interrupted every few milliseconds, in a wait that would begin anew each time if the
    deadline were counted from the interruption."""
    wait = WAITS[name]()
    calls = []
    timeout = 0.3
    before = signal.signal(signal.SIGALRM, lambda *_: calls.append(time.monotonic()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        begun = time.monotonic()
        result = wait(timeout)
        lasted = time.monotonic() - begun
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert result is False
    assert len(calls) > 5
    assert timeout <= lasted < timeout + 10


def test_the_handler_runs_while_it_waits() -> None:
    lock = taken(altsem.Lock())
    seen: list[int] = []

    def handler(number: int, frame: object) -> None:
        seen.append(number)
        lock.release()  # what the wait is for, from inside the wait

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGUSR1, handler)

    def send() -> None:
        wait_for_waiters(lock)
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert lock.acquire(timeout=GENEROUS)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


class HandlerError(Exception):
    pass


@pytest.mark.parametrize("name", WAITS)
def test_a_handler_that_raises_leaves_nothing_behind(name: str) -> None:
    wait = WAITS[name]()
    main = threading.main_thread().ident
    assert main is not None

    def handler(*_: object) -> None:
        raise HandlerError

    def send() -> None:
        wait_for_waiters(wait.primitive)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=send)
    try:
        thread.start()
        with pytest.raises(HandlerError):
            wait(None)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert waiters(wait.primitive) == 0


def test_stopped_and_continued() -> None:
    semaphore = altsem.Semaphore(0)
    pid = fork(lambda: semaphore.acquire(timeout=GENEROUS) or os._exit(2))
    wait_for_waiters(semaphore)
    for _ in range(3):
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        os.kill(pid, signal.SIGCONT)
    semaphore.release()
    assert reap(pid) == 0


# --- the wall clock ------------------------------------------------------------------------------

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

/* Seconds by which the wall clock is wrong; set by the program that has this preloaded. */
volatile long altsem_wall_clock_offset;

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, now);
    if (id == CLOCK_REALTIME) now->tv_sec += altsem_wall_clock_offset;
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    (void)zone;
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (out) *out = at.tv_sec;
    return at.tv_sec;
}
"""

# All waits at once, in threads; the clock jumps while they sleep, and again after the slice.
JUMP = """
import ctypes, sys, threading, time
sys.path[:0] = sys.argv[1].split(":")
import altsem, test_signals

offset = ctypes.c_long.in_dll(ctypes.CDLL(sys.argv[2]), "altsem_wall_clock_offset")
jump, timeout = int(sys.argv[3]), 1.8

before = time.time(), time.monotonic()
offset.value = jump
wall, steady = time.time() - before[0], time.monotonic() - before[1]
assert abs(wall - jump) < 60, f"the clock could not be faked: {wall}"
assert steady < 60
offset.value = 0

results = {}

def run(name, wait):
    begun = time.monotonic()
    result = wait(timeout)
    results[name] = result, time.monotonic() - begun

threads = [threading.Thread(target=run, args=(name, make()))
           for name, make in test_signals.WAITS.items()]
for thread in threads:
    thread.start()
time.sleep(0.3)
offset.value = jump
time.sleep(1)
offset.value = -jump
for thread in threads:
    thread.join()
for name, (result, lasted) in sorted(results.items()):
    assert result is False, (name, result)
    assert timeout <= lasted < timeout + 20, (name, lasted)
print(len(results))
"""


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", "clock.so", "clock.c", "-ldl"],
        cwd=folder,
        check=True,
    )
    return folder / "clock.so"


def test_a_wall_clock_that_jumps_moves_no_timeout(run_script: Script, wrong_clock: Path) -> None:
    """An hour forward, which would end a wait early; then two back, which would prolong it."""
    here = Path(__file__).parent
    path = f"{here}:{here.parent}"
    done = run_script(JUMP, path, wrong_clock, 3600, env={"LD_PRELOAD": str(wrong_clock)})
    assert (done.stdout, done.stderr) == (f"{len(WAITS)}\n", "")
