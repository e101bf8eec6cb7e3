/* word.h - the 64-bit word that is the whole state of a semaphore, a lock or an event.
 *
 *    63                    32 31                     0
 *   +------------------------+------------------------+
 *   |        waiters         |          low           |
 *   +------------------------+------------------------+
 *
 * low, by type
 *   SEM     the value, 0 .. 2^31-1; and HUNGRY: the next token is for a waiter that has slept
 *   LOCK    0 free | t held by the thread with the token t | NOBODY held, by nobody (born taken);
 *           and WOKEN: a waiter has been woken and has not looked at the word yet;
 *           and HUNGRY: the next owner is to be a waiter that has slept;
 *           and SUSPECT: somebody judges whether t is dead (ROBUST, primitives/robust.c)
 *   token   bits 0-21 the kernel's id of the thread, bits 22-27 a hash of when the thread started and
 *           of the identity of its process; 0 where /proc does not tell that (process/owner.h)
 *   RLOCK   as LOCK; how often it is held is in slot->again, which only the owner touches
 *   EVENT   (times set) << 1 | is it set now
 *
 *   state            low        who may step              to
 *   ---------------  ---------  ------------------------  -------------------------------------
 *   SEM v > 0        v          acquire, anyone           v-1
 *   SEM v < bound    v          post, anyone              v+1, then wake one if waiters > 0;
 *                                                         HUNGRY stays
 *   SEM 0            0          a starving waiter         HUNGRY, then it sleeps
 *   SEM v, HUNGRY    v > 0      a waiter that has slept   v-1; HUNGRY goes
 *   SEM v, HUNGRY    v > 0      try, anyone               v-1
 *                    v > 1      acquire, anyone           v-1
 *     no waiters     v > 0      acquire, anyone           v-1; HUNGRY goes
 *   LOCK free        0, WOKEN   acquire, thread t         t; WOKEN goes if t had announced itself
 *   LOCK free,                  a waiter that has slept   t; HUNGRY and WOKEN go
 *        HUNGRY                 try, thread t             t; HUNGRY and WOKEN stay
 *   LOCK held        t, NOBODY  release, anyone (RLOCK:   no waiters: 0
 *                               only t itself)            waiters: WOKEN, then wake one unless it
 *                                                         was WOKEN before; HUNGRY stays
 *   LOCK held, WOKEN            a waiter                  the same without WOKEN, then it sleeps; with
 *                                                         HUNGRY if it is starving
 *   LOCK held        t          disown, t's process       NOBODY; waiters, WOKEN, HUNGRY stay
 *   LOCK held, ROBUST  t        anyone who finds it held  t, SUSPECT; all else stays
 *        held, SUSPECT  t       who has judged t dead     its own token; SUSPECT goes; if it waits,
 *                               since SUSPECT was set     HUNGRY and WOKEN too, as for a free lock
 *   EVENT unset      s<<1       set                       (s+1)<<1|1, then wake all if waiters > 0
 *   EVENT set        s<<1|1     clear                     s<<1
 *
 * waiters: how many threads sleep on the word or are about to.
 *   - A waiter adds itself with a read-modify-write BEFORE it asks the kernel to compare the low
 *     half.  Illegal to omit: a release between its look at the word and its sleep would see no
 *     waiter, wake nobody, and the sleeper would sleep on a free lock.
 *   - It leaves in the same step that takes the token.  Legal to do in two steps (an extra wake);
 *     one step costs less and never wakes for nothing.
 *   - A release learns `waiters` from the SAME read-modify-write that publishes the token, and
 *     touches nothing of the slot afterwards but to wake by its address.  Illegal to read it later:
 *     by then the slot may be somebody else's.
 *   - A release wakes whenever waiters > 0, not only on the step 0 -> 1.  Illegal to wake only then:
 *     of two posts that come before the first sleeper runs, the second would wake nobody.
 *     Except for a lock that is WOKEN: one waiter is on its way to look, and one is all that a lock
 *     can serve.  Without this every release under contention makes a system call, for a waiter that
 *     mostly comes too late.  It is legal because whoever has announced itself takes WOKEN away in the
 *     very step with which it takes the lock, or goes to sleep on a lock still held, or leaves one;
 *     and because WOKEN is in the half that the kernel compares: a release that comes between that
 *     step and the sleep sets it again, and the sleep does not happen.  Legal to spin on the word for a
 *     moment before that step: that is only a look that takes its time.  Illegal to leave it there when
 *     going to sleep, even for the first time: it may stand for a wake that came too early for oneself.
 *   - A waiter that has slept, and still finds the lock held, is starving if no waiter that has slept
 *     got the lock during the last moments (primitives/fair.h).  It sets HUNGRY.  Then threads that have
 *     not slept find the lock taken, also when it is free: their test is "the low half is zero", and
 *     costs no instruction more.  Without it a thread that runs takes the lock again and again before
 *     a woken one has got a CPU.  A waiter that takes a reserved lock takes HUNGRY away.  Illegal to
 *     set it unless one sleeps next: whoever finds a reserved lock counts on somebody who comes for it.
 *     Legal to drop it at any time (somebody starves a little longer).
 *   - A waiter that leaves lets HUNGRY stand: no sleep outlasts a slice, and one that had to reserve the
 *     lock anew after each would never get a lock that is always held for longer.  Once nobody waits it
 *     means nothing: the release of a lock clears it, and of a semaphore anybody takes the token.
 *   - A waiter that has announced itself, and has not slept, may find a reserved lock free.  It sleeps
 *     then, but for two milliseconds at most, and counts as one that has slept.  Without that limit it
 *     would sleep for a slice if all for whom the lock was reserved are dead.
 *   - Whoever does not wait (a timeout of zero) takes what is there, whoever it is reserved for, and lets
 *     HUNGRY stand.  Illegal to refuse it: "no" means that there is nothing, also to those who count
 *     tokens with it.
 *   - A waiter that is SIGKILLed stays counted for ever.  Harmless: every release makes one wake
 *     call too many.  "Repairing" the count when a wake finds nobody is illegal: a waiter may stand
 *     between its announcement and its sleep.
 *   - Every release, take and disown writes a word without SUSPECT.  Illegal to keep it: where it still
 *     stands, the holding that was judged is the one that is taken over.  A sleep is on the word with
 *     or without it; setting it changes nothing that anybody waits for.
 *   - A waiter that is SIGKILLed after it was chosen by a wake, before it took the token, strands
 *     the others: the token is there, they sleep.  So no sleep lasts longer than a second.
 *
 * Memory order: taking is acquire, publishing is release, the waiter count needs none of its own.
 */
