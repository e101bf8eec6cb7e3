/* barrier.c - a rendezvous of a fixed number of parties, without a lock.
 *
 * Promise: the parties of a generation pass together, each with an index of its own; and whoever
 * is killed blocks nobody.  There is no lock to be killed with, and no draining phase that a
 * killed party would have to leave.  A party killed asleep stays counted until its generation
 * ends.
 *
 *    63 62             40 39            8 7         0
 *   +--+-----------------+---------------+-----------+
 *   |C | arrived, or who |  generation   | outcomes  |
 *   +--+-----------------+---------------+-----------+
 *   C: closed, nobody can arrive.  If `who` is 0 the barrier is broken; else all have arrived, and
 *   the last one, the thread with this kernel id, runs the action.
 *   outcomes: two bits for each of the last four generations, the latest in bits 0 and 1.
 *
 *   state            step             outcome     next state, and wakes all
 *   ---------------  ---------------  ----------  -------------------------------------------
 *   open, n arrived  arrive, not last             open, n + 1
 *                    arrive, last     tripped     next generation: open, 0
 *                    arrive, last, to             closed, who (wakes nobody)
 *                    run an action
 *                    withdraw, n = 1              open, 0 (wakes nobody)
 *                    withdraw, n > 1  begun anew  next generation: open, 0
 *                    time over        broken      next generation: broken
 *   closed, who      trip             tripped     next generation: open, 0
 *                    action failed,   broken      next generation: broken
 *                    or who is dead
 *   not broken       abort            broken      next generation: broken
 *   any              reset            broken      next generation: open, 0
 *
 * Every row is one compare-and-swap, so there is nothing between arriving and releasing the others
 * where the last party could be killed, unless it runs an action.  Then the word names it, and
 * whoever waits looks at the end of each slice (word.h) whether it still lives.  Only proof counts
 * (process/judge.c): a party of another PID namespace, or one that /proc hides, is never taken for
 * dead as long as the kernel knows its number.  That stands in the step that closes, so there is
 * no moment in which it cannot be told; by `holder`, written afterwards, one is known for dead
 * whose number was given to another process since.
 *
 * Once a generation is closed no timeout breaks it, and a newcomer waits for its end: all have
 * arrived, and what the action takes is nobody's delay.
 *
 * A party that withdraws would leave a gap in the indexes of those that arrived before and after
 * it.  So the others begin anew: they are woken, arrive again in the next generation, and get new
 * indexes.
 *
 * Every end of a generation changes the low half, on which its waiters sleep.  A waiter that comes
 * back finds how its own generation ended by the outcomes, even when three more have ended since.
 * When more have, `tripped_since` tells: if no generation from its own on ended badly, its own has
 * tripped.  Else it takes its own for broken, rather than pass a barrier that may not have tripped.
 */
#include <errno.h>
#include <stdio.h>

#include "process/owner.h"
#include "process/proc.h"
#include "wait/spin.h"
#include "wait/wait.h"

#define CLOSED (UINT64_C(1) << 63)
#define MOST UINT32_C(0x7fffff) /* arrivals: twice as many as there can be threads */
#define COUNT_AT 40
#define GENERATION_AT 8
#define OUTCOMES 4

enum outcome { TRIPPED, BROKEN, BEGUN_ANEW, NOT_ENDED };

static uint32_t count_of(uint64_t word) { return (uint32_t)(word >> COUNT_AT) & MOST; }
static uint32_t generation_of(uint64_t word) { return (uint32_t)(word >> GENERATION_AT); }
static int is_broken(uint64_t word) { return (word & CLOSED) && count_of(word) == 0; }
static int is_full(uint64_t word) { return (word & CLOSED) && count_of(word) != 0; }

static uint64_t get(const altsem_slot *slot) {
    return atomic_load_explicit(&slot->word, memory_order_acquire);
}

/* No generation before this one is taken for tripped any more, unless the outcomes say so. */
static void raise_tripped_since(altsem_slot *slot, uint32_t generation) {
    uint32_t seen = atomic_load_explicit(&slot->tripped_since, memory_order_relaxed);
    while ((int32_t)(generation - seen) > 0)
        if (atomic_compare_exchange_weak_explicit(&slot->tripped_since, &seen, generation,
                                                  memory_order_relaxed, memory_order_relaxed))
            return;
}

/* Ends the generation of *seen and wakes its waiters.  0: somebody has made another step; *seen is
 * what the word holds now. */
