/* sysv_set.c - the SysV semaphore sets that waiters sleep in: who uses one, and when it is removed.
 *
 * The kernel never removes a set by itself, and a set that is in use cannot be unlinked.  Without
 * more care each would outlive its program.  So a set has a reference count, in its semaphore
 * USERS, which is changed by operations with SEM_UNDO: when a user dies, however it dies, the
 * kernel undoes its increment.  The count is in the set itself.  So nothing has to be kept, found
 * or passed on beside it: no lock file, no path, no descriptor that a program turning into a daemon
 * would close.  fork() does not inherit an undo, so a child is no user until it joins by itself,
 * which it does when it first sleeps or wakes.  exec() keeps the undo, so the set then stays until
 * that process ends.
 *
 *   USERS  ALIVE   state     step, each a single semop()               by
 *   -----  ------  --------  ----------------------------------------  --------------------------
 *   0      0       new       ALIVE+1, USERS+1 with undo: joined        its maker, once
 *   n      1       live      ALIVE stays 1, USERS+1 with undo: joined  who needs it
 *   n      1       live      USERS-1 with undo: left                   a user; at death, the kernel
 *   0      1       unused    ALIVE-1: retired                          the last user; a sweeper
 *   0      0       retired   removed                                   who retired it; a sweeper
 *
 * Nobody can join a retired set, and a set that has a user cannot be retired.  A sweeper cannot
 * tell new from retired and removes both; the maker then makes another.  When a set is removed,
 * also by ipcrm, its sleepers have no more than a spurious wake-up: EIDRM wakes them, they look at
 * their word, and go to sleep in a new set.
 *
 * The header of the segment says in one word which set it has.  If two processes make one at the
 * same time, a compare-and-swap decides; the loser removes its own.  Sets are recognised by the
 * upper half of the key together with a mode that nobody else has reason to use (execute permission
 * means nothing to a semaphore).  Others can write the header: the set that it names is used, or
 * removed, only if key and mode are such, and if it has as many semaphores as the segment needs.
 *
 * A process sweeps, which is to look for unused sets and remove them, when it makes one, and when
 * it exits.  So what a tree of killed processes has left is removed when the next program needs a
 * set.
 */
#define _GNU_SOURCE
#include "wait/sysv_set.h"

#ifndef __ANDROID__
#include <errno.h>
#include <limits.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/clock.h"
#include "process/fork.h"

enum { USERS, ALIVE }; /* slots 0 and 1 are the header: their numbers are free */

#define KEY_PREFIX 0x616c0000 /* "al" */
#define MODE 0711             /* the kernel heeds only 0600 of it */
#ifdef SEM_STAT
#define KEYS 0x10000u
#else
#define KEYS 0x400u /* without a list of all sets, a sweep asks for each key */
#endif
#define SWEEP_INTERVAL INT64_C(1000000000)

union argument { /* of semctl(); some systems declare it, some do not */
    int value;
    struct semid_ds *status;
    struct seminfo *info;
};

static _Atomic int64_t next_sweep; /* the earliest time */
static _Atomic int seen_any;       /* this process has used a set, or seen one in use */
static _Atomic pid_t exiting;      /* the process that has left its sets, to exit; 0: none */

static int key_of(altsem_set set) { return (int)(uint32_t)set; }

/* One to three operations, atomically.  0 or -errno; -ESTALE: the set is gone, or retired. */
static int step(int id, struct sembuf *operations, size_t n) {
    while (semop(id, operations, n) != 0) {
        if (errno == EAGAIN || errno == EIDRM || errno == EINVAL) return -ESTALE;
        if (errno != EINTR) return -errno;
    }
    return 0;
}

/* In each only the first operation could block, and it has IPC_NOWAIT if it could. */
static int init(int id) {
    struct sembuf both[] = {{ALIVE, 1, 0}, {USERS, 1, SEM_UNDO}};
    return step(id, both, 2);
}
static int add_user(int id) {
    struct sembuf all[] = {{ALIVE, -1, IPC_NOWAIT}, {ALIVE, 1, 0}, {USERS, 1, SEM_UNDO}};
    return step(id, all, 3);
}
static int drop_user(int id) {
    struct sembuf one = {USERS, -1, IPC_NOWAIT | SEM_UNDO};
    return step(id, &one, 1);
}
static int retire(int id) {
    struct sembuf both[] = {{USERS, 0, IPC_NOWAIT}, {ALIVE, -1, IPC_NOWAIT}};
    return step(id, both, 2);
}

