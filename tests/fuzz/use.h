/* use.h - what the fuzz targets share: calls on primitives whose bytes are anybody's. */
#ifndef FUZZ_USE_H
#define FUZZ_USE_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***arguments);

/* What must be true, whatever the input is. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define SOON 100e-6 /* s: nothing here waits for longer */

static inline uint32_t fuzz_backend(void) {
    static const char *const names[] = {"futex", "sysv", "filelock"};
    int error;
    const char *name = altsem_backend(&error);
    MUST(name != NULL);
    for (uint32_t i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) return i + 1;
    abort();
}

static inline void use_lock(altsem_segment *segment, altsem_slot *slot, uint8_t which) {
    uint32_t depth;
    altsem_verdict verdict;
    switch (which % 14) {
    case 0:
        altsem_lock_try(slot);
        break;
    case 1:
        altsem_lock_wait(segment, slot, altsem_deadline_in(SOON));
        break;
    case 2:
        altsem_lock_release(segment, slot);
        break;
    case 3:
        altsem_lock_is_mine(slot), altsem_lock_is_ours(slot);
        break;
    case 4:
        altsem_lock_is_free(slot), altsem_waiters(slot);
        break;
    case 5:
        altsem_lock_disown(slot);
        break;
    case 6:
        if (altsem_lock_is_mine(slot)) altsem_rlock_again(slot);
        break;
    case 7:
        altsem_rlock_release(segment, slot);
        break;
    case 8:
        if (altsem_rlock_release_all(segment, slot, &depth) == 0 && altsem_lock_try(slot) == 0)
            altsem_rlock_restore(slot, depth);
        break;
    case 9:
        altsem_rlock_depth(slot);
        break;
    case 10:
        altsem_judge(altsem_lock_owner_tid(slot), altsem_lock_owner_id(slot),
                     altsem_segment_namespace(segment), &verdict);
        break;
    case 11:
        altsem_lock_owner_pid(slot);
        break;
    case 12:
        altsem_lock_wait(segment, slot, ALTSEM_NOW);
        break;
#ifdef ALTSEM_ROBUST
    case 13: {
        altsem_death death;
        altsem_lock_inherit(segment, slot);
        altsem_lock_death(segment, slot, &death);
        altsem_lock_deaths(slot);
        break;
    }
#endif
    }
}

static inline void use_barrier(altsem_segment *segment, altsem_slot *slot, uint8_t which,
                               uint32_t *generation) {
    uint32_t index;
    switch (which % 10) {
    case 0:
    case 1:
        altsem_barrier_arrive(segment, slot, which % 2, altsem_deadline_in(SOON), &index,
                              generation);
        break;
    case 2:
        altsem_barrier_wait(segment, slot, *generation, altsem_deadline_in(SOON));
        break;
    case 3:
        altsem_barrier_withdraw(segment, slot, *generation);
        break;
    case 4:
        altsem_barrier_trip(segment, slot, *generation);
        break;
    case 5:
        altsem_barrier_fail(segment, slot, *generation);
        break;
    case 6:
        altsem_barrier_abort(segment, slot);
        break;
    case 7:
        altsem_barrier_reset(segment, slot);
        break;
    case 8:
        altsem_barrier_waiting(slot);
        break;
    default:
        altsem_barrier_broken(slot);
        break;
    }
}

/* Makes one call on a primitive of that type.  `number` is remembered between calls: a ticket, a
 * generation. */
static inline void use(altsem_segment *segment, altsem_slot *slot, int type, uint8_t which,
                       uint32_t *number) {
    switch (type) {
    case ALTSEM_SEM:
        switch (which % 5) {
        case 0:
            altsem_sem_try(slot);
            break;
        case 1:
            altsem_sem_wait(segment, slot, altsem_deadline_in(SOON));
            break;
        case 2:
            altsem_sem_post(segment, slot, altsem_slot_maxvalue(slot));
            break;
        case 3:
            MUST(altsem_sem_value(slot) >= 0);
            break;
        default:
            altsem_sem_post(segment, slot, ALTSEM_VALUE_MAX);
            break;
        }
        break;
    case ALTSEM_LOCK:
    case ALTSEM_RLOCK:
        use_lock(segment, slot, which);
        break;
    case ALTSEM_EVENT:
        switch (which % 4) {
        case 0:
            altsem_event_set(segment, slot);
            break;
        case 1:
            altsem_event_clear(slot);
            break;
        case 2:
            *number = altsem_event_now(slot);
            break;
        default:
            altsem_event_wait(segment, slot, *number, altsem_deadline_in(SOON));
            break;
        }
        break;
    case ALTSEM_COND:
        switch (which % 6) {
        case 0:
            altsem_cond_enter(slot, number);
            break;
        case 1:
            altsem_cond_sleep(segment, slot, *number, altsem_deadline_in(SOON));
            break;
        case 2:
            altsem_cond_leave(slot, *number);
            break;
        case 3:
            altsem_cond_notify(segment, slot, 1);
            break;
        case 4:
            altsem_cond_notify(segment, slot, UINT32_MAX);
            break;
        default:
            altsem_cond_waiters(slot);
            break;
        }
        break;
    default:
        use_barrier(segment, slot, which, number);
        break;
    }
}

#endif
