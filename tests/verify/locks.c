/* locks.c - scenarios of the binary lock, and of its recursive form. */
#include "explore.h"

enum role {
    NOBODY_ELSE,
    WAITS,
    TRIES,
    TIMED,
    TAKES_ONLY,
    FREES_ONLY,
    DISOWNS,
    LAST_FREES,
    RECURS,
    LENDS,
    BOTH_FREE
};
#define ROLE(role, rounds) ((role) << 4 | (rounds))

struct ghost {
    uint8_t inside; /* how many are */
    uint8_t given;  /* takings that their own thread has not released yet, for FREES_ONLY */
    uint8_t taken, left;
    uint8_t holds[VF_THREADS];
};
#define G ((struct ghost *)vf.ghost)

static void come_in(int me) {
    G->holds[me] = 1;
    if (G->inside++) vf_fail("two inside");
    vf_write(0);
    vf_pause();
    VF_HOLDS(altsem_lock_owner_tid(VF_SLOT) == vf.threads[me].tid, "somebody else is the owner");
}
static void go_out(int me) {
    G->inside--;
    G->holds[me] = 0;
}

/* Within so many ns from the beginning; 0: for ever. */
static int take(int64_t ns) {
    int result;
    vf_op(OP_ACQUIRE);
    int64_t deadline = vf_deadline(ns);
    do {
        result = altsem_lock_wait(VF_SEGMENT, VF_SLOT, deadline);
    } while (result == -EINTR);
    return result;
}
static void release(void) {
    vf_op(OP_RELEASE);
    VF_HOLDS(altsem_lock_release(VF_SEGMENT, VF_SLOT) == 0, "what is held cannot be released");
}

static int something_given(void) { return G->given != 0; }
/* All others have come to their ends, or wait for the lock. */
static int others_wait(void) {
    for (int i = 0; i < vf_what->threads; i++)
        if (i != 0 && vf.threads[i].status == VF_READY) return 0;
    return 1;
}

static void work(int me, enum role role) {
    switch (role) {
    case WAITS:
        VF_HOLDS(take(0) == 0, "a wait without limit has failed");
        come_in(me);
        go_out(me);
        release();
        break;
    case TRIES:
        vf_op(OP_TRY);
        if (altsem_lock_wait(VF_SEGMENT, VF_SLOT, ALTSEM_NOW) != 0) return;
        come_in(me);
        go_out(me);
        release();
        break;
    case TIMED: {
        int result = take(10 * VF_MS);
        VF_HOLDS(result == 0 || result == -ETIMEDOUT, "a wrong answer");
        VF_HOLDS(result == 0 || vf.clock >= VF_START + 10 * VF_MS, "given up before its time");
        if (result != 0) return;
        come_in(me);
        go_out(me);
        release();
        break;
    }
    case TAKES_ONLY: /* another thread releases it */
        VF_HOLDS(take(0) == 0, "a wait without limit has failed");
        come_in(me);
        go_out(me);
        G->given++;
        vf_tell();
        break;
    case FREES_ONLY:
        vf_op(OP_NONE);
        vf_guard(something_given);
        vf_hear();
        G->given--;
        release();
        break;
    case DISOWNS:
        VF_HOLDS(take(0) == 0, "a wait without limit has failed");
        come_in(me);
        go_out(me);
        vf_op(OP_DISOWN);
        VF_HOLDS(altsem_lock_disown(VF_SLOT) == 1, "its own lock cannot be disowned");
        VF_HOLDS(altsem_lock_owner_tid(VF_SLOT) == 0 && !altsem_lock_is_free(VF_SLOT),
                 "a disowned lock has an owner, or is free");
        G->given++;
        break;
    case LAST_FREES: /* whoever comes last gives the memory back */
        VF_HOLDS(take(0) == 0, "a wait without limit has failed");
        come_in(me);
        go_out(me);
        int last = ++G->left == vf_what->threads;
        release();
        if (last) vf_freed();
        break;
    case RECURS: {
        uint32_t depth = 0;
        vf_op(OP_AGAIN);
        VF_HOLDS(!altsem_lock_is_mine(VF_SLOT), "held before it was taken");
        VF_HOLDS(altsem_rlock_release(VF_SEGMENT, VF_SLOT) == -EPERM, "released by a stranger");
        VF_HOLDS(take(0) == 0, "a wait without limit has failed");
        come_in(me);
        vf_op(OP_AGAIN);
        VF_HOLDS(altsem_lock_is_mine(VF_SLOT), "not the owner of its own lock");
        VF_HOLDS(altsem_rlock_again(VF_SLOT) == 0, "cannot be taken again");
        VF_HOLDS(altsem_rlock_depth(VF_SLOT) == 2, "a wrong depth");
        vf_op(OP_RELEASE);
        VF_HOLDS(altsem_rlock_release(VF_SEGMENT, VF_SLOT) == 0, "cannot be released");
        vf_op(OP_AGAIN);
        VF_HOLDS(altsem_rlock_depth(VF_SLOT) == 1, "a wrong depth");
        VF_HOLDS(altsem_rlock_again(VF_SLOT) == 0, "cannot be taken again");
        go_out(me);
        vf_op(OP_RELEASE_ALL);
        VF_HOLDS(altsem_rlock_release_all(VF_SEGMENT, VF_SLOT, &depth) == 0 && depth == 2,
                 "a wrong depth");
        VF_HOLDS(take(0) == 0, "a wait without limit has failed");
        come_in(me);
        vf_op(OP_RESTORE);
        altsem_rlock_restore(VF_SLOT, depth);
        vf_op(OP_RELEASE);
        VF_HOLDS(altsem_rlock_release(VF_SEGMENT, VF_SLOT) == 0, "cannot be released");
        go_out(me);
        VF_HOLDS(altsem_rlock_release(VF_SEGMENT, VF_SLOT) == 0, "cannot be released");
        break;
    }
    case LENDS: /* holds it until all others have come to wait for it */
        VF_HOLDS(take(0) == 0, "a wait without limit has failed");
        come_in(me);
        vf_guard(others_wait);
        go_out(me);
        release();
        break;
    case BOTH_FREE: /* one of them is first */
        vf_op(OP_RELEASE);
        if (altsem_lock_release(VF_SEGMENT, VF_SLOT) != 0) break;
        VF_HOLDS(G->given-- == 1, "what is free has been released");
        break;
    default:
        break;
    }
}

