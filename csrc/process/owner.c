/* owner.c - who am I.
 *
 * The word of a lock has room for the kernel's thread id and six bits more.  Thread ids are used again,
 * and mean different threads in different PID namespaces, so beside it stands an identity (owner.h) that no
 * other thread has: neither one of another process, for its pid differs, or its start, or its
 * namespace; nor one of the same process, also if it got the same tid later, for they are counted.
 * It is asked of the kernel once, and remembered by the thread.
 *
 * What is remembered is wrong in a child.  fork() can be noticed by handlers, but _Fork() and a bare
 * clone() run none.  So what must be forgotten hangs on a generation number in a page that the kernel
 * wipes in every child (MADV_WIPEONFORK, Linux 4.14).  A child finds 0 there, which is nobody's
 * generation, and gives itself the number after its parent's; whatever was remembered under the
 * parent's number is then known to be old: each thread's identity here, the counts of a SemLock, who
 * holds the core's mutex (fork.c).  Nothing has to be found and cleared; in particular the identity
 * that the forking thread keeps in thread-local memory may be found by it much later, when other
 * threads of the child have long noticed.  Where pages are not wiped the handlers do the same
 * (altsem_is_child_of), and children made without them are not noticed.
 *
 * All here may run in a signal handler, and may be interrupted by one that does the same: the first
 * number given to a thread stands, and all the rest follows from it, so both write the same.
 * Not covered: a handler that forks in the few instructions of a take between the look at the
 * generation and the step, and whose child returns from it into them.
 */
#define _GNU_SOURCE
#include "process/owner.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/clock.h"
#include "process/proc.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#define NEVER UINT32_MAX
#define FIRST_TIME_NAMESPACE 0xeffffffau /* the kernel's number for the machine's own */

/* Without an initial value, so that it is anonymous memory and no part of a file: only such can be
 * wiped.  At an address known when linking, so that looking costs no more than any variable. */
_Alignas(ALTSEM_PAGE) altsem_page altsem_own;
_Thread_local altsem_thread altsem_me ALTSEM_TLS = {.generation = NEVER};

static _Atomic uint32_t
    latest; /* generation ever given in this process or those it descends from */

__attribute__((constructor)) static void begin(void) {
#ifdef __linux__
    int saved = errno;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (page <= sizeof altsem_own && (uintptr_t)&altsem_own % page == 0)
        madvise(&altsem_own, page, MADV_WIPEONFORK);
    errno = saved;
#endif
    altsem_generation();
}

/* Several threads may come here at once.  A number that is not used is only skipped; `latest` is
 * never behind, so a child forked in between does not get its parent's. */
uint32_t altsem_new_generation(void) {
    uint32_t none = 0, next = atomic_fetch_add(&latest, 1) + 1;
    return atomic_compare_exchange_strong(&altsem_own.generation, &none, next) ? next : none;
}

/* That the page was to be wiped is no proof that it was: some emulators only say so. */
void altsem_is_child_of(uint32_t parent) {
    if (atomic_load(&altsem_own.generation) == parent) {
        atomic_store(&altsem_own.id, 0);
        atomic_store(&altsem_own.threads, 0);
        atomic_store(&altsem_own.start, 0);
        atomic_store(&altsem_own.generation, 0);
    }
    altsem_generation();
}

/* --- the process -------------------------------------------------------------------------------- */

static uint32_t inode_of(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? (uint32_t)status.st_ino : 0;
}

/* Multiplying by the golden ratio scatters what is alike: starts and namespaces that follow each other
 * never fall together. */
static uint64_t scatter(uint64_t number) { return number * UINT64_C(0x9e3779b97f4a7c15); }

uint32_t altsem_pid_namespace(void) {
    uint32_t pids = inode_of("/proc/self/ns/pid"), times = inode_of("/proc/self/ns/time");
    if (!pids || !times || times == FIRST_TIME_NAMESPACE) return pids;
    return (uint32_t)(scatter((uint64_t)times << 32 | pids) >> 32) | 1;
}