static int end(altsem_segment *segment, altsem_slot *slot, uint64_t *seen, enum outcome how,
               int broken) {
    uint32_t next = generation_of(*seen) + 1, outcomes = (1u << 2 * OUTCOMES) - 1;
    /* Before the step: whoever sees the new generation sees this too. */
    if (how != TRIPPED) raise_tripped_since(slot, next);
    uint64_t word = (uint64_t)next << GENERATION_AT | ((*seen << 2 | how) & outcomes);
    if (!atomic_compare_exchange_strong_explicit(&slot->word, seen, broken ? word | CLOSED : word,
                                                 memory_order_acq_rel, memory_order_acquire))
        return 0;
    altsem_wake(segment, slot, ALTSEM_WORD, UINT32_MAX);
    return 1;
}

static enum outcome outcome(const altsem_slot *slot, uint64_t word, uint32_t generation) {
    uint32_t since = generation_of(word) - generation;
    if (since == 0) return NOT_ENDED;
    if (since <= OUTCOMES) return (enum outcome)(word >> 2 * (since - 1) & 3);
    uint32_t first = atomic_load_explicit(&slot->tripped_since, memory_order_relaxed);
    return first - 1 - generation < since ? BROKEN : TRIPPED;
}

/* --- the party that runs the action ----------------------------------------------------------- */

static uint64_t closed_by(uint64_t word, uint32_t tid) {
    uint64_t rest = word & ((UINT64_C(1) << COUNT_AT) - 1);
    return CLOSED | (uint64_t)(tid < MOST ? tid : MOST) << COUNT_AT | rest;
}

/* Its process, in half a word: enough to tell it from one by the same number. */
static uint32_t brief(uint64_t id) { return (uint32_t)(id >> ALTSEM_THREAD_BITS); }
static uint64_t signed_by(uint32_t generation, uint64_t id) {
    return (uint64_t)generation << 32 | (altsem_id_known(id) ? brief(id) : 0);
}

/* Whether the number of who has closed this generation is that of another process now.  What
 * stands in `holder` counts only if it is of this generation: one that was stopped before it wrote
 * there, while its own was broken, writes late. */
static int is_another(const altsem_slot *slot, uint64_t word, const altsem_verdict *verdict) {
    uint64_t holder = atomic_load_explicit(&slot->holder, memory_order_relaxed);
    altsem_seen seen;
    char name[16];
    if (altsem_high(holder) != generation_of(word) || altsem_low(holder) == 0) return 0;
    snprintf(name, sizeof name, "%u", verdict->pid);
    if (!verdict->is_shown || altsem_proc_look(name, &seen) != 0) return 0;
    uint64_t id = altsem_id_from(verdict->pid, seen.start, altsem_pid_namespace());
    return brief(id) != altsem_low(holder);
}

/* Whether it is proved that `who` is dead. */
static int is_dead(altsem_segment *segment, const altsem_slot *slot, uint64_t word) {
    altsem_verdict verdict;
    if (count_of(word) == MOST) return 0;
    altsem_judge(count_of(word), 0, altsem_segment_namespace(segment), &verdict);
    return verdict.thread == ALTSEM_DEAD || is_another(slot, word, &verdict);
}

/* After a slice, or a signal.  Whether the generation has ended now. */
static int ended_by_death(altsem_segment *segment, altsem_slot *slot, uint64_t seen) {
    int saved = errno;
    int ended =
        is_full(seen) && is_dead(segment, slot, seen) && end(segment, slot, &seen, BROKEN, 1);
    errno = saved;
    return ended;
}

/* ---------------------------------------------------------------------------------------------- */

int altsem_barrier_arrive(altsem_segment *segment, altsem_slot *slot, int to_act, int64_t deadline,
                          uint32_t *index, uint32_t *generation) {
    uint32_t parties = (uint32_t)slot->maxvalue;
    const altsem_thread *me = altsem_self();
    uint64_t seen = get(slot);
    for (int result = 0;;) {
        if (is_broken(seen)) return -EPIPE;
        *index = count_of(seen);
        *generation = generation_of(seen);
        if (is_full(seen)) {
            if (result != 0 && !(result == -EINTR && ended_by_death(segment, slot, seen)))
                return result;
            result = altsem_sleep(segment, slot, ALTSEM_WORD, altsem_low(seen), deadline);
            seen = get(slot);
        } else if (*index + 1 < parties) {
            if (*index == MOST) return -EAGAIN;
            if (altsem_step(&slot->word, &seen, seen + (UINT64_C(1) << COUNT_AT),
                            memory_order_acq_rel))
                return 0;
        } else if (!to_act) {
            if (end(segment, slot, &seen, TRIPPED, 0)) return 1;
        } else if (altsem_step(&slot->word, &seen, closed_by(seen, altsem_token_tid(me->token)),
                               memory_order_acq_rel)) {
            atomic_store_explicit(&slot->holder, signed_by(*generation, me->id),
                                  memory_order_relaxed);
            return 1;
        }
    }
}

