"""Faults that are planted in a copy of the C, and which scenarios must find each.

A fault is an exact piece of text and what stands there instead.  Text that is not found, or found
twice, is an error: when the C changes, its faults are thought of again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from . import build, run

Edit = tuple[str, str, str]  # file, text, what stands there instead

LOCK, SEM, EVENT = "primitives/lock.c", "primitives/sem.c", "primitives/event.c"
COND, BARRIER, FAST = "primitives/cond.c", "primitives/barrier.c", "primitives/fast.h"
ROBUST, JUDGE = "primitives/robust.c", "process/judge.c"
WORD, FAIR, WAIT = "word.h", "primitives/fair.h", "wait/wait.c"


@dataclass(frozen=True)
class Fault:
    what: str
    primitive: str
    edits: tuple[Edit, ...]
    found_by: tuple[str, ...]  # each of these finds it

    @property
    def name(self) -> str:
        return "-".join(f"{self.primitive} {self.what}".lower().replace(",", "").split())


class StaleFaultError(Exception):
    """The text that a fault changes is not there any more, or more than once."""


def plant(fault: Fault, folder: Path, csrc: Path = build.CSRC) -> Path:
    """A copy of csrc/ with the fault in it."""
    copy = folder / "csrc"
    shutil.copytree(csrc, copy)
    for name, old, new in fault.edits:
        path = copy / name
        text = path.read_text()
        if text.count(old) != 1:
            raise StaleFaultError(f"{fault.what}: {text.count(old)} times in {name}:\n{old}")
        path.write_text(text.replace(old, new))
    return copy


def plant_and_build(fault: Fault, folder: Path, sound: Path) -> Path:
    """An explorer of what has the fault; `sound`: where the one without it was built."""
    copy = plant(fault, folder)
    return build.build(folder / "built", copy, sound, [name for name, _, _ in fault.edits])


def look_for(fault: Fault, folder: Path, sound: Path) -> list[run.Outcome]:
    """What the scenarios that must find it say; `sound`: the explorer of what has no fault."""
    by_name = {scenario.name: scenario for scenario in run.scenarios(sound)}
    planted = plant_and_build(fault, folder / fault.name, sound.parent)
    return [run.explore(planted, by_name[name], "--quiet") for name in fault.found_by]


def _fault(primitive: str, what: str, found_by: str, *edits: Edit) -> Fault:
    return Fault(what, primitive, edits, tuple(found_by.split()))


LOCKS = [
    _fault("Lock", "WOKEN stays when a waiter goes to sleep", "lock-2x3",
        (LOCK, "uint64_t next = seen & ~(uint64_t)ALTSEM_WOKEN;", "uint64_t next = seen;")),
    _fault("Lock", "WOKEN stays when a waiter goes to sleep for the first time", "lock-2x3",
        (LOCK, "uint64_t next = seen & ~(uint64_t)ALTSEM_WOKEN;",
         "uint64_t next = waiting.slept ? seen & ~(uint64_t)ALTSEM_WOKEN : seen;")),
    _fault("Lock", "WOKEN stays when a waiter leaves", "lock-timed",
        (LOCK, "uint64_t next = seen & ~(uint64_t)ALTSEM_WOKEN;",
         "uint64_t next = result ? seen : seen & ~(uint64_t)ALTSEM_WOKEN;")),
    _fault("Lock", "WOKEN stays when a waiter takes it", "lock-3x1",
        (LOCK, "seen & ~(uint64_t)(ALTSEM_WOKEN | ALTSEM_HUNGRY)) - ALTSEM_WAITER",
         "seen & ~(uint64_t)ALTSEM_HUNGRY) - ALTSEM_WAITER")),
    _fault("Lock", "HUNGRY stays when a waiter takes it", "lock-hungry",
        (LOCK, "seen & ~(uint64_t)(ALTSEM_WOKEN | ALTSEM_HUNGRY)) - ALTSEM_WAITER",
         "seen & ~(uint64_t)ALTSEM_WOKEN) - ALTSEM_WAITER")),
    _fault("Lock", "a waiter sleeps unannounced and joins the waiters afterwards", "lock-2x3",
        (LOCK, "uint64_t seen = altsem_announce(&slot->word);",
         "uint64_t seen = altsem_load(&slot->word);\n    int announced = 0;"),
        (LOCK, "if (take(slot, seen, &waiting) == 0) return 0;",
         "if (announced ? take(slot, seen, &waiting) == 0 : altsem_fast_try(slot) == 0) return 0;"),
        (LOCK, "altsem_low(next), deadline);\n",
         ("altsem_low(next), deadline);\n"
         "        if (!announced) announced = 1, altsem_announce(&slot->word);\n"))),
    _fault("Lock", "a waiter announces itself in two steps", "lock-3x1",
        (WORD, ("    return atomic_fetch_add_explicit(word, ALTSEM_WAITER, memory_order_relaxed) +"
         " ALTSEM_WAITER;"),
         ("    uint64_t next = altsem_load(word) + ALTSEM_WAITER;\n"
         "    atomic_store_explicit(word, next, memory_order_relaxed);\n    return next;"))),
    _fault("Lock", "a release has read the waiters before its step", "lock-2x3",
        (FAST, "        waiters = seen & ~(uint64_t)UINT32_MAX;\n    } while",
         "    } while"),
        (FAST, "seen = altsem_load(&slot->word), waiters;\n    if (altsem_owner(seen) == 0)",
         ("seen = altsem_load(&slot->word), waiters = seen & ~(uint64_t)UINT32_MAX;\n"
         "    if (altsem_owner(seen) == 0)")),
        (FAST, "waiters ? waiters | ALTSEM_WOKEN | (seen & ALTSEM_HUNGRY) : 0",
         ("waiters ? (seen & ~(uint64_t)UINT32_MAX) | ALTSEM_WOKEN | (seen & ALTSEM_HUNGRY)"
         " : seen & ~(uint64_t)UINT32_MAX"))),
    _fault("Lock", "a release reads the waiters after its step", "lock-freed",
        (FAST, "    if (__builtin_expect(waiters != 0, 0) && !(seen & ALTSEM_WOKEN))",
         "    if (altsem_high(altsem_load(&slot->word)) != 0 && !(seen & ALTSEM_WOKEN))")),
    _fault("Lock", "a release names nobody only after its step", "rlock-2",
        (FAST, "    atomic_store_explicit(&slot->holder, 0, memory_order_relaxed);\n    do {",
         "    do {"),
        (FAST, "                          memory_order_release));\n    if (__builtin",
         ("                          memory_order_release));\n"
         "    atomic_store_explicit(&slot->holder, 0, memory_order_relaxed);\n    if (__builtin"))),
    _fault("Lock", "a release wakes nobody", "lock-2x3",
        (FAST, "!(seen & ALTSEM_WOKEN))\n        altsem_wake(segment, slot, ALTSEM_WORD, 1);",
         "!(seen & ALTSEM_WOKEN))\n        altsem_wake(segment, slot, ALTSEM_WORD, 0);")),
    _fault("Lock", "a release wakes only if nobody has reserved it", "lock-hungry",
        (FAST, "&& !(seen & ALTSEM_WOKEN))", "&& !(seen & (ALTSEM_WOKEN | ALTSEM_HUNGRY)))")),
    _fault("Lock", "a release does not look again whether it is held", "lock-both-free",
        (FAST, "if (altsem_owner(seen) == 0) return -EOVERFLOW; /* two", "/* two")),
    _fault("Lock", "one that has not slept takes what is reserved", "lock-hungry",
        (WORD, "return slept ? altsem_owner(word) == 0 : ((uint32_t)word & ~ALTSEM_WOKEN) == 0;",
         "return (void)slept, altsem_owner(word) == 0;")),
    _fault("Lock", "one that does not wait takes what is held", "lock-hungry-try",
        (LOCK, ("while (altsem_lock_takeable(seen, 1)) {\n"
         "        if (!altsem_step(&slot->word, &seen,"
         " seen |"),
         ("while (altsem_high(seen) || altsem_lock_takeable(seen, 1)) {\n"
         "        if (!altsem_step(&slot->word, &seen, seen |"))),
    _fault("Lock", "taken without comparing", "lock-2x3",
        (FAST, "if (altsem_step(&slot->word, &seen, seen | me->token, memory_order_acquire)) {",
         "if (atomic_fetch_or_explicit(&slot->word, me->token, memory_order_acquire), 1) {")),
    _fault("Lock", "a waiter reserves without comparing", "lock-hungry",
        (LOCK, ("if (next != seen && !altsem_step(&slot->word, &seen, next, memory_order_relaxed))"
         " continue;"),
         ("if (next & ~seen & ALTSEM_HUNGRY)\n"
         "            atomic_store_explicit(&slot->word, next, memory_order_relaxed);\n"
         "        else if (next != seen &&\n"
         "                 !altsem_step(&slot->word, &seen, next, memory_order_relaxed))\n"
         "            continue;"))),
    _fault("Lock", "a waiter that takes it stays counted", "lock-2x3",
        (LOCK, "(ALTSEM_WOKEN | ALTSEM_HUNGRY)) - ALTSEM_WAITER;",
         "(ALTSEM_WOKEN | ALTSEM_HUNGRY));")),
    _fault("Lock", "a waiter that leaves stays counted", "lock-timed",
        (LOCK, "next -= ALTSEM_WAITER; /* HUNGRY stays", "/* HUNGRY stays")),
    _fault("Lock", "the lock is taken for the number alone", "rlock-twins",
        (FAST, ("altsem_owner(altsem_load(&slot->word)) == me->token &&\n"
         "           altsem_load(&slot->holder) == me->id"),
         "altsem_owner(altsem_load(&slot->word)) == me->token")),
    _fault("Lock", "disowning forgets the waiters", "lock-disowned",
        (LOCK, "(seen & ~(uint64_t)UINT32_MAX) | (seen & (ALTSEM_WOKEN | ALTSEM_HUNGRY)) |",
         "(seen & (ALTSEM_WOKEN | ALTSEM_HUNGRY)) |")),
    _fault("Lock", "the kernel compares what was before", "lock-2x3",
        (LOCK, "ALTSEM_WORD, altsem_low(next), deadline);",
         "ALTSEM_WORD, altsem_low(vf_now(&slot->word)), deadline);"),
        (LOCK, "static void hold(", "#define vf_now(word) altsem_load(word)\nstatic void hold(")),
    _fault("Lock", "taking it does not acquire", "lock-2x3",
        (FAST, "&seen, seen | me->token, memory_order_acquire)",
         "&seen, seen | me->token, memory_order_relaxed)")),
    _fault("Lock", "taking it after a sleep does not acquire", "lock-2x3",
        (LOCK, "rest | altsem_self()->token, memory_order_acquire)",
         "rest | altsem_self()->token, memory_order_relaxed)")),
    _fault("Lock", "taking it without waiting does not acquire", "lock-hungry-try",
        (LOCK, "seen | altsem_self()->token, memory_order_acquire)",
         "seen | altsem_self()->token, memory_order_relaxed)")),
    _fault("Lock", "a release does not release", "lock-2x3",
        (FAST, "(seen & ALTSEM_HUNGRY) : 0,\n                          memory_order_release)",
         "(seen & ALTSEM_HUNGRY) : 0,\n                          memory_order_relaxed)")),
    _fault("Lock", "disowning does not release", "lock-disowned",
        (LOCK, "while (!altsem_step(&slot->word, &seen, next, memory_order_release))",
         "while (!altsem_step(&slot->word, &seen, next, memory_order_relaxed))")),
    _fault("RLock", "a release frees it however often it is held", "rlock-2",
        (FAST, "if (__builtin_expect(again == 0, 1)) return", "if (again < 9) return")),
    _fault("RLock", "the depth is not given back", "rlock-2",
        (LOCK, "atomic_store_explicit(&slot->again, depth - 1,",
         "atomic_store_explicit(&slot->again, 0 * depth,")),
    _fault("all", "the end of a slice is taken for the deadline", "lock-kill",
        (WAIT, "if (slice) return -EINTR;", "")),
    _fault("all", "a sleep outlasts its slice", "lock-kill",
        (WAIT, "int64_t until = last ? deadline : now + altsem_slice();",
         "int64_t until = deadline;")),
    _fault("all", "a deadline is not looked at", "sem-timed-out",
        (WAIT, "int64_t until = last ? deadline : now + altsem_slice();",
         "int64_t until = now + altsem_slice();")),
]  # fmt: skip

SEMS = [
    _fault("Semaphore", "a post wakes only on 0 -> 1", "sem-2-1",
        (FAST, "if (__builtin_expect(altsem_high(seen) != 0, 0)) altsem_wake",
         "if (altsem_high(seen) != 0 && altsem_low(seen) == 0) altsem_wake")),
    _fault("Semaphore", "a post wakes nobody", "sem-2-1",
        (FAST, "if (__builtin_expect(altsem_high(seen) != 0, 0)) altsem_wake",
         "if (0) altsem_wake")),
    _fault("Semaphore", "a post has read the waiters before its step", "sem-2-1",
        (FAST, ("memory_order_release));\n"
         "    if (__builtin_expect(altsem_high(seen) != 0, 0)) altsem"),
         "memory_order_release));\n    if (waiting != 0) altsem"),
        (FAST, "    do {\n        /* HUNGRY makes",
         "    uint32_t waiting = altsem_high(seen);\n    do {\n        /* HUNGRY makes")),
    _fault("Semaphore", "a post reads the waiters after its step", "sem-freed",
        (FAST, "if (__builtin_expect(altsem_high(seen) != 0, 0)) altsem_wake",
         "if (altsem_high(altsem_load(&slot->word)) != 0) altsem_wake")),
    _fault("Semaphore", "a waiter sleeps unannounced", "sem-2-1",
        (SEM, "uint64_t seen = altsem_announce(&slot->word);",
         "uint64_t seen = altsem_load(&slot->word);"),
        (SEM, "seen - ALTSEM_WAITER - 1", "seen - 1"),
        (SEM, "altsem_withdraw(&slot->word); /*", "/*")),
    _fault("Semaphore", "a waiter sleeps without having looked again", "sem-2-1",
        (SEM, "result = altsem_sleep(segment, slot, ALTSEM_WORD, altsem_low(seen), deadline);",
         ("result = altsem_sleep(segment, slot, ALTSEM_WORD,"
         " altsem_low(altsem_load(&slot->word)), deadline);"))),
    _fault("Semaphore", "the bound is looked at before the step", "sem-bound",
        (FAST, "} while (!altsem_step(&slot->word, &seen, seen + 1, memory_order_release));",
         "} while (seen = atomic_fetch_add_explicit(&slot->word, 1, memory_order_release), 0);")),
    _fault("Semaphore", "the bound is one too large", "sem-bound",
        (FAST, "(int64_t)value >= bound) return", "(int64_t)value > bound) return"),
        (FAST, "(int64_t)altsem_low(seen) >= bound, 0)", "(int64_t)altsem_low(seen) > bound, 0)")),
    _fault("Semaphore", "HUNGRY is taken for a value at the bound", "sem-bound-hungry",
        (FAST, "if (!(seen & ALTSEM_SEM_HUNGRY) || (int64_t)value >= bound) return",
         "if (value || 1) return")),
    _fault("Semaphore", "one that has not slept takes what is reserved", "sem-hungry",
        (WORD, "((word & ALTSEM_SEM_HUNGRY) && !slept && word >= ALTSEM_WAITER)",
         "((void)slept, 0)")),
    _fault("Semaphore", "a waiter reserves without comparing", "sem-hungry",
        (SEM, "if (!altsem_step(&slot->word, &seen, next, memory_order_relaxed)) continue;",
         "atomic_store_explicit(&slot->word, next, memory_order_relaxed);")),
    _fault("Semaphore", "a waiter leaves without a last look", "sem-timed",
        (SEM, "        if (take(slot, seen, &waiting) == 0) return 0;",
         ("        if (result != 0) break;\n"
         "        if (take(slot, seen, &waiting) == 0) return 0;"))),
    _fault("Semaphore", "a waiter that leaves stays counted", "sem-timed",
        (SEM, "altsem_withdraw(&slot->word); /*", "/*")),
    _fault("Semaphore", "a token is taken without comparing", "sem-hungry-try",
        (SEM, "if (altsem_step(&slot->word, &seen, next - 1, memory_order_acquire)) return 0;",
         "return atomic_fetch_sub_explicit(&slot->word, 1, memory_order_acquire), (void)next, 0;")),
    _fault("Semaphore", "taking does not acquire", "sem-lock-2x3",
        (SEM, "next - 1, memory_order_acquire)", "next - 1, memory_order_relaxed)")),
    _fault("Semaphore", "taking after a sleep does not acquire", "sem-lock-2x3",
        (SEM, "&seen, next, memory_order_acquire)", "&seen, next, memory_order_relaxed)")),
    _fault("Semaphore", "a post does not release", "sem-lock-2x3",
        (FAST, "&seen, seen + 1, memory_order_release)",
         "&seen, seen + 1, memory_order_relaxed)")),
]  # fmt: skip

EVENTS = [
    _fault("Event", "a waiter announces itself after its sleep", "event-2-1",
        (EVENT, "    altsem_announce(&slot->word);\n    int result = 0;", "    int result = 0;"),
        (EVENT, "result = altsem_sleep(segment, slot, ALTSEM_WORD, now, deadline);\n",
         ("result = altsem_sleep(segment, slot, ALTSEM_WORD, now, deadline);\n"
         "        altsem_announce(&slot->word);\n"))),
    _fault("Event", "set() reads the waiters before its step", "event-2-1",
        (EVENT, "uint64_t seen = altsem_load(&slot->word), next;\n",
         "uint64_t seen = altsem_load(&slot->word), next, first = seen;\n"),
        (EVENT, "altsem_high(seen) != 0) altsem_wake", "altsem_high(first) != 0) altsem_wake")),
    _fault("Event", "set() wakes one", "event-2-1",
        (EVENT, "altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX)",
         "altsem_wake(segment, slot, ALTSEM_WORD, 1)")),
    _fault("Event", "a pulse leaves no trace", "event-pulse",
        (EVENT, "(uint32_t)(altsem_low(seen) + 3)", "(uint32_t)(altsem_low(seen) | 1)"),
        (EVENT, "    do {\n        if (seen & 1) {", "    do {\n        if (seen & 1) {")),
    _fault("Event", "a waiter looks only whether it is set now", "event-pulse",
        (EVENT, "        if ((now & 1) || now != since) {\n            result = 0;",
         "        if (now & 1) {\n            result = 0;")),
    _fault("Event", "clear() forgets who waits", "event-pulse",
        (EVENT, "atomic_fetch_and_explicit(&slot->word, ~UINT64_C(1), memory_order_acquire)",
         "atomic_fetch_and_explicit(&slot->word, UINT32_MAX - 1, memory_order_acquire)")),
    _fault("Event", "clear() is two steps", "event-clear",
        (EVENT, "atomic_fetch_and_explicit(&slot->word, ~UINT64_C(1), memory_order_acquire)",
         ("atomic_store_explicit(&slot->word, altsem_load(&slot->word) & ~UINT64_C(1),"
         " memory_order_relaxed)"))),
    _fault("Event", "set() does not release", "event-2-1",
        (EVENT, "while (!altsem_step(&slot->word, &seen, next, memory_order_release))",
         "while (!altsem_step(&slot->word, &seen, next, memory_order_relaxed))")),
    _fault("Event", "set() of what is set does nothing", "event-set-again",
        (EVENT, "            next = seen;\n", "            return 0;\n")),
    _fault("Event", "a waiter does not acquire", "event-2-1",
        (EVENT, "return altsem_low(atomic_load_explicit(&slot->word, memory_order_acquire));",
         "return altsem_low(altsem_load(&slot->word));")),
    _fault("Event", "after a spin a waiter does not acquire", "event-spin",
        (EVENT, "        (void)altsem_event_now(slot);\n", "")),
]  # fmt: skip

CONDS = [
    _fault("Condition", "the label is not compared", "cond-left-over",
        (COND, "if (group_of(seen) != ticket || (*low & TOKENS) == 0) return -EAGAIN;",
         "if ((*low & TOKENS) == 0) return -EAGAIN;")),
    _fault("Condition", "tokens are published before the count", "cond-kill-newcomer",
        (COND, ("        } else if (swap(&slot->current, current, current - now)) {\n"
         "            add_tokens(slot, group_of(current), now);\n"),
         ("        } else if (add_tokens(slot, group_of(current), now),\n"
         "                   swap(&slot->current, current, current - now)) {\n"))),
    _fault("Condition", "tokens are published after the wake", "cond-2-1",
        (COND, "            add_tokens(slot, group_of(current), now);\n", ""),
        (COND, "            done += now;\n",
         "            add_tokens(slot, group_of(current), now);\n            done += now;\n")),
    _fault("Condition", "tokens are published without a label", "cond-left-over",
        (COND, "of_group(group, group << 20 | n)", "of_group(group_of(seen), (uint32_t)seen + n)")),
    _fault("Condition", "the word is read after the count", "cond-late",
        (COND, ("    uint64_t seen = get(word);\n    for (;;) {\n"
         "        uint64_t current = get(&slot->current);\n"),
         "    for (;;) {\n        uint64_t current = get(&slot->current), seen = get(word);\n")),
    _fault("Condition", "members may leave while their group becomes the current one",
        "cond-timed",
        (COND, "swap(&slot->joining, joining, joining | CLOSED);",
         ("swap(&slot->current, current, joining),\n"
         "            swap(&slot->joining, joining, of_group(group_of(joining) + 1, 0));"))),
    _fault("Condition", "whoever leaves does not look whether it was notified", "cond-timed",
        (COND, "if (take_notification(slot, ticket, &low) == 0) return 1;", "low = 0;")),
    _fault("Condition", "whoever leaves is taken off by a store", "cond-timed",
        (COND, "            if (swap(&slot->current, current, current - 1)) return 0;",
         "            atomic_store(&slot->current, current - 1);\n            return 0;")),
    _fault("Condition", "whoever leaves stays counted", "cond-timed",
        (COND, "            if (swap(&slot->joining, joining, joining - 1)) return 0;",
         "            return 0;")),
    _fault("Condition", "a group that has run out does not let its members go", "cond-kill-one",
        (COND, "        if (altsem_low(current) == 0) return 0;\n", "")),
    _fault("Condition", "a notifier wakes one fewer", "cond-2-1",
        (COND, "altsem_wake(segment, slot, which_of(group_of(current)), now);",
         "altsem_wake(segment, slot, which_of(group_of(current)), now - 1);")),
    _fault("Condition", "a notifier wakes those of the other word", "cond-2-1",
        (COND, "altsem_wake(segment, slot, which_of(group_of(current)), now);",
         "altsem_wake(segment, slot, which_of(group_of(current) + 1), now);")),
    _fault("Condition", "a notification is counted twice", "cond-2-11",
        (COND, "done += now;", "done += now + 1;")),
    _fault("Condition", "newcomers join the group that is being notified", "cond-newcomer",
        (COND, ("    } while (!swap(&slot->joining, joining, joining + 1));\n"
         "    *ticket = group_of(joining);"),
         ("        uint64_t current = get(&slot->current);\n"
         "        if (altsem_low(current) && swap(&slot->current, current, current + 1)) {\n"
         "            *ticket = group_of(current);\n            return 0;\n        }\n"
         "    } while (!swap(&slot->joining, joining, joining + 1));\n"
         "    *ticket = group_of(joining);"))),
    _fault("Condition", "a helper that comes late opens a group again", "cond-timed-late",
        (COND, "        swap(&slot->joining, joining, of_group(group + 1, 0));",
         "        atomic_store(&slot->joining, of_group(group + 1, 0));")),
]  # fmt: skip

BARRIERS = [
    _fault("Barrier", "the end of a generation wakes one", "barrier-3x2",
        (BARRIER, "altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);",
         "altsem_wake(segment, slot, ALTSEM_WORD, 1);")),
    _fault("Barrier", "the end of a generation wakes before its step", "barrier-2x3",
        (BARRIER, "    uint64_t word = (uint64_t)next << GENERATION_AT",
         ("    altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);\n"
         "    uint64_t word = (uint64_t)next << GENERATION_AT")),
        (BARRIER, "    altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);\n    return 1;",
         "    return 1;")),
    _fault("Barrier", "a waiter sleeps on what it has not looked at", "barrier-2x3",
        (BARRIER, ("            result = altsem_sleep(segment, slot, ALTSEM_WORD,"
         " altsem_low(seen), deadline);\n        seen = get(slot);\n    }"),
         ("            result = altsem_sleep(segment, slot, ALTSEM_WORD,"
         " altsem_low(get(slot)), deadline);\n        seen = get(slot);\n    }"))),
    _fault("Barrier", "the generation has no outcome of its own", "barrier-timed",
        (BARRIER, "(*seen << 2 | how) & outcomes", "(*seen << 2) & outcomes")),
    _fault("Barrier", "all arrivals get the same index", "barrier-2x3",
        (BARRIER, "*index = count_of(seen);\n        *generation",
         "*index = 0;\n        *generation")),
    _fault("Barrier", "two arrive in one step", "barrier-3x2",
        (BARRIER, ("            if (altsem_step(&slot->word, &seen,"
         " seen + (UINT64_C(1) << COUNT_AT),"
         "\n                            memory_order_acq_rel))\n                return 0;"),
         ("            atomic_store(&slot->word, seen + (UINT64_C(1) << COUNT_AT));\n"
         "            return 0;"))),
    _fault("Barrier", "a timeout breaks a generation in which all have arrived",
        "barrier-timed-action",
        (BARRIER, ("            deadline = ALTSEM_FOREVER;\n"
         "            if (result == -ETIMEDOUT) result = 0;\n"),
         "            if (result == -ETIMEDOUT) return result;\n")),
    _fault("Barrier", "the death of the party that acts is not looked at", "barrier-kill-action",
        (BARRIER, ("            if (result == -EINTR && ended_by_death(segment, slot, seen))"
         " result = 0;\n"), "")),
    _fault("Barrier", "whoever acts is taken for dead", "barrier-signals-action",
        (BARRIER, "    return verdict.thread == ALTSEM_DEAD || is_another(slot, word, &verdict);",
         "    return verdict.thread != ALTSEM_DEAD || is_another(slot, word, &verdict);")),
    _fault("Barrier", "one that is interrupted leaves a gap", "barrier-leaves-3",
        (BARRIER, "        if (count_of(seen) > 1) {\n", "        if (count_of(seen) > 9) {\n")),
    _fault("Barrier", "trip() ends whatever generation there is", "barrier-reset",
        (BARRIER, "if (generation_of(seen) != generation || !is_full(seen)) return -EPIPE;", "")),
    _fault("Barrier", "an abort wakes nobody", "barrier-abort",
        (BARRIER, "while (!is_broken(seen) && !end(segment, slot, &seen, BROKEN, 1)) continue;",
         ("while (!is_broken(seen) && !altsem_step(&slot->word, &seen,\n"
         "           CLOSED | ((uint64_t)(generation_of(seen) + 1) << GENERATION_AT) | BROKEN,\n"
         "           memory_order_acq_rel)) continue;"))),
    _fault("Barrier", "arriving does not release", "barrier-3x2",
        (BARRIER, ("seen + (UINT64_C(1) << COUNT_AT),\n"
         "                            memory_order_acq_rel"),
         "seen + (UINT64_C(1) << COUNT_AT),\n                            memory_order_acquire")),
    _fault("Barrier", "the last arrival does not acquire", "barrier-3x2",
        (BARRIER, "memory_order_acq_rel, memory_order_acquire))\n        return 0;",
         "memory_order_release, memory_order_acquire))\n        return 0;")),
    _fault("Barrier", "a waiter does not acquire", "barrier-3x2",
        (BARRIER, "return atomic_load_explicit(&slot->word, memory_order_acquire);",
         "return atomic_load_explicit(&slot->word, memory_order_relaxed);")),
]  # fmt: skip

ROBUSTS = [
    _fault("robust Lock", "judged before SUSPECT is set, and nothing is looked at again",
        "robust-token",
        (ROBUST, """ /* (a): also where SUSPECT stands already, to see what was done before */
