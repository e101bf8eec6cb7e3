/* sem.c - the counting semaphore.  State table and legality notes: word.h. */
#include "primitives/fast.h"
#include "wait/spin.h"

int altsem_sem_try(altsem_slot *slot) { return altsem_fast_sem_try(slot); }

int altsem_sem_wait(altsem_segment *segment, altsem_slot *slot, int64_t deadline) {
    /* Try first, even if the deadline has passed. */
    if (altsem_fast_sem_try(slot) == 0) return 0;
    if (deadline == ALTSEM_NOW) return -ETIMEDOUT;
    altsem_spinner spinner = {&slot->word, ALTSEM_UNTIL_TOKEN, 0, 0, deadline};
    while (altsem_spin(&spinner))
        if (altsem_fast_sem_try(slot) == 0) return 0;
    uint64_t seen = altsem_announce(&slot->word);
    int result = 0;
    for (;;) {
        while (altsem_low(seen) != 0) /* take the token and leave the waiters in one step */
            if (altsem_step(&slot->word, &seen, seen - 1 - ALTSEM_WAITER, memory_order_acquire))
                return 0;
        /* A failed sleep is answered only after one more look above: a token that came with the
         * last wake is not left lying. */
        if (result != 0) break;
        if (spinner.woken && altsem_spin(&spinner)) {
            seen = altsem_load(&slot->word);
            continue;
        }
        result = altsem_sleep(segment, slot, ALTSEM_WORD, 0, deadline);
        spinner.woken = 1;
        seen = altsem_load(&slot->word);
    }
    altsem_withdraw(&slot->word);
    return result;
}

int altsem_sem_post(altsem_segment *segment, altsem_slot *slot, int64_t bound) {
    /* Whatever the caller asks for: a greater value would run over into the waiters. */
    return altsem_fast_post(segment, slot, bound < ALTSEM_VALUE_MAX ? bound : ALTSEM_VALUE_MAX);
}

int32_t altsem_sem_value(const altsem_slot *slot) {
    return (int32_t)altsem_low(altsem_load(&slot->word));
}
