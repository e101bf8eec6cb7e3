/* spin.c - adaptive spinning: waiting without sleeping, while that is likely to pay.
 *
 * A sleep and a wake cost two system calls and the time until the sleeper runs again: 3 µs where the
 * waker runs on the same CPU, and 30 to 80 µs where it does not and the sleeper's CPU has gone idle
 * (both measured: docs/benchmarks/details.md).  A waiter that gets what it waits for sooner than that
 * does better to spin.  There are two kinds of spin, because they pay in different places.
 *
 * Short spin: a microsecond.  Pays where a lock is held for moments by a thread on another CPU.  It is
 * so cheap that only a history of failures stops it: each success lowers the failure score of the
 * word, each failure raises it, and at the top of the score only one wait in 64 spins.  A short spin
 * is made even while others sleep on the word.  Otherwise one sleeper would send all later waiters to
 * sleep, every release would have a sleeper to wake, and that state would never end (measured: twice
 * the time, with 8 processes).
 *
 * A waiter for a lock backs off for half of that time before its first load.  Each load takes the
 * cache line away from the CPU of the owner, and each hand-off of the lock to another CPU costs as
 * much as several uses of it.  With the back-off, threads without a GIL that contend for one lock all
 * the time get twice as much done.
 *
 * Long spin: about as long as the dearest sleep and wake, for it pays only if it outlasts one.  Two
 * processes that hand something to and fro, and sleep in between, need such a wake each time; once
 * both spin, they need none.  After the first moments a long spin yields the CPU at each turn: the
 * one waited for may be ready to run on this very CPU, and two that are both ready get two CPUs from
 * the scheduler.  No long spin is made
 *   - while others sleep on the word: they come first;
 *   - by a waiter that was woken: no release wakes another before it has decided, so it must not give
 *     its CPU away.
 * Each failed long spin starts a cool-down of 32 times its length for that word, and the next failure
 * one of twice that.  So long spins cost 3 % at the very most, and less than 1 % where they are of no
 * use.  A yield that returns late has let an unrelated process run for its time slice.  Then nobody
 * in this process yields for 8 times as long as it took, and for twice that whenever it happens
 * again, up to 512 times.
 * Two that were made one after the other are often on one CPU to begin with.  There only a yield lets
 * the one waited for run.  So after a success that came right after a yield, the next waits for that
 * word yield first, and spin then; but one in YIELDS_FIRST spins first, to find out whether the other
 * has got a CPU of its own.
 *
 * With one usable CPU nobody spins, for the one waited for cannot be running.  Instead the CPU is
 * yielded, twice: a round trip of two processes then takes two context switches, and no sleep and no
 * wake.  The failure score and the cool-down after late yields stop this too.
 *
 * The history is kept for each word; else a lock that is quickly free and a queue that is long empty
 * would spoil each other's estimates.  It is found by a hash of the word's address and written by
 * relaxed stores: histories that collide or overwrite each other are only worse estimates.
 */
#define _GNU_SOURCE
#include "wait/spin.h"

#include <sched.h>

#include "process/clock.h"
#include "process/fork.h"
#include "wait/cpus.h"
#include "wait/testing.h"

#define SHORT_SPIN 1000  /* ns */
#define BACK_OFF 500     /* ns */
#define LONG_SPIN 100000 /* ns: about the dearest sleep and wake */
#define YIELD_AFTER 2000 /* ns of a long spin */
#define LATE_YIELD 50000 /* ns: what a yield takes if another process had the CPU for a slice */
#define FIRST_YIELD_COOL_DOWN 8  /* times what the late yield took; after a first one */
#define LAST_YIELD_COOL_DOWN 512 /* the same, after many in a row */
#define IN_A_ROW                                                                                   \
    4 /* cool-downs: a late yield more than so many after the last is a first one again */
