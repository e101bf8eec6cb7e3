/* wait.h - the contract of a wait backend, and the one place that knows clocks.
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
#ifndef ALTSEM_WAIT_H
#define ALTSEM_WAIT_H

#include "word.h"

enum altsem_which { ALTSEM_WORD = 0, ALTSEM_WORD2 = 1 };

typedef struct altsem_backend_ops {
    const char *name;
    uint32_t id; /* written into the header of a segment; never reused for another backend */
    /* Optional: no segment may have more slots than this. */
    uint32_t (*max_slots)(void);
    /* 0, or a negative errno: why it cannot be used here.  Makes the backend's own calls, but no
     * fork and no thread: it runs inside somebody's program. */
    int (*probe)(void);
    /* 0 woken or nothing to wait for, -ETIMEDOUT, -EINTR, or what the system said. */
    int (*sleep)(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                 uint32_t expected, int64_t until);
    int (*wake)(altsem_segment *segment, altsem_slot *slot, enum altsem_which which, uint32_t n);
    /* Optional, with the mutex held: no primitive of the segment is left in this process (one may
     * come again); a fork has happened, and this is the child. */
    void (*detach)(altsem_segment *segment);
    void (*after_fork)(altsem_segment *segment);
    /* Optional: frees what the dead have left in the system; how much it was, or a negative errno. */
    int (*clean)(void);
} altsem_backend_ops;

extern const altsem_backend_ops altsem_futex_ops, altsem_sysv_ops, altsem_filelock_ops;

/* The backend of this process, chosen now if it has not been (altsem_backend); NULL and *error. */
const altsem_backend_ops *altsem_ops(int *error);
/* Follows a segment that arrived from elsewhere: 0, -EXDEV this process has chosen another backend,
 * -ENOSYS it does not work here, -EPROTONOSUPPORT there is none of that id. */
int altsem_ops_follow(uint32_t id);

int64_t altsem_clock(void); /* CLOCK_MONOTONIC in nanoseconds */

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
