/* fork.c - noticing a fork, also one made from C.
 *
 * This file knows nobody: whoever keeps what a child must not inherit as it is registers what it
 * does before a fork (takes its mutex, so that the child's copy is made of something whole), and
 * after it on either side.  The hooks do not depend on each other's order.  The fork is counted
 * before any of them runs on either side: a slot that was live at a fork may be known to the child,
 * so it is never used again.
 */
#include "process/fork.h"

#include <pthread.h>
#include <stddef.h>

#include "altsem.h"

_Atomic unsigned altsem_forks;
static altsem_fork_hooks *registered;

static void before(void) {
    for (altsem_fork_hooks *hooks = registered; hooks; hooks = hooks->next)
        if (hooks->before) hooks->before();
}

static void in_parent(void) {
    altsem_forks++;
    for (altsem_fork_hooks *hooks = registered; hooks; hooks = hooks->next)
        if (hooks->in_parent) hooks->in_parent();
}

static void in_child(void) {
    altsem_forks++;
    for (altsem_fork_hooks *hooks = registered; hooks; hooks = hooks->next)
        if (hooks->in_child) hooks->in_child();
}

static void watch(void) { pthread_atfork(before, in_parent, in_child); }

void altsem_at_fork(altsem_fork_hooks *hooks) {
    hooks->next = registered;
    registered = hooks;
}

void altsem_watch_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch);
}

unsigned altsem_fork_count(void) {
    return atomic_load_explicit(&altsem_forks, memory_order_relaxed);
}
