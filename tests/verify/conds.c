/* conds.c - scenarios of the wait queue of a condition. */
#include "explore.h"

enum role { IDLE, WAITS, EARLY, TIMED, EARLY_TIMED, QUITS, NOTIFIES, SURVIVES };
/* A notifier's calls: how many each is to notify, as digits. */
#define ROLE(role, numbers) ((role) << 16 | (numbers))
#define ALL_OF_THEM 9

struct ghost {
    uint8_t entered, notified, given;
    uint8_t place[VF_THREADS]; /* as which it entered, from 1 on */
    uint8_t went[VF_THREADS];  /* was notified */
    uint8_t waits[VF_THREADS];
    uint8_t owed, to_whom; /* by the last notification: how many, bits of who waited */
    uint8_t inside[16];    /* for each notification: how many had entered */
    uint32_t ticket[VF_THREADS];
};
#define G ((struct ghost *)vf.ghost)

static enum role role_of(int me) { return (enum role)(vf_what->arg[me] >> 16); }

static void entered(int me) {
    G->place[me] = ++G->entered;
    G->waits[me] = 1;
}
static void notified(int me) {
    G->waits[me] = 0;
    G->went[me] = 1;
    G->notified++;
}

static void wait(int me, int early) {
    enum role role = role_of(me);
    int result;
    int64_t ns = role == TIMED || role == EARLY_TIMED ? 10 * VF_MS : 0;
    if (!early) {
        vf_op(OP_ENTER);
        vf_lock();
        VF_HOLDS(altsem_cond_enter(VF_SLOT, &G->ticket[me]) == 0, "cannot enter");
        entered(me);
        vf_unlock();
    }
    vf_op(OP_WAIT);
    int64_t deadline = vf_deadline(ns);
    do {
        result = altsem_cond_sleep(VF_SEGMENT, VF_SLOT, G->ticket[me], deadline);
    } while (result == -EINTR && role != QUITS);
    if (result != 0) {
        VF_HOLDS(result == -EINTR || (ns && vf.clock >= deadline), "given up before its time");
        vf_op(OP_LEAVE);
        if (altsem_cond_leave(VF_SLOT, G->ticket[me]) == 0) {
            G->waits[me] = 0;
            return;
        }
        if (role == QUITS) { /* it hands on what came too late for itself */
            notified(me);
            vf_op(OP_NOTIFY);
            if (altsem_cond_notify(VF_SEGMENT, VF_SLOT, 1)) G->inside[G->given++] = G->entered;
            return;
        }
    }
    notified(me);
}

static int someone_is_dead(void) { return vf_anyone_dead(); }

static void notify(uint32_t n) {
    vf_op(OP_NOTIFY);
    vf_lock();
    uint8_t inside = G->entered, waiting = 0;
    for (int i = 0; i < vf_what->threads; i++)
        if (G->waits[i] && vf_alive(i)) waiting |= (uint8_t)(1u << i);
    uint32_t done = altsem_cond_notify(VF_SEGMENT, VF_SLOT, n == ALL_OF_THEM ? UINT32_MAX : n);
    VF_HOLDS(done <= n, "more notified than asked for");
    for (uint32_t i = 0; i < done && G->given < 16; i++) G->inside[G->given++] = inside;
    G->owed = (uint8_t)done;
    G->to_whom = waiting;
    vf_unlock();
}

static void body(int me) {
    switch (role_of(me)) {
    case WAITS:
    case TIMED:
    case QUITS:
        wait(me, 0);
        break;
    case EARLY:
    case EARLY_TIMED:
        wait(me, 1);
        break;
    case SURVIVES:
        vf_guard(someone_is_dead);
        /* fallthrough */
    case NOTIFIES:
        for (int numbers = vf_what->arg[me] & 0xffff; numbers; numbers /= 10)
            notify((uint32_t)numbers % 10);
        break;
    default:
        break;
    }
    vf_op(OP_NONE);
}

