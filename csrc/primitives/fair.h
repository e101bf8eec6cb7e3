/* fair.h - when a waiter starves, and what is reserved for those who do (word.h has the rules).
 *
 * A thread that runs can release a lock and take it again before a woken one has got a CPU.  That is
 * how much gets done, and how others wait for seconds.  So it may go on for a moment; then a waiter
 * that was woken for nothing reserves the lock.  The moment counts from when a waiter that had slept
 * last got the lock, whoever it was: a lock that is held for 20 µs is used some dozen times between
 * two hand-offs, one that is held for a millisecond is handed over nearly each time.
 */
#ifndef ALTSEM_PRIMITIVES_FAIR_H
#define ALTSEM_PRIMITIVES_FAIR_H

#include <errno.h>

#include "process/clock.h"
#include "wait/wait.h"

#define ALTSEM_MOMENT 200000   /* ns */
#define ALTSEM_UNSLEPT 2000000 /* ns: the sleep of a waiter that has not slept yet */

/* One that waits, and has announced itself. */
typedef struct altsem_waiting {
    int64_t since; /* when it did */
    int slept;
} altsem_waiting;

static inline altsem_waiting altsem_waiting_now(void) {
    return (altsem_waiting){altsem_clock(), 0};
}

/* Writes down that it got the lock, or is to get it. */
static inline void altsem_served(altsem_slot *slot, const altsem_waiting *waiting) {
    if (waiting->slept)
        atomic_store_explicit(&slot->word2, (uint64_t)altsem_clock(), memory_order_relaxed);
}

/* Nanoseconds since a waiter that had slept got it, or reserved it.  Clocks of other time namespaces, and what hostile bytes say, look like very long ago. */
static inline uint64_t altsem_unserved(const altsem_slot *slot, int64_t now) {
    return (uint64_t)now - altsem_load(&slot->word2);
}

static inline int altsem_starving(const altsem_slot *slot, const altsem_waiting *waiting) {
    if (!waiting->slept) return 0;
    int64_t now = altsem_clock();
    return now - waiting->since > ALTSEM_MOMENT && altsem_unserved(slot, now) > ALTSEM_MOMENT;
}

/* What is there is reserved, and this waiter has not slept yet: lets another one have it.  As
 * altsem_sleep(), but never longer than a moment, and 0 when that is over. */
static inline int altsem_let_others(altsem_segment *segment, altsem_slot *slot, uint64_t seen,
                                    int64_t deadline, altsem_waiting *waiting) {
    int64_t moment = altsem_clock() + ALTSEM_UNSLEPT;
    int64_t until = deadline < moment ? deadline : moment;
    int result = altsem_sleep(segment, slot, ALTSEM_WORD, altsem_low(seen), until);
    waiting->slept = 1;
    return result == -ETIMEDOUT && until < deadline ? 0 : result;
}

#endif
