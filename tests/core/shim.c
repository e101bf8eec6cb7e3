/* Stands in front of the libc (LD_PRELOAD), for the moments that a test cannot meet by chance. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

volatile int shim_held;     /* a thread is held up */
volatile int shim_go;       /* let it go on */
volatile int shim_fork;     /* the next shared mapping is interrupted by a handler that forks */
volatile int shim_hold;     /* the next probe of a futex, or shared mapping, is held up */
volatile int shim_atfork;   /* what registering handlers of forks fails with */
volatile int shim_child;    /* what the handler's fork() returned */
volatile int shim_returns;  /* the child returns from the handler; else it ends with status 7 */

/* When the program ends, after the libraries that were loaded before have run their destructors: forks,
 * and the child waits for a semaphore, a tenth of a second. */
int (*shim_wait)(void *segment, void *slot, int64_t deadline);
void *shim_segment, *shim_slot;

__attribute__((destructor)) static void end(void) {
    if (!shim_wait) return;
    int status, pid = fork(), result;
    if (pid == 0) {
        struct timespec now;
        alarm(10);
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t until = now.tv_sec * INT64_C(1000000000) + now.tv_nsec + 100000000;
        do {
            result = shim_wait(shim_segment, shim_slot, until);
        } while (result == -EINTR);
        _exit(result == -ETIMEDOUT ? 0 : 1);
    }
    const char *said = waitpid(pid, &status, 0) == pid && status == 0 ? "timed out\n" : "hung\n";
    if (write(1, said, strlen(said)) < 0) _exit(1);
}

enum { PROBE = 1, MAPPING = 2 };

__attribute__((constructor)) static void begin(void) {
    const char *error = getenv("SHIM_ATFORK");
    if (error) shim_atfork = atoi(error);
}

/* For two seconds if nobody lets it go: who would do so may be waiting for this thread. */
static void hold(int where) {
    if (shim_hold != where) return;
    shim_hold = 0;
    shim_held = 1;
    for (int i = 0; i < 2000 && !shim_go; i++) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    shim_held = 0;
}

static void forks(int number) {
    (void)number;
    shim_child = fork();
    if (shim_child == 0 && !shim_returns) _exit(7);
}

long syscall(long number, ...) {
    static long (*next)(long, ...);
    if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
#ifdef SYS_futex
    if (number == SYS_futex && a[1] == 1) hold(PROBE);
#endif
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    static void *(*next)(void *, size_t, int, int, int, off_t);
    if (!next) next = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
    if (flags & MAP_SHARED) {
        hold(MAPPING);
        if (shim_fork) {
            shim_fork = 0;
            signal(SIGUSR1, forks);
            raise(SIGUSR1);
        }
    }
    return next(at, size, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    return mmap(at, size, protection, flags, fd, offset);
}

/* What pthread_atfork() calls in glibc; elsewhere it is that itself. */
int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *of) {
    if (shim_atfork) return shim_atfork;
    int (*next)(void (*)(void), void (*)(void), void (*)(void), void *) =
        (int (*)(void (*)(void), void (*)(void), void (*)(void), void *))dlsym(RTLD_NEXT,
                                                                              "__register_atfork");
    return next ? next(before, parent, child, of) : ENOSYS;
}
