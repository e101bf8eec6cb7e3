/* sem.c - the counting semaphore.  State table and legality notes: word.h. */
#include "primitives/fair.h"
#include "primitives/fast.h"
#include "wait/spin.h"

/* Takes a token, for one that is not announced.  Without waiters HUNGRY means nothing, and goes. */
static int take_unannounced(altsem_slot *slot, int also_reserved) {
    uint64_t seen = altsem_load(&slot->word);
    while (altsem_sem_takeable(seen, also_reserved)) {
        uint64_t next = altsem_high(seen) ? seen : seen & ~(uint64_t)ALTSEM_SEM_HUNGRY;
        if (altsem_step(&slot->word, &seen, next - 1, memory_order_acquire)) return 0;
    }
    return -EAGAIN;
}

/* One that does not wait takes what is there, whoever it is reserved for: natively "no" means that
 * the value is zero, and programs rely on that (multiprocessing's Condition does). */
int altsem_sem_try(altsem_slot *slot) { return take_unannounced(slot, 1); }

/* Takes a token, for a waiter: it leaves the waiters in the same step, and takes HUNGRY away if it
 * was for its like.  -EAGAIN: there is none, or it is reserved for others. */
static int take(altsem_slot *slot, uint64_t seen, const altsem_waiting *waiting) {
    while (altsem_sem_takeable(seen, waiting->slept)) {
        uint64_t next = seen - ALTSEM_WAITER - 1;
        if (waiting->slept) next &= ~(uint64_t)ALTSEM_SEM_HUNGRY;
        if (!altsem_step(&slot->word, &seen, next, memory_order_acquire)) continue;
        altsem_served(slot, waiting);
        return 0;
    }
    return -EAGAIN;
}

int altsem_sem_wait(altsem_segment *segment, altsem_slot *slot, int64_t deadline) {
    /* Try first, even if the deadline has passed. */
    if (take_unannounced(slot, deadline == ALTSEM_NOW) == 0) return 0;
    if (deadline == ALTSEM_NOW) return -ETIMEDOUT;
    altsem_spinner spinner = {&slot->word, ALTSEM_UNTIL_TOKEN, 0, 0, deadline};
    while (altsem_spin(&spinner))
        if (take_unannounced(slot, 0) == 0) return 0;
    uint64_t seen = altsem_announce(&slot->word);
    altsem_waiting waiting = altsem_waiting_now();
    int result = 0;
    for (;;) {
        if (take(slot, seen, &waiting) == 0) return 0;
        seen = altsem_load(&slot->word);
        if (altsem_sem_takeable(seen, waiting.slept)) continue;
        /* A failed sleep is answered only after the look above: a token that came with the last wake
         * is not left lying. */
        if (result != 0) break;
        if (altsem_sem_takeable(seen, 1)) {
            result = altsem_let_others(segment, slot, seen, deadline, &waiting);
            seen = altsem_load(&slot->word);
            continue;
        }
        if (spinner.woken && altsem_spin(&spinner)) {
            seen = altsem_load(&slot->word);
            continue;
        }
        if (!(seen & ALTSEM_SEM_HUNGRY) && altsem_starving(slot, &waiting)) {
            uint64_t next = seen | ALTSEM_SEM_HUNGRY;
            if (!altsem_step(&slot->word, &seen, next, memory_order_relaxed)) continue;
            altsem_served(slot, &waiting);
            seen = next;
        }
        result = altsem_sleep(segment, slot, ALTSEM_WORD, altsem_low(seen), deadline);
        waiting.slept = 1;
        spinner.woken = 1;
        seen = altsem_load(&slot->word);
    }
    altsem_withdraw(&slot->word); /* HUNGRY stays: it mostly comes back */
    return result;
}

int altsem_sem_post(altsem_segment *segment, altsem_slot *slot, int64_t bound) {
    /* Whatever the caller asks for: a greater value would run over into the waiters. */
    return altsem_fast_post(segment, slot, bound < ALTSEM_VALUE_MAX ? bound : ALTSEM_VALUE_MAX);
}

int32_t altsem_sem_value(const altsem_slot *slot) {
    return (int32_t)(altsem_low(altsem_load(&slot->word)) & ALTSEM_SEM_VALUE);
}
