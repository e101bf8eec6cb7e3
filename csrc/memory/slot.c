/* slot.c - slots taken from and given back to this process's own segments.
 *
 * Taking one is the bump of a counter, or the head of a free list, and at most one system call: a
 * look at the descriptor, without which a segment cannot be sent to others.  A segment is filled
 * before the next is made; the next is as large as all that are mapped now together, from one page
 * to two megabytes, so a million locks need tens of mappings, and a program that makes and drops a
 * few stays with a page.
 *
 * A slot is used again only if nobody else can ever have seen it: it was never exported, and no fork
 * happened since it was taken.  Others stay used until their segment goes, which it does when the
 * last of its primitives in this process is gone and it is not the one being filled.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/inside.h"
#include "process/clock.h"
#include "process/fork.h"
#include "process/owner.h"

#define MOST_SLOTS 32768u

static altsem_segment *filling; /* holds a reference of its own */
static altsem_segment *left; /* so did this one in the parent; dropped when memory may be freed */

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

/* How many slots of this process's segments cannot be taken: counted only when there is no other. */
static uint32_t in_use(void) {
    uint32_t count = 0;
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next)
        if (altsem_segment_is_mine(segment)) count += segment->used - ALTSEM_HEADER_SLOTS;
    return count;
}

/* Locks made within so many nanoseconds share one look at the descriptor, which is dearer than all
 * the rest.  No program goes from one lock to the next in less and closes a descriptor between. */
#define LOOK_AGAIN 250

/* Whether what is made in it can be sent to other processes: programs that become daemons close
 * every descriptor, and may go on to make locks. */
static int can_travel(altsem_segment *segment) {
    if (altsem_clock() - segment->looked < LOOK_AGAIN) return 1;
    if (altsem_segment_fd(segment) < 0) return 0;
    segment->looked = altsem_clock();
    return 1;
}

/* No slot is taken from it any more. */
static void give_up(altsem_segment *segment) {
    segment->mine = 0;
    if (segment->free) altsem_with_free_remove(segment);
    segment->free = 0;
}

static void drop_left(void) {
    if (left) altsem_segment_drop(left);
    left = NULL;
}

/* A segment with room, the one being filled; makes it if need be. */
static int room(altsem_segment **out) {
    while (altsem_with_free && !can_travel(altsem_with_free)) give_up(altsem_with_free);
    if (altsem_with_free) {
        *out = altsem_with_free;
        return 0;
    }
    int has_room = filling && filling->used < filling->slots;
    if (has_room && can_travel(filling)) {
        *out = filling;
        return 0;
    }
    int error = 0;
    const altsem_segment_backend *backend = altsem_own_backend(&error);
    if (!backend) return error;
    uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE) / ALTSEM_SLOT_BYTES;
    uint32_t slots = page, used = in_use();
    while (slots < used && slots < MOST_SLOTS) slots *= 2;
    while (backend->max_slots && slots > backend->max_slots() && slots > page) slots /= 2;
    altsem_segment *segment;
    if ((error = altsem_segment_make(slots, &segment)) != 0) {
        if (!has_room) return error;
        *out = filling; /* a lock that cannot be sent is better than none */
        return 0;
    }
    if (has_room) give_up(filling);
    if (filling) altsem_segment_drop(filling);
    filling = segment;
    *out = segment;
    return 0;
}

static int take(int type, int64_t value, int64_t maxvalue, altsem_segment **out,
                altsem_slot **slot) {
    int error = room(out);
    if (error != 0) return error;
    altsem_segment *segment = *out;
    uint32_t number = segment->free ? segment->free : segment->used;
    *slot = altsem_slot_number(segment, number);
    uint32_t next = (*slot)->next;
    if ((error = altsem_slot_init(*slot, type, value, maxvalue)) != 0) return error;
    if (number != segment->free) {
        segment->used++;
    } else {
        /* The link stood in memory that others can write. */
        segment->free = next >= ALTSEM_HEADER_SLOTS && next < segment->used ? next : 0;
        if (!segment->free) altsem_with_free_remove(segment);
    }
    segment->references++;
    return 0;
}

int altsem_slot_new(int type, int64_t value, int64_t maxvalue, altsem_segment **segment,
                    altsem_slot **slot) {
    for (;;) {
        int error = altsem_watch_forks();
        if (error != 0) return error;
        altsem_mutex_lock();
        drop_left();
        error = take(type, value, maxvalue, segment, slot);
        altsem_mutex_unlock();
        /* A signal handler may have forked meanwhile, and this be its child: then the parent has the
         * slot. */
        if (error != 0 || altsem_segment_is_mine(*segment)) return error;
        altsem_slot_free(*segment, *slot);
    }
}