static void begin(void) {
    vf_slot(0, ALTSEM_COND, 0, 0);
    for (int i = 0; i < vf_what->threads; i++)
        if (role_of(i) == EARLY || role_of(i) == EARLY_TIMED) {
            altsem_cond_enter(VF_SLOT, &G->ticket[i]);
            entered(i);
        }
}
/* A token that nobody of the group before the last has taken. */
static void begin_left_over(void) {
    begin();
    uint64_t word2 = UINT64_C(0xffffffff) << 32 | UINT32_C(0xfff00001);
    memcpy((void *)&VF_SLOT->word2, &word2, sizeof word2);
}

static uint32_t counted(void) {
    return altsem_low(vf_read(&VF_SLOT->current)) +
           (altsem_low(vf_read(&VF_SLOT->joining)) & 0x7fffffff);
}

/* Whoever came after `moment` others was not notified before more than that had entered. */
static const char *too_early(void) {
    for (int moment = 0; moment <= G->entered; moment++) {
        int late = 0, may = 0;
        for (int i = 0; i < vf_what->threads; i++) late += G->went[i] && G->place[i] > moment;
        for (int i = 0; i < G->given; i++) may += G->inside[i] > moment;
        if (late > may) return "one that came later was notified too early";
    }
    return NULL;
}
static const char *numbers(void) {
    int dead = 0; /* one may have been notified and killed before it could act */
    for (int i = 0; i < vf_what->threads; i++) dead += !vf_alive(i) && G->waits[i];
    if (G->notified + dead < G->given) return "notified, and did not go";
    int went = 0, waited = __builtin_popcount(G->to_whom);
    for (int i = 0; i < vf_what->threads; i++) went += (G->to_whom >> i & 1) && !G->waits[i];
    if (went + dead < (G->owed < waited ? G->owed : waited))
        return "a notification was spent on nobody";
    if (vf_anyone_dead()) return NULL;
    if (G->notified > G->given) return "more went than were notified";
    return too_early();
}
static const char *end(void) {
    const char *why = numbers();
    if (why || vf_anyone_dead()) return why;
    return counted() ? "at the end somebody is counted" : NULL;
}
static const char *stuck(void) {
    int waiting = 0, notifiers = 0;
    for (int i = 0; i < vf_what->threads; i++) {
        waiting += G->waits[i] && vf_alive(i);
        /* The survivors have not begun, as nobody has died. */
        notifiers += role_of(i) == SURVIVES && !vf_over(i) && !vf_anyone_dead();
    }
    if (notifiers) return NULL;
    const char *why = numbers();
    if (why) return why;
    for (int i = 0; i < vf_what->threads; i++)
        if (role_of(i) == SURVIVES && (vf_what->arg[i] & 0xffff) == ALL_OF_THEM && waiting &&
            vf_anyone_dead())
            for (int j = 0; j < vf_what->threads; j++)
                if (G->waits[j] && vf_alive(j) && G->given && G->place[j] <= G->inside[0])
                    return "all were notified, and one sleeps on";
    if (!vf_anyone_dead() && counted() != (uint32_t)waiting) return "another number is counted";
    return NULL;
}

#define COND(...)                                                                                  \
    .primitive = "Condition", .body = body, .begin = begin, .end = end, .stuck = stuck, __VA_ARGS__
