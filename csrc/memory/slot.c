/* slot.c - an allocator: slots are allocated from the segments that this process made, and freed.
 *
 * To allocate a slot is to pop one from a free list, or to increment the high-water mark of a
 * segment, and at most one system call: a look at the descriptor, without which a segment cannot be
 * sent to other processes.  Slots come from the current segment.  When it is full, a new one is
 * made and becomes the current one.  It is as large as all segments of this process together, from
 * one page to two megabytes.  So a million locks need tens of mappings, and a program that makes
 * and frees a few locks needs one page.
 *
 * A slot is reused only if no other process can ever have seen it: it was never exported, and there
 * was no fork between its allocation and now.  Other slots stay allocated until their segment is
 * unmapped.  That happens when the last reference to the segment is dropped; the current segment
 * has one more.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/inside.h"
#include "process/clock.h"
#include "process/fork.h"
#include "process/owner.h"

static altsem_segment *current;   /* with a reference of its own (segment->current) */
static altsem_segment *inherited; /* the parent's; dropped later: a fork hook may not free memory */

int altsem_slot_init(altsem_slot *slot, int type, int64_t value, int64_t maxvalue) {
    uint64_t word = 0, joining = 0;
    switch (type) {
    case ALTSEM_SEM:
        if (value < 0 || value > ALTSEM_VALUE_MAX) return -EINVAL;
        word = (uint64_t)value;
        break;
    case ALTSEM_LOCK:
    case ALTSEM_RLOCK:
        if (value != 0 && value != 1) return -EINVAL;
        word = value ? 0 : ALTSEM_NOBODY;
        break;
    case ALTSEM_EVENT:
        if (value != 0 && value != 1) return -EINVAL;
        word = (uint64_t)value;
        break;
    case ALTSEM_COND:
        joining = UINT64_C(1) << 32; /* group 1 is the first that has members (cond.c) */
        break;
    case ALTSEM_BARRIER:
        if (maxvalue < 1) return -EINVAL;
        break;
    default:
        return -EINVAL;
    }
    if (maxvalue < INT32_MIN || maxvalue > INT32_MAX) return -EINVAL;
    memset(slot, 0, sizeof *slot);
    atomic_store_explicit(&slot->word, word, memory_order_relaxed);
    if (joining) atomic_store_explicit(&slot->joining, joining, memory_order_relaxed);
    slot->maxvalue = (int32_t)maxvalue;
    slot->born = altsem_fork_count();
    atomic_store_explicit(&slot->state, (uint32_t)type, memory_order_release);
    return 0;
}

/* The number of slots allocated by this process.  Called when there is no free one. */
static uint32_t count_allocated(void) {
    uint32_t count = 0;
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next)
        if (altsem_segment_is_mine(segment)) count += segment->high_water - ALTSEM_HEADER_SLOTS;
    return count;
}

/* For so many nanoseconds a look at the descriptor is good, which costs more than all the rest.  No
 * program makes two locks in less time and closes a descriptor in between. */
#define CHECK_INTERVAL 250

/* Whether the segment can be sent to other processes.  Programs that become daemons close all
 * descriptors, and may make locks after that. */
static int can_travel(altsem_segment *segment) {
    if (altsem_clock() - segment->checked < CHECK_INTERVAL) return 1;
    if (altsem_segment_fd(segment) < 0) return 0;
    segment->checked = altsem_clock();
    return 1;
}

/* No further slot is allocated from it. */
static void stop_allocating(altsem_segment *segment) {
    segment->mine = 0;
    if (segment->free_list) altsem_free_lists_remove(segment);
    segment->free_list = 0;
}

/* Drops the reference of the current segment. */
static void drop(altsem_segment **which) {
    altsem_segment *segment = *which;
    *which = NULL;
    if (!segment) return;
    segment->current = 0;
    altsem_segment_unref(segment);
}

/* A segment with a free slot: made now if there is none. */
static int find_segment(altsem_segment **out) {
    while (altsem_free_lists && !can_travel(altsem_free_lists)) stop_allocating(altsem_free_lists);
    if (altsem_free_lists) {
        *out = altsem_free_lists;
        return 0;
    }
    int has_room = current && current->high_water < current->slots;
    if (has_room && can_travel(current)) {
        *out = current;
        return 0;
    }
    int error = 0;
    const altsem_segment_backend *backend = altsem_own_backend(&error);
    if (!backend) return error;
    uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE) / ALTSEM_SLOT_BYTES;
    uint32_t slots = page, allocated = count_allocated();
    while (slots < allocated && slots < ALTSEM_MAX_SLOTS) slots *= 2;
    while (backend->max_slots && slots > backend->max_slots() && slots > page) slots /= 2;
    altsem_segment *segment;
    if ((error = altsem_segment_make(slots, &segment)) != 0) {
        if (!has_room) return error;
        *out = current; /* a lock that cannot be sent is better than none */
        return 0;
    }
    if (has_room) stop_allocating(current);
    drop(&current);
    current = segment;
    segment->current = 1;
    *out = segment;
    return 0;
}

