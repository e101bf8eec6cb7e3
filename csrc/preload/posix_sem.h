/* posix_sem.h - named semaphores of the libc's own kind, in files of ours. */
#ifndef ALTSEM_PRELOAD_POSIX_SEM_H
#define ALTSEM_PRELOAD_POSIX_SEM_H

#include <semaphore.h>

/* sem_open(): a semaphore, or NULL and *error, which is -errno.  `init` is the libc's sem_init(). */
typedef int (*altsem_sem_init)(sem_t *sem, int shared, unsigned value);
sem_t *altsem_psem_open(const char *name, int flags, unsigned value, altsem_sem_init init,
                        int *error);
/* sem_close() and sem_unlink(): 0 or -errno.  To close, -EINVAL: it is none of ours. */
int altsem_psem_close(sem_t *sem);
int altsem_psem_unlink(const char *name);
int altsem_psem_exists(const char *name); /* 0, or -ENOENT */

#endif
