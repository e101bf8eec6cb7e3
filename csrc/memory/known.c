/* known.c - the segments that are mapped in this process, found by their identity.
 *
 * A hash table, because a process may get locks from thousands of others.  It grows with their number
 * and never shrinks; if there is no memory for a larger one the rows only become longer.
 */
#include <stdlib.h>
#include <string.h>

#include "memory/inside.h"

altsem_segment *altsem_segments;
altsem_segment *altsem_with_free; /* linked by next_free */

#define FIRST_ROWS 16u /* rows: a power of two */
static altsem_segment *first_rows[FIRST_ROWS];
static altsem_segment **rows = first_rows;
static unsigned row_count = FIRST_ROWS, known;
static uint32_t since; /* the generation in which all this was begun anew; 0: never */

/* The identity is random, so any part of it will do. */
static altsem_segment **row_of(const unsigned char *id) {
    unsigned part;
    memcpy(&part, id, sizeof part);
    return &rows[part & (row_count - 1)];
}

static void put(altsem_segment *segment) {
    altsem_segment **row = row_of(segment->id);
    segment->same = *row;
    *row = segment;
}

static void grow(void) {
    altsem_segment **larger = calloc(row_count * 2, sizeof *larger);
    if (!larger) return;
    if (rows != first_rows) free(rows);
    rows = larger;
    row_count *= 2;
    for (altsem_segment *each = altsem_segments; each; each = each->next) put(each);
}

void altsem_known_enter(altsem_segment *segment) {
    if (known++ == row_count) grow();
    segment->entered = altsem_generation();
    segment->previous = NULL;
    segment->next = altsem_segments;
    if (altsem_segments) altsem_segments->previous = segment;
    altsem_segments = segment;
    put(segment);
}

int altsem_known_remove(altsem_segment *segment) {
    if (segment->entered < since) return 0;
    altsem_segment **link = row_of(segment->id);
    while (*link != segment) link = &(*link)->same;
    *link = segment->same;
    if (segment->next) segment->next->previous = segment->previous;
    if (segment->previous) segment->previous->next = segment->next;
    else altsem_segments = segment->next;
    known--;
    return 1;
}

void altsem_known_forget(void) {
    altsem_segments = altsem_with_free = NULL;
    memset(first_rows, 0, sizeof first_rows);
    rows = first_rows;
    row_count = FIRST_ROWS;
    known = 0;
    since = altsem_generation();
}

altsem_segment *altsem_known_find(const unsigned char id[ALTSEM_ID_BYTES]) {
    for (altsem_segment *segment = *row_of(id); segment; segment = segment->same)
        if (memcmp(segment->id, id, ALTSEM_ID_BYTES) == 0) return segment;
    return NULL;
}

unsigned altsem_known_count(void) { return known; }

void altsem_with_free_enter(altsem_segment *segment) {
    segment->next_free = altsem_with_free;
    altsem_with_free = segment;
}

void altsem_with_free_remove(altsem_segment *segment) {
    for (altsem_segment **link = &altsem_with_free; *link; link = &(*link)->next_free)
        if (*link == segment) {
            *link = segment->next_free;
            break;
        }
}
