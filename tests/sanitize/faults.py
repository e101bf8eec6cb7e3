"""Faults for `make sanitize ARGS=--planted`: what a sanitizer has to report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ASAN, UBSAN, TSAN = "AddressSanitizer: ", "runtime error: ", "ThreadSanitizer: data race"


@dataclass(frozen=True)
class Fault:
    """`old` becomes `new` in a file of the C; then the step fails, and says `said`."""

    step: str
    what: str
    path: str
    old: str
    new: str
    said: str
    only: str = ""  # a backend, or which tests (-k)

    def plant(self, root: Path) -> None:
        file = root / "csrc" / self.path
        text = file.read_text()
        assert text.count(self.old) == 1, f"{self.path} has changed: {self.old}"
        file.write_text(text.replace(self.old, self.new))


FAULTS = (
    Fault(
        "core",
        "a table of segments that does not grow with their number",
        "memory/known.c",
        "calloc(bucket_count * 2, sizeof *larger)",
        "calloc(bucket_count, sizeof *larger)",
        ASAN + "heap-buffer-overflow",
        "many_segments",
    ),
    Fault(
        "core",
        "a shift by more than there are bits",
        "primitives/barrier.c",
        "if (since <= OUTCOMES) return (enum outcome)(word >> 2 * (since - 1) & 3);",
        "enum outcome how = (enum outcome)(word >> 2 * (since - 1) & 3);\n"
        "    if (since <= OUTCOMES) return how;",
        UBSAN + "shift exponent",
        "known_for_ever",
    ),
    Fault(
        "extension",
        "an object that is given back before it is used",
        "binding/segment.c",
        "    if (((Segment *)self)->segment) altsem_segment_decref(((Segment *)self)->segment);\n"
        "    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);\n"
        "    release(self);\n",
        "    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);\n"
        "    release(self);\n"
        "    if (((Segment *)self)->segment) altsem_segment_decref(((Segment *)self)->segment);\n",
        ASAN + "heap-use-after-free",
        "test_lost",
    ),
    Fault(
        "threads",
        "a release of a lock that orders nothing",
        "primitives/fast.h",
        "                          memory_order_release));",
        "                          memory_order_relaxed));",
        TSAN,
        "futex",
    ),
    Fault(
        "threads",
        "a post that orders nothing",
        "primitives/fast.h",
        "seen + 1, memory_order_release)",
        "seen + 1, memory_order_relaxed)",
        TSAN,
        "futex",
    ),
    Fault(
        "threads",
        "an event that publishes nothing",
        "primitives/event.c",
        "&seen, next, memory_order_release)",
        "&seen, next, memory_order_relaxed)",
        TSAN,
        "futex",
    ),
    Fault(
        "threads",
        "a barrier that publishes nothing",
        "primitives/barrier.c",
        "broken ? word | CLOSED : word,\n"
        "                                                 memory_order_acq_rel, "
        "memory_order_acquire))",
        "broken ? word | CLOSED : word,\n"
        "                                                 memory_order_relaxed, "
        "memory_order_relaxed))",
        TSAN,
        "futex",
    ),
    Fault(
        "threads",
        "a slot is given back without the mutex",
        "memory/slot.c",
        "    altsem_segment_unref(segment);\n    altsem_mutex_unlock();\n}\n\n"
        "uint64_t altsem_slot_export",
        "    altsem_mutex_unlock();\n    altsem_segment_unref(segment);\n}\n\n"
        "uint64_t altsem_slot_export",
        TSAN,
        "futex",
    ),
)