const vf_scenario vf_conds[] = {
    {COND(.name = "cond-2-1", .what = "2 wait, one is notified", .threads = 3,
          .arg = {ROLE(WAITS, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 1)})},
    {COND(.name = "cond-model", .what = "2 wait, one is notified, one gives up", .threads = 3,
          .jumps = 1, .arg = {ROLE(EARLY, 0), ROLE(EARLY_TIMED, 0), ROLE(NOTIFIES, 1)})},
    {COND(.name = "cond-2-11", .what = "2 wait; notified one by one", .threads = 3,
          .arg = {ROLE(WAITS, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 11)})},
    {COND(.name = "cond-timed", .what = "2 give up after 10 ms, one is notified", .threads = 3,
          .jumps = 1, .arg = {ROLE(EARLY_TIMED, 0), ROLE(EARLY_TIMED, 0), ROLE(NOTIFIES, 1)})},
    {COND(.name = "cond-timed-late", .what = "one gives up, one comes late", .threads = 3,
          .jumps = 1, .arg = {ROLE(EARLY_TIMED, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 11)})},
    {COND(.name = "cond-two-notifiers", .what = "2 wait, 2 notify", .threads = 4,
          .arg = {ROLE(EARLY, 0), ROLE(EARLY, 0), ROLE(NOTIFIES, 1), ROLE(NOTIFIES, 1)})},
    {COND(.name = "cond-late", .what = "one came early, 2 come late", .threads = 4,
          .arg = {ROLE(EARLY, 0), ROLE(WAITS, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 11)})},
    {COND(.name = "cond-all", .what = "2 wait, all are notified, one more comes", .threads = 4,
          .arg = {ROLE(EARLY, 0), ROLE(EARLY, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 9)})},
    {COND(.name = "cond-newcomer", .what = "2 came early, one comes late, one is notified",
          .threads = 4,
          .arg = {ROLE(EARLY, 0), ROLE(EARLY, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 1)})},
    {COND(.name = "cond-left-over", .what = "a token was left over", .threads = 3,
          .begin = begin_left_over, .arg = {ROLE(EARLY, 0), ROLE(EARLY, 0), ROLE(NOTIFIES, 1)})},
    {COND(.name = "cond-quits", .what = "one is interrupted, and hands on", .threads = 3,
          .signals = 1, .arg = {ROLE(QUITS, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 11)})},
    {COND(.name = "cond-signals", .what = "2 signals", .threads = 3, .signals = 2,
          .arg = {ROLE(WAITS, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 11)})},
    {COND(.name = "cond-spin", .what = "with a spin before each sleep", .threads = 3, .spins = 1,
          .arg = {ROLE(WAITS, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 11)})},
    {COND(.name = "cond-weak", .what = "swaps fail, sleeps end for no reason", .threads = 3,
          .weak = 1, .spurious = 1,
          .arg = {ROLE(EARLY, 0), ROLE(EARLY_TIMED, 0), ROLE(NOTIFIES, 11)})},
    {COND(.name = "cond-kill-one", .what = "a notifier of one is killed, all are notified",
          .threads = 4, .kills = 1, .slices = 1, .victims = 4,
          .arg = {ROLE(EARLY, 0), ROLE(EARLY, 0), ROLE(NOTIFIES, 1), ROLE(SURVIVES, 9)})},
    {COND(.name = "cond-kill-two", .what = "a notifier of 2 is killed, one is notified",
          .threads = 4, .kills = 1, .slices = 1, .victims = 4,
          .arg = {ROLE(EARLY, 0), ROLE(EARLY, 0), ROLE(NOTIFIES, 2), ROLE(SURVIVES, 1)})},
    {COND(.name = "cond-kill-late", .what = "the same, and one comes late", .threads = 4,
          .kills = 1, .slices = 1, .victims = 4,
          .arg = {ROLE(EARLY, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 1), ROLE(SURVIVES, 9)})},
    {COND(.name = "cond-kill-newcomer", .what = "the same, one is notified then", .threads = 4,
          .kills = 1, .slices = 1, .victims = 4,
          .arg = {ROLE(EARLY, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 1), ROLE(SURVIVES, 1)})},
    {COND(.name = "cond-kill-waiter", .what = "a waiter is killed, all are notified", .threads = 4,
          .kills = 1, .slices = 1, .victims = 1,
          .arg = {ROLE(WAITS, 0), ROLE(EARLY, 0), ROLE(EARLY, 0), ROLE(SURVIVES, 9)})},
    {COND(.name = "cond-kill-leaver", .what = "one that gives up is killed", .threads = 4,
          .kills = 1, .slices = 1, .jumps = 1, .victims = 1, .late = 1,
          .arg = {ROLE(EARLY_TIMED, 0), ROLE(EARLY, 0), ROLE(NOTIFIES, 1), ROLE(SURVIVES, 9)})},
    {COND(.name = "cond-3", .what = "3 come and go; 3 preemptions", .threads = 4, .preemptions = 4,
          .jumps = 1, .late = 1,
          .arg = {ROLE(WAITS, 0), ROLE(TIMED, 0), ROLE(WAITS, 0), ROLE(NOTIFIES, 12)})},
    {0},
};