/* A child that was made without handlers, which this process has not heard of, says so in the segment
 * as soon as it notices.  Until then it can have been told of its slots by nobody, but it may know
 * them: a slot that its parent frees before its first call may be used again under it. */
static void notice_silent_forks(altsem_segment *segment) {
    uint32_t now = atomic_load_explicit(&segment->header->silent_forks, memory_order_relaxed);
    if (now != segment->silent_forks) altsem_count_fork();
    segment->silent_forks = now;
}

void altsem_slot_free(altsem_segment *segment, altsem_slot *slot) {
    altsem_mutex_lock();
    uint32_t state = atomic_load_explicit(&slot->state, memory_order_relaxed);
    notice_silent_forks(segment);
    if (altsem_segment_is_mine(segment) && !(state & ALTSEM_EXPORTED) &&
        slot->born == altsem_fork_count()) {
        atomic_store_explicit(&slot->state, ALTSEM_FREE, memory_order_relaxed);
        if (!segment->free) altsem_with_free_enter(segment);
        slot->next = segment->free;
        segment->free = altsem_number_of(segment, slot);
    }
    /* The one being filled stays when the last of its primitives goes; what others might take for a
     * leak does not. */
    if (segment == filling && segment->references == 2 && segment->backend->detach)
        segment->backend->detach(segment);
    altsem_segment_drop(segment);
    altsem_mutex_unlock();
}

uint64_t altsem_slot_export(altsem_segment *segment, altsem_slot *slot) {
    altsem_mutex_lock();
    atomic_fetch_or_explicit(&slot->state, ALTSEM_EXPORTED, memory_order_relaxed);
    altsem_mutex_unlock();
    return (uint64_t)((char *)slot - (char *)segment->header);
}

/* With the mutex held. */
static int at(altsem_segment *segment, uint64_t offset, int type, altsem_slot **slot) {
    if (offset % ALTSEM_SLOT_BYTES != 0) return -EINVAL;
    uint64_t number = offset / ALTSEM_SLOT_BYTES;
    if (number < ALTSEM_HEADER_SLOTS || number >= segment->slots) return -EINVAL;
    *slot = altsem_slot_number(segment, (uint32_t)number);
    int found = altsem_slot_type(*slot);
    if (found == ALTSEM_FREE || found >= ALTSEM_TYPES || (type && type != found)) return -EINVAL;
    segment->references++;
    return 0;
}

int altsem_slot_at(altsem_segment *segment, uint64_t offset, int type, altsem_slot **slot) {
    altsem_mutex_lock();
    int error = at(segment, offset, type, slot);
    altsem_mutex_unlock();
    if (error == 0) altsem_slot_export(segment, *slot); /* two objects know it now */
    return error;
}

int altsem_slot_find(uintptr_t address, altsem_segment **out, altsem_slot **slot) {
    int error = -EINVAL;
    altsem_mutex_lock();
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next) {
        uintptr_t start = (uintptr_t)segment->header;
        if (address >= start && address - start < segment->size) {
            error = at(segment, address - start, 0, slot);
            *out = segment;
            break;
        }
    }
    altsem_mutex_unlock();
    if (error == 0) altsem_slot_export(*out, *slot);
    return error;
}

int altsem_slot_type(const altsem_slot *slot) {
    return (int)(atomic_load_explicit(&slot->state, memory_order_relaxed) & ALTSEM_TYPE_MASK);
}

int32_t altsem_slot_maxvalue(const altsem_slot *slot) { return slot->maxvalue; }

/* --- at a fork ---------------------------------------------------------------------------------- */

/* The child never takes slots from segments that it shares with its parent. */
static void in_child(void) {
    int how = altsem_fork_was();
    if (how == ALTSEM_FORK_TORN) altsem_known_forget();
    altsem_with_free = NULL;
    uint32_t here = altsem_pid_namespace();
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next) {
        segment->mine = 0; /* also one that was being made when a handler forked */
        segment->free = 0;
        if (how != ALTSEM_FORK_HANDLED)
            atomic_fetch_add_explicit(&segment->header->silent_forks, 1, memory_order_relaxed);
        if (segment->header->pid_namespace != here) /* the child of an unshare(CLONE_NEWPID) */
            atomic_store_explicit(&segment->header->foreign, 1, memory_order_relaxed);
    }
    if (filling) left = filling;
    filling = NULL;
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next)
        if (segment->backend->after_fork) segment->backend->after_fork(segment);
}

static altsem_fork_hooks at_fork = {.in_child = in_child};
__attribute__((constructor)) static void register_hooks(void) { altsem_at_fork(&at_fork); }
