"""A process uses one backend, so each kind of lock gets a process of its own, which does one round
whenever it is told to.  `python -m benchmarks.workloads.server KIND` is that process; Server starts
it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .. import ROOT
from ..measuring.paired import Timing
from ..measuring.quick import quick
from ..measuring.rounds import with_statement
from .crowd import Crowd
from .peers import FORK, OURS, PackageLock, sysv_semaphore
from .places import one_cpu
from .waker import Waker

BACKENDS = ("futex", "sysv", "filelock")
UNCONTENDED = 20_000
ROUND = 0.1 if quick() else 0.3  # seconds that a crowd runs


def make_lock(kind: str, path: Path) -> Any:
    if kind == "sysv_ipc":
        return sysv_semaphore()
    if kind == "filelock package":
        return PackageLock(path)
    if kind == "native":
        return FORK.Lock()
    import altsem

    lock = OURS.Lock()
    assert altsem.backend() == kind
    return lock


def on_one_cpu(timing: Timing) -> Timing:
    """All kinds on the same CPU: two that are alike do not always run at the same speed, and a
    process that is alone stays where it is."""

    def go() -> float:
        with one_cpu():
            return timing()

    return go


def serve(kind: str) -> None:
    """Reads what to do, line by line, and answers with a time each, in seconds per operation."""
    with contextlib.ExitStack() as left:
        folder = Path(left.enter_context(tempfile.TemporaryDirectory()))
        timings: dict[str, Timing] = {}

        def lock() -> Any:
            made = make_lock(kind, folder / f"lock-{len(timings)}")
            if kind == "sysv_ipc":
                left.callback(made.remove)
            return made

        def timing(what: str) -> Timing:
            word, _, count = what.partition(" ")
            if word == "uncontended":
                return on_one_cpu(with_statement(lock(), UNCONTENDED))
            if word == "contended":
                return left.enter_context(
                    contextlib.closing(Crowd(lock(), int(count), seconds=ROUND))
                )
            return left.enter_context(contextlib.closing(Waker(lock())))

        for line in sys.stdin:
            what = line.strip()
            if what not in timings:
                timings[what] = timing(what)
            print(timings[what](), flush=True)


class Server:
    """The process of one kind, from outside: `does("contended 4")` is a timing."""

    def __init__(self, kind: str) -> None:
        env = {**os.environ, "ALTSEM_BACKEND": kind if kind in BACKENDS else ""}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.workloads.server", kind],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, what: str) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(what, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def does(self, what: str) -> Timing:
        return lambda: self._ask(what)

    def close(self) -> None:
        self._process.communicate()


if __name__ == "__main__":
    serve(sys.argv[1])
