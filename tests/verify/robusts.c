/* robusts.c - scenarios of locks that are taken over from the dead (primitives/robust.c). */
#include "explore.h"

#include <stdlib.h>

#ifdef ALTSEM_ROBUST

enum role { IDLE, WAITS, WAITS_LATE, TRIES, IS_BORN, RECURS, STRANGER };
#define ROLE(role, rounds) ((role) << 4 | (rounds))
/* How the threads are related, in arg[3] >> 8. */
enum relation { STRANGERS, SAME_TOKEN, SAME_NUMBER, ONE_PROCESS };
#define THEY(relation) ((relation) << 8)

struct ghost {
    uint8_t owner; /* who holds it by the steps of the word, + 1; 0: nobody */
    uint8_t named; /* the owner has written who it is, and has not taken that away */
    uint8_t holds[VF_THREADS], took_over[VF_THREADS], victim;
    uint8_t counted[VF_THREADS]; /* as waiting */
};
#define G ((struct ghost *)vf.ghost)

static enum role role_of(int me) { return (enum role)(vf_what->arg[me] >> 4 & 15); }
static int relation(void) { return vf_what->arg[3] >> 8; }

static int is_robbed(int other) { return vf_alive(other) && G->holds[other]; }

static void come_in(int me) {
    altsem_death death;
    for (int i = 0; i < vf_what->threads; i++)
        if (i != me && is_robbed(i)) vf_fail("two inside");
    G->holds[me] = 1;
    int told = altsem_lock_death(VF_SEGMENT, VF_SLOT, &death);
    VF_HOLDS(told || !G->took_over[me], "took it over, and is told of no death");
    VF_HOLDS(!told || vf_anyone_dead(), "is told of a death, and nobody has died");
    VF_HOLDS(!told || !G->took_over[me] || death.tid == vf.threads[G->victim].tid,
             "is told of another's death");
    vf_pause();
    VF_HOLDS(altsem_lock_is_mine(VF_SLOT), "not the owner of its own lock");
}
static void go_out(int me) { G->holds[me] = G->took_over[me] = 0; }
static void release(void) {
    vf_op(OP_RELEASE);
    VF_HOLDS(altsem_lock_release(VF_SEGMENT, VF_SLOT) == 0, "its own lock cannot be released");
}
static int take(int64_t deadline) {
    int result;
    vf_op(OP_ACQUIRE);
    do {
        result = altsem_lock_wait(VF_SEGMENT, VF_SLOT, deadline);
    } while (result == -EINTR);
    return result;
}
static int someone_is_dead(void) { return vf_anyone_dead(); }

static void work(int me, enum role role) {
    switch (role) {
    case IS_BORN:
    case WAITS:
        VF_HOLDS(take(ALTSEM_FOREVER) == 0, "a wait without limit has failed");
        come_in(me);
        go_out(me);
        release();
        break;
    case TRIES: { /* once somebody is dead; nobody else is there */
        vf_op(OP_TRY);
        vf_guard(someone_is_dead);
        VF_HOLDS(take(ALTSEM_NOW) == 0, "a dead one's lock is refused to one that does not wait");
        come_in(me);
        go_out(me);
        release();
        break;
    }
    case RECURS:
        VF_HOLDS(take(ALTSEM_FOREVER) == 0, "a wait without limit has failed");
        come_in(me);
        vf_op(OP_AGAIN);
        VF_HOLDS(altsem_rlock_depth(VF_SLOT) == 1, "another's depth has been inherited");
        VF_HOLDS(altsem_rlock_again(VF_SLOT) == 0, "cannot be taken again");
        vf_op(OP_RELEASE);
        VF_HOLDS(altsem_rlock_release(VF_SEGMENT, VF_SLOT) == 0, "cannot be released");
        go_out(me);
        VF_HOLDS(altsem_rlock_release(VF_SEGMENT, VF_SLOT) == 0, "cannot be released");
        break;
    case STRANGER: /* of another process */
        vf_op(OP_RELEASE);
        VF_HOLDS(altsem_lock_release(VF_SEGMENT, VF_SLOT) != 0, "released by a stranger");
        break;
    default:
        break;
    }
}
static void body(int me) {
    if (role_of(me) == IS_BORN) vf_wait_to_be_born();
    for (int rounds = vf_what->arg[me] & 15; rounds; rounds--) work(me, role_of(me));
    vf_op(OP_NONE);
}

