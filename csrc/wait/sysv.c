/* sysv.c - sleeping in SysV semaphores, where there is no futex, or it is filtered.
 *
 * The state stays in the word; a semaphore is only the queue that waiters sleep in, each word has
 * one, and a set holds those of a segment.  The set is made when somebody first has to sleep
 * (sysv_set.c, also who removes it), so a lock that nobody waits for costs what it costs with a
 * futex, and the limits of SysV never limit a value.
 *
 * To sleep is to take a token, -1, from a semaphore that is nearly always 0; to wake is to put
 * tokens there.  Unlike the futex call this compares nothing, so:
 *
 *   sleeper  1 sleepers+1 in the slot   2 look at the word   3 take a token, or wait for one
 *   waker    1 change the word          2 sleepers-k         3 put k tokens there
 *
 * If the sleeper's look (2) finds the old word, the change (1) comes after it, so the waker (2) finds
 * the sleeper counted: a full fence on either side forbids both to look first.  Then a token is put
 * there, and it stays there until it is taken: it does not matter whether the sleeper has reached
 * its semop().  So no wake that comes after the look is missed.
 *
 * The waker takes out of the count whom it hands a token, so there are never more tokens than
 * there were sleepers, and with nobody asleep no system call is made.  A sleeper that gives up
 * takes itself out, or, if a waker has done so already, its token if it has come.  Who is killed:
 *   a sleeper        stays counted; a token is put there for it once, and some later sleeper takes
 *                    that, wakes for nothing, and is counted instead: one needless wake-up now and
 *                    then per dead sleeper
 *   a waker, 2 to 3  its k sleepers get no token; their slice ends within a second (word.h)
 * Tokens may thus be stale, never missing for longer than a slice.
 */
#define _GNU_SOURCE
#include "wait/sysv_set.h"

#ifndef __ANDROID__
#include <errno.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

#include "process/clock.h"
#include "wait/wait.h"

/* 2 * 8192 semaphores are a megabyte of the kernel's, and take it 10 ms to make. */
#define MOST_SLOTS 8192u
#define TOKEN_ON_ITS_WAY INT64_C(20000000) /* ns: a slice or two that the waker may have to wait */
#define MOST_TOKENS 32767u                 /* SEMVMX: a semaphore holds no more */

#if !defined(ALTSEM_NO_SEMTIMEDOP) && (defined(__linux__) || defined(__sun))
static int take_until(int id, struct sembuf *take, int64_t until) {
    int64_t left = until - altsem_clock();
    if (left < 0) left = 0;
    struct timespec time = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    return semtimedop(id, take, 1, &time);
}
#else
/* A blocking call that nothing but a signal could end is no use for a promise of at most a second:
 * polls, 0.1 ms doubling to 10. */
static int take_until(int id, struct sembuf *take, int64_t until) {
    int64_t pause = 100000;
    take->sem_flg = IPC_NOWAIT;
    while (semop(id, take, 1) != 0) {
        int64_t left = until - altsem_clock();
        if (errno != EAGAIN) return -1;
        if (left <= 0) {
            errno = EAGAIN;
            return -1;
        }
        struct timespec time = {0, (long)(pause < left ? pause : left)};
        if (nanosleep(&time, NULL) != 0) return -1;
        if (pause < 5000000) pause *= 2;
        else pause = 10000000;
    }
    return 0;
}
#endif

/* Takes the caller out of the count again. */
static void give_up(_Atomic uint32_t *sleepers, int id, unsigned short number) {
    uint32_t seen = atomic_load_explicit(sleepers, memory_order_relaxed);
    while (seen > 0)
        if (atomic_compare_exchange_weak(sleepers, &seen, seen - 1)) return;
    /* A waker has taken it out, and puts its token there next, unless it is killed in between. */
    struct sembuf take = {number, -1, 0};
    int64_t until = altsem_clock() + TOKEN_ON_ITS_WAY;
    while (take_until(id, &take, until) != 0 && errno == EINTR) continue;
}

static unsigned short number_of(altsem_segment *segment, altsem_slot *slot,
                                enum altsem_which which) {
    return (unsigned short)(2 * altsem_number_of(segment, slot) + which);
}

