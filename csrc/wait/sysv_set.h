/* sysv_set.h - the sets that the sysv backend sleeps in: made, joined, left, swept (sysv_set.c). */
#ifndef ALTSEM_WAIT_SYSV_SET_H
#define ALTSEM_WAIT_SYSV_SET_H

#include <stdint.h>

#include "memory/segment.h"

/* What the header of a segment says that sleeps in such sets. */
#define ALTSEM_SYSV_ID 2u

/* A set: its id in the high half, its key in the low half.  Neither alone will do: ids are given out
 * again, and a key may belong to another set by now.  0 is no set. */
typedef uint64_t altsem_set;

static inline int altsem_set_id(altsem_set set) { return (int)(set >> 32); }

/* Most semaphores that a set may have here; 0 if there are no sets. */
uint32_t altsem_set_limit(void);
/* Makes a set, of which this process is then a user; removes it, whoever uses it. */
int altsem_set_make(uint32_t semaphores, altsem_set *set);
void altsem_set_remove(altsem_set set);
/* Becomes a user of it, once more if it is one.  -ESTALE: it is gone, or going. */
int altsem_set_enter(altsem_set set);
/* Becomes a user of the segment's set, unless it is one.  There is none, or it is gone: makes it if
 * `make`, else -ENOENT.  Takes no lock. */
int altsem_set_join(altsem_segment *segment, int make, altsem_set *set);
/* Has turned out to be gone: whoever needs one makes it afresh. */
void altsem_set_forget(altsem_segment *segment, altsem_set set);
/* Is a user no more; removes the set if nobody is. */
void altsem_set_leave(altsem_segment *segment);
/* In the child of a fork: it is no user of what its parent uses. */
void altsem_set_after_fork(altsem_segment *segment);
/* Removes the sets of this user that nobody uses; how many, or a negative errno. */
int altsem_set_sweep(void);
/* The process is on its way out and has left its sets. */
int altsem_set_closing(void);

#endif
