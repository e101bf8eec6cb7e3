/* robust.c - a lock that survives its holder: who waits takes it over once the holder is proved dead.
 *
 * Promise: a living owner is never robbed; of a dead one the lock is had within a second, by exactly
 * one; and whoever dies in here, after whatever instruction, leaves a state from which the next one
 * goes on.
 *
 * "Judge, then swap" would not do: in between the lock may be freed, and taken by a thread that has
 * got the dead one's number.  So
 *   (a) SUSPECT is set on the word, with the owner t in it;
 *   (b) the owner is judged, after that: by proof only (process/judge.c);
 *   (c) what names the owner, `holder`, is cleared, if it still is what was judged;
 *   (d) (t, SUSPECT) becomes the taker's own token, if `holder` still is clear.
 *
 * Who is judged.  Only the owner writes `holder`: after the step that takes, and it clears it before
 * the step that releases.  It is clear whenever a token is written into the word: a release clears it,
 * and so does (c).  All steps of the word are read-modify-writes, so (a), which acquires, sees what was
 * done before the step that wrote t: what is read of `holder` after it is of the holding on which
 * SUSPECT was set, or of a later one, never of an earlier one; or it is 0.  A later one's must not be
 * judged with the number of t, which no thread of that process may have: so the word is looked at
 * again, after `holder` was read.  If it is 0 the owner is in the few
 * instructions of a take or a release, or has died there, and is judged by its token alone; also that
 * of a LOCK is then the thread: a take or a release that its thread does not finish is finished by
 * nobody.
 *
 * That the holding which is taken over is the one that was judged.
 *   - If `holder` named the owner: the name is no other thread's, ever (owner.h; 41 bits of chance
 *     beside the pid), and a dead one does not write it again.  So while it stands there, its holding
 *     goes on, and (c) succeeds for one only, however long it was held up after (b).
 *   - If `holder` was clear: every release, take and disown writes a word without SUSPECT.  A word that
 *     still has t and SUSPECT is that of the holding that was judged, unless all of this has happened
 *     since: another has taken it over, freed it, a living thread with the same number and the same
 *     hash has taken it, and was suspected in its turn.  `deaths` has changed then, and that thread has
 *     written `holder`: both are looked at before (d), each time the step is tried.
 *   - What is left, in both cases: who is held up between that look and (d), some five instructions,
 *     for so long that the above happens meanwhile.  That takes a wait of a second by somebody who
 *     suspects the new owner, a thread id that comes round (of four million, where nobody made
 *     pid_max small) at that very lock, the same hash (one of 63), and a word that is equal to the last
 *     bit, the number of waiters included.
 *
 * Two takers: one step (d) succeeds; the other finds another word, or no SUSPECT.
 * A taker that dies
 *   - after (a) or (b): SUSPECT stands, and the next one begins with (b);
 *   - after (c): the dead owner has no name, and is judged by its token.  If its number has been given
 *     to a living thread with the same hash nothing is proved as long as that one lives;
 *   - after (d), before it has written who died: it is the owner, and dead.  Whoever comes next is
 *     told of that death, not of the one before.
 *
 * `died`, `deaths` and `again` are written by the owner only.  A holder is told of `died`, and its
 * release clears it: if it dies before, its own death takes the place.
 *
 * Not proved, so never taken over: owners in another PID or time namespace than ours, those that /proc
 * does not show where the kernel still knows the number, and NOBODY.  A process that dumps core is
 * alive until it is done.  One that has called exec looks like the same process.
 */
#include "primitives/robust.h"

#include <stdio.h>

#include "primitives/fast.h"
#include "process/proc.h"

/* Of a death, in one word: pid, tid, and so much of the identity that /proc can be compared. */
#define PID_AT 42
#define TID_AT 20
#define ORIGIN ((UINT64_C(1) << TID_AT) - 1)

static uint64_t origin_of(uint64_t id) { return id >> ALTSEM_THREAD_BITS & ORIGIN; }

int altsem_lock_make_robust(altsem_slot *slot) {
    int type = altsem_slot_type(slot);
    if (type != ALTSEM_LOCK && type != ALTSEM_RLOCK) return -EINVAL;
    atomic_fetch_or_explicit(&slot->state, ALTSEM_ROBUST, memory_order_relaxed);
    return 0;
}

int altsem_lock_is_robust(const altsem_slot *slot) {
    return (atomic_load_explicit(&slot->state, memory_order_relaxed) & ALTSEM_ROBUST) != 0;
}

/* Whether this call has cleared what names the owner. */
static int clear_holder(altsem_slot *slot, uint64_t id) {
    uint64_t seen = id;
    while (seen == id)
        if (altsem_step(&slot->holder, &seen, 0, memory_order_relaxed)) return 1;
    return 0;
}

/* *pid: of the owner, 0 if it is not known. */
static int is_dead(altsem_segment *segment, const altsem_slot *slot, uint32_t token, uint64_t id,
                   uint32_t *pid) {
    altsem_verdict verdict;
    uint32_t where = altsem_segment_namespace(segment);
    altsem_judge(token, id, where, &verdict);
    *pid = verdict.pid;
    int by_thread = id == 0 || altsem_slot_type(slot) == ALTSEM_RLOCK;
    if ((by_thread ? verdict.thread : verdict.process) != ALTSEM_DEAD) return 0;
    if (id == 0 || altsem_lock_is_robust(slot)) return 1;
    /* Others may have released it, and a `holder` be written late, over that of the next owner. */
    altsem_judge(token, 0, where, &verdict);
    return verdict.thread == ALTSEM_DEAD;
}

