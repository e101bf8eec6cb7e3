"""A backend of altsem in full: a process sleeps on a lock, and is woken by another one's release.

Order: {"backend": NAME, "package": altsem's name, "path": sys.path}.  Its name comes in the
environment too.  {"value": {"seconds": from the release to the waiter's having it, "memory": ...}}
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

PATIENCE = 2.0


def wait_and_tell(lock: Any, writer: int) -> None:
    got = lock.acquire(True, PATIENCE)
    os.write(writer, json.dumps([got, time.monotonic()]).encode())
    os._exit(0)


def run(order: dict[str, Any]) -> dict[str, object]:
    sys.path[:] = order["path"]
    core = importlib.import_module(order["package"] + "._core")
    core.backend()
    lock = core.Lock()
    lock.acquire()
    reader, writer = os.pipe()
    if os.fork() == 0:
        wait_and_tell(lock, writer)
    os.close(writer)
    end = time.monotonic() + PATIENCE / 2
    while core.waiters(lock) == 0:
        if time.monotonic() > end:
            raise RuntimeError("the other process never came to wait")
        time.sleep(0.001)
    time.sleep(0.01)  # announced is not yet asleep
    released = time.monotonic()
    lock.release()
    said = os.read(reader, 100)
    os.wait()
    got, when = json.loads(said) if said else (False, 0)
    if not got:
        raise RuntimeError("the other process was not woken")
    fd, memory = core.memory(4096)
    os.close(fd)
    return {"seconds": when - released, "memory": memory}


def main() -> None:
    told: dict[str, Any]
    try:
        told = {"value": run(json.loads(sys.argv[1]))}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
        text = f"{type(error).__name__}: {error}"
        told = {"error": text, "errno": getattr(error, "errno", None)}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
