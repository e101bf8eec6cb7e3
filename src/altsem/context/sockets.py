"""Whether multiprocessing can make a socket in a directory of its own.

The fork server and managers listen at one.  Where nothing can be written they cannot, nor where the
path of the temporary directory is so long that a socket's would not fit into an address.
"""

from __future__ import annotations

import os
import tempfile
from multiprocessing import process, util
from socket import AF_UNIX, socket

TYPE_CHECKING = False  # not from `typing`: see context.py
if TYPE_CHECKING:
    from typing import Any


def refusal() -> OSError | None:
    """Why it cannot, found by trying; None if it can.  Leaves nothing behind."""
    config: dict[str, Any] = process.current_process()._config  # type: ignore[attr-defined]
    folder = config.get("tempdir")
    try:
        if folder is not None:
            _try_in(folder)
            return None
        folder = tempfile.mkdtemp(prefix="pymp-", dir=_temporary())
        try:
            _try_in(folder)
        finally:
            os.rmdir(folder)
    except OSError as error:
        return error
    return None


def _temporary() -> str:
    """Where multiprocessing would make it.  The program's choice of a directory stays open."""
    before = tempfile.tempdir
    try:
        shorter = getattr(util, "_get_base_temp_dir", None)  # from 3.14 on
        path: str = shorter(tempfile) if shorter else tempfile.gettempdir()
        return path
    finally:
        tempfile.tempdir = before


def _try_in(folder: str) -> None:
    path = os.path.join(folder, f"listener-{os.urandom(4).hex()}")  # as long as the real one
    with socket(AF_UNIX) as listener:
        listener.bind(path)
        os.unlink(path)


def nameless() -> Any:
    """An address for a listener that asks for a key: it is open to whoever can see it."""
    if util.abstract_sockets_supported:
        return f"\0altsem-{os.urandom(16).hex()}"
    return "localhost", 0