static void body(int me) {
    for (int rounds = vf_what->arg[me] & 15; rounds; rounds--)
        work(me, (enum role)(vf_what->arg[me] >> 4));
    vf_op(OP_NONE);
}

/* Tries, and releases what it got. */
static void handler(int me) {
    vf_op(OP_TRY);
    if (altsem_lock_try(VF_SLOT) != 0) return;
    come_in(me);
    go_out(me);
    release();
}
static void begin(void) { vf_slot(0, ALTSEM_LOCK, 1, 1); }
static void begin_rlock(void) { vf_slot(0, ALTSEM_RLOCK, 1, 1); }
/* The numbers of threads are only theirs in their own PID namespace: here all have the same. */
static void begin_twins(void) {
    begin_rlock();
    for (int i = 0; i < vf_what->threads; i++) vf_identify(i, 1, 1, (uint32_t)i + 1, 1, 1);
}
static void begin_taken(void) {
    vf_slot(0, ALTSEM_LOCK, 0, 1);
    G->given = 1;
}

/* Each change of the word, whoever makes it. */
static const char *step(int me, int field, uint64_t before, uint64_t after) {
    const vf_thread *t = &vf.threads[me];
    if (field != 0) return NULL;
    uint32_t was = altsem_owner(before), is = altsem_owner(after);
    if (was != 0 && is != 0 && was != is && !(t->op == OP_DISOWN && is == ALTSEM_NOBODY))
        return "the owner has changed without a release";
    if (was == 0 && is != 0) {
        if (is != t->token) return "taken for another";
        if ((before & ALTSEM_HUNGRY) && !t->slept && t->op == OP_ACQUIRE && !vf_late(me))
            return "took what was reserved";
        int waited = altsem_high(after) < altsem_high(before);
        if (waited && (after & (ALTSEM_HUNGRY | ALTSEM_WOKEN)))
            return "a waiter took it, and WOKEN or HUNGRY stands";
    }
    if (was != 0 && is == 0 && t->op != OP_RELEASE && t->op != OP_RELEASE_ALL)
        return "released by one that does not release";
    int64_t waiters = (int64_t)altsem_high(after) - (int64_t)altsem_high(before);
    if (waiters > 1 || waiters < -1) return "the count of waiters has jumped";
    if (altsem_high(after) > (uint32_t)vf_what->threads) return "more waiters than threads";
    return NULL;
}

static const char *end(void) {
    if (vf_anyone_dead()) return NULL;
    if (G->given) return NULL;
    if (vf_word() != 0) return "at the end the word is not zero";
    if (vf_read(&VF_SLOT->holder) != 0) return "at the end somebody is named as the owner";
    return VF_SLOT->again ? "at the end it is held several times" : NULL;
}
/* Only what a dead owner holds is waited for in vain. */
static const char *stuck(void) {
    uint32_t owner = altsem_owner(vf_word());
    for (int i = 0; i < vf_what->threads; i++)
        if (!vf_alive(i) && vf.threads[i].token == owner) return NULL;
    if (owner == ALTSEM_NOBODY || G->given) {
        for (int i = 0; i < vf_what->threads; i++)
            if (!vf_alive(i) && vf_what->arg[i] >> 4 >= TAKES_ONLY) return NULL;
    }
    return "asleep, and nobody left to wake";
}

#define LOCK(...)                                                                                  \
    .primitive = "Lock", .body = body, .begin = begin, .step = step, .end = end, .stuck = stuck,   \
    __VA_ARGS__
