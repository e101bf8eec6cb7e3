"""Processes in trouble, that use the same primitives as the workers: each ends with status 0, or
has found something wrong.  What they run out of must be an error, and leave what exists as it was.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import altsem
from core import sandbox
from stress.ledger import Ledger
from stress.worker import Room, use, use_old
from support import fork, reap


def make_until(expected: tuple[int, ...]) -> list[Any]:
    """Makes locks until that is refused: with one of these errors, or for lack of memory."""
    made: list[Any] = []
    try:
        for _ in range(200_000):
            made.append(altsem.Lock())  # noqa: PERF401 - what was made before the error is kept
    except MemoryError:
        return made
    except OSError as error:
        if error.errno not in expected:
            raise
        return made
    raise AssertionError("it was never refused")


def works(locks: list[Any]) -> None:
    for lock in locks[-100:]:
        assert lock.acquire(False)
        lock.release()


def no_descriptors(room: Room, ledger: Ledger) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 1, before[1]))
    made = make_until((errno.EMFILE,))
    works(made)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    use(room, ledger)


def no_memory(room: Room, ledger: Ledger) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (3 << 20), before[1]))
    made = make_until((errno.ENOMEM,))
    resource.setrlimit(resource.RLIMIT_AS, before)
    works(made)
    use(room, ledger)


def full_directory(room: Room, ledger: Ledger) -> None:
    """No memfd, and no room where files could go."""
    sandbox.own_mounts()
    place = tempfile.gettempdir()
    for full in dict.fromkeys((place, "/tmp", "/var/tmp")):
        sandbox.mount_tmpfs(full, "size=64k")
    os.chdir("/tmp")
    sandbox.refuse("memfd_create", errno.ENOSYS)
    made = make_until((errno.ENOSPC,))
    works(made)
    assert not [name for name in os.listdir("/tmp") if name.startswith("altsem")]
    del made
    use_old(room, ledger)


def denied(name: str, error: int) -> Callable[[Room, Ledger], None]:
    def run(room: Room, ledger: Ledger) -> None:
        sandbox.refuse(name, error)
        try:
            use(room, ledger)
        except OSError as refused:
            if refused.errno != error:
                raise
        assert reap(fork(lambda: use_old(room, ledger))) == 0

    return run


def forks_from_threads(room: Room, ledger: Ledger) -> None:
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            use(room, ledger)

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert reap(fork(lambda: use(room, ledger))) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def executes(room: Room, ledger: Ledger) -> None:
    """While one of its threads waits."""
    threading.Thread(target=altsem.Semaphore(0).acquire, daemon=True).start()
    threading.Thread(target=room.go_on.wait, daemon=True).start()
    os.execv("/bin/true", ["true"])


def _use_and_say(room: Room, said: Any) -> None:
    use(room, None)
    said.send("good")


def spawns(room: Room, ledger: Ledger) -> None:
    context = multiprocessing.get_context("altsem-spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_use_and_say, args=(room, theirs))
    process.start()
    process.join(60)
    assert process.exitcode == 0 and ours.recv() == "good"


def sets_removed(room: Room, ledger: Ledger) -> None:
    """By `ipcrm`, as an administrator might.  Only sets of altsem; all of them are woken."""
    with open("/proc/sysvipc/sem") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    ours = [row[1] for row in rows if int(row[0]) >> 16 == 0x616C]
    for number in ours:  # which may have gone meanwhile
        subprocess.run(["ipcrm", "-s", number], stderr=subprocess.DEVNULL)


TROUBLES: dict[str, Callable[[Room, Ledger], None]] = {
    "no descriptors": no_descriptors,
    "no memory": no_memory,
    "full directories": full_directory,
    "memfd_create denied": denied("memfd_create", errno.EPERM),
    "getrandom denied": denied("getrandom", errno.ENOSYS),
    "madvise denied": denied("madvise", errno.EINVAL),
    "fallocate denied": denied("fallocate", errno.EPERM),
    "forks from threads": forks_from_threads,
    "exec": executes,
    "spawn": spawns,
    "sets removed": sets_removed,
}


def possible(name: str, backend: str) -> bool:
    if name == "sets removed":
        return backend == "sysv"
    if name == "full directories":
        return os.geteuid() == 0
    return "denied" not in name or sandbox.can_refuse()
