/* spin.h - waiting without sleeping, while that is likely to pay. */
#ifndef ALTSEM_SPIN_H
#define ALTSEM_SPIN_H

#include "word.h"

/* Watches the word until it says that a lock is free (`until_zero`) or a semaphore not zero.  1: it
 * is; 0: not worth it any longer, or somebody sleeps already, go to sleep. */
int altsem_spin(const _Atomic uint64_t *word, int until_zero);
/* The child of a fork learns anew. */
void altsem_spin_after_fork(void);

#endif