static void begin_as(int type) {
    vf_slot(0, type, 1, 1);
    if (altsem_lock_make_robust(VF_SLOT) != 0) abort();
    for (int i = 0; i < vf_what->threads; i++)
        if (role_of(i) == IS_BORN) {
            /* With the number of thread 0: of a later process. */
            uint32_t later = relation() == SAME_TOKEN ? 1 + 63 : 30;
            vf_identify(i, 1, 1, later, later, 1);
            vf.threads[i].unborn = 1;
        }
    if (relation() == ONE_PROCESS) vf_identify(1, 1, 2, 1, 7, 2);
}
static void begin(void) { begin_as(ALTSEM_LOCK); }
static void begin_rlock(void) { begin_as(ALTSEM_RLOCK); }

/* Whether a dead one holds it who may be robbed: for a LOCK a process that is dead as a whole. */
static int may_be_taken_over(int owner) {
    if (vf_alive(owner)) return 0;
    if (vf_what->begin == begin_rlock) return 1;
    /* It had not written its name, or had taken it away: the thread counts. */
    if (!G->named) return 1;
    for (int i = 0; i < vf_what->threads; i++)
        if (vf_alive(i) && !vf.threads[i].unborn &&
            altsem_id_process(vf.threads[i].id) == altsem_id_process(vf.threads[owner].id))
            return 0;
    return 1;
}

static const char *step(int me, int field, uint64_t before, uint64_t after) {
    const vf_thread *t = &vf.threads[me];
    if (field == 1 && G->owner == me + 1) G->named = after != 0;
    if (field != 0) return NULL;
    uint32_t was = altsem_owner(before), is = altsem_owner(after);
    int64_t waiters = (int64_t)altsem_high(after) - (int64_t)altsem_high(before);
    if (waiters > 1 || waiters < -1) return "the count of waiters has jumped";
    if (waiters) G->counted[me] = waiters == 1;
    if ((after & ALTSEM_SUSPECT) && is == 0) return "nobody is suspected";
    if (was != is && (after & ALTSEM_SUSPECT)) return "SUSPECT stands on another holding";
    if (was == is && is != 0 && !(before & ALTSEM_SUSPECT) && (after & ALTSEM_SUSPECT) &&
        t->op != OP_ACQUIRE && t->op != OP_TRY)
        return "suspected by one that does not wait";
    if (is != 0 && is != was && is != t->token) return "taken for another";
    if (is == 0 && was != 0) {
        if (t->op != OP_RELEASE) return "released by one that does not release";
        if (G->owner != me + 1) return "another's lock was released";
        G->owner = 0;
    }
    /* A token that comes round looks the same: SUSPECT that goes says that it was taken over. */
    int taken_over = was != 0 && is != 0 &&
                     (was != is || ((before & ALTSEM_SUSPECT) && !(after & ALTSEM_SUSPECT)));
    if (taken_over) {
        if (!G->owner) return "taken over from nobody";
        if (!may_be_taken_over(G->owner - 1)) return "a living owner was robbed";
        G->victim = (uint8_t)(G->owner - 1);
        G->took_over[me] = 1;
    }
    if (taken_over || (was == 0 && is != 0)) {
        G->owner = (uint8_t)(me + 1);
        G->named = 0;
    }
    return NULL;
}

static const char *end(void) {
    uint64_t word = vf_word();
    if (altsem_owner(word) == 0 && (word & ALTSEM_SUSPECT)) return "nobody is suspected";
    /* Whoever dies last may leave it held: then nobody is left to take it over. */
    if (G->owner && vf_alive(G->owner - 1)) return "at the end somebody holds it";
    for (int i = 0; i < vf_what->threads; i++)
        if (vf_alive(i) && G->counted[i]) return "at the end a living one is counted as waiting";
    if (vf_anyone_dead()) return NULL;
    if (word != 0) return "at the end the word is not zero";
    if (vf_read(&VF_SLOT->holder) != 0) return "at the end somebody is named as the owner";
    if (vf_read(&VF_SLOT->died) != 0) return "at the end somebody is to be told of a death";
    return VF_SLOT->again ? "at the end it is held several times" : NULL;
}
static const char *stuck(void) {
    /* One that waits for a number, or for a death, which may never come. */
    int waits = 0;
    for (int i = 0; i < vf_what->threads; i++)
        waits +=
            !vf_over(i) && !vf.threads[i].unborn && !(role_of(i) == TRIES && !vf_anyone_dead());
    if (!waits) return NULL;
    if (G->owner && !vf_alive(G->owner - 1) && !may_be_taken_over(G->owner - 1)) return NULL;
    /* Killed while it had no name, and its token has come round: nothing can be proved. */
    if (G->owner && vf_read(&VF_SLOT->holder) == 0)
        for (int i = 0; i < vf_what->threads; i++)
            if (vf_alive(i) && !vf.threads[i].unborn &&
                vf.threads[i].token == vf.threads[G->owner - 1].token)
                return NULL;
    if (altsem_owner(vf_word()) == 0) return "asleep, and nobody left to wake";
    return "a dead one's lock is not taken over";
}

