/* spin.h - waiting without sleeping, while that is likely to pay. */
#ifndef ALTSEM_WAIT_SPIN_H
#define ALTSEM_WAIT_SPIN_H

#include "word.h"

/* What is waited for. */
enum altsem_hope {
    ALTSEM_HOPE_FREE,  /* the lock has no owner */
    ALTSEM_HOPE_TOKEN, /* the semaphore is above zero */
    ALTSEM_HOPE_CHANGE /* the low half is no longer what it was */
};

typedef struct altsem_watch {
    const _Atomic uint64_t *word;
    enum altsem_hope hope;
    uint32_t low;     /* ALTSEM_HOPE_CHANGE: what it was */
    int woken;        /* the caller has slept and been woken: it is nobody's turn but its own */
    int64_t deadline; /* not to be passed */
} altsem_watch;

/* Watches the word.  1: what is hoped for is there, or was a moment ago; 0: not worth it any longer,
 * go to sleep. */
int altsem_spin(const altsem_watch *watch);

#endif
