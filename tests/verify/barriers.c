/* barriers.c - scenarios of the barrier. */
#include "explore.h"

enum role { IDLE, MEETS, ACTS, FAILS, TIMED, LEAVES, ABORTS, RESETS };
#define ROLE(role, rounds) ((role) << 4 | (rounds))
#define PARTIES(n) ((n) << 8)

struct ghost {
    uint8_t passed[8], broken[8], indexes[8]; /* by generation: bits of threads, bits of indexes */
    uint8_t left;                             /* threads that have taken their arrival back */
    uint8_t acted, meets;
};
#define G ((struct ghost *)vf.ghost)
#define MANY (vf_what->arg[3] >> 8)
#define CLOSED (UINT64_C(1) << 63)

static int rounds_of(int me) { return vf_what->arg[me] & 15; }
static enum role role_of(int me) { return (enum role)(vf_what->arg[me] >> 4 & 15); }
static int all_meet(void) {
    int n = 0;
    for (int i = 0; i < vf_what->threads && i < 3; i++)
        n += role_of(i) == MEETS || role_of(i) == ACTS;
    return n == MANY && n == vf_what->threads;
}

static void passes(int me, uint32_t generation, uint32_t index) {
    uint8_t bit = (uint8_t)(1u << me);
    VF_HOLDS(index < (uint32_t)MANY, "an index too large");
    VF_HOLDS(!(G->indexes[generation & 7] >> index & 1), "an index twice");
    G->indexes[generation & 7] |= (uint8_t)(1u << index);
    G->passed[generation & 7] |= bit;
    VF_HOLDS(!(G->broken[generation & 7]), "one passes, another found it broken");
}
static void breaks(int me, uint32_t generation) {
    G->broken[generation & 7] |= (uint8_t)(1u << me);
    VF_HOLDS(!G->passed[generation & 7], "one passes, another found it broken");
}

static int is_interfered_with(void) {
    for (int i = 0; i < vf_what->threads; i++)
        if (role_of(i) == ABORTS || role_of(i) == RESETS) return 1;
    return 0;
}

static void meet(int me, int round) {
    enum role role = role_of(me);
    int to_act = role == ACTS || role == FAILS, result, again = 0;
    int64_t deadline = ALTSEM_FOREVER;
    uint32_t index, generation;
    if (me < 3) vf_write(me + 3 * (round & 1));
    for (;;) {
        vf_op(OP_ARRIVE);
        vf_deadline(role == TIMED && again ? 10 * VF_MS : 0);
        do {
            result = altsem_barrier_arrive(VF_SEGMENT, VF_SLOT, to_act, ALTSEM_FOREVER, &index,
                                           &generation);
        } while (result == -EINTR);
        if (result == 1) {
            if (!to_act) break;
            G->acted++;
            vf_op(role == FAILS ? OP_FAIL : OP_TRIP);
            if (role == FAILS) altsem_barrier_fail(VF_SEGMENT, VF_SLOT, generation);
            if (role == FAILS) result = -EPIPE;
            else result = altsem_barrier_trip(VF_SEGMENT, VF_SLOT, generation);
            VF_HOLDS(result == 0 || role == FAILS || is_interfered_with(),
                     "broken while a living party runs the action");
            break;
        }
        if (result != 0) return; /* broken before: it belongs to no generation */
        vf_op(OP_WAIT);
        if (role == TIMED) deadline = vf_deadline(10 * VF_MS);
        do {
            result = altsem_barrier_wait(VF_SEGMENT, VF_SLOT, generation, deadline);
        } while (result == -EINTR && role != LEAVES);
        if (result != -EAGAIN) break;
        again = 1;
    }
    if (result == -EINTR) {
        vf_op(OP_WITHDRAW);
        altsem_barrier_withdraw(VF_SEGMENT, VF_SLOT, generation);
        G->left |= (uint8_t)(1u << me);
        return;
    }
    if (result == -ETIMEDOUT)
        VF_HOLDS(role == TIMED && vf.clock >= deadline, "given up before its time");
    if (result >= 0) passes(me, generation, index);
    else breaks(me, generation);
    if (result >= 0 && all_meet())
        for (int i = 0; i < MANY; i++)
            VF_HOLDS(vf_heard(i + 3 * (round & 1)),
                     "memory order: what was written before the barrier is not seen after it");
}

