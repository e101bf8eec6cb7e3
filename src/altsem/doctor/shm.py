"""/dev/shm, where libc keeps its semaphores: what is there, and what would stand in the way."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .mounts import Mount, mount_of

if TYPE_CHECKING:
    from .machine import Machine

PATH = "/dev/shm"


@dataclass(frozen=True)
class Shm:
    """`kind`: missing, "dangling link", file, directory, or unknown (it cannot be looked at)."""

    kind: str
    mount: Mount | None = None
    mode: int = 0
    owner: int = 0
    group: int = 0
    size: int = 0  # bytes; 0 without a limit
    free: int = 0  # bytes
    inodes: int = 0  # 0: as many as one likes
    free_inodes: int = 0
    target: str | None = None  # of a link
    semaphores: list[str] = field(default_factory=list)  # names of native semaphores in it

    @property
    def own_mount(self) -> bool:
        """Whether something is mounted on it (else it is a plain directory of /dev)."""
        return self.mount is not None and self.mount.point == PATH

    @property
    def is_tmpfs(self) -> bool:
        return self.mount is not None and self.mount.type in ("tmpfs", "ramfs", "shm")

    @property
    def read_only(self) -> bool:
        return self.mount is not None and self.mount.read_only

    @property
    def no_space(self) -> bool:
        return self.size > 0 and self.free == 0

    @property
    def no_inodes(self) -> bool:
        return self.inodes > 0 and self.free_inodes == 0

    def lets(self, uid: int, groups: set[int]) -> bool:
        """Whether the permission bits let a user create files in it."""
        bits = self.mode >> (6 if uid == self.owner else 3 if self.group in groups else 0)
        return bits & 0o3 == 0o3

    def describe(self) -> str:
        """In a line, as for a report."""
        if self.kind == "dangling link":
            return f"a link to {self.target}, which does not exist"
        if self.kind != "directory":
            return {"missing": "missing", "file": "a file, not a directory"}.get(
                self.kind, "cannot be looked at"
            )
        words = [f"mode {self.mode:04o}"]
        if self.mount:
            where = "" if self.own_mount else f" (of the mount on {self.mount.point})"
            words.insert(0, f"{self.mount.type}{where}, {'ro' if self.read_only else 'rw'}")
        if self.size:
            words.append(f"{_bytes(self.free)} of {_bytes(self.size)} free")
        if self.inodes:
            words.append(f"{self.free_inodes} of {self.inodes} inodes free")
        if self.target:
            words.append(f"reached through a link to {self.target}")
        return ", ".join(words)


def look(machine: Machine) -> Shm:
    """Looks, without touching anything."""
    path = machine.path(PATH)
    target = os.readlink(path) if os.path.islink(path) else None
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Shm("dangling link" if target else "missing", target=target)
    except OSError:
        return Shm("unknown", target=target)
    if not stat.S_ISDIR(status.st_mode):
        return Shm("file", target=target)
    mount = mount_of(machine, PATH if target is None else os.path.realpath(path))
    space = os.statvfs(path)
    names = machine.names(PATH) or []
    return Shm(
        "directory",
        mount,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        space.f_blocks * space.f_frsize,
        space.f_bavail * space.f_frsize,
        space.f_files,
        space.f_favail,
        target,
        [name for name in names if name.startswith("sem.")],
    )


def _bytes(number: int) -> str:
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"
