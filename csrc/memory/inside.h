/* inside.h - what the files of memory/ know of each other; nobody else includes it. */
#ifndef ALTSEM_MEMORY_INSIDE_H
#define ALTSEM_MEMORY_INSIDE_H

#include "memory/segment.h"

/* All with the mutex held by the caller. */

/* known.c */
void altsem_known_enter(altsem_segment *segment);
void altsem_known_remove(altsem_segment *segment);
/* Whether it was forgotten: then it must stay as it is, for who knows what still leads to it. */
int altsem_known_forgot(const altsem_segment *segment);
/* Begins anew, in a child that has inherited lists which a thread of its parent was changing. */
void altsem_known_forget(void);
altsem_segment *altsem_known_find(const unsigned char id[ALTSEM_ID_BYTES]);
unsigned altsem_known_count(void);
/* The segments whose free list is not empty, linked by next_free_list; without a reference. */
extern altsem_segment *altsem_free_lists;
void altsem_free_lists_add(altsem_segment *segment);
void altsem_free_lists_remove(altsem_segment *segment);

/* segment.c */
int altsem_segment_make(uint32_t slots, altsem_segment **segment);
/* Checks an offset that came from outside, as altsem_slot_at does; the slot counts as exported
 * then, and a reference is taken. */
int altsem_slot_checked(altsem_segment *segment, uint64_t offset, int type, altsem_slot **slot);
/* The backend of this process; NULL and *error. */
const altsem_segment_backend *altsem_own_backend(int *error);

#endif
