"""Circumstances of a measurement, for the process that enters them and those it starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .peers import FORK


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def one_cpu() -> Iterator[None]:
    """Only one CPU may be used."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


@contextlib.contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many processes that compute all the time."""
    children = [FORK.Process(target=_spin, daemon=True) for _ in range(count)]
    for child in children:
        child.start()
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.join()


@contextlib.contextmanager
def busy_cpus() -> Iterator[None]:
    """For each usable CPU a process that computes all the time."""
    with hogs(len(os.sched_getaffinity(0))):
        yield


@contextlib.contextmanager
def one_free_cpu() -> Iterator[None]:
    """All CPUs may be used, and on each but one a process computes that stays there: so two that
    are new and wake each other mostly stay together on that one."""
    usable = os.sched_getaffinity(0)
    with contextlib.ExitStack() as left:
        for cpu in sorted(usable)[1:]:
            os.sched_setaffinity(0, {cpu})  # which its child gets from it
            try:
                left.enter_context(hogs(1))
            finally:
                os.sched_setaffinity(0, usable)
        yield


@contextlib.contextmanager
def one_busy_cpu() -> Iterator[None]:
    """Only one CPU may be used, and another process computes on it all the time."""
    with one_cpu(), busy_cpus():
        yield


def _cpu_group() -> Path:
    """The control group for CPU time that this process is in."""
    mounted = Path("/sys/fs/cgroup")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            return mounted / "cpu" / path.lstrip("/")
        if not controllers and (mounted / "cgroup.controllers").exists():
            return mounted / path.lstrip("/")
    raise OSError("no control group for CPU time is mounted here")


@contextlib.contextmanager
def group_of_one_cpu() -> Iterator[Path]:
    """A control group below this process's own that may use no more time than one CPU has.  Raises
    OSError where that cannot be made."""
    group = _cpu_group() / f"altsem-bench-{os.getpid()}"
    group.mkdir()
    try:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text("100000 100000")
        else:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("100000")
        yield group
    finally:
        group.rmdir()


@contextlib.contextmanager
def quota_of_one_cpu() -> Iterator[None]:
    """All CPUs may be used, but no more time than one has."""
    with group_of_one_cpu() as group:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (group.parent / "cgroup.procs").write_text(str(os.getpid()))


def can_set_quota() -> bool:
    try:
        with group_of_one_cpu():
            return True
    except OSError:
        return False
