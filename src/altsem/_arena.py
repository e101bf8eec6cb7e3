"""Arenas of multiprocessing.heap in nameless memory, where its own are files in /dev/shm.

In a module of its own: it can be asked for while multiprocessing.heap is being imported.
"""

from __future__ import annotations

import mmap
import os

from . import _core

TYPE_CHECKING = False  # not from `typing`: see context.py
if TYPE_CHECKING:
    from multiprocessing import heap


def arena_init(self: heap.Arena, size: int, fd: int = -1) -> None:
    """An arena of nameless memory, or of the descriptor of one that was made elsewhere.

    Raises OSError if no memory can be had.
    """
    from multiprocessing import util

    if fd == -1:
        fd, _ = _core.memory(size)
        util.Finalize(self, os.close, (fd,))
    self.size = size
    self.fd = fd
    self.buffer = mmap.mmap(fd, size)
