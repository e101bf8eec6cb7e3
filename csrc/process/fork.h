/* fork.h - acting at a fork. */
#ifndef ALTSEM_PROCESS_FORK_H
#define ALTSEM_PROCESS_FORK_H

#include <stdatomic.h>

/* What somebody does at each fork(); any of the three may be NULL.  Lives for ever. */
typedef struct altsem_fork_hooks {
    void (*before)(void);
    void (*in_parent)(void);
    void (*in_child)(void);
    struct altsem_fork_hooks *next;
} altsem_fork_hooks;

/* Registers them.  To be called from a constructor: then no fork can come before. */
void altsem_at_fork(altsem_fork_hooks *hooks);
/* Has forks noticed from now on.  Whoever remembers what a child must forget calls it first. */
void altsem_watch_forks(void);
/* How many forks this process has seen, on either side. */
extern _Atomic unsigned altsem_forks;

#endif