#ifndef ALTSEM_WORD_H
#define ALTSEM_WORD_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "altsem.h"

/* The kernel and libatomic know different locks: an emulated 64-bit atomic would be locked in each
 * process by itself, so two processes would silently not exclude each other. */
static_assert(__atomic_always_lock_free(8, 0), "altsem needs lock-free 64-bit atomics");
static_assert(sizeof(_Atomic uint64_t) == 8 && sizeof(_Atomic uint32_t) == 4, "atomics are bare");

#define ALTSEM_WAITER (UINT64_C(1) << 32)
/* The low half of a lock.  Linux has no larger thread ids; of a system that has, the rest is cut off,
 * and the hash is 0: threads are still told apart by `holder`, but no owner can be proved dead. */
#define ALTSEM_TID UINT32_C(0x003fffff)
#define ALTSEM_HASH_AT 22
#define ALTSEM_HASH UINT32_C(0x3f) /* from ALTSEM_HASH_AT on */
#define ALTSEM_SUSPECT UINT32_C(0x10000000)
#define ALTSEM_HUNGRY UINT32_C(0x20000000)
#define ALTSEM_WOKEN UINT32_C(0x40000000)
#define ALTSEM_NOBODY UINT32_C(0x80000000)
/* The low half of a semaphore. */
#define ALTSEM_SEM_VALUE UINT32_C(0x7fffffff)
#define ALTSEM_SEM_HUNGRY UINT32_C(0x80000000)

