/* futex.c - sleeping on the word itself, on Linux and Android.
 *
 * The kernel compares the low half of the word and queues the sleeper in one step, under a lock that
 * a wake takes too: nothing can slip between.  The futex is shared, never PRIVATE: a private one is
 * keyed by address space, and would silently never meet the other process.
 *
 * FUTEX_WAIT_BITSET because its timeout is absolute, and of CLOCK_MONOTONIC.  Called through
 * syscall(): no libc has a wrapper, and the constants are written out because not every libc ships
 * the kernel's header.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "wait/wait.h"

#define OP_WAKE 1
#define OP_WAIT_BITSET 9
#define ANY_BIT 0xffffffffu

static uint32_t *low_half(_Atomic uint64_t *word) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (uint32_t *)word + 1;
#else
    return (uint32_t *)word;
#endif
}

/* The kernel's own idea of a timespec, which on 32-bit machines is not always the libc's. */
static long futex(uint32_t *address, int op, uint32_t value, const int64_t *until) {
#if defined(SYS_futex_time64) && (!defined(SYS_futex) || __SIZEOF_LONG__ == 4)
    struct {
        int64_t sec, nsec;
    } at;
    if (until) at.sec = *until / 1000000000, at.nsec = *until % 1000000000;
    long result = syscall(SYS_futex_time64, address, op, value, until ? &at : NULL, NULL, ANY_BIT);
#if defined(SYS_futex)
    if (result < 0 && errno == ENOSYS) { /* before Linux 5.1 */
        struct {
            long sec, nsec;
        } old = {0, 0};
        if (until) old.sec = (long)at.sec, old.nsec = (long)at.nsec;
        result = syscall(SYS_futex, address, op, value, until ? &old : NULL, NULL, ANY_BIT);
    }
#endif
    return result;
#else
    struct {
        long sec, nsec;
    } at;
    if (until) at.sec = *until / 1000000000, at.nsec = *until % 1000000000;
    return syscall(SYS_futex, address, op, value, until ? &at : NULL, NULL, ANY_BIT);
#endif
}

static int futex_sleep(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                       uint32_t expected, int64_t until) {
    (void)segment;
    if (futex(low_half(altsem_word_of(slot, which)), OP_WAIT_BITSET, expected, &until) == 0)
        return 0;
    return errno == EAGAIN ? ALTSEM_CHANGED : -errno;
}

static int futex_wake(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                      uint32_t n) {
    (void)segment;
    int most = n > INT_MAX ? INT_MAX : (int)n;
    /* EFAULT: the slot's memory is gone, and with it everybody who could have slept there. */
    return futex(low_half(altsem_word_of(slot, which)), OP_WAKE, (uint32_t)most, NULL) < 0 ? -errno
                                                                                           : 0;
}

static int futex_probe(void) {
    _Atomic uint64_t word = 7;
    const int64_t past = 1;
    if (futex(low_half(&word), OP_WAKE, 1, NULL) != 0) return errno ? -errno : -ENOSYS;
    /* Another value: must not sleep.  The same value, and a time long gone: must time out. */
    if (futex(low_half(&word), OP_WAIT_BITSET, 8, &past) == 0 || errno != EAGAIN) return -ENOSYS;
    if (futex(low_half(&word), OP_WAIT_BITSET, 7, &past) == 0 || errno != ETIMEDOUT) return -ENOSYS;
    return 0;
}

const altsem_backend_ops altsem_futex_ops = {
    .name = "futex",
    .base.id = 1,
    .probe = futex_probe,
    .sleep = futex_sleep,
    .wake = futex_wake,
};
