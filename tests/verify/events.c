/* events.c - scenarios of the event. */
#include "explore.h"

enum role { IDLE, WAITS, SETS, CLEARS, PULSES, TIMED, SETS_AND_TELLS, LOOKS };
#define ROLE(role, rounds) ((role) << 4 | (rounds))

struct ghost {
    uint8_t sets; /* from unset to set */
    uint8_t since[VF_THREADS], waits[VF_THREADS], told;
};
#define G ((struct ghost *)vf.ghost)
#define ONE_SETTER (vf_what->arg[3])

static int is_set(void) { return (int)(vf_word() & 1); }

/* All that was written before the one set() that there is has been heard of. */
static void check_heard(void) {
    VF_HOLDS(!ONE_SETTER || vf_heard(0), "memory order: what was written before set() is not seen");
}

static void wait(int me, int64_t ns) {
    int result;
    vf_op(OP_WAIT);
    int64_t deadline = vf_deadline(ns);
    uint32_t since = altsem_event_now(VF_SLOT);
    int was_set = is_set();
    G->since[me] = G->sets;
    G->waits[me] = 1;
    do {
        result = altsem_event_wait(VF_SEGMENT, VF_SLOT, since, deadline);
    } while (result == -EINTR);
    G->waits[me] = 0;
    if (ns && result == -ETIMEDOUT) {
        VF_HOLDS(vf.clock >= deadline, "given up before its time");
        return;
    }
    VF_HOLDS(result == 0, "a wrong answer");
    VF_HOLDS(was_set || G->sets > G->since[me], "came back, and it was not set");
    check_heard();
}
static void set(void) {
    vf_op(OP_SET);
    VF_HOLDS(altsem_event_set(VF_SEGMENT, VF_SLOT) == 0, "set() has failed");
}
static void clear(void) {
    vf_op(OP_CLEAR);
    altsem_event_clear(VF_SLOT);
}
static int has_told(void) { return G->told; }

static void body(int me) {
    enum role role = (enum role)(vf_what->arg[me] >> 4);
    if (ONE_SETTER && (role == SETS || role == PULSES || role == SETS_AND_TELLS)) vf_write(0);
    for (int rounds = vf_what->arg[me] & 15; rounds; rounds--) {
        switch (role) {
        case WAITS:
            wait(me, 0);
            break;
        case TIMED:
            wait(me, 10 * VF_MS);
            break;
        case SETS:
            set();
            break;
        case CLEARS:
            clear();
            break;
        case PULSES:
            set();
            clear();
            break;
        case SETS_AND_TELLS: /* that it was set already is no excuse */
            set();
            G->told = 1;
            break;
        case LOOKS:
            vf_guard(has_told);
            vf_op(OP_WAIT);
            VF_HOLDS(altsem_event_is_set(VF_SLOT), "set, and does not look so");
            check_heard();
            break;
        default:
            break;
        }
    }
    vf_op(OP_NONE);
}
static void handler(int me) {
    (void)me;
    set();
}
static void begin(void) { vf_slot(0, ALTSEM_EVENT, 0, 0); }
static void begin_set(void) { vf_slot(0, ALTSEM_EVENT, 1, 0); }

static const char *step(int me, int field, uint64_t before, uint64_t after) {
    const vf_thread *t = &vf.threads[me];
    if (field != 0) return NULL;
    uint32_t was = altsem_low(before), is = altsem_low(after);
    int64_t waiters = (int64_t)altsem_high(after) - (int64_t)altsem_high(before);
    if (waiters > 1 || waiters < -1) return "the count of waiters has jumped";
    if (was != is && waiters != 0) return "two steps in one";
    if (was == is) return NULL;
    if (t->op == OP_SET) {
        G->sets++;
        return !(was & 1) && is == was + 3 ? NULL : "a wrong step of set()";
    }
    if (t->op == OP_CLEAR) return is == (was & ~1u) ? NULL : "a wrong step of clear()";
    return "a waiter has changed the flag";
}
static const char *end(void) {
    if (!vf_anyone_dead() && altsem_high(vf_word())) return "at the end somebody is counted";
    return NULL;
}
static const char *stuck(void) {
    for (int i = 0; i < vf_what->threads; i++)
        if (G->waits[i] && vf_alive(i) && (is_set() || G->sets > G->since[i]))
            return "asleep, and it was set";
    return NULL;
}

#define EVENT(...)                                                                                 \
    .primitive = "Event", .body = body, .begin = begin, .step = step, .end = end, .stuck = stuck,  \
    __VA_ARGS__
const vf_scenario vf_events[] = {
    {EVENT(.name = "event-2-1", .what = "2 wait, one sets it", .threads = 3,
           .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(SETS, 1), 1})},
    {EVENT(.name = "event-pulse", .what = "2 wait, one sets and clears it", .threads = 3,
           .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(PULSES, 1), 1})},
    {EVENT(.name = "event-pulses", .what = "one waits 3 times, 2 set and clear", .threads = 3,
           .arg = {ROLE(WAITS, 3), ROLE(PULSES, 2), ROLE(PULSES, 1)})},
    {EVENT(.name = "event-clear", .what = "2 wait, one sets, one clears", .threads = 4,
           .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(SETS, 2), ROLE(CLEARS, 2)})},
    {EVENT(.name = "event-signals", .what = "2 wait, one sets and clears; 2 signals", .threads = 3,
           .signals = 2, .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(PULSES, 2)})},
    {EVENT(.name = "event-timed", .what = "one gives up after 10 ms; a signal", .threads = 3,
           .jumps = 1, .signals = 1, .arg = {ROLE(WAITS, 1), ROLE(TIMED, 1), ROLE(PULSES, 1)})},
    {EVENT(.name = "event-weak", .what = "swaps fail, sleeps end for no reason", .threads = 3,
           .weak = 2, .spurious = 2, .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(PULSES, 2)})},
    {EVENT(.name = "event-spin", .what = "with a spin before each sleep", .threads = 3, .spins = 1,
           .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(PULSES, 1), 1})},
    {EVENT(.name = "event-set-again", .what = "one sets what is set, another looks", .threads = 2,
           .begin = begin_set, .arg = {ROLE(SETS_AND_TELLS, 1), ROLE(LOOKS, 1), 0, 1})},
    {EVENT(.name = "event-handler", .what = "2 wait; a handler sets it anywhere", .threads = 3,
           .handlers = 1, .signals = 1, .handler = handler,
           .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(PULSES, 1)})},
    {EVENT(.name = "event-kill", .what = "one is killed anywhere", .threads = 3, .kills = 1,
           .slices = 1, .arg = {ROLE(WAITS, 1), ROLE(WAITS, 1), ROLE(PULSES, 1)})},
    {0},
};
