/* cpus.c - how much of the machine this process may use: affinity and cgroup quota.
 *
 * In a container the group named by /proc may be written as seen from outside, and then is not below
 * the mount; but the mount's own root is the container's group there, and it is always looked at.
 */
#define _GNU_SOURCE
#include "wait/cpus.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
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

static int read_in(const char *folder, const char *name, char *text, size_t size) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length < (int)sizeof path ? read_file(path, text, size) : -1;
}

/* "max 100000" or "150000 100000". */
static double quota_v2(const char *folder) {
    char text[64], *space;
    if (read_in(folder, "cpu.max", text, sizeof text) != 0) return 0;
    double period = (space = strchr(text, ' ')) ? strtod(space, NULL) : 0;
    return text[0] != 'm' && period > 0 ? strtod(text, NULL) / period : 0;
}

/* -1 in the first for no limit. */
static double quota_v1(const char *folder) {
    char text[64];
    if (read_in(folder, "cpu.cfs_quota_us", text, sizeof text) != 0) return 0;
    double time = strtod(text, NULL);
    if (read_in(folder, "cpu.cfs_period_us", text, sizeof text) != 0) return 0;
    double period = strtod(text, NULL);
    return time > 0 && period > 0 ? time / period : 0;
}

/* The smallest of `group` and all above it, up to the root of the hierarchy. */
static double smallest(const char *root, const char *group, double (*quota)(const char *)) {
    char folder[PATH_MAX];
    int length = snprintf(folder, sizeof folder, "%s%s", root, group);
    if (length >= (int)sizeof folder) return quota(root);
    double least = 0;
    for (size_t top = strlen(root);;) {
        double here = quota(folder);
        if (here > 0 && (least == 0 || here < least)) least = here;
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + top) return least;
        *slash = 0;
    }
}

/* The group in a line "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1); NULL for another line. */
static const char *group_in(const char *line, int *v1) {
    const char *controllers = strchr(line, ':'), *group;
    if (!controllers || !(group = strchr(++controllers, ':'))) return NULL;
    *v1 = group != controllers;
    if (*v1 && (strncmp(controllers, "cpu", 3) != 0 ||
                (controllers[3] != ',' && controllers + 3 != group)))
        return NULL;
    return group + 1;
}

double altsem_cpu_quota(const char *mount, const char *membership) {
    char text[4096], root_v1[PATH_MAX], *rest = NULL;
    int length = snprintf(root_v1, sizeof root_v1, "%s/cpu", mount), v1;
    if (length >= (int)sizeof root_v1) return 0;
    double least = smallest(mount, "", quota_v2), here = smallest(root_v1, "", quota_v1);
    if (here > 0 && (least == 0 || here < least)) least = here;
    if (read_file(membership, text, sizeof text) != 0) return least;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *group = group_in(line, &v1);
        if (!group || strstr(group, "..")) continue;
        here = v1 ? smallest(root_v1, group, quota_v1) : smallest(mount, group, quota_v2);
        if (here > 0 && (least == 0 || here < least)) least = here;
    }
    return least;
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
    double allowed = altsem_cpu_quota(ALTSEM_CGROUPS, ALTSEM_MEMBERSHIP);
    if (allowed > 0 && allowed < usable) usable = allowed < 1 ? 1 : (unsigned)allowed;
    atomic_store_explicit(&cpus, usable, memory_order_relaxed);
    return usable;
}

void altsem_cpus_forget(void) { atomic_store_explicit(&cpus, 0, memory_order_relaxed); }
