/* spin.c - waiting without sleeping, while that is likely to pay.
 *
 * A sleep and a wake cost two system calls and a trip of the sleeper to a CPU, together 5 to 50 µs.
 * Who expects to get the lock sooner does better to watch the word.  A little watching is worse than
 * none: it only delays the sleep; it pays if it may last about as long as what it saves.  And it can
 * only pay if the one who is waited for is running meanwhile, on another CPU.
 *
 * So each process keeps a budget, which follows what watching brought: a success sets it to a
 * multiple of the time that was needed, a failure halves it.  When others want the CPUs (whoever
 * holds the lock does not run), successes fail to come, and it falls to zero; then one wait in 64
 * tries again with the full measure, and after each vain try twice as many are let go by, up to 4096.  With one usable CPU nobody watches.  Nobody watches either
 * when somebody already sleeps on the word: the release will wake that one.
 */
#define _GNU_SOURCE
#include "spin.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wait.h"

#define MOST 40000 /* ns: about the dearest sleep and wake */
#define LEAST 500  /* ns: less is not worth the bookkeeping */
#define SELDOM 64
#define MOST_SELDOM 4096
#define LOOKS 16 /* between two looks at the clock */

static _Atomic int32_t budget = MOST;
static _Atomic uint32_t refused;          /* waits let go by since the last try */
static _Atomic uint32_t between = SELDOM; /* how many to let go by */
static _Atomic uint32_t cpus;             /* 0: not known yet */

static inline void rest(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most */
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static int read_file(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    if (length <= 0) return -1;
    text[length] = 0;
    return 0;
}

/* CPUs' worth of time that the cgroup allows, 0 for no limit. */
static double quota(void) {
    char text[64];
    if (read_file("/sys/fs/cgroup/cpu.max", text, sizeof text) == 0) {
        char *space = strchr(text, ' ');
        return text[0] != 'm' && space ? strtod(text, NULL) / strtod(space, NULL) : 0;
    }
    double time = 0, period = 0;
    if (read_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text, sizeof text) == 0)
        time = strtod(text, NULL);
    if (read_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", text, sizeof text) == 0)
        period = strtod(text, NULL);
    return time > 0 && period > 0 ? time / period : 0;
}

static unsigned by_affinity(void) {
#ifdef CPU_COUNT
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return (unsigned)CPU_COUNT(&set);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

/* How many CPUs this process may use at a time: affinity and cgroup quota.  At least 1. */
static unsigned usable_cpus(void) {
    unsigned known = atomic_load_explicit(&cpus, memory_order_relaxed);
    if (known) return known;
    unsigned usable = by_affinity();
    double allowed = quota();
    if (allowed > 0 && allowed < usable) usable = allowed < 1 ? 1 : (unsigned)allowed;
    atomic_store_explicit(&cpus, usable, memory_order_relaxed);
    return usable;
}

void altsem_spin_after_fork(void) {
    atomic_store_explicit(&cpus, 0, memory_order_relaxed);
    atomic_store_explicit(&budget, MOST, memory_order_relaxed);
    atomic_store_explicit(&between, SELDOM, memory_order_relaxed);
}

/* Several threads learn at once, and may overwrite each other's lesson: it is only an estimate. */
static void learn(int32_t limit, int64_t needed, int success) {
    int64_t next = success ? (3 * (int64_t)limit + 8 * needed) / 4 : limit / 2;
    if (next > MOST) next = MOST;
    if (success && next < LEAST) next = LEAST;
    if (next < LEAST) next = 0;
    atomic_store_explicit(&budget, (int32_t)next, memory_order_relaxed);
}

static int watch(const _Atomic uint64_t *word, int until_zero, int32_t limit) {
    int64_t start = altsem_clock(), now = start;
    while (now - start < limit) {
        for (int i = 0; i < LOOKS; i++) {
            uint64_t seen = altsem_load(word);
            if (until_zero ? altsem_owner(seen) == 0 : altsem_low(seen) != 0) {
                learn(limit, now - start, 1);
                return 1;
            }
            if (altsem_high(seen) != 0) return 0; /* says nothing about watching */
            rest();
        }
        now = altsem_clock();
    }
    learn(limit, 0, 0);
    return 0;
}

int altsem_spin(const _Atomic uint64_t *word, int until_zero) {
    if (altsem_high(altsem_load(word)) != 0 || usable_cpus() < 2) return 0;
    int32_t limit = atomic_load_explicit(&budget, memory_order_relaxed);
    if (limit != 0) return watch(word, until_zero, limit);
    uint32_t pause = atomic_load_explicit(&between, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed) < pause) return 0;
    atomic_store_explicit(&refused, 0, memory_order_relaxed);
    atomic_store_explicit(&cpus, 0, memory_order_relaxed); /* the affinity may have changed since */
    if (usable_cpus() < 2) return 0;
    int paid = watch(word, until_zero, MOST);
    uint32_t next = paid ? SELDOM : pause < MOST_SELDOM ? pause * 2 : MOST_SELDOM;
    atomic_store_explicit(&between, next, memory_order_relaxed);
    return paid;
}