#define ROBUST(...)                                                                                \
    .primitive = "robust Lock", .body = body, .begin = begin, .step = step, .end = end,            \
    .stuck = stuck, .slices = 1, .kills = 1, __VA_ARGS__
#define RROBUST(...) ROBUST(.primitive = "robust RLock", .begin = begin_rlock, __VA_ARGS__)
const vf_scenario vf_robust[] = {
    {ROBUST(.name = "robust-no-death", .what = "3 take it, nobody dies", .threads = 3, .kills = 0,
            .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {ROBUST(.name = "robust-2", .what = "2 take it twice, one is killed", .threads = 2,
            .arg = {ROLE(WAITS, 2), ROLE(WAITS, 2)})},
    {ROBUST(.name = "robust-3", .what = "3 take it, one is killed", .threads = 3,
            .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {ROBUST(.name = "robust-zombies", .what = "2 take it, one is killed, not reaped", .threads = 2,
            .zombies = 1, .arg = {ROLE(WAITS, 2), ROLE(WAITS, 2)})},
    {ROBUST(.name = "robust-two-die", .what = "3 take it, 2 are killed; 3 preemptions",
            .threads = 3, .kills = 2, .preemptions = 4,
            .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {ROBUST(.name = "robust-try", .what = "one that does not wait takes it over", .threads = 2,
            .victims = 1, .arg = {ROLE(WAITS, 1), ROLE(TRIES, 1)})},
    {ROBUST(.name = "robust-signals", .what = "one is killed; 2 signals", .threads = 2,
            .signals = 2, .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {ROBUST(.name = "robust-alive", .what = "signals have living owners suspected", .threads = 3,
            .signals = 1, .kills = 0, .preemptions = 4,
            .arg = {ROLE(WAITS, 2), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {ROBUST(.name = "robust-stranger", .what = "another process tries to release it", .threads = 3,
            .kills = 0, .arg = {ROLE(WAITS, 1), ROLE(STRANGER, 2), ROLE(WAITS, 1)})},
    {ROBUST(.name = "robust-number", .what = "the dead one's number is used again; 2 preemptions",
            .threads = 4, .victims = 1, .preemptions = 3,
            .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1),
                    ROLE(IS_BORN, 1) | THEY(SAME_NUMBER)})},
    {ROBUST(.name = "robust-token", .what = "the same, its hash too; 2 preemptions", .threads = 4,
            .victims = 1, .preemptions = 3,
            .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1),
                    ROLE(IS_BORN, 1) | THEY(SAME_TOKEN)})},
    {ROBUST(.name = "robust-thread",
            .what = "2 threads of one process, and another process; one dies", .threads = 3,
            .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1), THEY(ONE_PROCESS)})},
    {RROBUST(.name = "rrobust-2", .what = "2 take it again, one is killed", .threads = 2,
             .arg = {ROLE(RECURS, 1), ROLE(RECURS, 1)})},
    {RROBUST(.name = "rrobust-3", .what = "3 take it, one is killed", .threads = 3,
             .arg = {ROLE(RECURS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1)})},
    {RROBUST(.name = "rrobust-thread", .what = "2 threads of one process, and another; one dies",
             .threads = 3,
             .arg = {ROLE(RECURS, 1), ROLE(WAITS, 1), ROLE(WAITS, 1), THEY(ONE_PROCESS)})},
    {0},
};

#else
const vf_scenario vf_robust[] = {{0}};
#endif
