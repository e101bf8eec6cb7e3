"""How many CPUs the cgroups of this process give it time of: less than there are, in containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..doctor.machine import Machine

ROOT = "/sys/fs/cgroup"


def quota(machine: Machine) -> float | None:
    """CPUs, such as 1.5; None if there is no limit that can be seen.  Never raises."""
    found = list(_quotas(machine))
    return min(found) if found else None


def _quotas(machine: Machine) -> Iterator[float]:
    for line in (machine.text("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        names = controllers.split(",")
        if controllers == "":  # version 2
            for folder in _upwards(path):
                yield from _quota(machine.words(f"{ROOT}{folder}/cpu.max"))
        elif "cpu" in names:
            for folder in _upwards(path):
                base = f"{ROOT}/{controllers}{folder}/cpu.cfs"
                yield from _quota(
                    machine.words(f"{base}_quota_us") + machine.words(f"{base}_period_us")
                )


def _upwards(path: str) -> Iterator[str]:
    """The group and all it lies in, the root as ""; each may have a limit of its own.  In a
    container the path may be that of the host, which is not there: the root then is its own."""
    path = path.rstrip("/")
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""


def _quota(words: list[str]) -> Iterator[float]:
    """From a quota and a period, both in microseconds."""
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
        yield int(words[0]) / int(words[1])
