/* preload.c - sem_open() and shm_open() of a program that nobody can change, by LD_PRELOAD.
 *
 * A library of its own, loaded before the libc, which defines the five functions that look for
 * /dev/shm, and ftruncate().  It has no part of Python, and needs nothing but the libc.
 *
 * Each function calls the system's own first.  Ours is called instead
 *   - if that fails because of the place: there is no /dev/shm, nothing can be made in it, or it has
 *     less room than ALTSEM_ROOM;
 *   - for all names, if taking over was decided for this tree of processes (ALTSEM_DROPIN names the
 *     part, or ALTSEM=always).
 * So what works is left alone, and all who have this library find the same thing under a name:
 *   - What is opened is looked for in the system's place, then in ours.
 *   - What is made in the system's place is made new there (O_EXCL), and taken back if ours has the
 *     name, from a time when the system's place failed.
 *   - An error that is about a name, not about the place, stays: its file is there, and somebody
 *     else's.  A name that exists nowhere is ENOENT, also where /dev/shm is what does not exist.
 * What the drop-in of Python makes with shm_open() has the same names in the same files.
 *
 * ALTSEM=0 and ALTSEM_PRELOAD=0 turn it off, at any time.  So does a name that begins with PROBE: by
 * those this package finds out what the system's own functions do.
 *
 * When it is loaded, one page is marked as wiped in the child of a fork (process/owner.c).  Nothing
 * happens in what this file does not define; nothing is ever printed.
 * Neither sem_open() nor shm_open() may be called in a signal handler; ftruncate() may.
 *
 * Who compiles all of csrc/ into an extension does not want these functions in it.
 */
#ifdef ALTSEM_PRELOAD_LIBRARY
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "altsem.h"
#include "names/private.h"
#include "preload/posix_sem.h"

#define EXPORT __attribute__((visibility("default")))
#define PROBE "altsem-try-"
#define SHM "/dev/shm"
#define ROOM (UINT64_C(8) << 20) /* see src/altsem/dropin/native.py, which decides in Python */
enum { RETRIES = 100 };          /* each time the name goes, or comes, between two steps */

/* --- the system's own ---------------------------------------------------------------------------
 *
 * Looked up when they are first needed.  All threads would find the same, so it does not matter which
 * of them writes it down. */

enum { SEM_OPEN, SEM_CLOSE, SEM_UNLINK, SEM_INIT, SHM_OPEN, SHM_UNLINK };

static void *system_function(int which) {
    static const char *const names[] = {"sem_open", "sem_close", "sem_unlink",
                                        "sem_init", "shm_open",  "shm_unlink"};
    static void *_Atomic known[sizeof names / sizeof *names];
    void *found = atomic_load_explicit(&known[which], memory_order_relaxed);
    if (!found) {
        /* Before glibc 2.34 only programs linked with libpthread and librt have them. */
        found = dlsym(which == SEM_INIT ? RTLD_DEFAULT : RTLD_NEXT, names[which]);
        atomic_store_explicit(&known[which], found, memory_order_relaxed);
    }
    return found;
}

static sem_t *system_sem_open(const char *name, int flags, mode_t mode, unsigned value) {
    sem_t *(*function)(const char *, int, ...) = NULL;
    *(void **)&function = system_function(SEM_OPEN);
    if (function) return function(name, flags, mode, value);
    errno = ENOSYS;
    return SEM_FAILED;
}

static int system_sem_close(sem_t *sem) {
    int (*function)(sem_t *) = NULL;
    *(void **)&function = system_function(SEM_CLOSE);
    if (function) return function(sem);
    errno = EINVAL;
    return -1;
}

static int system_shm_open(const char *name, int flags, mode_t mode) {
    int (*function)(const char *, int, mode_t) = NULL;
    *(void **)&function = system_function(SHM_OPEN);
    if (function) return function(name, flags, mode);
    errno = ENOSYS;
    return -1;
}

static int system_unlink(int which, const char *name) {
    int (*function)(const char *) = NULL;
    *(void **)&function = system_function(which);
    if (function) return function(name);
    errno = ENOSYS;
    return -1;
}

static int sem_init_of_libc(sem_t *sem, int shared, unsigned value) {
    int (*function)(sem_t *, int, unsigned) = NULL;
    *(void **)&function = system_function(SEM_INIT);
    if (function) return function(sem, shared, value);
    errno = ENOSYS;
    return -1;
}

/* --- what was decided ------------------------------------------------------------------------- */

static int is(const char *variable, const char *value) {
    const char *found = getenv(variable);
    return found && strcmp(found, value) == 0;
}

