"""What multiprocessing can do natively in this interpreter, thing by thing.

{"value": {NAME: {"value": ...} or {"error": ..., "errno": ...}}}
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from typing import Any

NAME = f"altsem-doctor-{os.getpid()}"


def semlock() -> str:
    """Whether the interpreter was built with it."""
    from _multiprocessing import SemLock

    return str(SemLock.__name__)


def sem_unlink() -> str:
    from _multiprocessing import sem_unlink

    return str(sem_unlink.__name__)


def semaphore() -> bool:
    """A real one: made, taken, given back, removed."""
    from _multiprocessing import SemLock, sem_unlink

    name = f"/{NAME}"
    lock = SemLock(1, 1, 1, name, False)
    try:
        if not lock.acquire(True, 1.0):
            raise OSError(0, "a free semaphore could not be taken")
        lock.release()
    finally:
        sem_unlink(name)
    return True


def many() -> int:
    """Some libcs allow a process 256 named semaphores."""
    from _multiprocessing import SemLock

    return len([SemLock(1, 1, 1, f"/{NAME}-{i}", True) for i in range(300)])


def synchronize() -> bool:
    """What `import multiprocessing.synchronize` says."""
    import multiprocessing.synchronize  # noqa: F401

    return True


def executor() -> bool:
    """What ProcessPoolExecutor asks before it starts."""
    from concurrent.futures import process

    process._check_system_limits()
    return True


def value() -> bool:
    """Value, Array and their like, even with lock=False."""
    import multiprocessing

    multiprocessing.RawValue("i", 1)
    return True


def shared_memory() -> bool:
    from multiprocessing import resource_tracker, shared_memory

    # Its tracker would be one more process, for nothing.
    silence: Any = lambda *_: None  # noqa: E731
    resource_tracker.register = resource_tracker.unregister = silence
    memory: Any = shared_memory.SharedMemory(name=f"{NAME}-m", create=True, size=16)
    try:
        memory.buf[0] = 1
    finally:
        memory.close()
        memory.unlink()
    return True


def clean_up() -> None:
    """What a child could not remove before it was killed."""
    with contextlib.suppress(Exception):
        import _posixshmem

        _posixshmem.shm_unlink(f"/{NAME}-m")
    with contextlib.suppress(Exception):
        from _multiprocessing import sem_unlink

        sem_unlink(f"/{NAME}")


THINGS: tuple[Callable[[], object], ...] = (
    semlock,
    sem_unlink,
    semaphore,
    many,
    synchronize,
    executor,
    value,
    shared_memory,
)


def tell(thing: Callable[[], object]) -> dict[str, Any]:
    try:
        return {"value": thing()}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
        text = f"{type(error).__name__}: {error}"
        return {"error": text, "errno": getattr(error, "errno", None)}


def tell_alive(thing: Callable[[], object]) -> Any:
    """In a child: where memory runs out, what touches it is killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.write(writer, json.dumps(tell(thing)).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if said:
        return json.loads(said)
    return {"error": f"killed by {signal.Signals(os.WTERMSIG(status)).name}", "errno": None}


def main() -> None:
    print(json.dumps({"value": {thing.__name__: tell_alive(thing) for thing in THINGS}}))
    clean_up()


if __name__ == "__main__":
    main()
