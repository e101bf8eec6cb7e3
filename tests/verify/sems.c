/* sems.c - scenarios of the counting semaphore. */
#include "explore.h"

enum role { IDLE, TAKES, POSTS, TRIES, TIMED, LAST_FREES, GUARDS };
#define ROLE(role, rounds) ((role) << 4 | (rounds))

struct ghost {
    int8_t tokens; /* as the steps of the word have it */
    uint8_t posted, taken, inside;
};
#define G ((struct ghost *)vf.ghost)
#define BOUND (vf_what->arg[3] & 15)
#define BEFORE (vf_what->arg[3] >> 4)
#define WORLD(bound, value) ((value) << 4 | (bound))

/* Within so many ns from the beginning; 0: for ever. */
static int take(int64_t ns) {
    int result;
    vf_op(OP_ACQUIRE);
    int64_t deadline = vf_deadline(ns);
    do {
        result = altsem_sem_wait(VF_SEGMENT, VF_SLOT, deadline);
    } while (result == -EINTR);
    if (result == 0) G->taken++;
    return result;
}
static void post(void) {
    vf_op(OP_POST);
    int result = altsem_sem_post(VF_SEGMENT, VF_SLOT, BOUND);
    if (result == 0) G->posted++;
    else
        VF_HOLDS((altsem_low(vf_word()) & ALTSEM_SEM_VALUE) == (uint32_t)BOUND,
                 "refused below the bound");
    VF_HOLDS(result == 0 || result == -EOVERFLOW, "a wrong answer");
}

static void body(int me) {
    for (int rounds = vf_what->arg[me] & 15; rounds; rounds--) {
        switch ((enum role)(vf_what->arg[me] >> 4)) {
        case TAKES:
            VF_HOLDS(take(0) == 0, "a wait without limit has failed");
            break;
        case POSTS:
            post();
            break;
        case TRIES:
            vf_op(OP_TRY);
            if (altsem_sem_wait(VF_SEGMENT, VF_SLOT, ALTSEM_NOW) == 0) G->taken++;
            break;
        case TIMED: {
            int result = take(10 * VF_MS);
            VF_HOLDS(result == 0 || result == -ETIMEDOUT, "a wrong answer");
            VF_HOLDS(result == 0 || vf.clock >= VF_START + 10 * VF_MS, "given up before its time");
            break;
        }
        case LAST_FREES:
            VF_HOLDS(take(0) == 0, "a wait without limit has failed");
            if (G->taken == vf_what->arg[2] >> 8) vf_freed();
            break;
        case GUARDS: /* as a lock */
            VF_HOLDS(take(0) == 0, "a wait without limit has failed");
            if (G->inside++) vf_fail("two inside");
            vf_write(0);
            vf_pause();
            G->inside--;
            post();
            break;
        default:
            break;
        }
    }
    vf_op(OP_NONE);
}

static void handler(int me) {
    (void)me;
    post();
}
static void begin(void) {
    vf_slot(0, ALTSEM_SEM, BEFORE, BOUND);
    G->tokens = (int8_t)BEFORE;
}

static const char *step(int me, int field, uint64_t before, uint64_t after) {
    const vf_thread *t = &vf.threads[me];
    if (field != 0) return NULL;
    int64_t was = altsem_low(before) & ALTSEM_SEM_VALUE, is = altsem_low(after) & ALTSEM_SEM_VALUE;
    int64_t waiters = (int64_t)altsem_high(after) - (int64_t)altsem_high(before);
    if (is < 0 || is > BOUND) return "value outside its bounds";
    if (is - was > 1 || was - is > 1) return "tokens came or went";
    if (is > was && t->op != OP_POST) return "a token came without a post";
    if (is < was && t->op == OP_POST) return "a post took a token";
    if (is < was && (before & ALTSEM_SEM_HUNGRY) && !t->slept && t->op == OP_ACQUIRE &&
        !vf_late(me) && altsem_high(before) && was == 1)
        return "took what was reserved";
    if (waiters > 1 || waiters < -1) return "the count of waiters has jumped";
    if (altsem_high(after) > (uint32_t)vf_what->threads) return "more waiters than threads";
    return NULL;
}

static const char *end(void) {
    int value = (int)(altsem_low(vf_word()) & ALTSEM_SEM_VALUE);
    if (vf_anyone_dead()) return NULL;
    if (value != BEFORE + G->posted - G->taken) return "tokens came or went";
    return altsem_high(vf_word()) ? "at the end somebody is counted as waiting" : NULL;
}
static const char *stuck(void) {
    return altsem_low(vf_word()) & ALTSEM_SEM_VALUE ? "asleep, a token there, nobody to wake"
                                                    : NULL;
}

#define SEM(...)                                                                                   \
    .primitive = "Semaphore", .body = body, .begin = begin, .step = step, .end = end,              \
    .stuck = stuck, __VA_ARGS__