static int allocate(int type, int64_t value, int64_t maxvalue, altsem_segment **out,
                    altsem_slot **slot) {
    int error = find_segment(out);
    if (error != 0) return error;
    altsem_segment *segment = *out;
    uint32_t number = segment->free_list ? segment->free_list : segment->high_water;
    *slot = altsem_slot_number(segment, number);
    uint32_t next = (*slot)->next;
    if ((error = altsem_slot_init(*slot, type, value, maxvalue)) != 0) return error;
    if (number != segment->free_list) {
        segment->high_water++;
    } else {
        /* The link was in shared memory, where other processes can write. */
        int valid = next >= ALTSEM_HEADER_SLOTS && next < segment->high_water;
        segment->free_list = valid ? next : 0;
        if (!segment->free_list) altsem_free_lists_remove(segment);
    }
    segment->references++;
    return 0;
}

int altsem_slot_new(int type, int64_t value, int64_t maxvalue, altsem_segment **segment,
                    altsem_slot **slot) {
    for (;;) {
        int error = altsem_watch_forks();
        if (error != 0) return error;
        uint32_t generation = altsem_generation();
        altsem_mutex_lock();
        drop(&inherited);
        error = allocate(type, value, maxvalue, segment, slot);
        altsem_mutex_unlock();
        /* If a signal handler has forked meanwhile, this may be the child: then the slot is the
         * parent's. */
        if (error != 0 || altsem_generation() == generation) return error;
        altsem_slot_free(*segment, *slot);
    }
}

/* A child that was made without fork handlers (by _Fork() or clone()) counts itself in the segment,
 * at its first call.  This is where its parent learns of it, so that no slot is reused that both
 * may use.  What the parent frees before the child's first call may be reused all the same. */
static void notice_silent_forks(altsem_segment *segment) {
    uint32_t now = atomic_load_explicit(&segment->header->silent_forks, memory_order_relaxed);
    if (now != segment->silent_forks) altsem_count_fork();
    segment->silent_forks = now;
}

/* Whether no other process can ever have seen the slot.  In a segment from elsewhere it is not
 * looked at: the file of a named semaphore may have been truncated (name.c). */
static int is_reusable(altsem_segment *segment, const altsem_slot *slot) {
    if (!altsem_segment_is_mine(segment)) return 0;
    notice_silent_forks(segment);
    return slot->born == altsem_fork_count() &&
           !(atomic_load_explicit(&slot->state, memory_order_relaxed) & ALTSEM_EXPORTED);
}

void altsem_slot_free(altsem_segment *segment, altsem_slot *slot) {
    altsem_mutex_lock();
    if (is_reusable(segment, slot)) {
        atomic_store_explicit(&slot->state, ALTSEM_FREE, memory_order_relaxed);
        if (!segment->free_list) altsem_free_lists_add(segment);
        slot->next = segment->free_list;
        segment->free_list = altsem_number_of(segment, slot);
    }
    altsem_segment_unref(segment);
    altsem_mutex_unlock();
}

uint64_t altsem_slot_export(altsem_segment *segment, altsem_slot *slot) {
    altsem_mutex_lock();
    atomic_fetch_or_explicit(&slot->state, ALTSEM_EXPORTED, memory_order_relaxed);
    altsem_mutex_unlock();
    return (uint64_t)((char *)slot - (char *)segment->header);
}

int altsem_slot_at(altsem_segment *segment, uint64_t offset, int type, altsem_slot **slot) {
    altsem_mutex_lock();
    int error = altsem_slot_checked(segment, offset, type, slot);
    altsem_mutex_unlock();
    return error;
}

int altsem_slot_find(uintptr_t address, altsem_segment **out, altsem_slot **slot) {
    int error = -EINVAL;
    altsem_mutex_lock();
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next) {
        uintptr_t start = (uintptr_t)segment->header;
        if (address >= start && address - start < segment->size) {
            error = altsem_slot_checked(segment, address - start, 0, slot);
            *out = segment;
            break;
        }
    }
    altsem_mutex_unlock();
    return error;
}

int altsem_slot_type(const altsem_slot *slot) {
    return (int)(atomic_load_explicit(&slot->state, memory_order_relaxed) & ALTSEM_TYPE_MASK);
}

int32_t altsem_slot_maxvalue(const altsem_slot *slot) { return slot->maxvalue; }

/* --- at a fork -------------------------------------------------------------------------------- */

/* The child never allocates slots from segments that it shares with its parent. */
static void in_child(void) {
    int how = altsem_fork_was();
    if (how == ALTSEM_FORK_TORN) altsem_known_forget();
    altsem_free_lists = NULL;
    uint32_t here = altsem_pid_namespace();
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next) {
        segment->mine = 0; /* also one that was being made when a handler forked */
        segment->free_list = 0;
        /* A file with a name may have been truncated (name.c), and its slots are never freed. */
        if (how != ALTSEM_FORK_HANDLED && !segment->path)
            atomic_fetch_add_explicit(&segment->header->silent_forks, 1, memory_order_relaxed);
        if (segment->pid_namespace != here) /* the child of an unshare(CLONE_NEWPID) */
            atomic_store_explicit(&segment->header->foreign, 1, memory_order_relaxed);
        if (segment->backend->after_fork) segment->backend->after_fork(segment);
    }
    if (current) inherited = current;
    current = NULL;
}

static altsem_fork_hooks at_fork = {.in_child = in_child};
__attribute__((constructor)) static void register_hooks(void) { altsem_at_fork(&at_fork); }
