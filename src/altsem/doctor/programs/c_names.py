"""What sem_open() and shm_open() say when they are called from C, as PyTorch and others do.

{"value": {NAME: {"value": true} or {"error": ..., "errno": ...}}}
"""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

NAME = f"/altsem-doctor-c-{os.getpid()}".encode()


def function(name: str) -> Any:
    """As the program itself would find it: the library of `run` comes before the libc."""
    for library in (None, "librt.so.1", "libpthread.so.0"):  # where they were before glibc 2.34
        try:
            found = getattr(ctypes.CDLL(library, use_errno=True), name)
        except (OSError, AttributeError):
            continue
        found.restype = ctypes.c_void_p if name == "sem_open" else ctypes.c_int
        return found
    raise OSError(0, f"there is no {name}")


def sem_open() -> None:
    flags = os.O_CREAT | os.O_EXCL
    made = function("sem_open")(
        ctypes.c_char_p(NAME), flags, ctypes.c_uint(0o600), ctypes.c_uint(1)
    )
    if not made or made == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    function("sem_close")(ctypes.c_void_p(made))
    function("sem_unlink")(ctypes.c_char_p(NAME))


def shm_open() -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    fd = function("shm_open")(ctypes.c_char_p(NAME), flags, ctypes.c_uint(0o600))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        os.write(fd, bytes(16))  # where there is no room, a file can still be made
    finally:
        os.close(fd)
        function("shm_unlink")(ctypes.c_char_p(NAME))


def told(call: Any) -> dict[str, Any]:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        number = getattr(error, "errno", None)
        return {"error": f"{type(error).__name__}: {error}", "errno": number}
    return {"value": True}


if __name__ == "__main__":
    print(json.dumps({"value": {call.__name__: told(call) for call in (sem_open, shm_open)}}))
