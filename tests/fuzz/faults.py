"""Faults for `make fuzz ARGS=--planted`: what the targets have to find."""

from __future__ import annotations

from sanitize.faults import UBSAN, Fault

NOT_TRUE = "not true: "

FAULTS = (
    Fault(
        "segment",
        "no bound for the number of slots",
        "memory/segment.c",
        "        header->size > (uint64_t)ALTSEM_MAX_SLOTS * ALTSEM_SLOT_BYTES ||\n",
        "",
        NOT_TRUE + "size <= (size_t)32768",
    ),
    Fault(
        "segment",
        "the slot after the last",
        "memory/segment.c",
        "number >= segment->slots",
        "number > segment->slots",
        NOT_TRUE + "offset % 64 == 0",
    ),
    Fault(
        "slot",
        "how a generation ended, long ago",
        "primitives/barrier.c",
        "if (since <= OUTCOMES) return",
        "if (since <= 16 * OUTCOMES) return",
        UBSAN + "shift exponent",
    ),
    Fault(
        "name",
        "a name that leads elsewhere",
        "names/private.c",
        "if (!*name || strchr(name, '/')) return",
        "if (!*name) return",
        NOT_TRUE,
    ),
    Fault(
        "file",
        "a file shorter than it says",
        "memory/segment.c",
        "header->size != (uint64_t)status.st_size ||",
        "header->size > (uint64_t)status.st_size + 4096 ||",
        NOT_TRUE + "altsem_segment_size(segment) == size",
    ),
)