""", """ /* (a) */
"""),
        (ROBUST, "    uint64_t id = altsem_load(&slot->holder);\n    seen |= ALTSEM_SUSPECT;\n",
         "    seen |= ALTSEM_SUSPECT;\n"),
        (ROBUST, "    if (token == 0 || token == ALTSEM_NOBODY) return -EAGAIN;\n",
         ("    if (token == 0 || token == ALTSEM_NOBODY) return -EAGAIN;\n"
         "    uint64_t id = altsem_load(&slot->holder);\n"
         "    if (!is_dead(segment, slot, token, id, &pid)) return -EAGAIN;\n")),
        (ROBUST, "    if (id != 0 && !clear_holder(slot, id)) return -EAGAIN;       /* (c) */\n",
         "    clear_holder(slot, altsem_load(&slot->holder));\n"),
        (ROBUST, ("if (get_deaths(slot) != deaths || altsem_load(&slot->holder) != 0)"
         " return -EAGAIN;"),
         "(void)deaths;"),
        (ROBUST, "    if (!is_dead(segment, slot, token, id, &pid)) return -EAGAIN; /* (b) */\n",
         "")),
    _fault("robust Lock", "what is judged may be the name of the next owner", "rrobust-3",
        (ROBUST, ("    do { /* (a) again: else `id` may name the next owner,"
         " whose thread does not have"
         " this token */\n"
         "        if (altsem_owner(seen) != token || !(seen & ALTSEM_SUSPECT)) return -EAGAIN;\n"
         "    } while (!altsem_step(&slot->word, &seen, seen, memory_order_acq_rel));\n"), "")),
    _fault("robust Lock", "a release keeps SUSPECT", "robust-alive",
        (FAST, "waiters ? waiters | ALTSEM_WOKEN | (seen & ALTSEM_HUNGRY) : 0",
         "waiters ? waiters | ALTSEM_WOKEN | (seen & (ALTSEM_HUNGRY | ALTSEM_SUSPECT)) : 0")),
    _fault("robust Lock", "a living owner is taken over", "robust-alive",
        (ROBUST, "    if (!is_dead(segment, slot, token, id, &pid)) return -EAGAIN; /* (b) */\n",
         "    is_dead(segment, slot, token, id, &pid);\n")),
    _fault("robust Lock", "the name is cleared whosever it is", "robust-3",
        (ROBUST, "if (id != 0 && !clear_holder(slot, id)) return -EAGAIN; ",
         "atomic_store(&slot->holder, 0); ")),
    _fault("robust Lock", "the hash is not compared", "robust-number",
        (JUDGE, "return hash != 0 && hash != altsem_hash_from(process, thread->start);",
         "return (void)hash, (void)process, (void)thread, 0;")),
    _fault("robust Lock", "a zombie is taken for alive", "robust-zombies",
        (JUDGE, "return seen->state == 'Z' || seen->state == 'X';", "return (void)seen, 0;")),
    _fault("robust Lock", "of a lock too the thread is judged", "robust-thread",
        (ROBUST, "int by_thread = id == 0 || altsem_slot_type(slot) == ALTSEM_RLOCK;",
         "int by_thread = 1;")),
    _fault("robust Lock", "of a recursive lock too the process is judged", "rrobust-thread",
        (ROBUST, "int by_thread = id == 0 || altsem_slot_type(slot) == ALTSEM_RLOCK;",
         "int by_thread = id == 0;")),
    _fault("robust Lock", "the depth of the dead is inherited", "rrobust-2",
        (ROBUST, ("seen, next, memory_order_acq_rel));\n"
         "    atomic_store_explicit(&slot->again, 0, memory_order_relaxed);"),
         "seen, next, memory_order_acq_rel));")),
    _fault("robust Lock", "a waiter does not look when its slice ends", "robust-2",
        (LOCK, "        if (result && altsem_lock_is_robust(slot) &&", "        if (0 &&")),
    _fault("robust Lock", "one that does not wait does not look", "robust-try",
        (LOCK, "return altsem_lock_is_robust(slot) && altsem_lock_inherit(segment, slot) == 0 ? 0",
         "return altsem_lock_is_robust(slot) && segment == NULL ? 0")),
    _fault("robust Lock", "a taker stays counted as waiting", "robust-2",
        (ROBUST, "~(uint64_t)(ALTSEM_WOKEN | ALTSEM_HUNGRY)) - ALTSEM_WAITER;",
         "~(uint64_t)(ALTSEM_WOKEN | ALTSEM_HUNGRY));")),
    _fault("robust Lock", "anybody may release it", "robust-stranger",
        (ROBUST, ("        if (altsem_id_process(id) != altsem_id_process(altsem_self()->id))"
         " return -EPERM;\n"), "")),
    _fault("robust Lock", "a death is not written down", "robust-2",
        (ROBUST, ("        atomic_store_explicit(&slot->died, (uint64_t)pid << PID_AT |"
         " tid << TID_AT | origin_of(id),\n                              memory_order_relaxed);\n"),
         "        (void)tid;\n")),
    _fault("robust Lock", "SUSPECT stays when it is taken over", "robust-2",
        (ROBUST, "next = (seen & ~(uint64_t)(token | ALTSEM_SUSPECT)) | me->token;",
         "next = (seen & ~(uint64_t)token) | me->token;")),
]  # fmt: skip

ALL = [*LOCKS, *SEMS, *EVENTS, *CONDS, *BARRIERS, *ROBUSTS]
PRIMITIVES = tuple(dict.fromkeys(fault.primitive for fault in ALL))
