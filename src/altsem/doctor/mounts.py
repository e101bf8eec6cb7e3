"""What is mounted where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .machine import Machine


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    point: str
    type: str
    options: tuple[str, ...]  # of the mount and of its filesystem
    source: str

    @property
    def read_only(self) -> bool:
        return "ro" in self.options


def mounts(machine: Machine) -> list[Mount]:
    """All mounts, in the order in which they were made; none where /proc is missing."""
    found = []
    for line in (machine.text("/proc/self/mountinfo") or "").splitlines():
        before, dash, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if dash and len(left) >= 6 and len(right) >= 3:
            options = [*left[5].split(","), *right[2].split(",")]
            found.append(Mount(_plain(left[4]), right[0], tuple(dict.fromkeys(options)), right[1]))
    return found


def mount_of(machine: Machine, path: str) -> Mount | None:
    """The mount that `path`, absolute and without links, lies on."""
    best = None
    for mount in mounts(machine):
        point = mount.point.rstrip("/")
        # Of two on the same point the later one hides the earlier one.
        if (path == point or path.startswith(point + "/")) and (
            best is None or len(point) >= len(best.point.rstrip("/"))
        ):
            best = mount
    return best


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
