"""Where files go that need a place: the candidates of csrc/memory/directory.c, in its order."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # not from `typing`: the drop-in imports this file in every program
if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = "ALTSEM_DIR"
VARIABLES = (FIRST, "XDG_RUNTIME_DIR", "TMPDIR")
FIXED = ("/tmp", "/var/tmp", ".")


def candidates(environment: Mapping[str, str]) -> list[str]:
    """The directories that such an environment names, and those that are always tried."""
    found = [environment.get(name, "") for name in VARIABLES]
    return list(dict.fromkeys(filter(None, [*found, *FIXED])))


def private(candidate: str) -> str:
    """The path of this user's own directory in it, which is there while there are files with names
    in it (csrc/names/private.c)."""
    return os.path.join(candidate, f"altsem-{os.geteuid()}")
