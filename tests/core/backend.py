"""The core with a backend of one's choice: a copy of the library, which chooses for itself."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import shutil
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

SEM, LOCK, EVENT, COND, BARRIER = 1, 2, 4, 5, 6
FOREVER = 2**63 - 1
EINTR, ETIMEDOUT = -4, -110
PATIENCE = 30.0  # far beyond what anything here takes


class Slot:
    def __init__(
        self,
        backend: Backend,
        kind: int,
        value: int,
        maxvalue: int,
        name: str = "",
        new: bool = True,
    ) -> None:
        self.backend, self.lib = backend, backend.lib
        segment, slot = backend.ffi.new("altsem_segment **"), backend.ffi.new("altsem_slot **")
        if not name:
            error = self.lib.altsem_slot_new(kind, value, maxvalue, segment, slot)
        elif new:
            error = self.lib.altsem_named_create(
                name.encode(), kind, value, maxvalue, segment, slot
            )
        else:
            error = self.lib.altsem_named_open(name.encode(), kind, segment, slot)
        assert error == 0, os.strerror(-error)
        self.segment, self.slot = segment[0], slot[0]

    def free(self) -> None:
        self.lib.altsem_slot_free(self.segment, self.slot)

    def post(self) -> int:
        return int(self.lib.altsem_sem_post(self.segment, self.slot, 2**31 - 1))

    def wait(self, deadline: int = FOREVER) -> int:
        """As a binding does: goes on after each slice and signal."""
        while (result := self.once(deadline)) == EINTR:
            pass
        return result

    def once(self, deadline: int = FOREVER) -> int:
        return int(self.lib.altsem_sem_wait(self.segment, self.slot, deadline))

    def doze(self) -> int:
        """Waits in vain, in a set: with no CPU to be had, a deadline may pass before the sleep."""
        for _ in range(1000):
            result = self.wait(self.backend.deadline(0.01))
            if result != ETIMEDOUT or self.set is not None:
                return result
        raise AssertionError("never slept in a set")

    def waiters(self) -> int:
        return int(self.lib.altsem_waiters(self.slot))

    @property
    def number(self) -> int:
        """Of its semaphore in the set, and of its byte in the file: 2 for each slot."""
        start = self.lib.start_of(self.segment)
        return int(self.backend.ffi.cast("char *", self.slot) - start) // 64 * 2

    @property
    def sleepers(self) -> int:
        """Those that no waker has handed a token yet, by the last 8 bytes of the slot."""
        return struct.unpack_from("=II", self._bytes(), 56)[0]

    @sleepers.setter
    def sleepers(self, value: int) -> None:
        struct.pack_into("=I", self._bytes(), 56, value)

    def _bytes(self) -> Any:
        return self.backend.ffi.buffer(self.backend.ffi.cast("char *", self.slot), 64)

    @property
    def set(self) -> int | None:
        """The SysV set of its segment, by what the header says 64 bytes from its start."""
        start = self.lib.start_of(self.segment)
        (value,) = struct.unpack_from("=Q", self.backend.ffi.buffer(start, 128), 64)
        return value >> 32 if value else None

    def name_set(self, identifier: int, key: int) -> None:
        """As somebody may who writes into the header: it names this set now."""
        start = self.lib.start_of(self.segment)
        value = (identifier & 0xFFFFFFFF) << 32 | key & 0xFFFFFFFF
        struct.pack_into("=Q", self.backend.ffi.buffer(start, 128), 64, value)

    def fd(self) -> int:
        return int(self.lib.altsem_segment_fd(self.segment))


class Backend:
    blocks = True  # its sleepers do not poll

    def __init__(self, library: Path, name: str, folder: Path) -> None:
        copy = folder / f"{library.stem}-{name}{library.suffix}"
        shutil.copy(library, copy)
        spec = importlib.util.spec_from_file_location("_altsem_core", copy)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.lib, self.ffi = module.lib, module.ffi
        before = os.environ.get("ALTSEM_BACKEND")
        os.environ["ALTSEM_BACKEND"] = name
        try:
            error = self.ffi.new("int *")
            chosen = self.lib.altsem_backend(error)
            assert chosen != self.ffi.NULL, os.strerror(-error[0])
            assert self.ffi.string(chosen) == name.encode()
        finally:
            del os.environ["ALTSEM_BACKEND"]
            if before is not None:
                os.environ["ALTSEM_BACKEND"] = before

    def slot(self, kind: int = SEM, value: int = 0, maxvalue: int = 2**31 - 1) -> Slot:
        return Slot(self, kind, value, maxvalue)

    def named(self, name: str, kind: int = SEM, new: bool = True) -> Slot:
        return Slot(self, kind, 0, 2**31 - 1, name, new)

    @contextlib.contextmanager
    def slots(self, n: int = 1) -> Iterator[list[Slot]]:
        made = [self.slot() for _ in range(n)]
        try:
            yield made
        finally:
            for slot in made:
                slot.free()

    def deadline(self, seconds: float) -> int:
        return int(self.lib.altsem_deadline_in(seconds))


def of(core: ModuleType, name: str, folder: Path) -> Backend:
    assert core.__file__ is not None
    return Backend(Path(core.__file__), name, folder)


class Child:
    """A fork that does `work` and sends back what it returned."""

    def __init__(self, work: Callable[..., Any], *args: Any) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                try:
                    answer = True, work(*args)
                except BaseException:  # noqa: BLE001 - the parent tells
                    answer = False, traceback.format_exc()
                with os.fdopen(writer, "wb") as pipe:
                    pickle.dump(answer, pipe)
            finally:
                os._exit(0)
        os.close(writer)
        self._pipe = os.fdopen(reader, "rb")

    def result(self) -> Any:
        data = self._pipe.read()
        self.end()
        assert data, "it was killed"
        good, answer = pickle.loads(data)
        assert good, answer
        return answer

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> None:
        if self.pid:
            os.waitpid(self.pid, 0)
            self._pipe.close()
            self.pid = 0


@contextlib.contextmanager
def children(*works: tuple[Any, ...]) -> Iterator[list[Child]]:
    made = [Child(*work) for work in works]
    try:
        yield made
    finally:
        for child in made:
            if child.pid:
                child.kill()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.001)