static int erase(int id) { return semctl(id, 0, IPC_RMID) == 0; }

void altsem_set_remove(altsem_set set) { erase(altsem_set_id(set)); }

uint32_t altsem_set_limit(void) {
    static _Atomic uint32_t known; /* + 1 */
    uint32_t limit = atomic_load_explicit(&known, memory_order_relaxed);
    if (limit) return limit - 1;
#ifdef IPC_INFO
    struct seminfo info;
    union argument out = {.info = &info};
    limit = semctl(0, 0, IPC_INFO, out) < 0 || info.semmsl < 0 ? 0 : (uint32_t)info.semmsl;
#else
    limit = 60; /* of old BSDs; newer ones allow more, macOS 87381 */
#endif
    atomic_store_explicit(&known, limit + 1, memory_order_relaxed);
    return limit;
}

/* --- sweeping --------------------------------------------------------------------------------- */

/* Removes a set, whose key and mode have been checked, if it has no users. */
static int sweep_one(int id) {
    if (retire(id) == 0) return erase(id);
    return semctl(id, USERS, GETVAL) == 0 && semctl(id, ALIVE, GETVAL) == 0 && erase(id);
}

static int is_ours(const struct semid_ds *status) {
    return (status->sem_perm.mode & 0777) == MODE && status->sem_perm.cuid == geteuid();
}

int altsem_set_sweep(void) {
    int removed = 0;
    struct semid_ds status;
    union argument out = {.status = &status};
    atomic_store_explicit(&next_sweep, altsem_clock() + SWEEP_INTERVAL, memory_order_relaxed);
#ifdef SEM_STAT
    struct seminfo info;
    union argument all = {.info = &info};
    int last = semctl(0, 0, SEM_INFO, all); /* the highest index in use in the kernel's table */
    if (last < 0) return -errno;
    for (int i = 0; i <= last; i++) {
        int id = semctl(i, 0, SEM_STAT, out);
        if (id >= 0 && (status.sem_perm.__key & ~0xffff) == KEY_PREFIX && is_ours(&status))
            removed += sweep_one(id);
    }
#else
    for (uint32_t i = 0; i < KEYS; i++) {
        int id = semget(KEY_PREFIX + (int)i, 0, 0);
        if (id < 0 && errno != ENOENT && errno != EACCES) return -errno;
        if (id >= 0 && semctl(id, 0, IPC_STAT, out) == 0 && is_ours(&status))
            removed += sweep_one(id);
    }
#endif
    return removed;
}

/* --- making ----------------------------------------------------------------------------------- */

/* The id of a new set of that key, or -errno.  Where a limit is reached, a sweep may help. */
static int create(int key, int semaphores) {
    int id = semget(key, semaphores, IPC_CREAT | IPC_EXCL | MODE);
    if (id >= 0) return id;
    if (errno == ENOSPC)
        return altsem_set_sweep() > 0 &&
                       (id = semget(key, semaphores, IPC_CREAT | IPC_EXCL | MODE)) >= 0
                   ? id
                   : -ENOSPC;
    return errno == EINVAL ? -E2BIG : -errno; /* a limit of 0 counts as too many as well */
}

int altsem_set_make(uint32_t semaphores, altsem_set *set) {
    if (semaphores > INT_MAX) return -E2BIG;
    if (altsem_clock() >= atomic_load_explicit(&next_sweep, memory_order_relaxed))
        altsem_set_sweep();
    uint32_t start = (uint32_t)altsem_clock() ^ (uint32_t)getpid() << 5;
    for (uint32_t i = 0; i < KEYS; i++) {
        int key = KEY_PREFIX + (int)((start + i) % KEYS);
        int id = create(key, (int)semaphores);
        if (id == -EEXIST) continue;
        if (id < 0) return id;
        int error = init(id);
        if (error == 0) {
            *set = (uint64_t)(uint32_t)id << 32 | (uint32_t)key;
            return 0;
        }
        if (error != -ESTALE) { /* else a sweeper has removed it */
            erase(id);
            return error;
        }
    }
    return -ENOSPC;
}

/* --- joining and leaving ---------------------------------------------------------------------- */

/* Whether `set`, which others could have written, is one that altsem made, and of that size.  0, or
 * -ESTALE: it is not; -EACCES: it is another user's, and cannot be looked at. */
