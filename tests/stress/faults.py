"""Faults for `make stress ARGS=--planted`: what a round has to notice."""

from __future__ import annotations

from sanitize.faults import Fault

FAULTS = (
    Fault(
        "stress",
        "a lock that is taken while it is held",
        "word.h",
        "return slept ? altsem_owner(word) == 0 :",
        "return slept ? 1 :",
        "lost",
        "futex",
    ),
    Fault(
        "stress",
        "a post that adds two",
        "primitives/fast.h",
        "seen + 1, memory_order_release)",
        "seen + 2, memory_order_release)",
        "lost",
        "futex",
    ),
    Fault(
        "stress",
        "dead owners who are never taken for dead",
        "primitives/robust.c",
        "if ((by_thread ? verdict.thread : verdict.process) != ALTSEM_DEAD) return 0;",
        "if ((by_thread ? verdict.thread : verdict.process) != ALTSEM_DEAD + 7) return 0;",
        "stuck",
        "futex",
    ),
)