const vf_scenario vf_sems[] = {
    {SEM(.name = "sem-2-1", .what = "2 take, one posts twice", .threads = 3,
         .arg = {ROLE(TAKES, 1), ROLE(TAKES, 1), ROLE(POSTS, 2), WORLD(9, 0)})},
    {SEM(.name = "sem-model", .what = "2 take, one posts; HUNGRY, a signal", .threads = 3,
         .ticks = 1, .signals = 1,
         .arg = {ROLE(TAKES, 1), ROLE(TAKES, 1), ROLE(POSTS, 1), WORLD(9, 0)})},
    {SEM(.name = "sem-1-2", .what = "one takes twice, 2 post", .threads = 3,
         .arg = {ROLE(TAKES, 2), ROLE(POSTS, 1), ROLE(POSTS, 1), WORLD(9, 0)})},
    {SEM(.name = "sem-signals", .what = "2 take, one posts twice; 2 signals", .threads = 3,
         .signals = 2, .arg = {ROLE(TAKES, 1), ROLE(TAKES, 1), ROLE(POSTS, 2), WORLD(9, 0)})},
    {SEM(.name = "sem-hungry", .what = "they starve: HUNGRY; 4 preemptions", .threads = 3,
         .ticks = 1, .preemptions = 5,
         .arg = {ROLE(TAKES, 2), ROLE(TAKES, 1), ROLE(POSTS, 3), WORLD(9, 0)})},
    {SEM(.name = "sem-hungry-all", .what = "the same, any preemptions", .threads = 3, .late = 1,
         .ticks = 1, .arg = {ROLE(TAKES, 2), ROLE(TAKES, 1), ROLE(POSTS, 3), WORLD(9, 0)})},
    {SEM(.name = "sem-hungry-try", .what = "and one does not wait", .threads = 3, .ticks = 1,
         .arg = {ROLE(TAKES, 1), ROLE(TRIES, 1), ROLE(POSTS, 2), WORLD(9, 0)})},
    {SEM(.name = "sem-timed", .what = "one gives up after 10 ms; a signal", .threads = 3,
         .jumps = 1, .signals = 1,
         .arg = {ROLE(TAKES, 1), ROLE(TIMED, 1), ROLE(POSTS, 1), WORLD(9, 0)})},
    {SEM(.name = "sem-timed-out", .what = "2 give up, one token comes; a signal", .threads = 3,
         .jumps = 1, .signals = 1,
         .arg = {ROLE(TIMED, 1), ROLE(TIMED, 1), ROLE(POSTS, 1), WORLD(9, 0)})},
    {SEM(.name = "sem-spin", .what = "with a spin before each sleep", .threads = 3, .spins = 1,
         .arg = {ROLE(TAKES, 1), ROLE(TAKES, 1), ROLE(POSTS, 2), WORLD(9, 0)})},
    {SEM(.name = "sem-weak", .what = "swaps fail, sleeps end for no reason", .threads = 3,
         .weak = 1, .spurious = 1,
         .arg = {ROLE(TAKES, 1), ROLE(TAKES, 1), ROLE(POSTS, 2), WORLD(9, 0)})},
    {SEM(.name = "sem-bound", .what = "3 post at the bound", .threads = 3,
         .arg = {ROLE(POSTS, 1), ROLE(POSTS, 1), ROLE(POSTS, 1), WORLD(2, 0)})},
    {SEM(.name = "sem-bound-take", .what = "2 post at the bound, one takes", .threads = 3,
         .arg = {ROLE(POSTS, 2), ROLE(POSTS, 1), ROLE(TAKES, 1), WORLD(1, 0)})},
    {SEM(.name = "sem-bound-hungry", .what = "the same, and it starves", .threads = 3, .ticks = 1,
         .arg = {ROLE(POSTS, 2), ROLE(TAKES, 1), ROLE(TAKES, 1), WORLD(1, 0)})},
    {SEM(.name = "sem-lock", .what = "3 use it as a lock", .threads = 3,
         .arg = {ROLE(GUARDS, 1), ROLE(GUARDS, 1), ROLE(GUARDS, 1), WORLD(1, 1)})},
    {SEM(.name = "sem-lock-2x3", .what = "2 use it as a lock 3 times", .threads = 2,
         .arg = {ROLE(GUARDS, 3), ROLE(GUARDS, 3), 0, WORLD(1, 1)})},
    {SEM(.name = "sem-freed", .what = "who takes the last token gives the memory back",
         .threads = 3,
         .arg = {ROLE(LAST_FREES, 1), ROLE(POSTS, 1), 1 << 8 | ROLE(IDLE, 0), WORLD(9, 0)})},
    {SEM(.name = "sem-handler", .what = "a handler posts anywhere", .threads = 3, .handlers = 1,
         .signals = 1, .handler = handler,
         .arg = {ROLE(TAKES, 1), ROLE(TAKES, 1), ROLE(POSTS, 1), WORLD(9, 0)})},
    {SEM(.name = "sem-kill", .what = "one is killed anywhere", .threads = 3, .kills = 1,
         .slices = 1, .arg = {ROLE(TAKES, 1), ROLE(TAKES, 1), ROLE(POSTS, 2), WORLD(9, 0)})},
    {SEM(.name = "sem-kill-hungry", .what = "the same, and they starve", .threads = 3, .kills = 1,
         .slices = 1, .ticks = 1, .late = 1,
         .arg = {ROLE(TAKES, 1), ROLE(TAKES, 1), ROLE(POSTS, 3), WORLD(9, 0)})},
    {0},
};
