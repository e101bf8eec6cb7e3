/* testing.h - what only a test build has: waits without slices and spinning, and how a sleep ended.
 *
 * A slice that ends heals a wake that was lost, and so does a look at the word before the sleep.  No
 * test of what comes out in the end can tell such a core from a sound one.  So a build with
 * ALTSEM_TEST_BUILD
 *   - reads ALTSEM_TEST_NO_SLICES when it is loaded: set to 1, a slice lasts a day and nobody spins,
 *     and a wake that is lost hangs; set to "spin", only a slice lasts a day;
 *   - tells the calling thread how its sleeps ended, and how many wakes it has made.
 * What is shipped has none of this: without that macro all here are constants, or nothing.
 */
#ifndef ALTSEM_WAIT_TESTING_H
#define ALTSEM_WAIT_TESTING_H

#include <stdint.h>

#define ALTSEM_SLICE INT64_C(1000000000)

#ifdef ALTSEM_TEST_BUILD

enum altsem_end {
    ALTSEM_END_WOKEN,
    ALTSEM_END_CHANGED, /* nothing to wait for any more, before the sleep */
    ALTSEM_END_SLICE,
    ALTSEM_END_DEADLINE,
    ALTSEM_END_SIGNAL,
    ALTSEM_END_REFUSED, /* no means to sleep */
    ALTSEM_ENDS
};

typedef struct altsem_sleeps {
    uint64_t ended[6]; /* how many, by enum altsem_end */
    int32_t last;      /* -1: no sleep yet */
    int64_t slice_end; /* when the last slice that was slept to its end was over; 0: none was */
    uint64_t wakes;    /* calls of altsem_wake */
} altsem_sleeps;

/* The calling thread's own; `forget` has it start at none. */
const altsem_sleeps *altsem_test_sleeps(int forget);

int64_t altsem_slice(void);
int altsem_may_spin(void);
/* `result` as altsem_backend_ops.sleep gives it, and whether it was the end of a slice. */
void altsem_slept(int result, int slice, int64_t until);
void altsem_woke(void);

#else

static inline int64_t altsem_slice(void) { return ALTSEM_SLICE; }
static inline int altsem_may_spin(void) { return 1; }
static inline void altsem_slept(int result, int slice, int64_t until) {
    (void)result, (void)slice, (void)until;
}
static inline void altsem_woke(void) {}

#endif
#endif