#define FIRST_COOL_DOWN (32 * LONG_SPIN)
#define LAST_COOL_DOWN 20000000 /* ns */
#define MOST_FAILURES 64        /* the top of the failure score */
#define SUCCESS_LOWERS_BY 4
#define RETRY_ONE_IN 64            /* waits, at the top of the score */
#define RECOUNT_CPUS_ONE_IN 4096   /* waits with one CPU */
#define YIELDS_FIRST 32            /* waits */
#define LOADS_PER_CLOCK_READING 16 /* loads of the word */

enum { HISTORIES = 64 };
static struct history {
    _Atomic int32_t failures;  /* the failure score of short spins */
    _Atomic int32_t cool_down; /* ns: of the last failed long spin */
    _Atomic int64_t cool_down_until;
    _Atomic int32_t yields_first; /* so many waits more */
} histories[HISTORIES];
static _Atomic int64_t no_yield_until, yield_cool_down;
static _Atomic uint32_t unlikely_waits; /* at the top of the failure score */
static _Atomic uint32_t one_cpu_waits;

#define get(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define put(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most */
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static struct history *history_of(const _Atomic uint64_t *word) {
    uint32_t slot = (uint32_t)((uintptr_t)word / ALTSEM_SLOT_BYTES);
    return &histories[slot * UINT32_C(2654435769) >> 26];
}
static_assert(HISTORIES == 1 << (32 - 26), "the hash fills the table");

static int is_there(const altsem_spinner *spinner, uint64_t seen) {
    if (spinner->until == ALTSEM_UNTIL_FREE) return altsem_lock_takeable(seen, spinner->woken);
    if (spinner->until == ALTSEM_UNTIL_TOKEN) return altsem_sem_takeable(seen, spinner->woken);
    return altsem_low(seen) != spinner->low;
}

/* Whether others sleep on the word and come first.  A change is for all of its waiters. */
static int sleepers_first(const altsem_spinner *spinner, uint64_t seen) {
    return spinner->until != ALTSEM_UNTIL_CHANGE && altsem_high(seen) != 0;
}

static void succeeded(struct history *history, int shortly) {
    int32_t failures = get(history->failures);
    if (!shortly) put(history->cool_down, get(history->cool_down) / 2);
    else if (failures)
        put(history->failures, failures > SUCCESS_LOWERS_BY ? failures - SUCCESS_LOWERS_BY : 0);
}

static void short_spin_failed(struct history *history) {
    int32_t failures = get(history->failures);
    if (failures >= MOST_FAILURES) return;
    put(history->failures, failures + 1);
    if (failures + 1 == MOST_FAILURES) altsem_cpus_forget(); /* the affinity may have changed */
}

static void long_spin_failed(struct history *history, int64_t now) {
    int32_t cool_down = get(history->cool_down) * 2;
    if (cool_down < FIRST_COOL_DOWN) cool_down = FIRST_COOL_DOWN;
    if (cool_down > LAST_COOL_DOWN) cool_down = LAST_COOL_DOWN;
    put(history->cool_down, cool_down);
    put(history->cool_down_until, now + cool_down);
}

/* One late yield may have been only the partner at work; several in a row are other processes. */
static void yield_was_late(int64_t now, int64_t took) {
    int64_t cool_down = get(yield_cool_down), since = now - get(no_yield_until);
    cool_down = since > IN_A_ROW * cool_down ? FIRST_YIELD_COOL_DOWN * took : 2 * cool_down;
    if (cool_down > LAST_YIELD_COOL_DOWN * took) cool_down = LAST_YIELD_COOL_DOWN * took;
    put(yield_cool_down, cool_down);
    put(no_yield_until, now + cool_down);
}

/* Lets others run, unless yields cool down; the time afterwards. */
static int64_t yield(int64_t now) {
    if (now < get(no_yield_until)) return now;
    sched_yield();
    int64_t after = altsem_clock();
    if (after - now > LATE_YIELD) yield_was_late(after, after - now);
    return after;
}

/* Lets the owner of a lock use it a few times more, undisturbed. */
static int64_t back_off(int64_t start, int64_t limit) {
    int64_t now = start;
    while (now - start < BACK_OFF && now - start < limit) {
        cpu_relax();
        now = altsem_clock();
    }
    return now;
}

