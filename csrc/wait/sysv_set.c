/* sysv_set.c - the SysV semaphore sets that waiters sleep in: who uses one, and when it goes.
 *
 * The kernel never removes a set by itself, and there is no way to unlink one that is in use: left
 * to itself, each would outlive its program.  So a set counts its users, in its semaphore USERS, by
 * operations with SEM_UNDO: when a user dies, however it dies, the kernel takes its one back.  The
 * count is in the set, so nothing else has to be kept, found or passed on beside it: no lock file,
 * no path, no descriptor that a program turning into a daemon would close.  fork() does not inherit
 * an undo, so a child is no user until it joins by itself, which it does when it first sleeps or
 * wakes; exec() keeps it, so the set then stays until that process ends.
 *
 *   USERS  ALIVE   state      step, each a single semop()               who
 *   -----  ------  ---------  ----------------------------------------  --------------------------
 *   0      0       newborn    ALIVE+1, USERS+1 with undo: joined        its maker, once
 *   n      1       alive      ALIVE stays 1, USERS+1 with undo: joined  who needs it
 *   n      1       alive      USERS-1 with undo: left                   a user; at death, the kernel
 *   0      1       unused     ALIVE-1: condemned                        who was the last; a sweeper
 *   0      0       condemned  removed                                   who condemned it; a sweeper
 *
 * A joiner cannot get into a condemned set, nor can a set be condemned while somebody is in.  A
 * sweeper cannot tell newborn from condemned and removes both; the maker then makes another.
 * That a set has gone, also by ipcrm, is never worse than a spurious wake-up: whoever slept in it is
 * woken with EIDRM, looks at its word, and goes to sleep in a new one.
 *
 * Which set it is stands in the header of the segment, in one word, so two processes that make one
 * at the same time settle it by a compare-and-swap; the loser removes its own.  Sets are recognised
 * by the upper half of the key together with a mode that nobody else has reason to use (execute
 * permission means nothing to a semaphore).
 *
 * A process looks for unused sets when it makes one, and at its end: so what a killed tree left is
 * gone as soon as the next program needs any.
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

#define KEY_FAMILY 0x616c0000 /* "al" */
#define MODE 0711             /* of which the kernel heeds 0600 */
#ifdef SEM_STAT
#define KEYS 0x10000u
#else
#define KEYS 0x400u /* without a list of all sets, a sweep asks for each key */
#endif
#define SWEEP_PAUSE INT64_C(1000000000)

union argument { /* of semctl(); some systems declare it, some do not */
    int value;
    struct semid_ds *status;
    struct seminfo *info;
};

static _Atomic int64_t next_sweep; /* not before */
static _Atomic int met_one;        /* this process has used a set, or seen one in use */
static _Atomic int closing;

static int key_of(altsem_set set) { return (int)(uint32_t)set; }

/* One to three operations in one step.  0 or -errno; -ESTALE: there is no such set, or it is
 * condemned. */
static int step(int id, struct sembuf *operations, size_t n) {
    while (semop(id, operations, n) != 0) {
        if (errno == EAGAIN || errno == EIDRM || errno == EINVAL) return -ESTALE;
        if (errno != EINTR) return -errno;
    }
    return 0;
}

/* Only the first has to wait for anything, and it does not wait. */
static int born(int id) {
    struct sembuf both[] = {{ALIVE, 1, 0}, {USERS, 1, SEM_UNDO}};
    return step(id, both, 2);
}
static int enter(int id) {
    struct sembuf all[] = {{ALIVE, -1, IPC_NOWAIT}, {ALIVE, 1, 0}, {USERS, 1, SEM_UNDO}};
    return step(id, all, 3);
}
static int quit(int id) {
    struct sembuf one = {USERS, -1, IPC_NOWAIT | SEM_UNDO};
    return step(id, &one, 1);
}
static int condemn(int id) {
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

/* A set of ours, of whose name and mode the caller has made sure: removed, if nobody uses it. */
static int sweep_one(int id) {
    if (condemn(id) == 0) return erase(id);
    return semctl(id, USERS, GETVAL) == 0 && semctl(id, ALIVE, GETVAL) == 0 && erase(id);
}

static int is_ours(const struct semid_ds *status) {
    return (status->sem_perm.mode & 0777) == MODE && status->sem_perm.cuid == geteuid();
}

int altsem_set_sweep(void) {
    int removed = 0;
    struct semid_ds status;
    union argument out = {.status = &status};
    atomic_store_explicit(&next_sweep, altsem_clock() + SWEEP_PAUSE, memory_order_relaxed);
#ifdef SEM_STAT
    struct seminfo info;
    union argument all = {.info = &info};
    int last = semctl(0, 0, SEM_INFO, all); /* the last place in the kernel's table that is taken */
    if (last < 0) return -errno;
    for (int i = 0; i <= last; i++) {
        int id = semctl(i, 0, SEM_STAT, out);
        if (id >= 0 && (status.sem_perm.__key & ~0xffff) == KEY_FAMILY && is_ours(&status))
            removed += sweep_one(id);
    }
#else
    for (uint32_t i = 0; i < KEYS; i++) {
        int id = semget(KEY_FAMILY + (int)i, 0, 0);
        if (id < 0 && errno != ENOENT && errno != EACCES) return -errno;
        if (id >= 0 && semctl(id, 0, IPC_STAT, out) == 0 && is_ours(&status))
            removed += sweep_one(id);
    }
#endif
    return removed;
}

/* --- making ----------------------------------------------------------------------------------- */

/* The id of a new set of that key, or -errno.  Where there is no room, a sweep may make some. */
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
        int key = KEY_FAMILY + (int)((start + i) % KEYS);
        int id = create(key, (int)semaphores);
        if (id == -EEXIST) continue;
        if (id < 0) return id;
        int error = born(id);
        if (error == 0) {
            *set = (uint64_t)(uint32_t)id << 32 | (uint32_t)key;
            return 0;
        }
        if (error != -ESTALE) { /* else a sweeper was faster */
            erase(id);
            return error;
        }
    }
    return -ENOSPC;
}