/* Whether the word is among those after the first one of ALTSEM_DROPIN. */
static int replaced(const char *word) {
    const char *at = getenv("ALTSEM_DROPIN");
    size_t length = strlen(word);
    while (at && (at = strchr(at, ' '))) {
        at++;
        if (strncmp(at, word, length) == 0 && (!at[length] || at[length] == ' ')) return 1;
    }
    return 0;
}

enum decision { THEIRS, THEIRS_FIRST, OURS };

static enum decision decide(const char *name, const char *part) {
    const char *bare = name;
    altsem_file_name file;
    while (*bare == '/') bare++;
    if (strncmp(bare, PROBE, sizeof PROBE - 1) == 0) return THEIRS;
    /* A name that cannot be one of ours: which error that is differs from libc to libc. */
    if (altsem_file_name_of("....", name, &file) != 0) return THEIRS;
    if (is("ALTSEM", "0") || is("ALTSEM_PRELOAD", "0")) return THEIRS;
    /* Who has more rights than who started it must not be told by variables where to look. */
    if (getauxval(AT_SECURE)) return THEIRS;
    return is("ALTSEM", "always") || replaced(part) ? OURS : THEIRS_FIRST;
}

/* What has to be free in /dev/shm: ALTSEM_ROOM, a number, perhaps with k, M or G. */
static uint64_t room_needed(void) {
    const char *text = getenv("ALTSEM_ROOM");
    if (!text || !*text) return ROOM;
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    if (end == text || *text == '-') return ROOM;
    switch (*end) {
    case 'k':
    case 'K':
        return number << 10;
    case 'm':
    case 'M':
        return number << 20;
    case 'g':
    case 'G':
        return number << 30;
    default:
        return number;
    }
}

/* Whether the system's place is there and has too little room: what is made in it could be, but
 * kills whoever touches it. */
static int is_crowded(void) {
    struct statvfs space;
    if (statvfs(SHM, &space) != 0 || space.f_blocks == 0) return 0; /* or it has no limit */
    return (uint64_t)space.f_bavail * space.f_frsize < room_needed();
}

/* Whether the system has something under the name: then what it says is about that. */
static int is_theirs(const char *prefix, const char *name) {
    char path[PATH_MAX];
    struct stat status;
    while (*name == '/') name++;
    int length = snprintf(path, sizeof path, SHM "/%s%s", prefix, name);
    return length < (int)sizeof path && lstat(path, &status) == 0;
}

/* With which its files of semaphores begin: musl has no prefix for them. */
static const char *their_prefix(void) {
    return dlsym(RTLD_DEFAULT, "gnu_get_libc_version") ? "sem." : "";
}

/* Whether the system's own failed because of the place. */
static int is_of_the_place(int error, const char *prefix, const char *name) {
    switch (error) {
    case ENOENT:
    case ENOSYS:
    case ENOTDIR:
        return 1;
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOSPC:
    case EDQUOT:
        return !is_theirs(prefix, name);
    default:
        return 0;
    }
}

/* What ours says, as sem_open() and shm_open() say it. */
static int as_theirs(int error) {
    switch (error) {
    case -EPERM:
    case -ELOOP:
        return EACCES; /* not private */
    case -EBADMSG:
        return EINVAL;
    default:
        return -error;
    }
}

/* Whether neither has the name, which nobody wanted to make.  A directory that ours refuses may be
 * another user's, who knows where it is looked for: where the system's place works, he must not turn
 * its answer into an error. */
static int is_nowhere(int theirs, int ours) {
    if (ours == -ENOENT) return 1;
    return ours == -EPERM && theirs == ENOENT && access(SHM, W_OK | X_OK) == 0;
}

/* Of what ours says after the system's own has failed with `theirs`, because of its place: if ours
 * has no place either, it is for the system to complain. */
static int either(int theirs, int ours, int create) {
    if (!create && is_nowhere(theirs, ours)) return ENOENT;
    switch (ours) {
    case -ENOENT:
    case -EACCES:
    case -ENOTDIR:
    case -EROFS:
    case -ENOSYS:
    case -ENAMETOOLONG:
        return theirs;
    default:
        return as_theirs(ours);
    }
}

/* The functions of the libc let no thread be cancelled in them: it would leave a descriptor. */
static int uncancelled(void) {
    int before;
    return pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0 ? before
                                                                        : PTHREAD_CANCEL_ENABLE;
}

/* --- shared memory ---------------------------------------------------------------------------- */

static _Atomic int has_ours; /* this process has opened a shared memory of ours for writing */

