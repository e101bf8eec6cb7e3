/* event.c - a flag to wait for, in one word.
 *
 * The low half counts how often the event was set, so a waiter that sleeps through set-and-clear
 * still sees that it was set.  set() is one step and a wake, holds no lock and never waits: it may
 * run in a signal handler that interrupted any other function here.
 *
 * Only the step unset -> set wakes.  Legal: whoever waits announced itself before it looked, so the
 * setter's step saw it; a setter killed between the step and the wake delays waiters by a slice.
 */
#include <errno.h>

#include "wait/spin.h"
#include "wait/wait.h"

int altsem_event_is_set(const altsem_slot *slot) {
    return (int)(atomic_load_explicit(&slot->word, memory_order_acquire) & 1);
}

int altsem_event_set(altsem_segment *segment, altsem_slot *slot) {
    uint64_t seen = altsem_load(&slot->word), next;
    do {
        if (seen & 1) {
            /* What was written before this call must be seen by whoever finds the flag set: a step
             * that changes nothing still publishes. */
            next = seen;
        } else {
            next = (seen & ~(uint64_t)UINT32_MAX) | (uint32_t)(altsem_low(seen) + 3);
        }
    } while (!altsem_step(&slot->word, &seen, next, memory_order_release));
    if (seen != next && altsem_high(seen) != 0) altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);
    return 0;
}

void altsem_event_clear(altsem_slot *slot) {
    atomic_fetch_and_explicit(&slot->word, ~UINT64_C(1), memory_order_acquire);
}

uint32_t altsem_event_now(const altsem_slot *slot) {
    return altsem_low(atomic_load_explicit(&slot->word, memory_order_acquire));
}

int altsem_event_wait(altsem_segment *segment, altsem_slot *slot, uint32_t since,
                      int64_t deadline) {
    uint32_t now = altsem_event_now(slot);
    if ((now & 1) || now != since) return 0;
    if (deadline == ALTSEM_NOW) return -ETIMEDOUT;
    altsem_spinner spinner = {&slot->word, ALTSEM_UNTIL_CHANGE, now, 0, deadline};
    if (altsem_spin(&spinner)) { /* only set() changes the low half of an unset event */
        /* The spin has only looked.  All steps of the word are read-modify-writes, so this look acquires
         * what was published by the step that the spin has seen. */
        (void)altsem_event_now(slot);
        return 0;
    }
    altsem_announce(&slot->word);
    int result = 0;
    for (;;) {
        now = altsem_event_now(slot);
        if ((now & 1) || now != since) {
            result = 0;
            break;
        }
        if (result != 0) break;
        result = altsem_sleep(segment, slot, ALTSEM_WORD, now, deadline);
    }
    altsem_withdraw(&slot->word);
    return result;
}
