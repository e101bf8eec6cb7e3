/* fork.c - noticing a fork, of any kind, and the mutex that a fork finds open.
 *
 * fork() runs the handlers below, also when it is called from C.  _Fork() and a bare clone() do not;
 * their child notices by its generation (owner.c) when it first takes the mutex, sleeps or wakes.
 * Either way the hooks run once in it, with the mutex held, before anything else there does.
 *
 * A mutex of pthreads will not do.  fork() takes the mutex, so that the child's copy of what it guards
 * is whole; but a signal handler may fork in the very thread that has it, and that thread would wait
 * for itself.  And in the child of a bare clone() it may be held for ever, by a thread that is not
 * there.  So the mutex is one word that says who has it, set in the step that takes it:
 *
 *   0                         free
 *   generation << 32 | token  held by that thread; in another generation: by a thread of a process
 *                             that this one descends from, which is not here, so it is free
 *   ... | FORKING             the same, and what it guards is whole: the holder is in fork()
 *
 * Who holds it and forks, in a handler, holds it in the child as well: there the hooks run when it is
 * given back, which happens if the handler returns; but mostly the child of a handler does something
 * else, and never comes to that.  The mutex is held for moments, so who waits only backs off.
 */
#define _GNU_SOURCE
#include "process/fork.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "altsem.h"

#define FORKING UINT64_C(0x80000000) /* no thread id is as large */
#define YIELDS 100
#define PAUSE 50000 /* ns */

_Atomic uint32_t altsem_settled;
static altsem_fork_hooks *registered;
static _Atomic uint64_t mutex;
static int how;                 /* enum altsem_fork.  Guarded by the mutex */
static _Atomic unsigned parent; /* how often this process, or those it descends from, were that */
static _Atomic int unwatched = -ENOMEM; /* 0: the handlers are registered */

static uint64_t self(void) {
    const altsem_thread *me = altsem_self();
    return (uint64_t)me->generation << 32 | me->token;
}

/* --- the mutex ---------------------------------------------------------------------------------- */

static int try_to_take(uint64_t me) {
    uint64_t seen = atomic_load_explicit(&mutex, memory_order_relaxed);
    if (seen && seen >> 32 == me >> 32) return 0;
    if (!atomic_compare_exchange_strong_explicit(&mutex, &seen, me, memory_order_acquire,
                                                 memory_order_relaxed))
        return 0;
    how = !seen ? ALTSEM_FORK_SILENT : seen & FORKING ? ALTSEM_FORK_HANDLED : ALTSEM_FORK_TORN;
    return 1;
}

/* With the mutex held. */
static void run_hooks(void) {
    uint32_t generation = altsem_generation();
    if (atomic_load_explicit(&altsem_settled, memory_order_relaxed) == generation) return;
    for (altsem_fork_hooks *hooks = registered; hooks; hooks = hooks->next) hooks->in_child();
    atomic_store_explicit(&altsem_settled, generation, memory_order_release);
}

int altsem_mutex_trylock(void) {
    if (!try_to_take(self())) return 0;
    run_hooks();
    return 1;
}

void altsem_mutex_lock(void) {
    static const struct timespec moment = {0, PAUSE};
    uint64_t me = self();
    for (int i = 0; !try_to_take(me); i++) {
        if (i < YIELDS) sched_yield();
        else nanosleep(&moment, NULL);
    }
    run_hooks();
}

void altsem_mutex_unlock(void) {
#ifdef ALTSEM_TEST_BUILD /* what is guarded and what is not would look the same but for races */
    if (atomic_load_explicit(&mutex, memory_order_relaxed) == 0) abort();
#endif
    atomic_store_explicit(&mutex, 0, memory_order_release);
    altsem_notice_fork(); /* one that a signal handler made meanwhile */
}

int altsem_fork_was(void) { return how; }

void altsem_settle(void) {
    int saved = errno;
    uint64_t me = self();
    /* Held by this very thread, in what a handler has interrupted: that will do it. */
    if ((atomic_load_explicit(&mutex, memory_order_relaxed) & ~FORKING) != me) {
        altsem_mutex_lock();
        altsem_mutex_unlock();
    }
    errno = saved;
}

/* --- handlers ----------------------------------------------------------------------------------- */

static _Thread_local uint32_t generation_before;
static _Thread_local int held_before; /* by the thread that forks: in a signal handler */

static void before(void) {
    uint64_t me = self();
    generation_before = (uint32_t)(me >> 32);
    held_before = (atomic_load(&mutex) & ~FORKING) == me;
    if (held_before) return;
    altsem_mutex_lock();
    atomic_store(&mutex, me | FORKING);
}

void altsem_count_fork(void) { atomic_fetch_add(&parent, 1); }

static void in_parent(void) {
    altsem_count_fork();
    if (!held_before) altsem_mutex_unlock();
}

static void in_child(void) {
    altsem_is_child_of(generation_before);
    if (!held_before) altsem_settle();
}

static int watch(void) { return -pthread_atfork(before, in_parent, in_child); }

int altsem_watch_forks(void) {
    if (atomic_load_explicit(&unwatched, memory_order_relaxed) == 0) return 0;
    altsem_mutex_lock();                /* registered twice would be as bad */
    if (unwatched) unwatched = watch(); /* it wants memory, and that may have been short then */
    int error = unwatched;
    altsem_mutex_unlock();
    return error;
}

__attribute__((constructor)) static void begin(void) {
    atomic_store(&altsem_settled, altsem_generation());
    unwatched = watch(); /* before anybody can fork */
}

void altsem_at_fork(altsem_fork_hooks *hooks) {
    hooks->next = registered;
    registered = hooks;
}

/* The parent counts itself, the child its generation; so both are one further than before, and no
 * number comes twice in the life of a process. */
unsigned altsem_fork_count(void) {
    return atomic_load_explicit(&parent, memory_order_relaxed) + altsem_generation() - 1;
}
