/* wait.h - the contract of a wait backend, and the one function that sleeps.
 *
 * A backend only lets threads sleep and wakes them; the state is in the word.  Rules for both sides:
 *   - sleep() returns 0 at once if the low half of the word is not `expected`; it must not miss a
 *     wake() that comes after that look.  Whoever changes the low half wakes after that; so a
 *     backend that sees the change itself may do without.
 *   - Every wake is a hint.  sleep() may return 0 for no reason; callers always look again.
 *   - wake(n) wakes at least min(n, sleepers) of those asleep on that word, best exactly so many.
 *     n may be larger than their number (UINT32_MAX: all).  The slot may be somebody else's by then:
 *     only its place counts, and a stranger who wakes looks again.
 *   - `until` is never further away than a slice (see altsem_sleep), and never ALTSEM_FOREVER.
 *   - A word of a slot is named by the slot's number and by `which`: 0 word, 1 word2.
 *   - sleep() may need something that cannot be had.  Then it returns what the system said, and has
 *     left nothing behind; so do the functions of altsem.h that called it.
 *   - wake() may run in a signal handler: it takes no lock and allocates nothing.
 */
#ifndef ALTSEM_WAIT_WAIT_H
#define ALTSEM_WAIT_WAIT_H

#include "memory/segment.h"

enum altsem_which { ALTSEM_WORD = 0, ALTSEM_WORD2 = 1 };

/* Not a negative errno: the low half was not as expected before the sleep. */
#define ALTSEM_CHANGED 1

typedef struct altsem_backend_ops {
    const char *name;
    altsem_segment_backend base; /* what segments ask of it */
    /* 0, or a negative errno: why it cannot be used here.  Makes the backend's own calls, but no
     * fork and no thread: it runs inside somebody's program. */
    int (*probe)(void);
    /* 0 woken; ALTSEM_CHANGED, or 0, if there was nothing to wait for; -ETIMEDOUT, -EINTR, or what
     * the system said. */
    int (*sleep)(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                 uint32_t expected, int64_t until);
    int (*wake)(altsem_segment *segment, altsem_slot *slot, enum altsem_which which, uint32_t n);
    /* Optional: frees what the dead have left in the system; how much it was, or a negative errno. */
    int (*clean)(void);
} altsem_backend_ops;

extern const altsem_backend_ops altsem_futex_ops, altsem_sysv_ops, altsem_filelock_ops;

/* The backend of this process, chosen now if it has not been (altsem_backend); NULL and *error. */
const altsem_backend_ops *altsem_ops(int *error);

static inline _Atomic uint64_t *altsem_word_of(altsem_slot *slot, enum altsem_which which) {
    return which == ALTSEM_WORD ? &slot->word : &slot->word2;
}

/* Sleeps until the low half is no longer `expected`, a wake comes, or the deadline has passed; a
 * second at the most.  0 look again; -ETIMEDOUT the deadline has passed; -EINTR a signal arrived or
 * the second is over: the caller leaves everything as it was and returns -EINTR in its turn. */
int altsem_sleep(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                 uint32_t expected, int64_t deadline);
/* Wakes up to n.  Errors cannot happen, or cannot be helped: waiters look again within a second. */
void altsem_wake(altsem_segment *segment, altsem_slot *slot, enum altsem_which which, uint32_t n);

#endif
