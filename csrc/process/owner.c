/* owner.c - who am I, and who is that owner.
 *
 * The word of a lock has room for the kernel's thread id only.  Thread ids are used again, and mean
 * different threads in different PID namespaces, so beside it stands the identity of the process:
 * its pid and its start time, which together are never given out twice.  Both are asked of the
 * kernel once and remembered: per thread, and per process; the child of a fork forgets them.
 */
#define _GNU_SOURCE
#include "process/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "altsem.h"
#include "process/clock.h"
#include "process/fork.h"

_Atomic uint64_t altsem_self_id;
_Thread_local uint32_t altsem_self_tid ALTSEM_TLS;

/* Start time in clock ticks, field 22 of /proc/PID/stat; 0 if it cannot be read, or if the process
 * is dead (a zombie still has its file). */
static uint32_t start_time(const char *pid) {
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return 0;
    text[length] = 0;
    char *field = strrchr(text, ')'); /* the command before it may hold anything, even ')' */
    if (!field || field[1] != ' ' || field[2] == 'Z' || field[2] == 'X') return 0;
    field += 2;
    for (int number = 3; number < 22; number++) {
        field = strchr(field, ' ');
        if (!field) return 0;
        field++;
    }
    uint32_t ticks = (uint32_t)strtoull(field, NULL, 10);
    return ticks ? ticks : 1;
}

uint32_t altsem_pid_namespace(void) {
    struct stat status;
    return stat("/proc/self/ns/pid", &status) == 0 ? (uint32_t)status.st_ino : 0;
}

uint64_t altsem_id_of(uint32_t pid) {
    char text[16];
    snprintf(text, sizeof text, "%u", pid);
    uint32_t start = start_time(text);
    return start ? (uint64_t)pid << 32 | start : 0;
}

uint64_t altsem_self_init(void) {
    int saved = errno;
    altsem_watch_forks(); /* what is remembered must be forgotten in a child */
    uint32_t start = start_time("self");
    /* No /proc: nobody can judge this process then, but it must still differ from others. */
    if (start == 0) start = (uint32_t)altsem_clock() | 1;
    uint64_t id = (uint64_t)(uint32_t)getpid() << 32 | start;
    uint64_t nobody = 0; /* two threads may come here at once: the first one's answer counts */
    if (!atomic_compare_exchange_strong(&altsem_self_id, &nobody, id)) id = nobody;
    errno = saved;
    return id;
}

uint32_t altsem_tid_init(void) {
    altsem_watch_forks();
    return altsem_self_tid = (uint32_t)syscall(SYS_gettid);
}

uint32_t altsem_tid(void) { return altsem_my_tid(); }

static void forget(void) {
    atomic_store_explicit(&altsem_self_id, 0, memory_order_relaxed);
    altsem_self_tid = 0; /* the only thread of the child is the one that called fork */
}

static altsem_fork_hooks at_fork = {.in_child = forget};
__attribute__((constructor)) static void register_hooks(void) { altsem_at_fork(&at_fork); }
