/* barrier.c - a rendezvous of a fixed number of parties, without a lock.
 *
 * Whoever dies in it blocks nobody: there is no lock to die with, and no draining phase that the
 * dead would have to leave.  (A party that dies asleep stays counted; the generation goes on to trip
 * when the others have come.)
 *
 *    63 62                32 31          16 15            0
 *   +--+--------------------+--------------+---------------+
 *   |B |      arrived       |  generation  |    history    |
 *   +--+--------------------+--------------+---------------+
 *   B: broken.  history: bit i tells how generation - 1 - i ended: 0 tripped, 1 broken or reset.
 *
 *   state                    step            next state
 *   -----------------------  --------------  ----------------------------------------------
 *   not broken, n < parties  arrive          n+1; the last one (n+1 == parties) runs the action
 *   n == parties             trip, the last  generation+1, history<<1,   n = 0, wake all
 *   not broken               abort           generation+1, history<<1|1, n = 0, B, wake all
 *   broken, or n > 0         reset           generation+1, history<<1|1, n = 0, no B, wake all
 *
 * Every end of a generation changes the low half, on which its waiters sleep.  A waiter that comes
 * back finds how its own generation ended even when up to 16 more have ended since; one that slept
 * through more than that takes it for tripped.
 */
#include <errno.h>

#include "wait/spin.h"
#include "wait/wait.h"

#define BROKEN (UINT64_C(1) << 63)
#define ONE (UINT64_C(1) << 32)

static uint32_t arrived(uint64_t word) { return altsem_high(word) & 0x7fffffff; }
static uint32_t generation_of(uint64_t word) { return altsem_low(word) >> 16; }

static uint64_t ended(uint64_t word, uint32_t how) {
    uint32_t generation = (generation_of(word) + 1) & 0xffff;
    return generation << 16 | ((altsem_low(word) << 1 | how) & 0xffff);
}

/* 0 tripped, -EPIPE broken or reset, -EAGAIN not ended yet. */
static int outcome(uint64_t word, uint32_t generation) {
    uint32_t since = (generation_of(word) - generation) & 0xffff;
    if (since == 0) return -EAGAIN;
    return since <= 16 && (altsem_low(word) >> (since - 1) & 1) ? -EPIPE : 0;
}

int altsem_barrier_arrive(altsem_segment *segment, altsem_slot *slot, int64_t deadline,
                          uint32_t *index, uint32_t *generation) {
    uint32_t parties = (uint32_t)slot->maxvalue;
    uint64_t seen = atomic_load_explicit(&slot->word, memory_order_acquire);
    for (int result = 0;;) {
        if (seen & BROKEN) return -EPIPE;
        if (arrived(seen) < parties) {
            if (!altsem_step(&slot->word, &seen, seen + ONE, memory_order_acq_rel)) continue;
            *index = arrived(seen);
            *generation = generation_of(seen);
            return *index + 1 == parties;
        }
        if (result != 0) return result; /* the last one is still busy with its action */
        result = altsem_sleep(segment, slot, ALTSEM_WORD, altsem_low(seen), deadline);
        seen = atomic_load_explicit(&slot->word, memory_order_acquire);
    }
}

int altsem_barrier_wait(altsem_segment *segment, altsem_slot *slot, uint32_t generation,
                        int64_t deadline) {
    uint64_t seen = atomic_load_explicit(&slot->word, memory_order_acquire);
    for (int result = 0;;) {
        int answer = outcome(seen, generation);
        if (answer != -EAGAIN) return answer;
        if (result == -ETIMEDOUT) {
            /* Breaks this generation, unless it ended at the last moment. */
            if (!altsem_step(&slot->word, &seen, ended(seen, 1) | BROKEN, memory_order_acq_rel))
                continue;
            altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);
            return -ETIMEDOUT;
        }
        if (result != 0) return result;
        altsem_spinner spinner = {&slot->word, ALTSEM_UNTIL_CHANGE, altsem_low(seen), 0, deadline};
        if (!altsem_spin(&spinner))
            result = altsem_sleep(segment, slot, ALTSEM_WORD, altsem_low(seen), deadline);
        seen = atomic_load_explicit(&slot->word, memory_order_acquire);
    }
}

void altsem_barrier_withdraw(altsem_slot *slot, uint32_t generation) {
    uint64_t seen = altsem_load(&slot->word);
    do {
        uint32_t n = arrived(seen);
        if (generation_of(seen) != generation || n == 0 || n >= (uint32_t)slot->maxvalue) return;
    } while (!altsem_step(&slot->word, &seen, seen - ONE, memory_order_relaxed));
}

int altsem_barrier_trip(altsem_segment *segment, altsem_slot *slot, uint32_t generation) {
    uint64_t seen = altsem_load(&slot->word);
    do {
        if (generation_of(seen) != generation) return -EPIPE; /* broken while the action ran */
    } while (!altsem_step(&slot->word, &seen, ended(seen, 0), memory_order_acq_rel));
    altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);
    return 0;
}

void altsem_barrier_abort(altsem_segment *segment, altsem_slot *slot) {
    uint64_t seen = altsem_load(&slot->word);
    do {
        if (seen & BROKEN) return;
    } while (!altsem_step(&slot->word, &seen, ended(seen, 1) | BROKEN, memory_order_acq_rel));
    altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);
}

void altsem_barrier_reset(altsem_segment *segment, altsem_slot *slot) {
    uint64_t seen = altsem_load(&slot->word);
    do {
        if (!(seen & BROKEN) && arrived(seen) == 0) return;
    } while (!altsem_step(&slot->word, &seen, ended(seen, 1), memory_order_acq_rel));
    altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);
}

uint32_t altsem_barrier_waiting(const altsem_slot *slot) {
    uint32_t n = arrived(altsem_load(&slot->word));
    return n < (uint32_t)slot->maxvalue ? n : 0; /* all there: they are leaving, as in threading */
}

int altsem_barrier_broken(const altsem_slot *slot) {
    return (altsem_load(&slot->word) & BROKEN) != 0;
}
