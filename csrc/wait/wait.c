/* wait.c - the choice of a backend, and the one place that knows slices.
 *
 * Nobody sleeps longer than a slice: see word.h for the killed waiter that makes this necessary.
 */
#define _GNU_SOURCE
#include "wait/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "process/clock.h"
#include "wait/testing.h"

/* In order of preference.  Android kills whoever makes a SysV call: there it is not even built. */
static const altsem_backend_ops *const backends[] = {
    &altsem_futex_ops,
#ifndef __ANDROID__
    &altsem_sysv_ops,
#endif
    &altsem_filelock_ops,
};
enum { BACKENDS = sizeof backends / sizeof backends[0] };

static _Atomic(const altsem_backend_ops *) chosen;
static _Atomic(const char *) reason;

const char *altsem_backend_name(unsigned index) {
    return index < BACKENDS ? backends[index]->name : NULL;
}

static const altsem_backend_ops *by_name(const char *name) {
    for (unsigned i = 0; i < BACKENDS; i++)
        if (strcmp(backends[i]->name, name) == 0) return backends[i];
    return NULL;
}

int altsem_backend_probe(const char *name) {
    const altsem_backend_ops *ops = by_name(name);
    return ops ? ops->probe() : -EINVAL;
}

/* Several threads may choose at once; they find the same, but only the first one's counts, lest a
 * probe that wavers give one process two backends. */
static const altsem_backend_ops *choose(const altsem_backend_ops *ops, const char *why) {
    const altsem_backend_ops *nothing = NULL;
    const char *none = NULL;
    atomic_compare_exchange_strong(&reason, &none, why);
    return atomic_compare_exchange_strong(&chosen, &nothing, ops) ? ops : nothing;
}

const altsem_backend_ops *altsem_ops(int *error) {
    const altsem_backend_ops *ops = atomic_load_explicit(&chosen, memory_order_acquire);
    if (ops) return ops;
    const char *wanted = getenv("ALTSEM_BACKEND");
    *error = -ENOSYS;
    if (wanted && *wanted) {
        ops = by_name(wanted);
        if (!ops) *error = -EINVAL;
        return ops && ops->probe() == 0 ? choose(ops, "ALTSEM_BACKEND names it") : NULL;
    }
    for (unsigned i = 0; i < BACKENDS; i++)
        if (backends[i]->probe() == 0)
            return choose(backends[i], "it is the first whose probe answers");
    return NULL;
}

const char *altsem_backend(int *error) {
    const altsem_backend_ops *ops = altsem_ops(error);
    return ops ? ops->name : NULL;
}

const char *altsem_backend_reason(void) {
    return atomic_load_explicit(&reason, memory_order_acquire);
}

int altsem_clean(unsigned *removed) {
    int error = 0;
    *removed = 0;
    for (unsigned i = 0; i < BACKENDS; i++) {
        int result = backends[i]->clean ? backends[i]->clean() : 0;
        if (result < 0) error = result;
        else *removed += (unsigned)result;
    }
    return error;
}

/* --- what segments ask (memory/segment.h) ------------------------------------------------------- */

static const altsem_segment_backend *own(int *error) {
    const altsem_backend_ops *ops = altsem_ops(error);
    return ops ? &ops->base : NULL;
}

static int follow(uint32_t id) {
    const altsem_backend_ops *ops = atomic_load_explicit(&chosen, memory_order_acquire);
    for (unsigned i = 0; !ops && i < BACKENDS; i++)
        if (backends[i]->base.id == id) {
            if (backends[i]->probe() != 0) return -ENOSYS;
            ops = choose(backends[i], "a segment that came from another process uses it");
        }
    if (!ops) return -EPROTONOSUPPORT;
    return ops->base.id == id ? 0 : -EXDEV;
}

__attribute__((constructor)) static void register_choice(void) {
    static const altsem_backend_choice choice = {own, follow};
    altsem_backends_chosen_by(&choice);
}

/* --- sleeping and waking ------------------------------------------------------------------------ */

int altsem_sleep(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                 uint32_t expected, int64_t deadline) {
    const altsem_backend_ops *ops = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (deadline == ALTSEM_NOW) return -ETIMEDOUT;
    int64_t now = altsem_clock();
    if (deadline <= now) return -ETIMEDOUT;
    int last = deadline - now <= altsem_slice();
    int64_t until = last ? deadline : now + altsem_slice();
    int result = ops->sleep(segment, slot, which, expected, until);
    /* Some systems do not sleep as long as they are told to: then it was a slice. */
    int slice = result == -ETIMEDOUT && !(last && altsem_clock() >= deadline);
    altsem_slept(result, slice, until);
    if (slice) return -EINTR;
    return result == ALTSEM_CHANGED ? 0 : result;
}

void altsem_wake(altsem_segment *segment, altsem_slot *slot, enum altsem_which which, uint32_t n) {
    const altsem_backend_ops *ops = atomic_load_explicit(&chosen, memory_order_relaxed);
    int saved = errno; /* a post may run in a signal handler */
    altsem_woke();
    ops->wake(segment, slot, which, n);
    errno = saved;
}
