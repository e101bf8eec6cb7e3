/* testing.c - what only a test build has (testing.h). */
#ifdef ALTSEM_TEST_BUILD
#include "wait/testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wait/wait.h"

static int no_slices, may_spin = 1; /* written before main(), by the loader */
static _Thread_local altsem_sleeps sleeps = {.last = -1};

static_assert(sizeof sleeps.ended / sizeof sleeps.ended[0] == ALTSEM_ENDS,
              "one count for each end");

__attribute__((constructor)) static void read_environment(void) {
    const char *wanted = getenv("ALTSEM_TEST_NO_SLICES");
    no_slices = wanted && *wanted;
    may_spin = !no_slices || strcmp(wanted, "spin") == 0;
}

const altsem_sleeps *altsem_test_sleeps(int forget) {
    if (forget) sleeps = (altsem_sleeps){.last = -1};
    return &sleeps;
}

/* Not without end: the backends are promised that. */
int64_t altsem_slice(void) { return no_slices ? 86400 * ALTSEM_SLICE : ALTSEM_SLICE; }

int altsem_may_spin(void) { return may_spin; }

void altsem_slept(int result, int slice, int64_t until) {
    enum altsem_end end = result == 0                ? ALTSEM_END_WOKEN
                          : result == ALTSEM_CHANGED ? ALTSEM_END_CHANGED
                          : slice                    ? ALTSEM_END_SLICE
                          : result == -ETIMEDOUT     ? ALTSEM_END_DEADLINE
                          : result == -EINTR         ? ALTSEM_END_SIGNAL
                                                     : ALTSEM_END_REFUSED;
    sleeps.ended[end]++;
    sleeps.last = (int32_t)end;
    if (slice) sleeps.slice_end = until;
}

void altsem_woke(void) { sleeps.wakes++; }
#endif