const vf_scenario vf_locks[] = {
    {LOCK(.name = "lock-2x3", .what = "2 take it 3 times", .threads = 2,
          .arg = {ROLE(WAITS, 3), ROLE(WAITS, 3)})},
    {LOCK(.name = "lock-model", .what = "2 take it twice; HUNGRY", .threads = 2, .ticks = 1,
          .arg = {ROLE(WAITS, 2), ROLE(WAITS, 2)})},
    {LOCK(.name = "lock-3x1", .what = "3 take it", .threads = 3,
          .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {LOCK(.name = "lock-3x2", .what = "3 take it twice", .threads = 3, .late = 1,
          .arg = {ROLE(WAITS, 2), ROLE(WAITS, 2), ROLE(WAITS, 2)})},
    {LOCK(.name = "lock-signals", .what = "3 take it; sleeps end by 2 signals", .threads = 3,
          .signals = 2, .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {LOCK(.name = "lock-hungry", .what = "one runs, others starve: HUNGRY; 3 preemptions",
          .threads = 3, .ticks = 1, .preemptions = 4,
          .arg = {ROLE(WAITS, 2), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {LOCK(.name = "lock-hungry-all", .what = "the same, any preemptions", .threads = 3, .late = 1,
          .ticks = 1, .arg = {ROLE(WAITS, 2), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {LOCK(.name = "lock-hungry-try", .what = "the same, and one that does not wait", .threads = 3,
          .ticks = 1, .arg = {ROLE(WAITS, 2), ROLE(WAITS, 1), ROLE(TRIES, 1)})},
    {LOCK(.name = "lock-timed", .what = "one gives up after 10 ms; a signal; 3 preemptions",
          .threads = 3, .jumps = 1, .signals = 1, .preemptions = 4,
          .arg = {ROLE(WAITS, 2), ROLE(WAITS, 1), ROLE(TIMED, 1)})},
    {LOCK(.name = "lock-spin", .what = "with a spin before each sleep", .threads = 2, .spins = 1,
          .arg = {ROLE(WAITS, 2), ROLE(WAITS, 2)})},
    {LOCK(.name = "lock-weak", .what = "swaps fail, sleeps end for no reason", .threads = 2,
          .weak = 2, .spurious = 1, .arg = {ROLE(WAITS, 2), ROLE(WAITS, 2)})},
    {LOCK(.name = "lock-handed-on", .what = "taken by one, released by another", .threads = 3,
          .arg = {ROLE(TAKES_ONLY, 1), ROLE(FREES_ONLY, 1), ROLE(WAITS, 1)})},
    {LOCK(.name = "lock-disowned", .what = "one dies out of it in an orderly way", .threads = 3,
          .arg = {ROLE(DISOWNS, 1), ROLE(FREES_ONLY, 1), ROLE(WAITS, 1)})},
    {LOCK(.name = "lock-born-taken", .what = "held by nobody at first", .threads = 3,
          .begin = begin_taken, .arg = {ROLE(FREES_ONLY, 1), ROLE(WAITS, 1), ROLE(TRIES, 1)})},
    {LOCK(.name = "lock-both-free", .what = "2 release it at once", .threads = 2,
          .begin = begin_taken, .arg = {ROLE(BOTH_FREE, 1), ROLE(BOTH_FREE, 1)})},
    {LOCK(.name = "lock-freed", .what = "the last one gives the memory back", .threads = 3,
          .arg = {ROLE(LAST_FREES, 1), ROLE(LAST_FREES, 1), ROLE(LAST_FREES, 1)})},
    {LOCK(.name = "lock-handler", .what = "a handler tries it anywhere", .threads = 2,
          .handlers = 1, .signals = 1, .handler = handler,
          .arg = {ROLE(WAITS, 2), ROLE(WAITS, 2)})},
    {LOCK(.name = "lock-kill", .what = "one is killed anywhere", .threads = 3, .kills = 1,
          .slices = 1, .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {LOCK(.name = "lock-kill-hungry", .what = "the same, and they starve", .threads = 3, .kills = 1,
          .slices = 1, .ticks = 1, .late = 1,
          .arg = {ROLE(WAITS, 2), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {LOCK(.name = "lock-4", .what = "4 take it; 2 preemptions", .threads = 4, .preemptions = 3,
          .late = 1, .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {0},
};
const vf_scenario vf_rlocks[] = {
    {LOCK(.primitive = "RLock", .name = "rlock-2", .what = "2 take it again and again",
          .threads = 2, .begin = begin_rlock, .arg = {ROLE(RECURS, 1), ROLE(RECURS, 1)})},
    {LOCK(.primitive = "RLock", .name = "rlock-twins",
          .what = "of two PID namespaces, with the same number", .threads = 2, .begin = begin_twins,
          .arg = {ROLE(RECURS, 1), ROLE(RECURS, 1)})},
    {LOCK(.primitive = "RLock", .name = "rlock-3", .what = "and a third that takes it once",
          .threads = 3, .begin = begin_rlock, .late = 1,
          .arg = {ROLE(RECURS, 1), ROLE(RECURS, 1), ROLE(WAITS, 1)})},
    {LOCK(.primitive = "RLock", .name = "rlock-kill", .what = "one is killed anywhere",
          .threads = 2, .begin = begin_rlock, .kills = 1, .slices = 1,
          .arg = {ROLE(RECURS, 1), ROLE(RECURS, 1)})},
    {0},
};
