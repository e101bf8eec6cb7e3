"""The core where slices never end and nobody spins: a wake that is lost hangs, and is found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from core.crew import Crew, load, state_of, until
from core.kit import FOREVER, OK, Kit

# Filelock's sleepers poll, and need no wake.
BACKENDS = ("futex", "sysv")
EVERYBODY = 2**32 - 1
# Far beyond what anything here takes, and short enough for the many runs of `make mutants`.
LIMIT = float(os.environ.get("ALTSEM_TEST_PATIENCE", "20"))


def without_slices(core: ModuleType, backend: str, folder: Path) -> Kit:
    """A copy of the library, which reads the environment for itself."""
    assert core.__file__ is not None
    library = Path(core.__file__)
    copy = folder / f"{library.stem}-{backend}{library.suffix}"
    shutil.copy(library, copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALTSEM_TEST_NO_SLICES", "1")
        patch.setenv("ALTSEM_BACKEND", backend)
        kit = Kit(load(copy))
        chosen = kit.lib.altsem_backend(kit.out("int"))
    assert chosen != kit.ffi.NULL and kit.ffi.string(chosen) == backend.encode()
    return kit


class People:
    """Processes, or the threads of one: each does one of the works."""

    def __init__(self, crew: Crew, how: str, works: list[Callable[[], Any]]) -> None:
        self._number, self._apart = len(works), how == "processes"
        if self._apart:
            self._children = [crew.child(work) for work in works]
        else:  # of a process that can be killed when they hang
            self._children = [crew.child(_in_threads, works)]

    def asleep(self) -> bool:
        """All of them, in the kernel."""
        states = [
            state_of(child.pid, int(tid))
            for child in self._children
            for tid in os.listdir(f"/proc/{child.pid}/task")
        ]
        return len(states) >= self._number and set(states) == {"S"}

    def results(self) -> list[Any]:
        answers = [child.result(LIMIT) for child in self._children]
        return answers if self._apart else list(answers[0])


def _in_threads(works: list[Callable[[], Any]]) -> list[Any]:
    crew = Crew()
    return [task.result() for task in [crew.task(work) for work in works]]


Gather = Callable[..., People]


class Room:
    """A condition with its lock, and how many have come back from it."""

    def __init__(self, kit: Kit) -> None:
        self.kit, self.cond, self.lock, self.back = kit, kit.cond(), kit.lock(), kit.sem()

    def waiter(self, deadline: int = FOREVER) -> bool:
        assert self.lock.wait() == OK
        good = self.wait(deadline)
        assert self.lock.lock_release() == OK
        self.back.post()
        return good

    def wait(self, deadline: int = FOREVER) -> bool:
        """The lock is held, before and after."""
        ticket = self.kit.out("uint32_t")
        assert self.cond.cond_enter(ticket) == OK
        assert self.lock.lock_release() == OK
        answer = self.cond.persist("cond_sleep", ticket[0], deadline)
        assert self.lock.wait() == OK
        return answer == OK or self.cond.cond_leave(ticket[0]) == 1

    def notify(self, n: int) -> int:
        assert self.lock.wait() == OK
        done = int(self.cond.cond_notify(n))
        assert self.lock.lock_release() == OK
        return done

    def full(self, number: int, *people: People) -> None:
        """Until so many are inside, and everybody sleeps who has not come back."""
        until(lambda: self.cond.cond_waiters() == number and all(p.asleep() for p in people))
