/* fast.h - the steps taken when nobody is in the way, inline because they are most of what is done.
 *
 * The slow ways and the reasons are in lock.c and sem.c; the state table is in word.h.
 */
#ifndef ALTSEM_PRIMITIVES_FAST_H
#define ALTSEM_PRIMITIVES_FAST_H

#include <errno.h>

#include "process/owner.h"
#include "wait/wait.h"

/* Takes a lock that is free and not reserved.  -EAGAIN: it is not. */
static inline int altsem_fast_try(altsem_slot *slot) {
    const altsem_thread *me = altsem_self();
    uint64_t seen = altsem_load(&slot->word);
    while (altsem_lock_takeable(seen, 0))
        if (altsem_step(&slot->word, &seen, seen | me->token, memory_order_acquire)) {
            atomic_store_explicit(&slot->holder, me->id, memory_order_relaxed);
            return 0;
        }
    return -EAGAIN;
}

static inline int altsem_fast_is_mine(const altsem_slot *slot) {
    const altsem_thread *me = altsem_self();
    return altsem_owner(altsem_load(&slot->word)) == me->token &&
           altsem_load(&slot->holder) == me->id;
}

/* Frees a lock.  -EOVERFLOW: it is free. */
static inline int altsem_fast_release(altsem_segment *segment, altsem_slot *slot) {
    uint64_t seen = altsem_load(&slot->word), waiters;
    if (altsem_owner(seen) == 0) return -EOVERFLOW;
    atomic_store_explicit(&slot->holder, 0, memory_order_relaxed);
    do {
        if (altsem_owner(seen) == 0) return -EOVERFLOW; /* two released it at once: one was first */
        waiters = seen & ~(uint64_t)UINT32_MAX;
    } while (!altsem_step(&slot->word, &seen,
                          waiters ? waiters | ALTSEM_WOKEN | (seen & ALTSEM_HUNGRY) : 0,
                          memory_order_release));
    if (__builtin_expect(waiters != 0, 0) && !(seen & ALTSEM_WOKEN))
        altsem_wake(segment, slot, ALTSEM_WORD, 1);
    return 0;
}

/* Undoes one taking of a recursive lock.  -EPERM: the calling thread does not hold it. */
static inline int altsem_fast_rlock_release(altsem_segment *segment, altsem_slot *slot) {
    if (!altsem_fast_is_mine(slot)) return -EPERM;
    uint32_t again = atomic_load_explicit(&slot->again, memory_order_relaxed);
    if (__builtin_expect(again == 0, 1)) return altsem_fast_release(segment, slot);
    atomic_store_explicit(&slot->again, again - 1, memory_order_relaxed);
    return 0;
}

static inline int altsem_fast_sem_try(altsem_slot *slot) {
    uint64_t seen = altsem_load(&slot->word);
    while ((int32_t)altsem_low(seen) > 0) /* HUNGRY makes it negative: sem.c */
        if (altsem_step(&slot->word, &seen, seen - 1, memory_order_acquire)) return 0;
    return -EAGAIN;
}

static inline int altsem_fast_post(altsem_segment *segment, altsem_slot *slot, int64_t bound) {
    uint64_t seen = altsem_load(&slot->word);
    do {
        /* HUNGRY makes it look like more than any bound. */
        if (__builtin_expect((int64_t)altsem_low(seen) >= bound, 0)) {
            uint32_t value = altsem_low(seen) & ALTSEM_SEM_VALUE;
            if (!(seen & ALTSEM_SEM_HUNGRY) || (int64_t)value >= bound) return -EOVERFLOW;
        }
    } while (!altsem_step(&slot->word, &seen, seen + 1, memory_order_release));
    if (__builtin_expect(altsem_high(seen) != 0, 0)) altsem_wake(segment, slot, ALTSEM_WORD, 1);
    return 0;
}

#endif
