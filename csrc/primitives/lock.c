/* lock.c - the binary lock that knows its owner, and its recursive form.
 *
 * Why recursion is safe although other processes scribble in the same slot: only the owner writes
 * `holder` and `again`, between its taking and its release.  A thread that reads its own id in the
 * word is the owner, or has the same id in another PID namespace, or later; then `holder` differs
 * (owner.c), because the releasing owner cleared it before, and the taking one writes it after, the
 * step of the word.
 */
#include "primitives/fair.h"
#include "primitives/fast.h"
#include "primitives/robust.h"
#include "wait/spin.h"

static void hold(altsem_slot *slot) {
    atomic_store_explicit(&slot->holder, altsem_self()->id, memory_order_relaxed);
}

/* One that does not wait takes what is there, whoever it is reserved for: natively "no" means that
 * somebody holds it, and programs rely on that.  HUNGRY stays. */
int altsem_lock_try(altsem_slot *slot) {
    uint64_t seen = altsem_load(&slot->word);
    while (altsem_lock_takeable(seen, 1)) {
        if (!altsem_step(&slot->word, &seen, seen | altsem_self()->token, memory_order_acquire))
            continue;
        hold(slot);
        return 0;
    }
    return -EAGAIN;
}

/* Takes a lock that was last seen as `seen`, for a waiter: it leaves the waiters in the same step,
 * and takes WOKEN and HUNGRY away.  -EAGAIN: held, or reserved for others. */
static int take(altsem_slot *slot, uint64_t seen, const altsem_waiting *waiting) {
    while (altsem_lock_takeable(seen, waiting->slept)) {
        uint64_t rest = (seen & ~(uint64_t)(ALTSEM_WOKEN | ALTSEM_HUNGRY)) - ALTSEM_WAITER;
        if (!altsem_step(&slot->word, &seen, rest | altsem_self()->token, memory_order_acquire))
            continue;
        hold(slot);
        altsem_served(slot, waiting);
        return 0;
    }
    return -EAGAIN;
}

int altsem_lock_wait(altsem_segment *segment, altsem_slot *slot, int64_t deadline) {
    if (altsem_fast_try(slot) == 0) return 0;
    if (deadline == ALTSEM_NOW) {
        if (altsem_lock_try(slot) == 0) return 0;
        return altsem_lock_is_robust(slot) && altsem_lock_inherit(segment, slot) == 0 ? 0
                                                                                      : -ETIMEDOUT;
    }
    altsem_spinner spinner = {&slot->word, ALTSEM_UNTIL_FREE, 0, 0, deadline};
    while (altsem_spin(&spinner))
        if (altsem_fast_try(slot) == 0) return 0;
    uint64_t seen = altsem_announce(&slot->word);
    altsem_waiting waiting = altsem_waiting_now();
    for (int result = 0;;) {
        if (take(slot, seen, &waiting) == 0) return 0;
        seen = altsem_load(&slot->word);
        if (altsem_lock_takeable(seen, waiting.slept)) continue;
        if (altsem_owner(seen) == 0) {
            result = altsem_let_others(segment, slot, seen, deadline, &waiting);
            seen = altsem_load(&slot->word);
            continue;
        }
        if (result && altsem_lock_is_robust(slot) &&
            altsem_robust_take(segment, slot, &waiting) == 0)
            return 0;
        /* WOKEN stays meanwhile: no release wakes another. */
        if (spinner.woken && result == 0 && altsem_spin(&spinner)) {
            seen = altsem_load(&slot->word);
            continue;
        }
        /* One step from a lock still held: WOKEN goes, and the waiter too if it leaves.  If the step
         * fails somebody else has made one, perhaps a release: look again. */
        uint64_t next = seen & ~(uint64_t)ALTSEM_WOKEN;
        if (result) {
            next -= ALTSEM_WAITER; /* HUNGRY stays: it mostly comes back */
        } else if (altsem_starving(slot, &waiting)) {
            next |= ALTSEM_HUNGRY;
        }
        if (next != seen && !altsem_step(&slot->word, &seen, next, memory_order_relaxed)) continue;
        if (result) return result;
        if (next & ~seen & ALTSEM_HUNGRY) altsem_served(slot, &waiting);
        result = altsem_sleep(segment, slot, ALTSEM_WORD, altsem_low(next), deadline);
        waiting.slept = 1;
        spinner.woken = result == 0;
        seen = altsem_load(&slot->word);
    }
}