static uint64_t id_of(uint32_t pid, int known, uint64_t scattered) {
    uint64_t origin = scattered >> (64 - ALTSEM_ORIGIN_BITS);
    return (((uint64_t)pid << 1 | (unsigned)known) << ALTSEM_ORIGIN_BITS | origin)
           << ALTSEM_THREAD_BITS;
}

uint64_t altsem_id_from(uint32_t pid, uint32_t start, uint32_t pid_namespace) {
    return id_of(pid, 1, scatter((uint64_t)pid_namespace << 32 ^ start));
}

uint32_t altsem_hash_from(uint64_t process, uint32_t start) {
    if (!altsem_id_known(process) || start == 0) return 0;
    uint32_t hash = (uint32_t)(scatter(process ^ start) >> 58);
    return hash ? hash : 1;
}

/* Differs in each process, as far as can be had for nothing. */
static uint64_t chance(void) {
    return scatter((uint64_t)altsem_clock() ^ (uint64_t)getpid() << 32 ^ (uintptr_t)&altsem_me);
}

uint64_t altsem_process_id(void) {
    altsem_generation();
    uint64_t id = atomic_load_explicit(&altsem_own.id, memory_order_relaxed), nobody = 0;
    if (id) return id;
    int saved = errno;
    altsem_seen seen;
    uint32_t pid = (uint32_t)getpid();
    if (altsem_proc_look("self", &seen) == 0) {
        id = altsem_id_from(pid, seen.start, altsem_pid_namespace());
        atomic_store_explicit(&altsem_own.start, seen.start, memory_order_relaxed);
    } else {
        /* Nobody can judge this process, but it differs from others. */
        id = id_of(pid, 0, chance());
    }
    errno = saved;
    /* Two threads may come here at once: the first one's answer counts. */
    return atomic_compare_exchange_strong(&altsem_own.id, &nobody, id) ? id : nobody;
}

/* --- the thread --------------------------------------------------------------------------------- */

static uint32_t next_number(void) {
    const uint32_t mask = (1u << ALTSEM_THREAD_BITS) - 1;
    uint32_t seen = atomic_load(&altsem_own.threads), next;
    do {
        next = seen ? seen + 1 : (uint32_t)(chance() >> 32);
        if ((next & mask) == 0) next++;
    } while (!atomic_compare_exchange_weak(&altsem_own.threads, &seen, next));
    return next & mask;
}

/* The first thread started with its process, and need not ask. */
static uint32_t token_of(uint32_t tid, uint64_t process) {
    uint32_t start = 0;
    if (tid == altsem_id_pid(process)) {
        start = atomic_load_explicit(&altsem_own.start, memory_order_relaxed);
    } else if (tid <= ALTSEM_TID && altsem_id_known(process)) {
        int saved = errno;
        altsem_seen seen;
        char name[32];
        snprintf(name, sizeof name, "self/task/%u", tid);
        if (altsem_proc_look(name, &seen) == 0) start = seen.start;
        errno = saved;
    }
    uint32_t token = (tid & ALTSEM_TID) | altsem_hash_from(process, start) << ALTSEM_HASH_AT;
    return token ? token : ALTSEM_TID;
}

void altsem_introduce(void) {
    uint32_t generation = altsem_generation();
    uint64_t process = altsem_process_id();
    uint64_t seen = atomic_load_explicit(&altsem_me.numbered, memory_order_relaxed);
    if (seen >> 32 != generation) {
        uint64_t number = (uint64_t)generation << 32 | next_number();
        if (atomic_compare_exchange_strong(&altsem_me.numbered, &seen, number)) seen = number;
    }
    altsem_me.id = process | (uint32_t)seen;
    altsem_me.token = token_of((uint32_t)syscall(SYS_gettid), process);
    atomic_signal_fence(memory_order_seq_cst);
    altsem_me.generation = generation;
}

uint32_t altsem_tid(void) { return altsem_token_tid(altsem_self()->token); }
