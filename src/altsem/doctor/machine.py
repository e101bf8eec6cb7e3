"""The machine as the doctor reads it: files and environment behind one replaceable root.

Whatever the doctor concludes from /proc, /sys, /dev or a variable goes through here, so that a test
can put another machine under it.  Nothing here raises OSError: what cannot be read is not there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Machine:
    """Files below `root`, and the variables of `env`."""

    def __init__(self, root: str = "/", env: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.env: Mapping[str, str] = os.environ if env is None else env

    def path(self, path: str) -> str:
        """Where an absolute path of the machine really is."""
        return os.path.join(self.root, path.lstrip("/"))

    def text(self, path: str, most: int = 1 << 20) -> str | None:
        """The first `most` bytes of a file, None if they cannot be read."""
        try:
            with open(self.path(path), "rb") as file:
                return file.read(most).decode("utf-8", "replace")
        except OSError:
            return None

    def words(self, path: str) -> list[str]:
        """The words of a file, none if it cannot be read."""
        return (self.text(path) or "").split()

    def exists(self, path: str) -> bool:
        """Whether there is something, be it a link that leads nowhere."""
        return os.path.lexists(self.path(path))

    def names(self, path: str) -> list[str] | None:
        """The names in a directory, None if it cannot be listed."""
        try:
            return os.listdir(self.path(path))
        except OSError:
            return None

    def field(self, path: str, name: str) -> str | None:
        """The value of the line `name: value` of a file such as /proc/self/status."""
        for line in (self.text(path) or "").splitlines():
            key, colon, value = line.partition(":")
            if colon and key.strip() == name:
                return value.strip()
        return None