static int our_shm_open(const char *name, int flags) {
    int known = flags & (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC);
    /* What open() would take besides these has no meaning here, or is always so. */
    int fd = altsem_shm_open(name, known);
    /* The lowest that is free, as of open(): on the way to the file a directory had that. */
    int lowest = fd > 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (lowest >= 0) {
        close(lowest < fd ? fd : lowest);
        if (lowest < fd) fd = lowest;
    }
    if (fd >= 0 && (flags & O_ACCMODE) != O_RDONLY)
        atomic_store_explicit(&has_ours, 1, memory_order_relaxed);
    return fd;
}

/* In the system's place first; a descriptor or -1, and errno. */
static int either_shm_open(const char *name, int flags, mode_t mode) {
    int create = flags & O_CREAT, fd, error;
    for (int tries = RETRIES; tries > 0; tries--) {
        if (create && is_crowded() && !is_theirs("", name)) {
            fd = -1; /* not made and taken back: somebody may wait for the name to appear */
            errno = ENOSPC;
        } else {
            fd = system_shm_open(name, create ? flags | O_EXCL : flags, mode);
        }
        if (fd >= 0 && create) {
            if (altsem_shm_exists(name) != 0) return fd;
            close(fd);
            system_unlink(SHM_UNLINK, name);
            error = ENOSPC;
        } else if (fd >= 0) {
            return fd;
        } else if (create && errno == EEXIST && !(flags & O_EXCL)) {
            fd = system_shm_open(name, flags & ~O_CREAT, mode);
            if (fd >= 0 || errno != ENOENT) return fd;
            continue; /* it has just been removed */
        } else {
            error = errno;
            if (!is_of_the_place(error, "", name)) {
                errno = error;
                return -1;
            }
        }
        fd = our_shm_open(name, flags);
        if (fd >= 0) return fd;
        errno = either(error, fd, create);
        return -1;
    }
    errno = EAGAIN;
    return -1;
}

EXPORT int shm_open(const char *name, int flags, mode_t mode) {
    int fd, before = uncancelled(), saved = errno;
    enum decision decision = decide(name, "memory");
    if (decision == THEIRS) {
        fd = system_shm_open(name, flags, mode);
    } else if (decision == THEIRS_FIRST) {
        fd = either_shm_open(name, flags, mode);
    } else {
        fd = our_shm_open(name, flags);
        if (fd < 0) errno = as_theirs(fd), fd = -1;
    }
    if (fd >= 0) errno = saved;
    pthread_setcancelstate(before, NULL);
    return fd;
}

/* --- removing --------------------------------------------------------------------------------- */

static int unlink_either(int which, const char *prefix, const char *name, const char *part,
                         int (*ours)(const char *)) {
    int result = -1, before = uncancelled(), saved = errno;
    enum decision decision = decide(name, part);
    if (decision != OURS) result = system_unlink(which, name);
    if (decision == THEIRS_FIRST && result != 0 && is_of_the_place(errno, prefix, name)) {
        int theirs = errno, error = ours(name);
        result = error ? -1 : 0;
        /* What is nowhere cannot be removed, whatever is wrong with the system's place. */
        if (error) errno = is_nowhere(theirs, error) ? ENOENT : as_theirs(error);
    } else if (decision == OURS) {
        int error = ours(name);
        result = error ? -1 : 0;
        if (error) errno = as_theirs(error);
    }
    if (result == 0) errno = saved;
    pthread_setcancelstate(before, NULL);
    return result;
}

EXPORT int shm_unlink(const char *name) {
    return unlink_either(SHM_UNLINK, "", name, "memory", altsem_shm_unlink);
}

EXPORT int sem_unlink(const char *name) {
    return unlink_either(SEM_UNLINK, their_prefix(), name, "semaphores", altsem_psem_unlink);
}

/* --- semaphores ------------------------------------------------------------------------------- */

static sem_t *our_sem_open(const char *name, int flags, unsigned value, int *error) {
    return altsem_psem_open(name, flags, value, sem_init_of_libc, error);
}

