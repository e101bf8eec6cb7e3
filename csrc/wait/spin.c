/* spin.c - waiting without sleeping, while that is likely to pay.
 *
 * A sleep and a wake cost two system calls and a trip of the sleeper to a CPU: 3 µs where the waker
 * runs on the same CPU, and 30 to 80 µs where it does not and the sleeper's CPU has gone idle (both
 * measured: docs/benchmarks.md).  Who gets what it waits for sooner than that does better to watch
 * the word.  There are two ways to watch, because they pay in different places.
 *
 * Short: a microsecond.  Pays where a lock is held for moments by somebody who runs on another CPU.
 * It is so cheap that only experience stops it: each success lessens the doubt, each failure adds
 * to it, and in full doubt one wait in 64 tries again.  It is done even while others sleep on the
 * word: else one sleeper would send all the others to sleep after it, every release would have
 * somebody to wake, and that state would never end (measured: twice the time, with 8 processes).
 *
 * Who wants a lock stands back for half of that before the first look.  Each look takes the word away
 * from the CPU of who has it, and each time the lock goes over to the other CPU costs as much as
 * several uses of it: threads without a GIL that want one lock all the time get twice as much done.
 *
 * Long: about as long as the dearest sleep and wake, for it pays only if it outlasts one.  Two that
 * hand something to and fro and sleep in between need such a wake each time; once both watch, none.
 * After the first moments it yields the CPU at each turn: the one who is waited for may be ready to
 * run on this very CPU, and two that are both ready get two CPUs from the scheduler.  Never done
 * while others sleep, for they come first; nor by one who was woken: no release wakes another before
 * that one has decided, so it must not give its CPU away.  Each failure closes this way for 32 times
 * as long as it lasted, and for twice that after the next; so it costs 3 % at the very most, and less
 * than 1 % where it is of no use.  A yield that comes back late let a stranger run for its slice: then
 * none is made for 8 times as long, and twice that whenever it happens again, up to 512 times.
 *
 * With one usable CPU nobody watches, for who is waited for cannot be running.  Instead the CPU is
 * yielded, twice: a round trip of two processes then takes two switches, and no sleep and no wake.
 * Doubt and late yields stop this too.
 *
 * What is learnt is kept for each word, lest a lock that is quickly free and a queue that is long
 * empty teach each other wrong; by a hash of the address, and by relaxed stores: lessons that
 * collide or overwrite each other are only worse estimates.
 */
#define _GNU_SOURCE
#include "wait/spin.h"

#include <sched.h>

#include "process/clock.h"
#include "process/fork.h"
#include "wait/cpus.h"

#define SHORT 1000       /* ns */
#define BACK 500         /* ns */
#define LONG 100000      /* ns: about the dearest sleep and wake */
#define YIELD_AFTER 2000 /* ns */
#define LATE 50000       /* ns: what a yield takes if somebody else had the CPU for a slice */
#define LATE_FIRST 8     /* times what it took: for so long no yield, after a first late one */
#define LATE_LAST 512    /* the same, after many in a row */
#define QUIET 4          /* times the last ban: a late yield after so long is a first one again */
#define FIRST_CLOSURE (32 * LONG)
#define LAST_CLOSURE 20000000 /* ns */
#define DOUBT 64
#define TRUST 4   /* how much doubt a success takes away */
#define SELDOM 64 /* in doubt, one wait of so many */
#define MANY 4096
#define LOOKS 16 /* between two looks at the clock */

enum { LESSONS = 64 };
static struct lesson {
    _Atomic int32_t doubt;
    _Atomic int32_t closure; /* ns: how long the last failure closed the long way */
    _Atomic int64_t closed_until;
} lessons[LESSONS];
static _Atomic int64_t no_yield_until, banned_for;
static _Atomic uint32_t doubtful; /* waits that were in doubt */
static _Atomic uint32_t alone;    /* waits with one CPU */

#define get(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define put(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

