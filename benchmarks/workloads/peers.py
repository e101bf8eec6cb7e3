"""What we are measured against.  Packages are imported late: not every run needs them all."""

from __future__ import annotations

import multiprocessing
import os
import random
import sysconfig
import tempfile
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from subprocess import run
from typing import Any

import altsem

FORK = multiprocessing.get_context("fork")  # the native primitives
OURS = altsem.get_context("fork")


def name() -> str:
    """A fresh name for a native semaphore."""
    return f"/altsem-bench-{random.getrandbits(60):x}"


def semlock(kind: str) -> Any:
    """The C object that a native primitive is made of, without the Python around it."""
    from _multiprocessing import SemLock

    recursive, binary, counting = (0, 1, 1), (1, 1, 1), (1, 1, 2**31 - 1)
    arguments = {"RLock": recursive, "Semaphore": counting}.get(kind, binary)
    return SemLock(*arguments, name(), True)


def posix_semaphore() -> Any:
    import posix_ipc

    semaphore = posix_ipc.Semaphore(name(), posix_ipc.O_CREX, initial_value=1)
    semaphore.unlink()
    return semaphore


def sysv_semaphore() -> Any:
    """To be removed by its remove(): the kernel never does."""
    import sysv_ipc

    return sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)


class PackageLock:
    """A filelock.FileLock that each process makes for itself: it refuses to be inherited."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = 0
        self._lock: Any = None

    def acquire(self) -> None:
        if self._pid != os.getpid():
            import filelock

            self._pid, self._lock = os.getpid(), filelock.FileLock(self._path)
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def nothing() -> Any:
    """An object whose enter and exit are C functions that do nothing: the interpreter's floor."""
    source = Path(__file__).with_name("floor.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "floor.so"
        include = sysconfig.get_path("include")
        run(["cc", "-O2", "-shared", "-fPIC", f"-I{include}", source, "-o", library], check=True)
        loader = ExtensionFileLoader("floor", str(library))
        module = module_from_spec(spec_from_loader("floor", loader))  # type: ignore[arg-type]
        loader.exec_module(module)
    return module.Nothing()