static sem_t *either_sem_open(const char *name, int flags, mode_t mode, unsigned value) {
    int create = flags & O_CREAT, error;
    for (int tries = RETRIES; tries > 0; tries--) {
        sem_t *sem = system_sem_open(name, create ? flags | O_EXCL : flags, mode, value);
        if (sem != SEM_FAILED && create) {
            if (altsem_psem_exists(name) != 0) return sem;
            system_sem_close(sem);
            system_unlink(SEM_UNLINK, name);
            error = ENOSPC;
        } else if (sem != SEM_FAILED) {
            return sem;
        } else if (create && errno == EEXIST && !(flags & O_EXCL)) {
            sem = system_sem_open(name, flags & ~O_CREAT, mode, value);
            if (sem != SEM_FAILED || errno != ENOENT) return sem;
            continue; /* it has just been removed */
        } else {
            error = errno;
            int of_the_place = is_of_the_place(error, their_prefix(), name);
            if (create && !(flags & O_EXCL) && !of_the_place && error != EACCES) {
                /* Some libcs try to make one before they look whether there is one. */
                sem = system_sem_open(name, flags & ~O_CREAT, mode, value);
                if (sem != SEM_FAILED) return sem;
            }
            if (create && (flags & O_EXCL) && !of_the_place && is_theirs(their_prefix(), name))
                error = EEXIST;
            if (!of_the_place) {
                errno = error;
                return SEM_FAILED;
            }
        }
        int ours;
        sem = our_sem_open(name, flags, value, &ours);
        if (sem) return sem;
        errno = either(error, ours, create);
        return SEM_FAILED;
    }
    errno = EAGAIN;
    return SEM_FAILED;
}

EXPORT sem_t *sem_open(const char *name, int flags, ...) {
    mode_t mode = 0;
    unsigned value = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        value = va_arg(rest, unsigned);
        va_end(rest);
    }
    int before = uncancelled(), saved = errno;
    sem_t *sem;
    enum decision decision = decide(name, "semaphores");
    if (decision == THEIRS) {
        sem = system_sem_open(name, flags, mode, value);
    } else if (decision == THEIRS_FIRST) {
        sem = either_sem_open(name, flags, mode, value);
    } else {
        int error;
        sem = our_sem_open(name, flags, value, &error);
        if (!sem) errno = as_theirs(error), sem = SEM_FAILED;
    }
    if (sem != SEM_FAILED) errno = saved;
    pthread_setcancelstate(before, NULL);
    return sem;
}

EXPORT int sem_close(sem_t *sem) { return altsem_psem_close(sem) == 0 ? 0 : system_sem_close(sem); }

/* --- sizes ------------------------------------------------------------------------------------
 *
 * Who sizes a shared memory is given the room, or told that there is none: else the first touch of a
 * page that cannot be had would kill the process (SIGBUS).  Only what shm_open() of ours has made is
 * touched, as the kernel's name of the descriptor proves: it is the file of a shared memory in this
 * user's private directory.  All others take the system call, by its number: no function has to be
 * looked up, which could not be done in a signal handler. */

#if defined(SYS_ftruncate) && LONG_MAX > INT_MAX
/* Writes a number so that it ends where `end` is; returns where it begins. */
static char *written(unsigned number, char *end) {
    do *--end = (char)('0' + number % 10);
    while (number /= 10);
    return end;
}

static int is_ours(int fd) {
    char link[32] = "/proc/self/fd/", target[PATH_MAX], digits[12] = "", directory[32] = "";
    strcat(link, written((unsigned)fd, digits + sizeof digits - 1));
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length <= 0) return 0;
    target[length] = 0;
    char *file = strrchr(target, '/');
    if (!file || strncmp(file, "/shm.", 5) != 0) return 0;
    *file = 0;
    char *own = written(geteuid(), directory + sizeof directory - 1) - 8;
    memcpy(own, "/altsem-", 8);
    char *name = strrchr(target, '/');
    return name && strcmp(name, own) == 0;
}

static int reserve(int fd, off_t from, off_t to) {
    const off_t most = (off_t)1 << 24; /* a signal undoes a whole call */
    while (from < to) {
        off_t chunk = to - from < most ? to - from : most;
        int error = posix_fallocate(fd, from, chunk);
        if (error == ENOSPC || error == EDQUOT || error == EFBIG) return error;
        if (error && error != EINTR) return 0; /* this filesystem cannot */
        if (!error) from += chunk;
    }
    return 0;
}

static int resize(int fd, off_t size) {
    struct stat status;
    int ours = atomic_load_explicit(&has_ours, memory_order_relaxed) && is_ours(fd) &&
               fstat(fd, &status) == 0 && size > status.st_size;
    if (syscall(SYS_ftruncate, fd, (long)size) != 0) return -1;
    if (!ours) return 0;
    int saved = errno, error = reserve(fd, status.st_size, size);
    if (error) syscall(SYS_ftruncate, fd, (long)status.st_size);
    errno = error ? error : saved;
    return error ? -1 : 0;
}

EXPORT int ftruncate(int fd, off_t size) { return resize(fd, size); }

#undef ftruncate64
EXPORT int ftruncate64(int fd, off_t size);
EXPORT int ftruncate64(int fd, off_t size) { return resize(fd, size); }
#endif
#endif