int altsem_lock_release(altsem_segment *segment, altsem_slot *slot) {
    /* Zero already, unless an RLOCK is freed in the place of an owner that died deep inside: the
     * next one must not inherit the depth. */
    if (altsem_lock_is_robust(slot)) return altsem_robust_release(segment, slot, 1);
    if (!altsem_lock_is_free(slot)) atomic_store_explicit(&slot->again, 0, memory_order_relaxed);
    return altsem_fast_release(segment, slot);
}

int altsem_lock_is_free(const altsem_slot *slot) {
    return altsem_owner(altsem_load(&slot->word)) == 0;
}

int altsem_lock_is_ours(const altsem_slot *slot) {
    uint32_t owner = altsem_owner(altsem_load(&slot->word));
    return owner != 0 && owner != ALTSEM_NOBODY &&
           altsem_id_process(altsem_load(&slot->holder)) == altsem_id_process(altsem_self()->id);
}

int altsem_lock_is_mine(const altsem_slot *slot) { return altsem_fast_is_mine(slot); }

int altsem_lock_disown(altsem_slot *slot) {
    uint64_t seen = altsem_load(&slot->word), next;
    uint32_t owner = altsem_owner(seen);
    if (owner == ALTSEM_NOBODY) return 1;
    if (!altsem_lock_is_ours(slot)) return 0;
    do {
        if (altsem_owner(seen) != owner) return 0; /* it has been released meanwhile */
        next = (seen & ~(uint64_t)UINT32_MAX) | (seen & (ALTSEM_WOKEN | ALTSEM_HUNGRY)) |
               ALTSEM_NOBODY;
        /* Release: whoever frees it for us need not have heard of what was done while it was held.
         * `holder` and `again` are the owner's to write; while the word names nobody they mean
         * nothing, and whoever frees the lock then clears them. */
    } while (!altsem_step(&slot->word, &seen, next, memory_order_release));
    return 1;
}

int altsem_rlock_again(altsem_slot *slot) {
    uint32_t again = atomic_load_explicit(&slot->again, memory_order_relaxed);
    if (again >= ALTSEM_VALUE_MAX - 1) return -EOVERFLOW;
    atomic_store_explicit(&slot->again, again + 1, memory_order_relaxed);
    return 0;
}

int altsem_rlock_release(altsem_segment *segment, altsem_slot *slot) {
    if (altsem_lock_is_robust(slot) && altsem_fast_is_mine(slot) &&
        atomic_load_explicit(&slot->again, memory_order_relaxed) == 0)
        return altsem_robust_release(segment, slot, 1);
    return altsem_fast_rlock_release(segment, slot);
}

int altsem_rlock_release_all(altsem_segment *segment, altsem_slot *slot, uint32_t *depth) {
    if (!altsem_fast_is_mine(slot)) return -EPERM;
    *depth = atomic_exchange_explicit(&slot->again, 0, memory_order_relaxed) + 1;
    return altsem_lock_release(segment, slot);
}

void altsem_rlock_restore(altsem_slot *slot, uint32_t depth) {
    atomic_store_explicit(&slot->again, depth - 1, memory_order_relaxed);
}

uint32_t altsem_rlock_depth(const altsem_slot *slot) {
    if (!altsem_lock_is_ours(slot)) return 0;
    return atomic_load_explicit(&slot->again, memory_order_relaxed) + 1;
}

uint32_t altsem_lock_owner_token(const altsem_slot *slot) {
    uint32_t owner = altsem_owner(altsem_load(&slot->word));
    return owner == ALTSEM_NOBODY ? 0 : owner;
}

uint32_t altsem_lock_owner_tid(const altsem_slot *slot) {
    return altsem_token_tid(altsem_lock_owner_token(slot));
}

uint32_t altsem_lock_owner_pid(const altsem_slot *slot) {
    return altsem_lock_owner_token(slot) ? altsem_id_pid(altsem_load(&slot->holder)) : 0;
}

uint64_t altsem_lock_owner_id(const altsem_slot *slot) { return altsem_load(&slot->holder); }

uint32_t altsem_waiters(const altsem_slot *slot) { return altsem_high(altsem_load(&slot->word)); }
