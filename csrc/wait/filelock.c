/* filelock.c - sleeping without any help of the kernel's but file locks; the last resort.
 *
 * Waiters poll the word.  That many of them do not wear the machine out, those of a word queue on a
 * byte of the segment's own file: who holds a lock on it is at the front and polls quickly, 50 µs
 * doubling to 2 ms; the others try for the lock, and look at the word, 16 ms apart.  When the front
 * waiter leaves, or is killed, the kernel takes the lock back, and the next to try is at the front.
 * wake() has nothing to do.
 *
 * So the lock guards nothing: it only says who may be in a hurry.  If it were lost, two would poll
 * quickly; if it were stuck, none would, and they would still see the word change.  That is why
 * POSIX record locks will do, with all that is said against them:
 *   - they vanish when the process closes any descriptor of the file: two poll quickly for a while;
 *   - they belong to the process, not to the thread: `front` is the queue of this process's threads;
 *   - a child of fork() does not inherit them: right so, it is not the one that waits.  (Open file
 *     description locks it would inherit, and so would everybody whom the descriptor was sent to.)
 * F_GETLK, which some sandboxes do not know, is not needed; nor is F_SETLKW: a wait that nothing but
 * a signal ends would break the promise that sleeps last no longer than a second.
 *
 * The descriptor's number may be a stranger's by now (programs that become daemons close them all),
 * and with a lock on his file we would do harm: altsem_segment_fd() makes sure each time.  Without
 * it, or on a filesystem without locks, each process has a front of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "process/clock.h"
#include "wait/wait.h"

#define FIRST_PAUSE INT64_C(50000)
#define FRONT_PAUSE INT64_C(2000000)
#define QUEUE_PAUSE INT64_C(16000000)

/* 0, or why not: -EAGAIN or -EACCES somebody else has it. */
static int lock_byte(int fd, off_t at, short type) {
    struct flock byte = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_SETLK, &byte) == 0 ? 0 : -errno;
}

/* A flag per word of the segment; NULL if there is no memory for that. */
static _Atomic unsigned char *front_of(altsem_segment *segment) {
    void *front = atomic_load_explicit(&segment->front, memory_order_acquire);
    if (front) return front;
    void *fresh = calloc(segment->slots, 2);
    if (fresh && atomic_compare_exchange_strong(&segment->front, &front, fresh)) return fresh;
    free(fresh);
    return front;
}

/* Whether the calling thread is now at the front of that word. */
static int come_to_front(altsem_segment *segment, _Atomic unsigned char *front, off_t word) {
    unsigned char nobody = 0;
    if (!front || !atomic_compare_exchange_strong(&front[word], &nobody, 1)) return 0;
    int fd = altsem_segment_fd(segment);
    int error = fd < 0 ? 0 : lock_byte(fd, word, F_WRLCK);
    if (error != -EAGAIN && error != -EACCES) return 1;
    atomic_store(&front[word], 0);
    return 0;
}

static void leave_front(altsem_segment *segment, _Atomic unsigned char *front, off_t word) {
    int fd = altsem_segment_fd(segment);
    if (fd >= 0) lock_byte(fd, word, F_UNLCK);
    atomic_store(&front[word], 0);
}

static int filelock_sleep(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                          uint32_t expected, int64_t until) {
    _Atomic unsigned char *front = front_of(segment);
    off_t word = 2 * (off_t)altsem_number_of(segment, slot) + which;
    int64_t pause = FIRST_PAUSE;
    int at_front = 0, result = 0;
    while (altsem_low(altsem_load(altsem_word_of(slot, which))) == expected) {
        int64_t left = until - altsem_clock();
        if (left <= 0) {
            result = -ETIMEDOUT;
            break;
        }
        if (!at_front && (at_front = come_to_front(segment, front, word))) pause = FIRST_PAUSE;
        struct timespec time = {0, (long)(pause < left ? pause : left)};
        if (nanosleep(&time, NULL) != 0) {
            result = -errno;
            break;
        }
        int64_t most = at_front ? FRONT_PAUSE : QUEUE_PAUSE;
        pause = 2 * pause < most ? 2 * pause : most;
    }
    if (at_front) leave_front(segment, front, word);
    return result;
}

static int filelock_wake(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                         uint32_t n) {
    (void)segment, (void)slot, (void)which, (void)n;
    return 0;
}

static void filelock_detach(altsem_segment *segment) {
    free(atomic_exchange(&segment->front, NULL));
}

/* The threads that were at the front are the parent's. */
static void filelock_after_fork(altsem_segment *segment) {
    void *front = atomic_load_explicit(&segment->front, memory_order_relaxed);
    if (front) memset(front, 0, 2 * (size_t)segment->slots);
}

/* Locks and unlocks a byte of such memory as segments are made of. */
static int filelock_probe(void) {
    int fd = altsem_memory_new(ALTSEM_SLOT_BYTES, NULL);
    if (fd < 0) return 0; /* whoever needs memory will hear of it, and in better words */
    int error = lock_byte(fd, 1, F_WRLCK);
    if (error == 0) error = lock_byte(fd, 1, F_UNLCK);
    close(fd);
    return error;
}

const altsem_backend_ops altsem_filelock_ops = {
    .name = "filelock",
    .base = {.id = 3, .detach = filelock_detach, .after_fork = filelock_after_fork},
    .probe = filelock_probe,
    .sleep = filelock_sleep,
    .wake = filelock_wake,
};