/* --- joining and leaving ---------------------------------------------------------------------- */

/* A set that another process may have made. */
int altsem_set_enter(altsem_set set) {
    if (semget(key_of(set), 0, 0) != altsem_set_id(set)) return -ESTALE;
    return enter(altsem_set_id(set));
}

/* Sets of another IPC namespace have the same ids and are not the same. */
static int same_namespace(altsem_segment *segment) {
    struct stat status;
    if (stat("/proc/self/ns/ipc", &status) != 0) return 1; /* cannot be known */
    uint32_t here = (uint32_t)status.st_ino, nowhere = 0;
    return atomic_compare_exchange_strong(&segment->header->ipc_namespace, &nowhere, here) ||
           nowhere == here;
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
        atomic_store_explicit(&met_one, 1, memory_order_relaxed);
        int error;
        if (set) {
            if ((error = altsem_set_enter(set)) == -ESTALE) {
                altsem_set_forget(segment, set);
                continue;
            }
            if (error != 0) return error;
        } else {
            if ((error = altsem_set_make(2 * segment->slots, &set)) != 0) return error;
            altsem_set none = 0;
            if (!atomic_compare_exchange_strong(current, &none, set)) {
                altsem_set_remove(set); /* somebody else was faster */
                continue;
            }
        }
        if (!atomic_compare_exchange_strong(&segment->joined, &joined, set))
            quit(altsem_set_id(set)); /* so did another thread: one undo is enough */
    }
}

void altsem_set_forget(altsem_segment *segment, altsem_set set) {
    atomic_compare_exchange_strong(&segment->header->sysv_set, &set, 0);
}

void altsem_set_leave(altsem_segment *segment) {
    altsem_set joined = atomic_exchange(&segment->joined, 0);
    if (joined) quit(altsem_set_id(joined));
    altsem_set set = altsem_load(&segment->header->sysv_set);
    if (!set) return;
    atomic_store_explicit(&met_one, 1, memory_order_relaxed);
    if (semget(key_of(set), 0, 0) == altsem_set_id(set) && condemn(altsem_set_id(set)) == 0) {
        altsem_set_forget(segment, set);
        altsem_set_remove(set);
    }
}

void altsem_set_after_fork(altsem_segment *segment) {
    atomic_store_explicit(&segment->joined, 0, memory_order_relaxed);
}

/* At a normal end the last user removes what it can; threads that still sleep do not bring it
 * back. */
__attribute__((destructor)) static void at_exit(void) {
    if (!altsem_mutex_trylock()) return;
    atomic_store(&closing, 1);
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next)
        if (segment->backend->id == ALTSEM_SYSV_ID) altsem_set_leave(segment);
    altsem_mutex_unlock();
    if (atomic_load_explicit(&met_one, memory_order_relaxed)) altsem_set_sweep();
}

int altsem_set_closing(void) { return atomic_load_explicit(&closing, memory_order_relaxed); }

/* A child that was forked while another thread ran the exit handlers lives on. */
static void in_child(void) { atomic_store(&closing, 0); }

static altsem_fork_hooks at_fork = {.in_child = in_child};
__attribute__((constructor)) static void register_hooks(void) { altsem_at_fork(&at_fork); }

#endif
