/* known.c - the segments that are mapped in this process, found by their identity.
 *
 * A hash table, because a process may get locks from thousands of others.  It grows with their
 * number and never shrinks.  If there is no memory for a larger one, its buckets become longer.
 */
#include <stdlib.h>
#include <string.h>

#include "memory/inside.h"

altsem_segment *altsem_segments;
altsem_segment *altsem_free_lists;

#define FIRST_BUCKETS 16u
static_assert((FIRST_BUCKETS & (FIRST_BUCKETS - 1)) == 0, "buckets are found by a mask");
static altsem_segment *first_buckets[FIRST_BUCKETS];
static altsem_segment **buckets = first_buckets;
static unsigned bucket_count = FIRST_BUCKETS, known;
static uint32_t since; /* the generation in which all this was begun anew; 0: never */

/* The identity is random, so any part of it is a good hash. */
static altsem_segment **bucket_of(const unsigned char *id) {
    unsigned hash;
    memcpy(&hash, id, sizeof hash);
    return &buckets[hash & (bucket_count - 1)];
}

static void insert(altsem_segment *segment) {
    altsem_segment **bucket = bucket_of(segment->id);
    segment->next_in_bucket = *bucket;
    *bucket = segment;
}

static void grow(void) {
    altsem_segment **larger = calloc(bucket_count * 2, sizeof *larger);
    if (!larger) return;
    if (buckets != first_buckets) free(buckets);
    buckets = larger;
    bucket_count *= 2;
    for (altsem_segment *each = altsem_segments; each; each = each->next) insert(each);
}

void altsem_known_enter(altsem_segment *segment) {
    if (known++ == bucket_count) grow();
    segment->entered = altsem_generation();
    segment->previous = NULL;
    segment->next = altsem_segments;
    if (altsem_segments) altsem_segments->previous = segment;
    altsem_segments = segment;
    insert(segment);
}

int altsem_known_forgot(const altsem_segment *segment) { return segment->entered < since; }

void altsem_known_remove(altsem_segment *segment) {
    altsem_segment **link = bucket_of(segment->id);
    while (*link != segment) link = &(*link)->next_in_bucket;
    *link = segment->next_in_bucket;
    if (segment->next) segment->next->previous = segment->previous;
    if (segment->previous) segment->previous->next = segment->next;
    else altsem_segments = segment->next;
    known--;
}

void altsem_known_forget(void) {
    altsem_segments = altsem_free_lists = NULL;
    memset(first_buckets, 0, sizeof first_buckets);
    buckets = first_buckets;
    bucket_count = FIRST_BUCKETS;
    known = 0;
    since = altsem_generation();
}

altsem_segment *altsem_known_find(const unsigned char id[ALTSEM_ID_BYTES]) {
    for (altsem_segment *segment = *bucket_of(id); segment; segment = segment->next_in_bucket)
        if (memcmp(segment->id, id, ALTSEM_ID_BYTES) == 0) return segment;
    return NULL;
}

unsigned altsem_known_count(void) { return known; }

void altsem_free_lists_add(altsem_segment *segment) {
    segment->next_free_list = altsem_free_lists;
    altsem_free_lists = segment;
}

void altsem_free_lists_remove(altsem_segment *segment) {
    for (altsem_segment **link = &altsem_free_lists; *link; link = &(*link)->next_free_list)
        if (*link == segment) {
            *link = segment->next_free_list;
            break;
        }
}