/* Whether a yield brings what the caller waits for, where that was so before. */
static int yield_first(const altsem_spinner *spinner, struct history *history, int64_t now) {
    int32_t left = get(history->yields_first);
    if (left == 0) return 0;
    put(history->yields_first, left - 1);
    if (left == 1 || yield(now) == now) return 0;
    if (is_there(spinner, altsem_load(spinner->word))) return 1;
    put(history->yields_first, 0);
    return 0;
}

static int spin(const altsem_spinner *spinner, struct history *history, int64_t start,
                int64_t limit) {
    int shortly = 1, yielded = 0;
    int64_t now = spinner->until == ALTSEM_UNTIL_FREE ? back_off(start, limit) : start;
    for (;;) {
        for (int i = 0; i < LOADS_PER_CLOCK_READING; i++) {
            uint64_t seen = altsem_load(spinner->word);
            if (is_there(spinner, seen)) {
                succeeded(history, shortly);
                if (yielded && i == 0) put(history->yields_first, YIELDS_FIRST);
                return 1;
            }
            if (!shortly && sleepers_first(spinner, seen))
                return 0; /* neither success nor failure */
            cpu_relax();
        }
        now = altsem_clock();
        if (shortly && now - start >= SHORT_SPIN) {
            short_spin_failed(history);
            shortly = 0;
        }
        if (now - start >= limit) break;
        if (now - start >= YIELD_AFTER) {
            int64_t before = now;
            now = yield(before);
            yielded = now > before;
        }
    }
    if (limit == LONG_SPIN) long_spin_failed(history, altsem_clock());
    return 0;
}

/* Whether a short spin is likely enough to succeed; it is tried now and then also if not. */
static int likely(struct history *history) {
    return get(history->failures) < MOST_FAILURES ||
           atomic_fetch_add_explicit(&unlikely_waits, 1, memory_order_relaxed) % RETRY_ONE_IN == 0;
}

static int yield_twice(const altsem_spinner *spinner, struct history *history) {
    uint32_t waits = atomic_fetch_add_explicit(&one_cpu_waits, 1, memory_order_relaxed);
    if (waits % RECOUNT_CPUS_ONE_IN == RECOUNT_CPUS_ONE_IN - 1) altsem_cpus_forget();
    if (sleepers_first(spinner, altsem_load(spinner->word))) return 0;
    int64_t now = altsem_clock();
    if (spinner->deadline <= now || now < get(no_yield_until) || !likely(history)) return 0;
    for (int i = 0; i < 2; i++) {
        now = yield(now);
        if (is_there(spinner, altsem_load(spinner->word))) {
            succeeded(history, 1);
            return 1;
        }
    }
    short_spin_failed(history);
    return 0;
}

int altsem_spin(const altsem_spinner *spinner) {
    if (!altsem_may_spin()) return 0;
    struct history *history = history_of(spinner->word);
    if (altsem_cpus() < 2) return yield_twice(spinner, history);
    int64_t now = altsem_clock();
    int only_short = spinner->woken || sleepers_first(spinner, altsem_load(spinner->word)) ||
                     now < get(history->cool_down_until);
    if (only_short && !likely(history)) return 0;
    int64_t limit = only_short ? SHORT_SPIN : LONG_SPIN;
    if (spinner->deadline <= now) return 0; /* first: the difference to ALTSEM_NOW is no number */
    if (spinner->deadline - now < limit) limit = spinner->deadline - now;
    if (!only_short && yield_first(spinner, history, now)) return 1;
    return spin(spinner, history, now, limit);
}

/* The child of a fork starts without a history. */
static void forget(void) {
    altsem_cpus_forget();
    put(no_yield_until, 0);
    put(yield_cool_down, 0);
    for (int i = 0; i < HISTORIES; i++) {
        put(histories[i].failures, 0);
        put(histories[i].cool_down, 0);
        put(histories[i].cool_down_until, 0);
        put(histories[i].yields_first, 0);
    }
}

static altsem_fork_hooks at_fork = {.in_child = forget};
__attribute__((constructor)) static void register_hooks(void) { altsem_at_fork(&at_fork); }
