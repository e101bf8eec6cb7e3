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
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/segment.h"
#include "names/private.h"
#include "process/clock.h"
#include "process/fork.h"

#define PREFIX "sem."

int altsem_named_exists(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_there, file.text);
}

int altsem_named_unlink(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_remove, file.text);
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
    int fd = altsem_private_open(directory, it->file, O_RDWR);
    if (fd < 0) return fd;
    int took = 0;
    int error = altsem_segment_attach(fd, NULL, &it->segment, &took);
    if (!took) close(fd);
    if (error != 0) return error == -EINVAL ? -EBADMSG : error;
    uint64_t only = ALTSEM_HEADER_SLOTS * ALTSEM_SLOT_BYTES;
    error = altsem_slot_at(it->segment, only, it->type, &it->slot);
    altsem_segment_decref(it->segment); /* the slot holds one */
    return error == -EINVAL ? -EBADMSG : error;
}

int altsem_named_open(const char *name, int type, altsem_segment **segment, altsem_slot **slot) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    if (error) return error;
    struct opening it = {file.text, type, NULL, NULL};
    if ((error = altsem_in_directories(0, open_it, &it)) != 0) return error;
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
    if ((error = altsem_watch_forks()) != 0) return error;
    altsem_mutex_lock();
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
    altsem_mutex_unlock();
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
    if (altsem_private_there(directory, (void *)it->file) == 0) return -EEXIST;
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
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    if (error) return error;
    altsem_slot judge; /* a value that cannot be must not leave anything anywhere */
    if ((error = altsem_slot_init(&judge, type, value, maxvalue)) != 0) return error;
    if (!altsem_backend(&error)) return error;
    /* Taken in any candidate is taken: an open finds the first. */
    if ((error = altsem_in_directories(0, altsem_private_there, file.text)) != -ENOENT)
        return error ? error : -EEXIST;
    struct creation it = {file.text, type, value, maxvalue, NULL, NULL};
    if ((error = altsem_in_directories(1, create_it, &it)) != 0) return error;
    *segment = it.segment;
    *slot = it.slot;
    return 0;
}
