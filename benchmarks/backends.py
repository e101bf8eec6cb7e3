"""`python -m benchmarks.backends`: the backends against futex, and each against its nearest peer.

A process uses one backend, so each kind of lock gets a process of its own, which does one round
whenever it is told to; the rounds of the two that are compared alternate, as everywhere here.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from .contended import FORK, Crowd
from .measure import Row, Timing, machine, paired, scaled
from .report import ratio, seconds

BACKENDS = ("futex", "sysv", "filelock")
UNCONTENDED = 20_000
COUNTS = (2, 4, 8)


class PackageLock:
    """A FileLock that each process makes for itself: it refuses to be inherited."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = 0
        self._lock: Any = None

    def acquire(self) -> None:
        if self._pid != os.getpid():
            import filelock

            self._pid, self._lock = os.getpid(), filelock.FileLock(self._path)
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def make_lock(kind: str, path: Path) -> Any:
    if kind == "sysv_ipc":
        import sysv_ipc

        return sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
    if kind == "filelock package":
        return PackageLock(path)
    if kind == "native":
        return FORK.Lock()
    import altsem

    lock = altsem.get_context("fork").Lock()
    assert altsem.backend() == kind
    return lock


# --- in the process of one kind -------------------------------------------------------------------


def uncontended(lock: Any) -> float:
    start = perf_counter()
    for _ in range(UNCONTENDED):
        with lock:
            pass
    return (perf_counter() - start) / UNCONTENDED


class Handover:
    """Somebody sleeps in acquire(); how long after the release has he got the lock?"""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._here, there = Pipe()
        lock.acquire()
        self._child = FORK.Process(target=self._wait, args=(there,), daemon=True)
        self._child.start()

    def _wait(self, there: Any) -> None:
        while True:
            there.recv()
            self._lock.acquire()
            at = perf_counter()  # of CLOCK_MONOTONIC: the same in all processes
            self._lock.release()
            there.send(at)

    def __call__(self) -> float:
        self._here.send(None)
        sleep(random.uniform(0.01, 0.03))
        start = perf_counter()
        self._lock.release()
        took = float(self._here.recv()) - start
        self._lock.acquire()
        return took

    def close(self) -> None:
        self._child.kill()
        self._child.join()
        self._lock.release()


def serve(kind: str) -> None:
    """Reads what to do, line by line, and answers with a time each."""
    with tempfile.TemporaryDirectory() as folder:
        crowds: dict[int, Crowd] = {}
        handover: Handover | None = None
        made: list[Any] = []

        def fresh() -> Any:
            made.append(make_lock(kind, Path(folder, f"lock-{len(made)}")))
            return made[-1]

        alone = fresh()
        for line in sys.stdin:
            what, _, count = line.strip().partition(" ")
            if what == "uncontended":
                answer = uncontended(alone)
            elif what == "contended":
                if int(count) not in crowds:
                    crowds[int(count)] = Crowd(fresh(), int(count))
                answer = crowds[int(count)]()
            else:
                if handover is None:
                    handover = Handover(fresh())
                answer = handover()
            print(answer, flush=True)
        for crowd in crowds.values():
            crowd.close()
        if handover:
            handover.close()
        for lock in made:
            if kind == "sysv_ipc":
                lock.remove()


# --- in the process that compares -----------------------------------------------------------------


class Server:
    def __init__(self, kind: str) -> None:
        env = {**os.environ, "ALTSEM_BACKEND": kind if kind in BACKENDS else ""}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.backends", "--serve", kind],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(what, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def does(self, what: str) -> Timing:
        return lambda: self.ask(what)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(servers: dict[str, Server]) -> Iterator[Row]:
    futex = servers["futex"]
    for name in ("sysv", "filelock"):
        ours = servers[name].does("uncontended")
        theirs = futex.does("uncontended")
        yield paired(f"{name}, `with L:` uncontended", "futex", ours, theirs, 1.05, scaled(61))
    for name, peer, at_most in (
        ("sysv", "sysv_ipc", 0.5),
        ("filelock", "filelock package", 0.1),
        ("sysv", "futex", None),
        ("filelock", "futex", None),
        ("sysv", "native", None),
    ):
        for count in COUNTS:
            what = f"contended {count}"
            ours, theirs = servers[name].does(what), servers[peer].does(what)
            work = f"{name}, {count} processes contend"
            yield paired(work, peer, ours, theirs, at_most, scaled(15))


def latencies(servers: dict[str, Server]) -> None:
    print(f"\n{'release to acquired, the waiter asleep':45} {'median':>9} {'p99':>9} {'most':>9}")
    taken: dict[str, list[float]] = {kind: [] for kind in servers}
    for _ in range(scaled(500)):
        for kind, server in servers.items():
            if kind != "filelock package" or len(taken[kind]) < 100:
                taken[kind].append(server.ask("handover"))
    for kind, times in taken.items():
        times.sort()
        p99 = times[int(len(times) * 0.99)]
        shown = (seconds(t) for t in (statistics.median(times), p99, times[-1]))
        print(f"{kind:45} " + " ".join(f"{text:>9}" for text in shown))


def main() -> None:
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    servers = {kind: Server(kind) for kind in (*BACKENDS, "native", "sysv_ipc", "filelock package")}
    try:
        print(
            f"{'':36} {'against':18} {'ratio':>7} {'80 % of rounds':^17} {'ours':>9} {'theirs':>9}"
        )
        for row in compare(servers):
            verdict = {None: "", True: "reached", False: "NOT REACHED"}[row.reached]
            asked = "" if row.at_most is None else f"<= {row.at_most}: {verdict}"
            spread = f"[{ratio(row.low)}, {ratio(row.high)}]"
            print(
                f"{row.work:36} {row.peer:18} {ratio(row.ratio):>7} {spread:^17} "
                f"{seconds(row.ours):>9} {seconds(row.theirs):>9}  {asked}",
                flush=True,
            )
        latencies(servers)
    finally:
        for server in servers.values():
            server.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main()