static int sysv_sleep(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                      uint32_t expected, int64_t until) {
    if (altsem_set_closing()) { /* a thread that outlives the end of main() */
        pause();
        return -EINTR;
    }
    altsem_set set;
    int error = altsem_set_join(segment, 1, &set);
    if (error != 0) return error;
    _Atomic uint32_t *sleepers = &slot->sleepers[which];
    unsigned short number = number_of(segment, slot, which);
    atomic_fetch_add(sleepers, 1);
    atomic_thread_fence(memory_order_seq_cst);
    struct sembuf take = {number, -1, 0};
    if (altsem_low(altsem_load(altsem_word_of(slot, which))) == expected) {
        if (take_until(altsem_set_id(set), &take, until) == 0) return 0;
        error = errno == EAGAIN ? -ETIMEDOUT : -errno;
    } else {
        error = ALTSEM_CHANGED;
    }
    give_up(sleepers, altsem_set_id(set), number);
    if (error == -EIDRM || error == -EINVAL) { /* somebody removed the set: look, and sleep anew */
        altsem_set_forget(segment, set);
        return ALTSEM_CHANGED;
    }
    return error;
}

/* 0, or -errno; as many as fit. */
static int put(int id, unsigned short number, uint32_t n) {
    struct sembuf tokens = {number, 0, 0};
    while (n > 0) {
        uint32_t now = n < MOST_TOKENS ? n : MOST_TOKENS;
        tokens.sem_op = (short)now;
        if (semop(id, &tokens, 1) == 0) {
            n -= now;
        } else if (errno == ERANGE) { /* tens of thousands of tokens lie there already */
            n = now / 2;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int sysv_wake(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                     uint32_t n) {
    _Atomic uint32_t *sleepers = &slot->sleepers[which];
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t seen = atomic_load_explicit(sleepers, memory_order_relaxed);
    do {
        if (seen == 0) return 0;
    } while (!atomic_compare_exchange_weak(sleepers, &seen, seen - (n < seen ? n : seen)));
    if (n > seen) n = seen;
    for (;;) {
        altsem_set set;
        int error = altsem_set_join(segment, 0, &set);
        if (error == -ENOENT) return 0; /* with it went all who slept in it: they look again */
        if (error != 0) return error;
        error = put(altsem_set_id(set), number_of(segment, slot, which), n);
        if (error == -EIDRM || error == -EINVAL) altsem_set_forget(segment, set);
        else if (error != 0 || altsem_load(&segment->header->sysv_set) == set) return error;
    }
}

static uint32_t sysv_max_slots(void) {
    uint32_t slots = altsem_set_limit() / 2;
    return slots < MOST_SLOTS ? slots : MOST_SLOTS;
}

/* A set for a segment with a single slot: made, slept in, removed. */
static int sysv_probe(void) {
    altsem_set set;
    const unsigned short number = 2 * ALTSEM_HEADER_SLOTS;
    int error = altsem_set_make(number + 2, &set);
    if (error != 0) return error;
    struct sembuf take = {number, -1, 0};
    if (sysv_max_slots() <= ALTSEM_HEADER_SLOTS) error = -E2BIG;
    else if ((error = altsem_set_enter(set)) != 0) error = error == -ESTALE ? -ENOSYS : error;
    else if (take_until(altsem_set_id(set), &take, 0) == 0) error = -ENOSYS;
    else if (errno != EAGAIN) error = -errno;
    else if ((error = put(altsem_set_id(set), number, 1)) == 0 &&
             take_until(altsem_set_id(set), &take, 0) != 0)
        error = -errno;
    altsem_set_remove(set);
    return error;
}

const altsem_backend_ops altsem_sysv_ops = {
    .name = "sysv",
    .base = {.id = ALTSEM_SYSV_ID,
             .max_slots = sysv_max_slots,
             .detach = altsem_set_leave,
             .after_fork = altsem_set_after_fork},
    .probe = sysv_probe,
    .sleep = sysv_sleep,
    .wake = sysv_wake,
    .clean = altsem_set_sweep,
};
#endif
