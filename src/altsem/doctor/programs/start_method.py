"""One start method from end to end: a child waits for a lock, then tells through what is shared.

Order: {"method": "spawn", "altsem": "1" or "" (native), "package": altsem's name, "path": sys.path}
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import time
from typing import Any

PATIENCE = 30.0  # the doctor has less


def child(lock: Any, value: Any, queue: Any) -> None:
    with lock:
        value.value += 1
        queue.put(os.getpid())


def run(order: dict[str, Any]) -> bool:
    if order["altsem"]:
        sys.path[:] = order["path"]
        context: Any = importlib.import_module(order["package"]).get_context(order["method"])
    else:
        context = multiprocessing.get_context(order["method"])
    lock = context.Lock()
    value = context.Value("i", 0)
    queue = context.SimpleQueue()
    with lock:
        process = context.Process(target=child, args=(lock, value, queue), daemon=True)
        process.start()
        # Long enough for a forked child to stand at the lock; a late one finds it free, which is
        # as good: that waiting works is for another check to show.
        if queue._reader.poll(0.02):
            raise RuntimeError("two processes held one lock")
    end = time.monotonic() + PATIENCE
    while not queue._reader.poll(0.05):
        if process.exitcode is not None or time.monotonic() > end:
            raise RuntimeError(f"the child ended with status {process.exitcode}")
    told = queue.get()
    process.join(PATIENCE)
    if (told, value.value, process.exitcode) != (process.pid, 1, 0):
        raise RuntimeError("the child did something else than it should")
    return True


def stop_helpers() -> None:
    """The two processes that multiprocessing keeps would outlive this one by a moment."""
    from multiprocessing import forkserver, resource_tracker

    helpers: tuple[Any, ...] = (forkserver._forkserver, resource_tracker._resource_tracker)
    for helper in helpers:
        with contextlib.suppress(Exception):
            helper._stop()


def main() -> None:
    told: dict[str, Any]
    try:
        told = {"value": run(json.loads(sys.argv[1]))}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
        text = f"{type(error).__name__}: {error}"
        told = {"error": text, "errno": getattr(error, "errno", None)}
    print(json.dumps(told), flush=True)
    stop_helpers()


if __name__ == "__main__":
    main()
