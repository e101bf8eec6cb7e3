/* cond.c - the wait queue of a condition variable.
 *
 * Promise: notify(n) wakes exactly min(n, waiting) of the waiters, never one that came later, and
 * waits for nobody, so a killed waiter cannot hold a notifier up.  Whoever is killed in here, after
 * whatever instruction, leaves a state from which a later notification of all reaches every waiter:
 * each step errs towards a spurious wake.
 *
 * Waiters form groups by arrival.  Only the current group is being notified; arrivals join the
 * next.  A notification is a token in the word of the current group.  When all its members have
 * been handed one, the next notification closes the next group and makes it the current one.  So a
 * token is taken by a member of its own group only, and since a group gets no members once it is
 * current, not by a latecomer.
 *
 *   current    current group << 32 | its members without a notification
 *   joining    next group << 32 | CLOSED | its members
 *   word of group g (slot->word for even g, word2 for odd):
 *              g << 32 | g mod 4096 << 20 | tokens
 *
 *   step        by          changes
 *   ----------  ----------  ---------------------------------------------------------------------
 *   enter       waiter      joining +1, unless CLOSED
 *   notify      notifier    current -k; then word of the current group +k tokens; then wakes k
 *   leave       waiter      current -1 or joining -1, whichever counts its group
 *   close       notifier    current (g, 0), joining (g+1, m): joining CLOSED
 *   advance     anybody     joining CLOSED (g+1, m): current (g, 0) becomes (g+1, m)
 *   open        anybody     then joining becomes (g+2, 0)
 *
 *   a waiter of group g finds                 it
 *   ----------------------------------------  ---------------------------------------------------
 *   current group later than g                is notified
 *   current group g, all members notified     is notified, with or without a token
 *   current group g, tokens in its word       takes one in one step: is notified
 *   otherwise                                 sleeps, if the low half of the word is what it was
 *
 * Every step is one compare-and-swap that carries the whole number of the group, so nobody has to
 * hold a lock: a waiter leaves, and hands its notification on, at once, also when it cannot get the
 * caller's lock back.  A waiter that was stopped for any number of groups fails its step.
 *
 * Killed between two steps
 *   - notify, after `current`: k members get no token.  They go when their group has run out, which
 *     any notification of all brings about; not sooner, because a notifier that is only slow would
 *     look the same.  Taken out in the other order they would be counted as waiting when they had
 *     gone, and later notifications would be spent on nobody.
 *   - notify, before the wake: whom it was for finds its token at the end of its slice (word.h).
 *   - close, advance: whoever comes next finds CLOSED, and finishes.
 *   - a waiter, anywhere: it stays counted, and a notification may be spent on it.  It cannot be
 *     told from one that was notified and killed before it could act.
 *
 * Two words, because the kernel wakes in order of arrival at the word, and a member of the current
 * group that went back to sleep stands behind the arrivals of the next.  Two are enough: group g+2
 * gets tokens only when all of g have been handed theirs, each with a wake, so nobody of g sleeps
 * any more; one that is just about to finds the low half changed by a token, or by the number in
 * it.
 */
#include <errno.h>

#include "wait/spin.h"
#include "wait/wait.h"

#define TOKENS UINT32_C(0x000fffff)
#define CLOSED (UINT64_C(1) << 31)