static void set_deaths(altsem_slot *slot, uint32_t deaths) {
    atomic_store_explicit(&slot->deaths, deaths, memory_order_relaxed);
}
static uint32_t get_deaths(const altsem_slot *slot) {
    return atomic_load_explicit(&slot->deaths, memory_order_relaxed);
}

/* `waiting`: NULL for one that does not wait. */
static int take_over(altsem_segment *segment, altsem_slot *slot, const altsem_waiting *waiting) {
    const altsem_thread *me = altsem_self();
    uint32_t deaths = get_deaths(slot), pid;
    uint64_t seen = altsem_load(&slot->word), next;
    uint32_t token = altsem_owner(seen);
    if (token == 0 || token == ALTSEM_NOBODY) return -EAGAIN;
    do { /* (a): also where SUSPECT stands already, to see what was done before */
        if (altsem_owner(seen) != token) return -EAGAIN;
    } while (!altsem_step(&slot->word, &seen, seen | ALTSEM_SUSPECT, memory_order_acq_rel));
    uint64_t id = altsem_load(&slot->holder);
    seen |= ALTSEM_SUSPECT;
    do { /* (a) again: else `id` may name the next owner, whose thread does not have this token */
        if (altsem_owner(seen) != token || !(seen & ALTSEM_SUSPECT)) return -EAGAIN;
    } while (!altsem_step(&slot->word, &seen, seen, memory_order_acq_rel));
    if (!is_dead(segment, slot, token, id, &pid)) return -EAGAIN; /* (b) */
    if (id != 0 && !clear_holder(slot, id)) return -EAGAIN;       /* (c) */
    do {                                                          /* (d) */
        if (altsem_owner(seen) != token || !(seen & ALTSEM_SUSPECT)) return -EAGAIN;
        next = (seen & ~(uint64_t)(token | ALTSEM_SUSPECT)) | me->token;
        if (waiting) next = (next & ~(uint64_t)(ALTSEM_WOKEN | ALTSEM_HUNGRY)) - ALTSEM_WAITER;
        if (get_deaths(slot) != deaths || altsem_load(&slot->holder) != 0) return -EAGAIN;
    } while (!altsem_step(&slot->word, &seen, next, memory_order_acq_rel));
    atomic_store_explicit(&slot->again, 0, memory_order_relaxed);
    if (altsem_lock_is_robust(slot)) {
        uint64_t tid = altsem_token_tid(token);
        atomic_store_explicit(&slot->died, (uint64_t)pid << PID_AT | tid << TID_AT | origin_of(id),
                              memory_order_relaxed);
        set_deaths(slot, (deaths & ALTSEM_MIDWAY) | ((deaths + 1) & ~ALTSEM_MIDWAY));
    }
    atomic_store_explicit(&slot->holder, me->id, memory_order_relaxed);
    if (waiting) altsem_served(slot, waiting);
    return 0;
}

int altsem_robust_take(altsem_segment *segment, altsem_slot *slot, const altsem_waiting *waiting) {
    return take_over(segment, slot, waiting);
}

int altsem_lock_inherit(altsem_segment *segment, altsem_slot *slot) {
    return take_over(segment, slot, NULL);
}

/* The owner's threads may all try to release a LOCK: who clears `holder` does. */
int altsem_robust_release(altsem_segment *segment, altsem_slot *slot, int told) {
    uint64_t id = altsem_load(&slot->holder);
    uint32_t owner = altsem_owner(altsem_load(&slot->word));
    if (owner == 0) return -EOVERFLOW;
    if (owner != ALTSEM_NOBODY) {
        if (altsem_id_process(id) != altsem_id_process(altsem_self()->id)) return -EPERM;
        if (!clear_holder(slot, id)) return -EPERM;
    }
    atomic_store_explicit(&slot->again, 0, memory_order_relaxed);
    if (told) atomic_store_explicit(&slot->died, 0, memory_order_relaxed);
    return altsem_fast_release(segment, slot);
}

int altsem_lock_release_untold(altsem_segment *segment, altsem_slot *slot) {
    return altsem_robust_release(segment, slot, 0);
}

int altsem_lock_death(const altsem_segment *segment, const altsem_slot *slot, altsem_death *death) {
    uint64_t died = altsem_load(&slot->died);
    if (died == 0 || !altsem_lock_is_robust(slot)) return 0;
    death->pid = (uint32_t)(died >> PID_AT);
    death->tid = (uint32_t)(died >> TID_AT) & ALTSEM_TID;
    death->is_shown = 0;
    uint32_t here = altsem_pid_namespace();
    altsem_seen seen;
    char name[16];
    int saved = errno;
    snprintf(name, sizeof name, "%u", death->pid);
    if (death->pid != 0 && here != 0 && here == altsem_segment_namespace(segment) &&
        altsem_proc_is_ours() && altsem_proc_look(name, &seen) == 0)
        death->is_shown =
            origin_of(altsem_id_from(death->pid, seen.start, here)) == (died & ORIGIN);
    errno = saved;
    return 1;
}

uint32_t altsem_lock_deaths(const altsem_slot *slot) {
    return altsem_lock_is_robust(slot) ? get_deaths(slot) & ~ALTSEM_MIDWAY : 0;
}

void altsem_lock_set_midway(altsem_slot *slot, int midway) {
    uint32_t deaths = get_deaths(slot);
    set_deaths(slot, midway ? deaths | ALTSEM_MIDWAY : deaths & ~ALTSEM_MIDWAY);
}

int altsem_lock_is_midway(const altsem_slot *slot) {
    return altsem_lock_is_robust(slot) && (get_deaths(slot) & ALTSEM_MIDWAY) != 0;
}
