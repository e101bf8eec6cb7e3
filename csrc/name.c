/* name.c - named semaphores, for constructors that insist on a name.
 *
 * One small file each, in the private directory: a segment with a single slot.  It is complete before
 * it has its name (made nameless, then linked), so nobody ever opens half of one, and a link, unlike
 * a rename, fails if the name is taken.  Names are those of sem_open: leading slashes do not count,
 * no others are allowed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "segment.h"

#define PREFIX "sem."

typedef struct {
    char text[NAME_MAX + 1];
} file_name;

static int file_name_of(const char *name, file_name *file) {
    while (*name == '/') name++;
    if (!*name || strchr(name, '/')) return -EINVAL;
    if (strlen(name) > sizeof file->text - sizeof PREFIX) return -ENAMETOOLONG;
    memcpy(file->text, PREFIX, sizeof PREFIX - 1);
    strcpy(file->text + sizeof PREFIX - 1, name);
    return 0;
}

/* Runs `act` in the private directory of each candidate until it says something else than -ENOENT.
 * A candidate that has no such directory, or cannot have one, is passed over. */
static int in_directories(int create, int (*act)(int directory, void *what), void *what) {
    int error = -ENOENT;
    const char *candidate;
    for (unsigned i = 0; (candidate = altsem_directory(i)); i++) {
        if (!*candidate) continue;
        int directory = altsem_private_directory(candidate, create);
        if (directory == -EPERM) return -EPERM;
        if (directory < 0) {
            if (create) error = directory;
            continue;
        }
        int result = act(directory, what);
        close(directory);
        if (create ? result == 0 || result == -EEXIST : result != -ENOENT) return result;
        error = result;
    }
    return error;
}

/* --- exists, unlink --------------------------------------------------------------------------- */

