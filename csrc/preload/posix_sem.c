/* posix_sem.c - named semaphores of the libc's own kind, in files of ours.
 *
 * What sem_open() does, in another directory: a file that holds a sem_t, mapped by all who open it.
 * So whatever is done with it afterwards (sem_wait, sem_post, sem_timedwait, sem_getvalue) is the
 * libc's own, and nothing of it passes through here.  Behind the sem_t the file says by which libc it
 * was made: a program with another one must not use it.
 *
 * One process gets the same address however often it opens a semaphore, as POSIX wants it; the last
 * close unmaps it.  What is mapped is in a list, known by the file's device and inode: a name that was
 * removed and made again is another semaphore.
 *
 * The list outlives forks of every kind.  Its lock says which process holds it: held by another
 * process, it was copied from an ancestor while a thread held it that is not here, and is free.  It
 * says so by the generation, and by the pid as well where that does not notice a fork; the pid alone
 * would be the parent's own in a child that is the first process of a PID namespace, too.  What it guards is whole at every moment: an entry is complete before it is in the list, goes
 * out of it with one write, and a count is one write.  At worst a count is too high by one, and the
 * mapping stays until the process ends.
 */
#define _GNU_SOURCE
#include "preload/posix_sem.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "names/private.h"
#include "process/owner.h"

/* Of the same length as the system's "sem.", so that the same names are too long.  And another one:
 * what has that prefix in our directory are semaphores of ours, not of the libc. */
#define PREFIX "pos."
#define MAGIC UINT64_C(0x6d65736f706c61) /* "alposem" read as bytes */
enum { RETRIES = 100 };                  /* each time somebody else removes it, or makes it */

typedef struct {
    sem_t sem;
    _Alignas(8) uint64_t magic;
    uint32_t size; /* of a sem_t */
    uint32_t libc;
} content;

/* Which libc this process has: this library may have been built for another one. */
static uint32_t libc(void) { return dlsym(RTLD_DEFAULT, "gnu_get_libc_version") ? 'g' : 'm'; }

/* --- what is mapped here --------------------------------------------------------------------- */

typedef struct entry {
    struct entry *next;
    content *memory;
    dev_t device;
    ino_t inode;
    unsigned opened;
} entry;

static entry *entries;
static _Atomic uint64_t
    holder; /* generation << 32 | pid, of whom a thread holds the lock; 0: none */

static void lock(void) {
    uint64_t me = (uint64_t)altsem_generation() << 32 | (uint32_t)getpid();
    for (;;) {
        uint64_t seen = 0;
        if (atomic_compare_exchange_strong(&holder, &seen, me)) return;
        if (seen != me && atomic_compare_exchange_strong(&holder, &seen, me)) return;
        sched_yield(); /* held for a few system calls */
    }
}

static void unlock(void) { atomic_store(&holder, 0); }

/* The semaphore in the file behind fd, mapped now or before; NULL and *error. */
static sem_t *map(int fd, int *error) {
    struct stat status;
    entry *found, *spare = malloc(sizeof *spare);
    content *memory = MAP_FAILED;
    if (!spare || fstat(fd, &status) != 0) {
        *error = spare ? -errno : -ENOMEM;
        free(spare);
        return NULL;
    }
    lock();
    for (found = entries; found; found = found->next)
        if (found->inode == status.st_ino && found->device == status.st_dev) break;
    if (found) {
        memory = found->memory;
        found->opened++;
    } else if (status.st_size != (off_t)sizeof(content)) {
        *error = -EINVAL;
    } else {
        memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED) {
            *error = -errno;
        } else if (memory->magic != MAGIC || memory->size != sizeof(sem_t) ||
                   memory->libc != libc()) {
            *error = -EINVAL;
            munmap(memory, sizeof *memory);
            memory = MAP_FAILED;
        } else {
            *spare = (entry){entries, memory, status.st_dev, status.st_ino, 1};
            entries = spare;
            spare = NULL;
        }
    }
    unlock();
    free(spare);
    return memory == MAP_FAILED ? NULL : &memory->sem;
}

int altsem_psem_close(sem_t *sem) {
    entry **at, *gone = NULL;
    int result = -EINVAL;
    lock();
    for (at = &entries; *at; at = &(*at)->next)
        if (&(*at)->memory->sem == sem) break;
    if (*at) {
        result = 0;
        if (--(*at)->opened == 0) {
            gone = *at;
            *at = gone->next;
            munmap(gone->memory, sizeof *gone->memory);
        }
    }
    unlock();
    free(gone);
    return result;
}

/* --- names ------------------------------------------------------------------------------------ */

struct opening {
    const char *file;
    unsigned value;
    altsem_sem_init init;
    sem_t *sem;
};

static int open_in(const altsem_private *directory, void *argument) {
    struct opening *it = argument;
    int error = 0, fd = altsem_private_open(directory, it->file, O_RDWR);
    if (fd < 0) return fd;
    it->sem = map(fd, &error);
    close(fd);
    /* Found, whatever it is: another candidate is not looked at. */
    return error == -ENOENT ? -EINVAL : error;
}

static int fill(const altsem_private *directory, int fd, void *argument) {
    struct opening *it = argument;
    content made;
    int error = 0;
    (void)directory;
    memset(&made, 0, sizeof made);
    if (it->init(&made.sem, 1, it->value) != 0) return -errno;
    made.magic = MAGIC;
    made.size = sizeof(sem_t);
    made.libc = libc();
    /* Written, not mapped and touched: where there is no room, that is an error. */
    ssize_t done = write(fd, &made, sizeof made);
    if (done != (ssize_t)sizeof made) return done < 0 ? -errno : -ENOSPC;
    it->sem = map(fd, &error); /* not every filesystem can */
    return it->sem ? 0 : error;
}

static void undo(void *argument) {
    struct opening *it = argument;
    altsem_psem_close(it->sem);
    it->sem = NULL;
}

static int create_in(const altsem_private *directory, void *argument) {
    struct opening *it = argument;
    altsem_private_maker maker = {it->file, fill, undo, it};
    return altsem_private_make(directory, &maker);
}

sem_t *altsem_psem_open(const char *name, int flags, unsigned value, altsem_sem_init init,
                        int *error) {
    altsem_file_name file;
    struct opening it = {file.text, value, init, NULL};
    if ((*error = altsem_file_name_of(PREFIX, name, &file)) != 0) return NULL;
    for (int tries = RETRIES; tries > 0; tries--) {
        int exclusive = (flags & O_CREAT) && (flags & O_EXCL);
        /* A name that exists in any candidate exists: to open it finds the first. */
        *error = altsem_in_directories(0, exclusive ? altsem_private_exists : open_in,
                                       exclusive ? (void *)file.text : &it);
        if (exclusive && *error == 0) *error = -EEXIST;
        if (*error != -ENOENT || !(flags & O_CREAT)) break;
        sem_t unused; /* checks the value before a directory is made */
        if (init(&unused, 1, value) != 0) {
            *error = -errno;
            break;
        }
        *error = altsem_in_directories(1, create_in, &it);
        if (*error != -EEXIST || exclusive) break;
    }
    return *error == 0 ? it.sem : NULL;
}

int altsem_psem_exists(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_exists, file.text);
}

int altsem_psem_unlink(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_remove, file.text);
}
