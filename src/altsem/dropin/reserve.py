"""SharedMemory whose pages are there when it has been made.

Natively only the size of the file is set.  Where there is less room than that, for instance in the
64 MB of a container's /dev/shm, nobody is told: the first touch of a page that cannot be had kills
the process (SIGBUS).  Reserved at once, what does not fit is an OSError (ENOSPC) at the beginning,
which a program can report, and some can do with less.
"""

from __future__ import annotations

import errno
import os
import sys
from functools import wraps

from . import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def reserving(original: Callable[..., None]) -> Callable[..., None]:
    """The __init__ of SharedMemory, for the one that there was."""

    @wraps(original)
    def __init__(  # noqa: N807
        self: Any, name: str | None = None, create: bool = False, size: int = 0, **others: Any
    ) -> None:
        original(self, name, create, size, **others)
        if create:
            try:
                _reserve(self._fd, size)
            except OSError:
                self.close()
                self.unlink()
                raise

    return __init__


def _reserve(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            opened = getattr(sys.modules.get("_posixshmem"), "shm_open", None)
            ours = native.is_a_copys(opened)
            way = "ALTSEM_DIR names another place" if ours else "ALTSEM=always takes it elsewhere"
            text = f"no room for a shared memory of {size} bytes ({way})"
            raise OSError(errno.ENOSPC, text) from None
        # A filesystem that cannot do so.
    except AttributeError:  # nor can this system
        pass
