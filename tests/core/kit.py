"""Primitives of the core as objects: `kit.sem(2).sem_try()` for `altsem_sem_try(slot)`."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from core.crew import Child, Task

FREE, SEM, LOCK, RLOCK, EVENT, COND, BARRIER = range(7)
VALUE_MAX = 2**31 - 1
FOREVER = 2**63 - 1
NOW = -(2**63)
PAST = 1  # a deadline that has passed, but is not NOW
PAGE = os.sysconf("SC_PAGESIZE")
FIRST = 128  # offset of the first slot

OK = 0
# As the core says it: negative.
EAGAIN = -errno.EAGAIN
EINTR = -errno.EINTR
EINVAL = -errno.EINVAL
EPERM = -errno.EPERM
EPIPE = -errno.EPIPE
ESTALE = -errno.ESTALE
EBADF = -errno.EBADF
EBADMSG = -errno.EBADMSG
EEXIST = -errno.EEXIST
ENOENT = -errno.ENOENT
ELOOP = -errno.ELOOP
ENOSPC = -errno.ENOSPC
ENOSYS = -errno.ENOSYS
EXDEV = -errno.EXDEV
EMFILE = -errno.EMFILE
EACCES = -errno.EACCES
EROFS = -errno.EROFS
ENOTDIR = -errno.ENOTDIR
EOVERFLOW = -errno.EOVERFLOW
ETIMEDOUT = -errno.ETIMEDOUT
ENAMETOOLONG = -errno.ENAMETOOLONG
EPROTONOSUPPORT = -errno.EPROTONOSUPPORT

ENDS = ("woken", "changed", "slice", "deadline", "signal", "refused")

_FORMATS = {4: "=I", 8: "=Q"}
_WIDE = {"word", "holder", "word2", "current", "joining", "magic", "size"}


class Sleeps(NamedTuple):
    """How the sleeps of a thread ended, and the wakes it has made (csrc/wait/testing.h)."""

    ended: dict[str, int]
    last: str
    slice_end: int
    wakes: int

    def by_a_wake(self, woken_at: int) -> bool:
        """Whether a wake ended the sleep of a thread that was asleep, and no slice, no deadline
        and no signal.  A slice that was over before the wake had been made has healed nothing."""
        return self.slice_end <= woken_at and self.last not in ("deadline", "signal")


class Thing:
    """A slot with a reference to its segment."""

    def __init__(self, kit: Kit, segment: Any, slot: Any) -> None:
        self.kit, self.segment, self.slot = kit, segment, slot

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self.kit.lib, "altsem_" + name)
        kinds = [kind.cname for kind in self.kit.ffi.typeof(function).args[:2]]
        first: tuple[Any, ...] = (self.slot,)
        if "altsem_segment" in kinds[0]:
            slotted = len(kinds) > 1 and "altsem_slot" in kinds[1] and "**" not in kinds[1]
            first = (self.segment, self.slot) if slotted else (self.segment,)
        call = lambda *args: function(*first, *args)  # noqa: E731
        self.__dict__[name] = call
        return call

    @property
    def offset(self) -> int:
        base = int(self.kit.ffi.cast("uintptr_t", self.kit.lib.start_of(self.segment)))
        return int(self.kit.ffi.cast("uintptr_t", self.slot)) - base

    @property
    def address(self) -> int:
        return int(self.kit.ffi.cast("uintptr_t", self.slot))

    def _field(self, name: str) -> tuple[Any, str]:
        size = 8 if name in _WIDE else 4
        at = getattr(self.kit.lib, "at_slot_" + name)
        whole = self.kit.ffi.buffer(self.kit.ffi.cast("char *", self.slot), 64)
        return memoryview(whole)[at : at + size], _FORMATS[size]

    def peek(self, name: str) -> int:
        view, how = self._field(name)
        return int(struct.unpack(how, view)[0])

    def poke(self, name: str, value: int) -> None:
        view, how = self._field(name)
        view[:] = struct.pack(how, value)

    def image(self) -> bytes:
        return bytes(self.kit.ffi.buffer(self.kit.ffi.cast("char *", self.slot), 64))

    def free(self) -> None:
        self.kit.things.remove(self)
        self.kit.lib.altsem_slot_free(self.segment, self.slot)

    def persist(self, name: str, *args: Any) -> Any:
        """Calls until the answer is something else than -EINTR, as a binding does."""
        call = getattr(self, name)
        while (answer := call(*args)) == EINTR:
            pass
        return answer

    def wait(self, deadline: int = FOREVER) -> Any:
        """Takes a semaphore or a lock."""
        kind = self.slot_type()
        return self.persist("sem_wait" if kind == SEM else "lock_wait", deadline)

    def post(self) -> int:
        return int(self.sem_post(VALUE_MAX))


class Kit:
    def __init__(self, core: ModuleType) -> None:
        self.core, self.lib, self.ffi = core, core.lib, core.ffi
        self.things: list[Thing] = []

    def raw_new(self, kind: int, value: int, maxvalue: int = VALUE_MAX) -> tuple[int, Thing | None]:
        segment, slot = self.ffi.new("altsem_segment **"), self.ffi.new("altsem_slot **")
        error = self.lib.altsem_slot_new(kind, value, maxvalue, segment, slot)
        return error, self.keep(segment[0], slot[0]) if error == 0 else None

    def keep(self, segment: Any, slot: Any) -> Thing:
        self.things.append(Thing(self, segment, slot))
        return self.things[-1]

    def new(self, kind: int, value: int = 0, maxvalue: int = VALUE_MAX) -> Thing:
        error, thing = self.raw_new(kind, value, maxvalue)
        assert thing is not None, os.strerror(-error)
        return thing

    def sem(self, value: int = 0, maxvalue: int = VALUE_MAX) -> Thing:
        return self.new(SEM, value, maxvalue)

    def lock(self, value: int = 1) -> Thing:
        return self.new(LOCK, value, 1)

    def rlock(self) -> Thing:
        return self.new(RLOCK, 1, 1)

    def event(self, value: int = 0) -> Thing:
        return self.new(EVENT, value)

    def cond(self) -> Thing:
        return self.new(COND)

    def barrier(self, parties: int) -> Thing:
        return self.new(BARRIER, 0, parties)

    def deadline(self, seconds: float) -> int:
        return int(self.lib.altsem_deadline_in(seconds))

    def judge(self, tid: int, identity: int, where: int) -> tuple[int, int, int]:
        """The pid; whether the process lives, and the thread: 1 yes, 0 no, -1 cannot be told."""
        verdict = self.out("altsem_verdict")
        self.lib.altsem_judge(tid, identity, where, verdict)
        return verdict.pid, verdict.process, verdict.thread

    def sleeps(self, forget: bool = False) -> Sleeps:
        seen = self.lib.altsem_test_sleeps(forget)
        ended = {end: int(number) for end, number in zip(ENDS, seen.ended, strict=True)}
        last = ENDS[seen.last] if seen.last >= 0 else "none"
        return Sleeps(ended, last, int(seen.slice_end), int(seen.wakes))

    def wakes(self, work: Callable[[], Any]) -> int:
        """How many calls of altsem_wake the calling thread makes in it."""
        before = self.sleeps().wakes
        work()
        return self.sleeps().wakes - before

    def telling(self, work: Callable[..., Any]) -> Callable[..., tuple[Any, Sleeps]]:
        """The same work; returns also how its sleeps ended."""

        def told(*args: Any) -> tuple[Any, Sleeps]:
            self.sleeps(forget=True)
            return work(*args), self.sleeps()

        return told

    def woken_bare(self, *people: Child | Task) -> list[Any]:
        """The same, where nothing but the wake tells them; `filelock` has none, and polls."""
        backend = self.ffi.string(self.lib.altsem_backend(self.out("int")))
        if backend == b"filelock":
            return [one.result()[0] for one in people]
        return self.woken(*people)

    def woken(self, *people: Child | Task) -> list[Any]:
        """What they return, who do `telling` work, were seen asleep, and have now been woken."""
        now, answers = self.lib.altsem_clock(), []
        for one in people:
            answer, sleeps = one.result()
            assert sleeps.by_a_wake(now), f"{answer} came back by other means: {sleeps}"
            answers.append(answer)
        return answers

    def out(self, kind: str) -> Any:
        return self.ffi.new(kind + " *")

    def header_field(self, thing: Thing, name: str, size: int = 4) -> memoryview:
        """The bytes of a field in the header of a segment."""
        start = self.ffi.cast("char *", thing.slot) - thing.offset
        at = getattr(self.lib, "at_header_" + name)
        return memoryview(self.ffi.buffer(start + at, size))

    # --- segments and names -----------------------------------------------------------------------

    def attach(self, fd: int, identity: bytes | None = None) -> tuple[int, Any, int]:
        """The error, the segment, and whether `fd` belongs to it now."""
        segment, took = self.ffi.new("altsem_segment **"), self.ffi.new("int *", 7)
        error = self.lib.altsem_segment_attach(
            fd, self.ffi.NULL if identity is None else identity, segment, took
        )
        return error, segment[0], took[0]

    def identity(self, segment: Any) -> bytes:
        return bytes(self.ffi.buffer(self.lib.altsem_segment_id(segment), 16))

    def at(self, segment: Any, offset: int, kind: int = 0) -> tuple[int, Thing | None]:
        slot = self.ffi.new("altsem_slot **")
        error = self.lib.altsem_slot_at(segment, offset, kind, slot)
        return error, self.keep(segment, slot[0]) if error == 0 else None

    def named(self, what: str, name: str | bytes, *args: int) -> tuple[int, Thing | None]:
        segment, slot = self.ffi.new("altsem_segment **"), self.ffi.new("altsem_slot **")
        function = getattr(self.lib, "altsem_named_" + what)
        error = function(os.fsencode(name), *args, segment, slot)
        return error, self.keep(segment[0], slot[0]) if error == 0 else None

    def memory(self, size: int) -> tuple[int, str]:
        """The descriptor or the error, and the source it was last asked of."""
        source = self.ffi.new("const char **")
        fd = self.lib.altsem_memory_new(size, source)
        return fd, self.ffi.string(source[0]).decode()

    def close(self) -> None:
        for thing in list(self.things):
            thing.free()