static int verify(altsem_set set, uint32_t semaphores) {
    struct semid_ds status;
    union argument out = {.status = &status};
    int id = altsem_set_id(set);
    if (id < 0 || (key_of(set) & ~0xffff) != KEY_PREFIX || semget(key_of(set), 0, 0) != id)
        return -ESTALE;
    if (semctl(id, 0, IPC_STAT, out) != 0) return errno == EACCES ? -EACCES : -ESTALE;
    return (status.sem_perm.mode & 0777) == MODE && status.sem_nsems == semaphores ? 0 : -ESTALE;
}

int altsem_set_enter(altsem_set set, uint32_t semaphores) {
    int error = verify(set, semaphores);
    return error ? error : add_user(altsem_set_id(set));
}

/* Sets of another IPC namespace have the same ids and are not the same. */
static int same_namespace(altsem_segment *segment) {
    struct stat status;
    if (stat("/proc/self/ns/ipc", &status) != 0) return 1; /* cannot be known */
    uint32_t here = (uint32_t)status.st_ino, nowhere = 0;
    return atomic_compare_exchange_strong(&segment->header->ipc_namespace, &nowhere, here) ||
           nowhere == here;
}

/* Leaves a set that the header does not name any more, and removes it if it has no users.  It has
 * been removed already, unless somebody has written over the header. */
static void abandon(altsem_set set) {
    drop_user(altsem_set_id(set));
    if (retire(altsem_set_id(set)) == 0) altsem_set_remove(set);
}

int altsem_set_join(altsem_segment *segment, int make, altsem_set *out) {
    _Atomic uint64_t *current = &segment->header->sysv_set;
    for (;;) {
        altsem_set joined = altsem_load(&segment->joined);
        altsem_set set = atomic_load_explicit(current, memory_order_acquire);
        if (set && set == joined) {
            *out = set;
            return 0;
        }
        if (!set && !make) return -ENOENT;
        if (!same_namespace(segment)) return -EXDEV;
        atomic_store_explicit(&seen_any, 1, memory_order_relaxed);
        int error;
        if (set) {
            if ((error = altsem_set_enter(set, 2 * segment->slots)) == -ESTALE) {
                altsem_set_forget(segment, set);
                continue;
            }
            if (error != 0) return error;
        } else {
            if ((error = altsem_set_make(2 * segment->slots, &set)) != 0) return error;
            altsem_set none = 0;
            if (!atomic_compare_exchange_strong(current, &none, set)) {
                altsem_set_remove(set); /* another process was faster */
                continue;
            }
        }
        if (!atomic_compare_exchange_strong(&segment->joined, &joined, set))
            drop_user(altsem_set_id(set)); /* another thread has joined: one undo is enough */
        else if (joined) abandon(joined);
    }
}

void altsem_set_forget(altsem_segment *segment, altsem_set set) {
    atomic_compare_exchange_strong(&segment->header->sysv_set, &set, 0);
}

void altsem_set_leave(altsem_segment *segment) {
    altsem_set joined = atomic_exchange(&segment->joined, 0);
    altsem_set set = altsem_load(&segment->header->sysv_set);
    if (joined && joined != set) abandon(joined);
    else if (joined) drop_user(altsem_set_id(joined));
    if (!set) return;
    atomic_store_explicit(&seen_any, 1, memory_order_relaxed);
    if (verify(set, 2 * segment->slots) == 0 && retire(altsem_set_id(set)) == 0) {
        altsem_set_forget(segment, set);
        altsem_set_remove(set);
    }
}

void altsem_set_after_fork(altsem_segment *segment) {
    atomic_store_explicit(&segment->joined, 0, memory_order_relaxed);
}

/* When a process exits normally as the last user, it removes its sets.  Threads that still wait
 * make no new ones. */
__attribute__((destructor)) static void at_exit(void) {
    if (!altsem_mutex_trylock()) return;
    atomic_store(&exiting, getpid());
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next)
        if (segment->backend->id == ALTSEM_SYSV_ID) altsem_set_leave(segment);
    altsem_mutex_unlock();
    if (atomic_load_explicit(&seen_any, memory_order_relaxed)) altsem_set_sweep();
}

/* A child that was forked while another thread ran the exit handlers does not exit with its parent.
 * It may not have been told of the fork: by then a library's fork handlers may be unregistered. */
int altsem_set_exiting(void) {
    pid_t who = atomic_load(&exiting);
    return who && who == getpid();
}

#endif