int altsem_barrier_wait(altsem_segment *segment, altsem_slot *slot, uint32_t generation,
                        int64_t deadline) {
    uint64_t seen = get(slot);
    for (int result = deadline == ALTSEM_NOW ? -ETIMEDOUT : 0;;) {
        switch (outcome(slot, seen, generation)) {
        case TRIPPED:
            return 0;
        case BROKEN:
            return -EPIPE;
        case BEGUN_ANEW:
            return -EAGAIN;
        case NOT_ENDED:
            break;
        }
        if (is_full(seen)) {
            deadline = ALTSEM_FOREVER;
            if (result == -ETIMEDOUT) result = 0;
            if (result == -EINTR && ended_by_death(segment, slot, seen)) result = 0;
        } else if (result == -ETIMEDOUT) {
            if (end(segment, slot, &seen, BROKEN, 1)) return -ETIMEDOUT;
            continue;
        }
        if (result != 0) return result;
        altsem_spinner spinner = {&slot->word, ALTSEM_UNTIL_CHANGE, altsem_low(seen), 0, deadline};
        if (!altsem_spin(&spinner))
            result = altsem_sleep(segment, slot, ALTSEM_WORD, altsem_low(seen), deadline);
        seen = get(slot);
    }
}

void altsem_barrier_withdraw(altsem_segment *segment, altsem_slot *slot, uint32_t generation) {
    uint64_t seen = get(slot);
    while (generation_of(seen) == generation && !(seen & CLOSED) && count_of(seen) != 0) {
        if (count_of(seen) > 1) {
            if (end(segment, slot, &seen, BEGUN_ANEW, 0)) return;
        } else if (altsem_step(&slot->word, &seen, seen - (UINT64_C(1) << COUNT_AT),
                               memory_order_acq_rel)) {
            return;
        }
    }
}

static int end_action(altsem_segment *segment, altsem_slot *slot, uint32_t generation,
                      enum outcome how) {
    uint64_t seen = get(slot);
    do {
        if (generation_of(seen) != generation || !is_full(seen)) return -EPIPE;
    } while (!end(segment, slot, &seen, how, how == BROKEN));
    return 0;
}

int altsem_barrier_trip(altsem_segment *segment, altsem_slot *slot, uint32_t generation) {
    return end_action(segment, slot, generation, TRIPPED);
}

void altsem_barrier_fail(altsem_segment *segment, altsem_slot *slot, uint32_t generation) {
    end_action(segment, slot, generation, BROKEN);
}

/* What says so in the word could be the number of another thread, in another PID namespace; what says
 * so in `holder` is of this generation only if its number is. */
int altsem_barrier_acting(const altsem_slot *slot, uint32_t *generation) {
    const altsem_thread *me = altsem_self();
    uint64_t seen = get(slot);
    uint64_t holder = atomic_load_explicit(&slot->holder, memory_order_relaxed);
    *generation = generation_of(seen);
    return is_full(seen) && count_of(seen) == altsem_token_tid(me->token) &&
           altsem_low(holder) != 0 && holder == signed_by(*generation, me->id);
}

void altsem_barrier_abort(altsem_segment *segment, altsem_slot *slot) {
    uint64_t seen = get(slot);
    while (!is_broken(seen) && !end(segment, slot, &seen, BROKEN, 1)) continue;
}

void altsem_barrier_reset(altsem_segment *segment, altsem_slot *slot) {
    uint64_t seen = get(slot);
    while ((seen & CLOSED) || count_of(seen) != 0)
        if (end(segment, slot, &seen, is_broken(seen) ? TRIPPED : BROKEN, 0))
            return; /* or nobody's */
}

uint32_t altsem_barrier_waiting(const altsem_slot *slot) {
    uint64_t seen = get(slot);
    return seen & CLOSED ? 0 : count_of(seen);
}

int altsem_barrier_broken(const altsem_slot *slot) { return is_broken(get(slot)); }