static int there(int directory, void *file) {
    struct stat status;
    return fstatat(directory, file, &status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int altsem_named_exists(const char *name) {
    file_name file;
    int error = file_name_of(name, &file);
    return error ? error : in_directories(0, there, file.text);
}

static int remove_it(int directory, void *file) {
    struct stat status;
    if (fstatat(directory, file, &status, AT_SYMLINK_NOFOLLOW) != 0) return -errno;
    if (!S_ISREG(status.st_mode)) return -EBADMSG;
    return unlinkat(directory, file, 0) == 0 ? 0 : -errno;
}

int altsem_named_unlink(const char *name) {
    file_name file;
    int error = file_name_of(name, &file);
    return error ? error : in_directories(0, remove_it, file.text);
}

/* --- open ------------------------------------------------------------------------------------- */

struct opening {
    const char *file;
    int type;
    altsem_segment *segment;
    altsem_slot *slot;
};

static int open_it(int directory, void *what) {
    struct opening *it = what;
    /* O_NONBLOCK: a FIFO in its place must not hang us. */
    int fd = openat(directory, it->file, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno == EISDIR || errno == ENXIO ? -EBADMSG : -errno;
    struct stat status;
    int took = 0, error = 0;
    if (fstat(fd, &status) != 0) error = -errno;
    else if (!S_ISREG(status.st_mode)) error = -EBADMSG;
    else if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) error = -EPERM;
    else error = altsem_segment_attach(fd, NULL, &it->segment, &took);
    if (!took) close(fd);
    if (error != 0) return error == -EINVAL ? -EBADMSG : error;
    uint64_t only = ALTSEM_HEADER_SLOTS * ALTSEM_SLOT_BYTES;
    error = altsem_slot_at(it->segment, only, it->type, &it->slot);
    altsem_segment_decref(it->segment); /* the slot holds one */
    return error == -EINVAL ? -EBADMSG : error;
}

int altsem_named_open(const char *name, int type, altsem_segment **segment, altsem_slot **slot) {
    file_name file;
    int error = file_name_of(name, &file);
    if (error) return error;
    struct opening it = {file.text, type, NULL, NULL};
    if ((error = in_directories(0, open_it, &it)) != 0) return error;
    *segment = it.segment;
    *slot = it.slot;
    return 0;
}

/* --- create ----------------------------------------------------------------------------------- */

struct creation {
    const char *file;
    int type;
    int64_t value, maxvalue;
    altsem_segment *segment;
    altsem_slot *slot;
};

/* Gives the temporary file its name, or the nameless one behind fd if `temporary` is empty. */
static int publish(int directory, int fd, const char *temporary, const char *file) {
    if (!*temporary) {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        return linkat(AT_FDCWD, link, directory, file, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
    }
    if (linkat(directory, temporary, directory, file, 0) == 0) {
        unlinkat(directory, temporary, 0);
        return 0;
    }
    int error = -errno;
#ifdef SYS_renameat2
    /* Android and some filesystems know no hard links.  1: RENAME_NOREPLACE. */
    if (error != -EEXIST) {
        if (syscall(SYS_renameat2, directory, temporary, directory, file, 1u) == 0) return 0;
        if (errno == EEXIST) error = -EEXIST;
    }
#endif
    unlinkat(directory, temporary, 0);
    return error;
}

/* Fills the file behind fd, which is taken over on success. */
static int fill(int fd, struct creation *it) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    fchmod(fd, 0600);
    int error = posix_fallocate(fd, 0, (off_t)size);
    if (error != 0) return -error;
    altsem_watch_forks();
    pthread_mutex_lock(&altsem_mutex);
    error = altsem_segment_make_at(fd, (uint32_t)(size / ALTSEM_SLOT_BYTES), &it->segment);
    if (error == 0) {
        it->slot = altsem_slot_number(it->segment, ALTSEM_HEADER_SLOTS);
        error = altsem_slot_init(it->slot, it->type, it->value, it->maxvalue);
        atomic_fetch_or_explicit(&it->slot->state, ALTSEM_EXPORTED, memory_order_relaxed);
        it->segment->mine = 0; /* no other slots are taken from it */
        if (error != 0) {
            it->segment->fd = -1; /* the caller closes it */
            altsem_segment_drop(it->segment);
        }
    }
    pthread_mutex_unlock(&altsem_mutex);
    return error;
}

static int create_with(int directory, struct creation *it, int fd, const char *temporary) {
    int error = fill(fd, it);
    if (error != 0) {
        close(fd);
        if (*temporary) unlinkat(directory, temporary, 0);
        return error;
    }
    error = publish(directory, fd, temporary, it->file);
    if (error != 0) altsem_segment_decref(it->segment); /* closes fd */
    return error;
}

static int create_it(int directory, void *what) {
    struct creation *it = what;
    if (there(directory, (void *)it->file) == 0) return -EEXIST;
#ifdef O_TMPFILE
    int nameless = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (nameless >= 0) {
        int result = create_with(directory, it, nameless, "");
        if (result == 0 || result == -EEXIST) return result;
        /* No /proc to link from: with a temporary name, then. */
    }
#endif
    static _Atomic unsigned count;
    char temporary[64];
    snprintf(temporary, sizeof temporary, "tmp.%u.%u.%llu", (unsigned)getpid(), count++,
             (unsigned long long)altsem_clock());
    int fd = openat(directory, temporary, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : create_with(directory, it, fd, temporary);
}

int altsem_named_create(const char *name, int type, int64_t value, int64_t maxvalue,
                        altsem_segment **segment, altsem_slot **slot) {
    file_name file;
    int error = file_name_of(name, &file);
    if (error) return error;
    altsem_slot judge; /* a value that cannot be must not leave anything anywhere */
    if ((error = altsem_slot_init(&judge, type, value, maxvalue)) != 0) return error;
    if (!altsem_ops(&error)) return error;
    /* Taken in any candidate is taken: an open finds the first. */
    if ((error = in_directories(0, there, file.text)) != -ENOENT) return error ? error : -EEXIST;
    struct creation it = {file.text, type, value, maxvalue, NULL, NULL};
    if ((error = in_directories(1, create_it, &it)) != 0) return error;
    *segment = it.segment;
    *slot = it.slot;
    return 0;
}
