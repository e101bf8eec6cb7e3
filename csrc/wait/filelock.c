/* filelock.c - sleeping without any help of the kernel's but file locks; the last resort.
 *
 * Waiters poll the word.  If all of them polled often, many of them would keep the machine busy.
 * So the waiters of a word form a queue, by a lock on one byte of the segment's own file.  Who
 * holds the lock is at the front of the queue and polls at a short interval, 50 us doubling to 2
 * ms.  The others try for the lock, and look at the word, every 16 ms.  When the waiter at the
 * front leaves or is killed, the kernel releases its lock, and the next one to try is at the
 * front.  wake() has nothing to do.
 *
 * The lock protects nothing: it only says who polls often.  If it were lost, two waiters would poll
 * often.  If it were never released, none would, and they would still see the word change.  That is
 * why POSIX record locks will do, with all that is said against them:
 *   - they vanish when the process closes any descriptor of the file: two poll often for a while;
 *   - they belong to the process, not to the thread: `front` is the queue of this process's
 *     threads;
 *   - a child of fork() does not inherit them, which is right: it is not the one that waits.  (Open
 *     file description locks it would inherit, and so would every process that is sent the
 *     descriptor.)
 * F_GETLK, which some sandboxes do not know, is not needed.  Nor is F_SETLKW: nothing but a signal
 * ends such a wait, and no sleep may last longer than a second.
 *
 * Programs that become daemons close all descriptors.  The number may be a stranger's afterwards,
 * and a lock on the stranger's file would do harm: altsem_segment_fd() checks it each time.  A
 * segment whose file has a name keeps no descriptor: its file is opened by name when a thread
 * queues, and closed when that thread leaves the front.  Without a descriptor, or on a filesystem
 * without locks, each process has a front of its own.
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

/* Poll intervals, in nanoseconds. */
#define FIRST_INTERVAL INT64_C(50000)
#define FRONT_INTERVAL INT64_C(2000000)
#define QUEUE_INTERVAL INT64_C(16000000)

/* 0 or -errno; -EAGAIN and -EACCES: another process holds it. */
static int lock_byte(int fd, off_t at, short type) {
    struct flock byte = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_SETLK, &byte) == 0 ? 0 : -errno;
}

/* The front of a word's queue, among the threads of this process. */
typedef struct {
    _Atomic unsigned char taken; /* by the thread that holds the lock, or tries for it */
    int opened; /* by that thread: the descriptor of a file with a name, plus 1; 0: none */
} altsem_front;

/* One per word of the segment; NULL if there is no memory for that. */
static altsem_front *fronts_of(altsem_segment *segment) {
    void *fronts = atomic_load_explicit(&segment->front, memory_order_acquire);
    if (fronts) return fronts;
    void *fresh = calloc(segment->slots, 2 * sizeof(altsem_front));
    if (fresh && atomic_compare_exchange_strong(&segment->front, &fronts, fresh)) return fresh;
    free(fresh);
    return fronts;
}

/* The descriptor to lock with, or -errno. */
static int file_of(altsem_segment *segment, altsem_front *front) {
    int fd = front->opened - 1;
    if (fd < 0) return altsem_segment_fd(segment);
    return altsem_segment_is_file(segment, fd) ? fd : -EBADF;
}

static void close_opened(altsem_segment *segment, altsem_front *front) {
    int fd = front->opened - 1;
    if (fd >= 0 && altsem_segment_is_file(segment, fd)) close(fd);
    front->opened = 0;
}

/* Whether the calling thread is at the front of the queue now. */
static int try_front(altsem_segment *segment, altsem_front *front, off_t word) {
    unsigned char nobody = 0;
    if (!front || !atomic_compare_exchange_strong(&front->taken, &nobody, 1)) return 0;
    int fd = altsem_segment_fd(segment);
    if (fd < 0 && (fd = altsem_segment_reopen(segment)) >= 0) front->opened = fd + 1;
    int error = fd < 0 ? 0 : lock_byte(fd, word, F_WRLCK);
    if (error != -EAGAIN && error != -EACCES) return 1;
    close_opened(segment, front);
    atomic_store(&front->taken, 0);
    return 0;
}

static void leave_front(altsem_segment *segment, altsem_front *front, off_t word) {
    int fd = file_of(segment, front);
    if (fd >= 0) lock_byte(fd, word, F_UNLCK);
    close_opened(segment, front);
    atomic_store(&front->taken, 0);
}

static int filelock_sleep(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                          uint32_t expected, int64_t until) {
    altsem_front *front = fronts_of(segment);
    off_t word = 2 * (off_t)altsem_number_of(segment, slot) + which;
    if (front) front += word;
    int64_t interval = FIRST_INTERVAL;
    int at_front = 0, result = 0;
    while (altsem_low(altsem_load(altsem_word_of(slot, which))) == expected) {
        int64_t left = until - altsem_clock();
        if (left <= 0) {
            result = -ETIMEDOUT;
            break;
        }
        if (!at_front && (at_front = try_front(segment, front, word))) interval = FIRST_INTERVAL;
        struct timespec time = {0, (long)(interval < left ? interval : left)};
        if (nanosleep(&time, NULL) != 0) {
            result = -errno;
            break;
        }
        int64_t longest = at_front ? FRONT_INTERVAL : QUEUE_INTERVAL;
        interval = 2 * interval < longest ? 2 * interval : longest;
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

/* The threads at the front are threads of the parent. */
static void filelock_after_fork(altsem_segment *segment) {
    altsem_front *fronts = atomic_load_explicit(&segment->front, memory_order_relaxed);
    size_t words = 2 * (size_t)segment->slots;
    if (!fronts) return;
    for (size_t word = 0; segment->path && word < words; word++)
        close_opened(segment, &fronts[word]);
    memset(fronts, 0, words * sizeof *fronts);
}

/* Locks and unlocks a byte of such memory as segments are made of. */
static int filelock_probe(void) {
    int fd = altsem_memory_new(ALTSEM_SLOT_BYTES, NULL);
    if (fd < 0) return 0; /* reported, with more detail, when memory is needed */
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
