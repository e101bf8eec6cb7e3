/* fork.h - acting at a fork, and the mutex that a fork finds open. */
#ifndef ALTSEM_PROCESS_FORK_H
#define ALTSEM_PROCESS_FORK_H

#include "process/owner.h"

/* What somebody does in the child of a fork, with the mutex held, before anything else there uses the
 * mutex.  It may run in a signal handler: it neither allocates nor frees.  Lives for ever. */
typedef struct altsem_fork_hooks {
    void (*in_child)(void);
    struct altsem_fork_hooks *next;
} altsem_fork_hooks;

/* Registers them.  To be called from a constructor: then no fork can come before. */
void altsem_at_fork(altsem_fork_hooks *hooks);
/* 0, or -ENOMEM: forks would not be noticed.  Whoever makes what a child must not use as it is asks
 * first, and makes nothing then. */
int altsem_watch_forks(void);

/* Guards the records of the core (memory/).  Not to be taken in a signal handler. */
void altsem_mutex_lock(void);
int altsem_mutex_trylock(void); /* whether it was taken */
void altsem_mutex_unlock(void);
/* For the hooks: by fork(); without handlers; and then while another thread had the mutex, so that
 * what it guards may be half done. */
enum altsem_fork { ALTSEM_FORK_HANDLED, ALTSEM_FORK_SILENT, ALTSEM_FORK_TORN };
int altsem_fork_was(void);
/* Counts one of which this process has not been told, as the parent. */
void altsem_count_fork(void);

extern _Atomic uint32_t altsem_settled; /* the generation whose hooks have run */
void altsem_settle(void);

/* Has the hooks run, if this is a child in which they have not: one made without handlers.  To be
 * called before the mutex, or what a hook changes, is looked at without it.  Safe in a handler. */
static inline void altsem_notice_fork(void) {
    uint32_t settled = atomic_load_explicit(&altsem_settled, memory_order_acquire);
    if (__builtin_expect(settled != altsem_generation(), 0)) altsem_settle();
}

#endif
