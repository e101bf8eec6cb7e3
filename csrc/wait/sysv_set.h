/* sysv_set.h - the sets that the sysv backend sleeps in: made, joined, left, swept (sysv_set.c). */
#ifndef ALTSEM_WAIT_SYSV_SET_H
#define ALTSEM_WAIT_SYSV_SET_H

#include <stdint.h>

#include "memory/segment.h"

/* What the header of a segment says that sleeps in such sets. */
#define ALTSEM_SYSV_ID 2u

/* A set: its id in the high half, its key in the low half.  Neither alone identifies it: ids are
 * reused, and a key may belong to another set by now.  0: no set. */
typedef uint64_t altsem_set;

static inline int altsem_set_id(altsem_set set) { return (int)(set >> 32); }

/* The maximum number of semaphores in a set; 0: there are no sets here. */
uint32_t altsem_set_limit(void);
/* Makes a set, and joins it.  Removes it, whoever uses it. */
int altsem_set_make(uint32_t semaphores, altsem_set *set);
void altsem_set_remove(altsem_set set);
/* Joins it, once more if it has been joined.  `set` may come from shared memory: it is checked to
 * be one that altsem made, with so many semaphores.  -ESTALE: it is not, or it is removed or
 * retired; -EACCES: it is another user's. */
int altsem_set_enter(altsem_set set, uint32_t semaphores);
/* Joins the segment's set, unless it has been joined.  If there is none, or it is removed: makes
 * one if `make`, else -ENOENT.  Takes no lock. */
int altsem_set_join(altsem_segment *segment, int make, altsem_set *set);
/* It has turned out to be removed: the next who needs one makes a new one. */
void altsem_set_forget(altsem_segment *segment, altsem_set set);
/* Leaves the segment's set, and removes it if it has no users. */
void altsem_set_leave(altsem_segment *segment);
/* In the child of a fork: the child has joined nothing. */
void altsem_set_after_fork(altsem_segment *segment);
/* Removes the sets of this user (the uid) that no process uses; how many, or a negative errno. */
int altsem_set_sweep(void);
/* The process is exiting and has left its sets. */
int altsem_set_exiting(void);

#endif