static int somebody_has_come(void) {
    int others = 0;
    for (int i = 0; i < vf_what->threads; i++) others += !vf_over(i);
    return vf_word() >> 40 != 0 || others == 1;
}

static void body(int me) {
    for (int round = 0; round < rounds_of(me); round++) {
        switch (role_of(me)) {
        case ABORTS:
        case RESETS:
            vf_guard(somebody_has_come);
            vf_op(role_of(me) == ABORTS ? OP_ABORT : OP_RESET);
            if (role_of(me) == ABORTS) altsem_barrier_abort(VF_SEGMENT, VF_SLOT);
            else altsem_barrier_reset(VF_SEGMENT, VF_SLOT);
            break;
        case IDLE:
            break;
        default:
            meet(me, round);
        }
    }
    vf_op(OP_NONE);
}
static void begin(void) { vf_slot(0, ALTSEM_BARRIER, 0, MANY); }

static int bits(uint8_t mask) { return __builtin_popcount(mask); }
static int generation(uint64_t word) { return (int)(word >> 8) & 7; }
static int is_broken(uint64_t word) { return (word & CLOSED) && (word << 1 >> 41) == 0; }

static const char *end(void) {
    for (int g = 0; g < 8; g++)
        if (G->passed[g] && !vf_anyone_dead() && !G->left && bits(G->passed[g]) != MANY)
            return "some passed, others did not";
    if (vf_anyone_dead()) return NULL;
    uint64_t word = vf_word();
    if (!is_broken(word) && word >> 40) return "at the end somebody is counted";
    return NULL;
}
/* Who waits for a party that never comes waits for ever. */
static const char *stuck(void) {
    uint64_t word = vf_word();
    if (word & CLOSED)
        return is_broken(word) ? "broken, and one sleeps on"
                               : "the action is over or its party dead: one sleeps on";
    int waiting = 0;
    for (int i = 0; i < vf_what->threads; i++) waiting += !vf_over(i);
    if (G->passed[generation(word)] || G->broken[generation(word)]) return "left behind";
    if ((int)(word >> 40) >= MANY) return "all have come, and sleep";
    if (!vf_anyone_dead() && (int)(word >> 40) != waiting) return "one sleeps on";
    return (int)(word >> 40) < waiting ? "one sleeps on" : NULL;
}

#define BARRIER(...)                                                                               \
    .primitive = "Barrier", .body = body, .begin = begin, .end = end, .stuck = stuck, __VA_ARGS__
