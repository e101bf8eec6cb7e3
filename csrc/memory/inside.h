/* inside.h - what the files of memory/ know of each other; nobody else includes it. */
#ifndef ALTSEM_MEMORY_INSIDE_H
#define ALTSEM_MEMORY_INSIDE_H

#include "memory/segment.h"

/* All with the mutex held by the caller. */

/* known.c */
void altsem_known_enter(altsem_segment *segment);
/* 0: it was forgotten, and must stay as it is: who knows what still leads to it. */
int altsem_known_remove(altsem_segment *segment);
/* Begins anew, in a child that has inherited lists which a thread of its parent was changing. */
void altsem_known_forget(void);
altsem_segment *altsem_known_find(const unsigned char id[ALTSEM_ID_BYTES]);
unsigned altsem_known_count(void);
/* The segments with a free list; they hold no reference there. */
extern altsem_segment *altsem_with_free;
void altsem_with_free_enter(altsem_segment *segment);
void altsem_with_free_remove(altsem_segment *segment);

/* segment.c */
int altsem_segment_make(uint32_t slots, altsem_segment **segment);
/* The backend of this process; NULL and *error. */
const altsem_segment_backend *altsem_own_backend(int *error);

#endif
