/* clock.c - time, and deadlines.
 *
 * Deadlines are absolute, so an interrupted wait goes on towards the same one.  They are of
 * CLOCK_MONOTONIC, so setting the wall clock moves none.
 */
#define _GNU_SOURCE
#include "process/clock.h"

#include <time.h>

#include "altsem.h"

int64_t altsem_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t altsem_deadline_in(double seconds) {
    if (!(seconds > 0)) return ALTSEM_NOW;
    if (seconds >= 1e9) return ALTSEM_FOREVER;
    return altsem_clock() + (int64_t)(seconds * 1e9);
}
