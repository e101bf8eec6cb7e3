/* cond.c - the waiting room of a condition variable.
 *
 * Promise: notify(n) wakes exactly min(n, waiting) of those who were waiting, never one who came
 * later, and waits for nobody, so a waiter that died cannot hold a notifier up.
 *
 * Waiters form groups by arrival.  Only `group` is being notified; arrivals join group + 1.  A
 * notification is a token in the word of that group.  When every member of `group` has been handed
 * one, the next notify moves on to the next group, and whoever is still on the way out of an older
 * group is free to go without a token.  So a token can only be taken by a member of its own group,
 * and since a group gets no members once it is being notified, not by a latecomer.
 *
 *   word of group g (slot->word for even g, word2 for odd)      low half: g mod 4096 | tokens (20 bits)
 *
 *   member of group g sees              it
 *   ----------------------------------  -------------------------------------------------
 *   group later than g                  goes: notified
 *   group == g, tokens > 0              takes one in one step, and goes
 *   group == g, no token; group == g-1  sleeps, if the low half is still what it saw
 *
 * Two words, because the kernel wakes in order of arrival at the word, and a member of the group
 * being notified that went back to sleep stands behind the arrivals of the next.  Two are enough:
 * group g+2 begins only when all of g have been handed tokens, each with a wake, so nobody of g
 * sleeps any more; one who is just about to finds the low half changed by the new number in it.
 *
 * group, left, joining change under the caller's lock only.  A waiter that dies stays counted in its
 * group, and a notification may be spent on it: it cannot be told from one that was notified and
 * died before it could act.
 */
#include <errno.h>

#include "wait/spin.h"
#include "wait/wait.h"

#define TOKENS UINT32_C(0x000fffff)

static uint32_t get(const _Atomic uint32_t *field) {
    return atomic_load_explicit(field, memory_order_relaxed);
}
static void put(_Atomic uint32_t *field, uint32_t value) {
    atomic_store_explicit(field, value, memory_order_relaxed);
}

static enum altsem_which which_of(uint32_t group) { return group & 1 ? ALTSEM_WORD2 : ALTSEM_WORD; }
static uint32_t label(uint32_t group) { return group << 20; }

int altsem_cond_enter(altsem_slot *slot, uint32_t *ticket) {
    if (get(&slot->joining) >= TOKENS) return -EAGAIN;
    put(&slot->joining, get(&slot->joining) + 1);
    *ticket = get(&slot->group) + 1;
    return 0;
}

/* 0 notified (a token is used up, or none is needed), -EAGAIN not yet; *low: what to sleep on. */
static int look(altsem_slot *slot, uint32_t ticket, uint32_t *low) {
    _Atomic uint64_t *word = altsem_word_of(slot, which_of(ticket));
    uint64_t seen = atomic_load_explicit(word, memory_order_acquire);
    for (;;) {
        uint32_t group = atomic_load_explicit(&slot->group, memory_order_acquire);
        if ((int32_t)(group - ticket) > 0) return 0;
        *low = altsem_low(seen);
        if (group != ticket || (*low & TOKENS) == 0) return -EAGAIN;
        if (altsem_step(word, &seen, seen - 1, memory_order_acquire)) return 0;
    }
}

int altsem_cond_sleep(altsem_segment *segment, altsem_slot *slot, uint32_t ticket,
                      int64_t deadline) {
    uint32_t low;
    for (int result = 0;;) {
        if (look(slot, ticket, &low) == 0) return 0;
        if (result != 0) return result;
        altsem_spinner spinner = {altsem_word_of(slot, which_of(ticket)), ALTSEM_UNTIL_CHANGE, low,
                                  0, deadline};
        if (altsem_spin(&spinner)) continue;
        result = altsem_sleep(segment, slot, which_of(ticket), low, deadline);
    }
}

int altsem_cond_leave(altsem_slot *slot, uint32_t ticket) {
    uint32_t low;
    if (look(slot, ticket, &low) == 0) return 1;
    _Atomic uint32_t *mine = get(&slot->group) == ticket ? &slot->left : &slot->joining;
    put(mine, get(mine) - 1);
    return 0;
}

/* Makes the next group the one to be notified.  Its own word has carried its number since the group
 * before began; now the older word gets the number of the group that will join next. */
static void next_group(altsem_slot *slot) {
    uint32_t group = get(&slot->group) + 1;
    put(&slot->left, get(&slot->joining));
    put(&slot->joining, 0);
    atomic_store_explicit(&slot->group, group, memory_order_release);
    atomic_store_explicit(altsem_word_of(slot, which_of(group + 1)), label(group + 1),
                          memory_order_release);
}

uint32_t altsem_cond_notify(altsem_segment *segment, altsem_slot *slot, uint32_t n) {
    uint32_t done = 0;
    while (done < n) {
        if (get(&slot->left) == 0) {
            if (get(&slot->joining) == 0) break;
            next_group(slot);
        }
        uint32_t left = get(&slot->left), now = n - done < left ? n - done : left;
        enum altsem_which which = which_of(get(&slot->group));
        put(&slot->left, left - now);
        atomic_fetch_add_explicit(altsem_word_of(slot, which), now, memory_order_release);
        altsem_wake(segment, slot, which, now);
        done += now;
    }
    return done;
}

uint32_t altsem_cond_waiters(const altsem_slot *slot) {
    return get(&slot->left) + get(&slot->joining);
}