static inline void rest(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most */
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* The child of a fork learns anew. */
static void forget(void) {
    altsem_cpus_forget();
    put(no_yield_until, 0);
    put(banned_for, 0);
    for (int i = 0; i < LESSONS; i++) {
        put(lessons[i].doubt, 0);
        put(lessons[i].closure, 0);
        put(lessons[i].closed_until, 0);
    }
}

static struct lesson *lesson_of(const _Atomic uint64_t *word) {
    uint32_t slot = (uint32_t)((uintptr_t)word / ALTSEM_SLOT_BYTES);
    return &lessons[slot * UINT32_C(2654435769) >> 26];
}
static_assert(LESSONS == 1 << (32 - 26), "the hash fills the table");

static int is_there(const altsem_watch *watch, uint64_t seen) {
    if (watch->hope == ALTSEM_HOPE_FREE) return altsem_owner(seen) == 0;
    if (watch->hope == ALTSEM_HOPE_TOKEN) return altsem_low(seen) != 0;
    return altsem_low(seen) != watch->low;
}

/* Whether others sleep on the word and come first.  What is hoped for in a CHANGE is for all. */
static int others_first(const altsem_watch *watch, uint64_t seen) {
    return watch->hope != ALTSEM_HOPE_CHANGE && altsem_high(seen) != 0;
}

static void succeeded(struct lesson *lesson, int shortly) {
    int32_t doubt = get(lesson->doubt);
    if (!shortly) put(lesson->closure, get(lesson->closure) / 2);
    else if (doubt) put(lesson->doubt, doubt > TRUST ? doubt - TRUST : 0);
}

static void failed_shortly(struct lesson *lesson) {
    int32_t doubt = get(lesson->doubt);
    if (doubt >= DOUBT) return;
    put(lesson->doubt, doubt + 1);
    if (doubt + 1 == DOUBT) altsem_cpus_forget(); /* the affinity may have changed */
}

static void failed_long(struct lesson *lesson, int64_t now) {
    int32_t closure = get(lesson->closure) * 2;
    if (closure < FIRST_CLOSURE) closure = FIRST_CLOSURE;
    if (closure > LAST_CLOSURE) closure = LAST_CLOSURE;
    put(lesson->closure, closure);
    put(lesson->closed_until, now + closure);
}

/* A late yield may have been only the partner at work; late ones in a row are strangers. */
static void came_late(int64_t now, int64_t took) {
    int64_t ban = get(banned_for), quiet = now - get(no_yield_until);
    ban = quiet > QUIET * ban ? LATE_FIRST * took : 2 * ban;
    if (ban > LATE_LAST * took) ban = LATE_LAST * took;
    put(banned_for, ban);
    put(no_yield_until, now + ban);
}

/* Lets others run; the time afterwards. */
static int64_t yield(int64_t now) {
    if (now < get(no_yield_until)) return now;
    sched_yield();
    int64_t after = altsem_clock();
    if (after - now > LATE) came_late(after, after - now);
    return after;
}

/* Lets whoever has a lock use it a few times more, undisturbed. */
static int64_t stand_back(int64_t start, int64_t limit) {
    int64_t now = start;
    while (now - start < BACK && now - start < limit) {
        rest();
        now = altsem_clock();
    }
    return now;
}

static int run(const altsem_watch *watch, struct lesson *lesson, int64_t start, int64_t limit) {
    int shortly = 1;
    int64_t now = watch->hope == ALTSEM_HOPE_FREE ? stand_back(start, limit) : start;
    for (;;) {
        for (int i = 0; i < LOOKS; i++) {
            uint64_t seen = altsem_load(watch->word);
            if (is_there(watch, seen)) {
                succeeded(lesson, shortly);
                return 1;
            }
            if (!shortly && others_first(watch, seen)) return 0; /* teaches nothing */
            rest();
        }
        now = altsem_clock();
        if (shortly && now - start >= SHORT) {
            failed_shortly(lesson);
            shortly = 0;
        }
        if (now - start >= limit) break;
        if (now - start >= YIELD_AFTER) now = yield(now);
    }
    if (limit == LONG) failed_long(lesson, altsem_clock());
    return 0;
}

/* Whether a short way is worth trying. */
static int trusted(struct lesson *lesson) {
    return get(lesson->doubt) < DOUBT ||
           atomic_fetch_add_explicit(&doubtful, 1, memory_order_relaxed) % SELDOM == 0;
}

static int give_way(const altsem_watch *watch, struct lesson *lesson) {
    if (atomic_fetch_add_explicit(&alone, 1, memory_order_relaxed) % MANY == MANY - 1)
        altsem_cpus_forget();
    if (others_first(watch, altsem_load(watch->word))) return 0;
    int64_t now = altsem_clock();
    if (now < get(no_yield_until) || !trusted(lesson)) return 0;
    for (int i = 0; i < 2; i++) {
        now = yield(now);
        if (is_there(watch, altsem_load(watch->word))) {
            succeeded(lesson, 1);
            return 1;
        }
    }
    failed_shortly(lesson);
    return 0;
}

int altsem_spin(const altsem_watch *watch) {
    struct lesson *lesson = lesson_of(watch->word);
    if (altsem_cpus() < 2) return give_way(watch, lesson);
    int64_t now = altsem_clock();
    int closed = watch->woken || others_first(watch, altsem_load(watch->word)) ||
                 now < get(lesson->closed_until);
    if (closed && !trusted(lesson)) return 0;
    int64_t limit = closed ? SHORT : LONG;
    if (watch->deadline - now < limit) limit = watch->deadline - now;
    if (limit <= 0) return 0;
    return run(watch, lesson, now, limit);
}

static altsem_fork_hooks at_fork = {.in_child = forget};
__attribute__((constructor)) static void register_hooks(void) { altsem_at_fork(&at_fork); }
