/* clock.h - the one clock of the core. */
#ifndef ALTSEM_PROCESS_CLOCK_H
#define ALTSEM_PROCESS_CLOCK_H

#include <stdint.h>

int64_t altsem_clock(void); /* CLOCK_MONOTONIC in nanoseconds */

#endif