struct altsem_slot {
    _Atomic uint64_t word;
    union {
        _Atomic uint64_t holder;  /* LOCK, RLOCK: identity of the owner (owner.h), 0 unless held;
                                   * BARRIER: who runs the action of which generation */
        _Atomic uint64_t joining; /* COND: the group that new waiters join, and how many have */
    };
    _Atomic uint32_t again; /* RLOCK: how often the owner took it beyond the first time */
    _Atomic uint32_t state; /* type | ALTSEM_EXPORTED | ALTSEM_ROBUST */
    int32_t maxvalue;
    uint32_t born;          /* altsem_fork_count() of the maker when it was taken */
    _Atomic uint64_t word2; /* COND: the word of the odd groups;
                               * SEM, LOCK, RLOCK: when a waiter that had slept last got it, or
                               * reserved it, by altsem_clock() */
    union {
        _Atomic uint64_t current; /* COND: the group being notified, and how many are to be */
        _Atomic uint64_t died;    /* ROBUST: of whose death a holder is to be told, 0 for none */
    };
    union {
        _Atomic uint32_t tripped_since; /* BARRIER: what ended from here on has tripped */
        _Atomic uint32_t deaths;        /* ROBUST: how often it was taken over; and MIDWAY */
    };
    uint32_t next;                /* free list: index of the next free slot, 0 for none */
    _Atomic uint32_t sleepers[2]; /* sysv: asleep on word, word2, and not yet handed a wake */
};
static_assert(sizeof(struct altsem_slot) == ALTSEM_SLOT_BYTES, "a slot is a cache line");

#define ALTSEM_TYPE_MASK 0xffu
#define ALTSEM_EXPORTED 0x100u
#define ALTSEM_ROBUST 0x200u

#define ALTSEM_MIDWAY UINT32_C(0x80000000) /* in `deaths`: nobody can go on where the owner was */

static inline uint32_t altsem_low(uint64_t word) { return (uint32_t)word; }
static inline uint32_t altsem_high(uint64_t word) { return (uint32_t)(word >> 32); }

/* Who holds a lock: 0, a token, or ALTSEM_NOBODY. */
static inline uint32_t altsem_owner(uint64_t word) {
    return (uint32_t)word & ~(ALTSEM_WOKEN | ALTSEM_HUNGRY | ALTSEM_SUSPECT);
}

static inline uint32_t altsem_token_tid(uint32_t token) { return token & ALTSEM_TID; }
static inline uint32_t altsem_token_hash(uint32_t token) {
    return token >> ALTSEM_HASH_AT & ALTSEM_HASH;
}

/* Whether a thread may take the lock: a reserved one only if it has slept for it. */
static inline int altsem_lock_takeable(uint64_t word, int slept) {
    return slept ? altsem_owner(word) == 0 : ((uint32_t)word & ~ALTSEM_WOKEN) == 0;
}

/* The same of a token of a semaphore.  One is reserved while anybody waits; a second is anybody's. */
static inline int altsem_sem_takeable(uint64_t word, int slept) {
    return ((uint32_t)word & ALTSEM_SEM_VALUE) >
           ((word & ALTSEM_SEM_HUNGRY) && !slept && word >= ALTSEM_WAITER);
}

static inline uint64_t altsem_load(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* One step from *seen to next; on failure *seen is what the word holds now. */
static inline int altsem_step(_Atomic uint64_t *word, uint64_t *seen, uint64_t next,
                              memory_order order) {
    return atomic_compare_exchange_weak_explicit(word, seen, next, order, memory_order_relaxed);
}

static inline uint64_t altsem_announce(_Atomic uint64_t *word) {
    return atomic_fetch_add_explicit(word, ALTSEM_WAITER, memory_order_relaxed) + ALTSEM_WAITER;
}

static inline void altsem_withdraw(_Atomic uint64_t *word) {
    atomic_fetch_sub_explicit(word, ALTSEM_WAITER, memory_order_relaxed);
}

#endif