const vf_scenario vf_barriers[] = {
    {BARRIER(.name = "barrier-2x3", .what = "2 meet 3 times", .threads = 2,
             .arg = {ROLE(MEETS, 3), ROLE(MEETS, 3), 0, PARTIES(2)})},
    {BARRIER(.name = "barrier-3x2", .what = "3 meet twice", .threads = 3,
             .arg = {ROLE(MEETS, 2), ROLE(MEETS, 2), ROLE(MEETS, 2), PARTIES(3)})},
    {BARRIER(.name = "barrier-2-of-3", .what = "2 of 3 meet: one is left", .threads = 3,
             .arg = {ROLE(MEETS, 1), ROLE(MEETS, 1), ROLE(MEETS, 1), PARTIES(2)})},
    {BARRIER(.name = "barrier-action", .what = "3 meet, the last runs an action; twice",
             .threads = 3, .arg = {ROLE(ACTS, 2), ROLE(ACTS, 2), ROLE(ACTS, 2), PARTIES(3)})},
    {BARRIER(.name = "barrier-action-fails", .what = "the action fails", .threads = 3,
             .arg = {ROLE(FAILS, 1), ROLE(FAILS, 1), ROLE(FAILS, 1), PARTIES(3)})},
    {BARRIER(.name = "barrier-timed", .what = "one gives up after 10 ms", .threads = 3, .jumps = 1,
             .arg = {ROLE(MEETS, 1), ROLE(TIMED, 1), ROLE(MEETS, 1), PARTIES(3)})},
    {BARRIER(.name = "barrier-timed-action", .what = "the same, with an action", .threads = 3,
             .jumps = 1, .arg = {ROLE(ACTS, 1), ROLE(TIMED, 1), ROLE(ACTS, 1), PARTIES(3)})},
    {BARRIER(.name = "barrier-leaves", .what = "one is interrupted, and leaves", .threads = 3,
             .signals = 1, .arg = {ROLE(MEETS, 1), ROLE(LEAVES, 1), ROLE(MEETS, 1), PARTIES(2)})},
    {BARRIER(.name = "barrier-leaves-3", .what = "3 of 4 meet, one leaves; 2 preemptions",
             .threads = 4, .signals = 1, .preemptions = 3,
             .arg = {ROLE(MEETS, 1), ROLE(LEAVES, 1), ROLE(MEETS, 1),
                     PARTIES(3) | ROLE(MEETS, 1)})},
    {BARRIER(.name = "barrier-leaves-all", .what = "the same, any preemptions", .threads = 4,
             .signals = 1, .late = 1,
             .arg = {ROLE(MEETS, 1), ROLE(LEAVES, 1), ROLE(MEETS, 1),
                     PARTIES(3) | ROLE(MEETS, 1)})},
    {BARRIER(.name = "barrier-signals", .what = "3 meet twice; a signal", .threads = 3,
             .signals = 1, .arg = {ROLE(MEETS, 2), ROLE(MEETS, 2), ROLE(MEETS, 2), PARTIES(3)})},
    {BARRIER(.name = "barrier-signals-action", .what = "with an action; 2 signals", .threads = 3,
             .signals = 2, .arg = {ROLE(ACTS, 1), ROLE(ACTS, 1), ROLE(ACTS, 1), PARTIES(3)})},
    {BARRIER(.name = "barrier-abort", .what = "2 meet, one aborts", .threads = 3,
             .arg = {ROLE(ACTS, 1), ROLE(ACTS, 1), ROLE(ABORTS, 1), PARTIES(2)})},
    {BARRIER(.name = "barrier-reset", .what = "2 meet twice, one resets", .threads = 3,
             .arg = {ROLE(ACTS, 2), ROLE(ACTS, 2), ROLE(RESETS, 1), PARTIES(2)})},
    {BARRIER(.name = "barrier-weak", .what = "swaps fail, sleeps end for no reason", .threads = 3,
             .weak = 1, .spurious = 1,
             .arg = {ROLE(ACTS, 2), ROLE(MEETS, 1), ROLE(MEETS, 1), PARTIES(2)})},
    {BARRIER(.name = "barrier-spin", .what = "with a spin before each sleep", .threads = 3,
             .spins = 1, .arg = {ROLE(MEETS, 2), ROLE(MEETS, 2), ROLE(MEETS, 2), PARTIES(3)})},
    {BARRIER(.name = "barrier-kill", .what = "3 meet, one is killed anywhere", .threads = 3,
             .kills = 1, .slices = 1,
             .arg = {ROLE(MEETS, 1), ROLE(MEETS, 1), ROLE(MEETS, 1), PARTIES(3)})},
    {BARRIER(.name = "barrier-kill-action", .what = "with an action, one is killed anywhere",
             .threads = 3, .kills = 1, .slices = 1,
             .arg = {ROLE(ACTS, 1), ROLE(ACTS, 1), ROLE(ACTS, 1), PARTIES(3)})},
    {BARRIER(.name = "barrier-kill-2-of-3", .what = "2 of 3 meet, one is killed", .threads = 3,
             .kills = 1, .slices = 1,
             .arg = {ROLE(ACTS, 1), ROLE(ACTS, 1), ROLE(ACTS, 1), PARTIES(2)})},
    {0},
};
