/* robust.h - locks that are taken over when their owner is dead: what lock.c needs of robust.c. */
#ifndef ALTSEM_PRIMITIVES_ROBUST_H
#define ALTSEM_PRIMITIVES_ROBUST_H

#include "primitives/fair.h"

/* altsem_lock_inherit for one that waits, and has announced itself: it leaves the waiters in the step
 * that takes the lock. */
int altsem_robust_take(altsem_segment *segment, altsem_slot *slot, const altsem_waiting *waiting);
/* Frees a robust lock for its owner.  -EPERM: it is another's.  told: forget the death. */
int altsem_robust_release(altsem_segment *segment, altsem_slot *slot, int told);

#endif
