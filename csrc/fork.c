/* fork.c - what a fork does to the core, also a fork made from C.
 *
 * Before: the mutex is taken, so that no other thread is in the middle of a list or a counter when
 * the child's copy is made.  After, on both sides: the fork is counted (a slot that was live at a
 * fork may be known to the child, so it is never used again).  In the child: it is another process
 * and another thread, and takes no slots from segments it shares with its parent.
 */
#include <pthread.h>

#include "owner.h"
#include "segment.h"
#include "spin.h"

pthread_mutex_t altsem_mutex = PTHREAD_MUTEX_INITIALIZER;
_Atomic unsigned altsem_forks;

static void before(void) { pthread_mutex_lock(&altsem_mutex); }

static void in_parent(void) {
    altsem_forks++;
    pthread_mutex_unlock(&altsem_mutex);
}

static void in_child(void) {
    altsem_forks++;
    altsem_owner_after_fork();
    altsem_spin_after_fork();
    altsem_slots_after_fork();
    for (altsem_segment *segment = altsem_segments; segment; segment = segment->next)
        if (segment->ops->after_fork) segment->ops->after_fork(segment);
    pthread_mutex_unlock(&altsem_mutex);
}

static void watch(void) { pthread_atfork(before, in_parent, in_child); }

void altsem_watch_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch);
}

unsigned altsem_fork_count(void) {
    return atomic_load_explicit(&altsem_forks, memory_order_relaxed);
}
