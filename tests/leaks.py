"""What a test may not leave behind: processes, files, SysV sets, descriptors.

`before = snapshot()`, run the test, `leaked(before)` says in words what is left, and kills the
processes among it so that the next test starts clean.  A thing that is about to go (a process on
its way out, a file of a neighbour that exists for an instant) is no leak: only what is still there
after a grace period is.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import forkserver, process, resource_sharer, resource_tracker, util
from pathlib import Path

GRACE = 5.0
# Segments of this process may stay: they are its pool, and a test that makes many locks makes it
# grow by a few.  Locks that each kept a descriptor would be far above this.
DESCRIPTORS = 32
# The keys of the sets that altsem makes (csrc/sysv_set.c).
SYSV_FAMILY = 0x616C
PREFIXES = ("altsem", "pym", "psm_", "sem.")

# Where files could be left although TMPDIR points elsewhere.
_PUBLIC_DIRS = {Path(p) for p in ("/dev/shm", "/tmp", "/var/tmp", os.environ.get("TMPDIR", "/tmp"))}


def adopt_orphans() -> None:
    """Makes this process the parent of orphaned descendants: none of them escapes the check.

    They are then ours to reap, too: `snapshot` and `leaked` do that, not `init` at once.  A test
    that waits for an orphan's end has to look for a zombie.
    """
    pr_set_child_subreaper = 36
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


@dataclass(frozen=True)
class Snapshot:
    processes: frozenset[int]
    files: frozenset[Path]
    sysv: frozenset[str]
    descriptors: int


def snapshot() -> Snapshot:
    return Snapshot(_processes(), _files(), _sysv(), len(os.listdir("/proc/self/fd")))


def leaked(before: Snapshot, grace: float = GRACE) -> list[str]:
    deadline = time.monotonic() + grace
    while True:
        now = snapshot()
        left = _differences(before, now)
        if not left or time.monotonic() > deadline:
            break
        gc.collect()  # not before: it takes longer than most tests
        time.sleep(0.02)
    for pid in now.processes - before.processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def stop_helpers() -> None:
    """Ends what multiprocessing keeps for as long as its user lives: two processes, a thread, and
    a directory, which it would look for at exit, when the one that it lies in is gone."""
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()
    resource_sharer.stop(timeout=GRACE)
    for finalizer in list(util._finalizer_registry.values()):
        if getattr(finalizer, "_callback", None) is util._remove_temp_dir:
            finalizer()


def _differences(before: Snapshot, now: Snapshot) -> list[str]:
    left = [
        f"process {pid} is left: {_command(pid)}"
        for pid in sorted(now.processes - before.processes)
    ]
    left += [f"file {path} is left" for path in sorted(now.files - before.files)]
    left += [f"SysV semaphore set {row} is left" for row in sorted(_sets_left(before, now))]
    if now.descriptors > before.descriptors + DESCRIPTORS:
        left.append(f"{now.descriptors - before.descriptors} descriptors more than before")
    return left


def _sets_left(before: Snapshot, now: Snapshot) -> frozenset[str]:
    """Those of killed processes are swept, as the next program would do.  Segments of this process
    may stay, and each may have a set."""
    left = now.sysv - before.sysv
    if not left or "altsem._core" not in sys.modules:
        return left
    core = sys.modules["altsem._core"]
    core.clean()
    left &= _sysv()
    ours = frozenset(row for row in left if int(row.split()[-1][:-1]) >> 16 == SYSV_FAMILY)
    return left - ours if len(ours) <= core.segments() else left


def _processes() -> frozenset[int]:
    """All living descendants of this process; the dead among its children are reaped."""
    helpers = {
        forkserver._forkserver._forkserver_pid,
        resource_tracker._resource_tracker._pid,
    }
    # Reaps those that multiprocessing knows; waitpid behind its back would lose their exit codes.
    known = {p.pid for p in multiprocessing.active_children()}
    parents: dict[int, tuple[int, str]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                # The command is in parentheses and may hold anything, spaces included.
                rest = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")[2]
                state, parent = rest.split()[:2]
                parents[int(name)] = int(parent), state
    me = os.getpid()
    found: set[int] = set()
    for pid, (parent, state) in parents.items():
        if state in "ZX":
            if parent == me and pid not in known and pid not in helpers:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            continue
        ancestor = parent
        while ancestor not in (me, 0) and ancestor in parents:
            ancestor = parents[ancestor][0]
        if ancestor == me and pid not in helpers:
            found.add(pid)
    return frozenset(found)


def _files() -> frozenset[Path]:
    private = Path(tempfile.gettempdir())
    # multiprocessing's own, removed when this process ends; and an empty directory holds nothing.
    own = process.current_process()._config.get("tempdir")
    found = {
        Path(folder, name)
        for folder, _, names in os.walk(private)
        if own is None or not folder.startswith(own)
        for name in names
    }
    for public in _PUBLIC_DIRS - {private}:
        with contextlib.suppress(OSError):
            found.update(
                path for path in public.iterdir() if path.name.startswith(PREFIXES) and _ours(path)
            )
    return frozenset(found)


def _ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _sysv() -> frozenset[str]:
    try:
        rows = Path("/proc/sysvipc/sem").read_text().splitlines()[1:]
    except OSError:
        return frozenset()
    # key semid perms nsems uid gid cuid cgid otime ctime; the last two change in use.
    fields = (row.split() for row in rows)
    return frozenset(f"{f[1]} (key {f[0]})" for f in fields if int(f[4]) == os.getuid())


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        return " ".join(words).strip() or "?"
    except OSError:
        return "gone meanwhile"