static uint64_t get(const _Atomic uint64_t *field) {
    return atomic_load_explicit(field, memory_order_acquire);
}
static int swap(_Atomic uint64_t *field, uint64_t seen, uint64_t next) {
    return atomic_compare_exchange_strong_explicit(field, &seen, next, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

static uint64_t of_group(uint32_t group, uint32_t low) { return (uint64_t)group << 32 | low; }
static uint32_t group_of(uint64_t value) { return altsem_high(value); }
static int later(uint32_t group, uint32_t than) { return (int32_t)(group - than) > 0; }
static enum altsem_which which_of(uint32_t group) { return group & 1 ? ALTSEM_WORD2 : ALTSEM_WORD; }

/* `joining`, open.  Whoever finds it CLOSED finishes what the notifier has begun: a helper that
 * comes late fails both steps. */
static uint64_t get_joining(altsem_slot *slot) {
    uint64_t joining;
    while ((joining = get(&slot->joining)) & CLOSED) {
        uint32_t group = group_of(joining), members = altsem_low(joining & ~CLOSED);
        swap(&slot->current, of_group(group - 1, 0), of_group(group, members));
        swap(&slot->joining, joining, of_group(group + 1, 0));
    }
    return joining;
}

int altsem_cond_enter(altsem_slot *slot, uint32_t *ticket) {
    uint64_t joining;
    do {
        joining = get_joining(slot);
        if (altsem_low(joining) >= TOKENS) return -EAGAIN;
    } while (!swap(&slot->joining, joining, joining + 1));
    *ticket = group_of(joining);
    return 0;
}

/* 0 notified, with a token taken if one was needed; -EAGAIN not yet, and *low is what to sleep on.
 * The word is read before `current`: a notifier changes them in the other order, so whoever has
 * read a word that is about to change does not fall asleep on it. */
static int take_notification(altsem_slot *slot, uint32_t ticket, uint32_t *low) {
    _Atomic uint64_t *word = altsem_word_of(slot, which_of(ticket));
    uint64_t seen = get(word);
    for (;;) {
        uint64_t current = get(&slot->current);
        if (later(group_of(current), ticket)) return 0;
        *low = altsem_low(seen);
        if (group_of(current) != ticket) return -EAGAIN;
        if (altsem_low(current) == 0) return 0;
        if (group_of(seen) != ticket || (*low & TOKENS) == 0) return -EAGAIN;
        if (altsem_step(word, &seen, seen - 1, memory_order_acquire)) return 0;
    }
}

int altsem_cond_sleep(altsem_segment *segment, altsem_slot *slot, uint32_t ticket,
                      int64_t deadline) {
    enum altsem_which which = which_of(ticket);
    uint32_t low;
    for (int result = deadline == ALTSEM_NOW ? -ETIMEDOUT : 0;;) {
        if (take_notification(slot, ticket, &low) == 0) return 0;
        if (result != 0) return result;
        altsem_spinner spinner = {altsem_word_of(slot, which), ALTSEM_UNTIL_CHANGE, low, 0,
                                  deadline};
        if (!altsem_spin(&spinner)) result = altsem_sleep(segment, slot, which, low, deadline);
    }
}

int altsem_cond_leave(altsem_slot *slot, uint32_t ticket) {
    for (;;) {
        /* In this order: a group that is no longer joining is current by then, or has been. */
        uint64_t joining = get_joining(slot), current = get(&slot->current);
        uint32_t low;
        if (take_notification(slot, ticket, &low) == 0) return 1;
        if (group_of(current) == ticket) {
            if (swap(&slot->current, current, current - 1)) return 0;
        } else if (group_of(joining) == ticket && altsem_low(joining) != 0) {
            if (swap(&slot->joining, joining, joining - 1)) return 0;
        } else {
            return 0; /* no waiter of this queue */
        }
    }
}

/* A word that carries the number of an older group has no tokens for this one.  One that carries a
 * later number is not touched: then all members of this group are notified already. */
static void add_tokens(altsem_slot *slot, uint32_t group, uint32_t n) {
    _Atomic uint64_t *word = altsem_word_of(slot, which_of(group));
    uint64_t seen = altsem_load(word), next;
    do {
        if (later(group_of(seen), group)) return;
        next = group_of(seen) == group ? seen + n : of_group(group, group << 20 | n);
    } while (!altsem_step(word, &seen, next, memory_order_release));
}

uint32_t altsem_cond_notify(altsem_segment *segment, altsem_slot *slot, uint32_t n) {
    uint32_t done = 0;
    while (done < n) {
        uint64_t joining = get_joining(slot), current = get(&slot->current);
        uint32_t waiting = altsem_low(current), now = n - done < waiting ? n - done : waiting;
        if (waiting == 0) {
            if (altsem_low(joining) == 0) break;
            swap(&slot->joining, joining, joining | CLOSED);
        } else if (swap(&slot->current, current, current - now)) {
            add_tokens(slot, group_of(current), now);
            altsem_wake(segment, slot, which_of(group_of(current)), now);
            done += now;
        }
    }
    return done;
}

uint32_t altsem_cond_waiters(const altsem_slot *slot) {
    return altsem_low(get(&slot->current)) + altsem_low(get(&slot->joining) & ~CLOSED);
}
