/* cpus.c - how much of the machine this process may use: affinity and cgroup quota. */
#define _GNU_SOURCE
#include "cpus.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic unsigned cpus; /* 0: not known yet */

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

unsigned altsem_cpus(void) {
    unsigned known = atomic_load_explicit(&cpus, memory_order_relaxed);
    if (known) return known;
    unsigned usable = by_affinity();
    double allowed = quota();
    if (allowed > 0 && allowed < usable) usable = allowed < 1 ? 1 : (unsigned)allowed;
    atomic_store_explicit(&cpus, usable, memory_order_relaxed);
    return usable;
}

void altsem_cpus_forget(void) { atomic_store_explicit(&cpus, 0, memory_order_relaxed); }
