/* spin.h - adaptive spinning before a sleep. */
#ifndef ALTSEM_WAIT_SPIN_H
#define ALTSEM_WAIT_SPIN_H

#include "word.h"

/* What a spinner waits for. */
enum altsem_until {
    ALTSEM_UNTIL_FREE,  /* the lock has no owner */
    ALTSEM_UNTIL_TOKEN, /* the semaphore is above zero */
    ALTSEM_UNTIL_CHANGE /* the low half is no longer what it was */
};

typedef struct altsem_spinner {
    const _Atomic uint64_t *word;
    enum altsem_until until;
    uint32_t low;     /* ALTSEM_UNTIL_CHANGE: what it was */
    int woken;        /* the caller has slept and been woken: no release wakes another until it has
                       * decided, so it must not give its CPU away */
    int64_t deadline; /* not to be passed */
} altsem_spinner;

/* Spins on the word.  1: what the caller waits for is there, or was a moment ago; 0: spinning does
 * not pay any longer, go to sleep. */
int altsem_spin(const altsem_spinner *spinner);

#endif
