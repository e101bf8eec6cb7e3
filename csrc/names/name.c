/* name.c - named semaphores, for constructors that require a name.
 *
 * Each is a small file in the private directory: a segment with a single slot.  It is complete
 * before it has its name: it is created without one, then linked.  So no process ever opens an
 * incomplete one; and a link, unlike a rename, fails if the name exists.  Names are those of
 * sem_open(): leading slashes are ignored, no others are allowed.
 *
 * A named semaphore needs no descriptor: its file is mapped and closed.  What is sent to another
 * process is the name.
 *
 * The file can be truncated by its owner (this user) and by root.  What is safe, and what is not:
 *   - A file that is too short when it is opened is an error (-EBADMSG), as is any other damage.
 *   - If it is truncated to at least one byte while it is mapped, its page stays: the semaphore has
 *     lost its state, but nobody crashes.
 *   - If it is truncated to nothing while it is mapped, the next use is SIGBUS in every process
 *     that has it mapped, as with the files of sem_open().  To free the semaphore is safe, but not
 *     with the sysv backend, which looks in the header for the set to leave.
 * The last cannot be excluded.  What protects a file is a seal, and only a memfd has seals; but a
 * memfd cannot be opened by name, and ends with the last process that has it, which a named
 * semaphore must not.  SysV shared memory cannot be truncated, but is often not to be had, and
 * outlives the name.  To catch SIGBUS is not for a library to do, and to check the size at each use
 * costs a system call that could be too early.  Nothing in this library truncates such a file; nor
 * does what cleans temporary directories, which unlinks: that is safe.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/segment.h"
#include "names/private.h"
#include "process/fork.h"

#define PREFIX "sem."

int altsem_named_exists(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_exists, file.text);
}

int altsem_named_unlink(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_remove, file.text);
}

/* Empty if it is too long: then the file cannot be opened by it again, but used. */
static void path_of(const altsem_private *directory, const char *file, char path[PATH_MAX]) {
    int length = snprintf(path, PATH_MAX, "%s/%s", directory->path, file);
    if (length >= PATH_MAX) path[0] = 0;
}

/* --- open ------------------------------------------------------------------------------------- */

struct opening {
    const char *file;
    int type;
    altsem_segment *segment;
    altsem_slot *slot;
};

static int open_in(const altsem_private *directory, void *argument) {
    struct opening *it = argument;
    char path[PATH_MAX];
    int fd = altsem_private_open(directory, it->file, O_RDWR);
    if (fd < 0) return fd;
    path_of(directory, it->file, path);
    int error = altsem_segment_attach_named(fd, path, it->type, &it->segment, &it->slot);
    close(fd);
    return error == -EINVAL ? -EBADMSG : error;
}

int altsem_named_open(const char *name, int type, altsem_segment **segment, altsem_slot **slot) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    if (error) return error;
    struct opening it = {file.text, type, NULL, NULL};
    if ((error = altsem_in_directories(0, open_in, &it)) != 0) return error;
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

/* Makes the semaphore in the file behind fd. */
static int fill(const altsem_private *directory, int fd, void *argument) {
    struct creation *it = argument;
    char path[PATH_MAX];
    path_of(directory, it->file, path);
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int error = altsem_memory_allocate(fd, size);
    if (error != 0) return error;
    if ((error = altsem_watch_forks()) != 0) return error;
    altsem_mutex_lock();
    error = altsem_segment_make_at(fd, path, (uint32_t)(size / ALTSEM_SLOT_BYTES), &it->segment);
    if (error == 0) {
        it->slot = altsem_slot_number(it->segment, ALTSEM_HEADER_SLOTS);
        error = altsem_slot_init(it->slot, it->type, it->value, it->maxvalue);
        atomic_fetch_or_explicit(&it->slot->state, ALTSEM_EXPORTED, memory_order_relaxed);
        it->segment->mine = 0; /* no other slots are allocated from it */
        if (error != 0) altsem_segment_unref(it->segment);
    }
    altsem_mutex_unlock();
    return error;
}

static void undo(void *argument) {
    struct creation *it = argument;
    altsem_segment_decref(it->segment);
}

static int create_in(const altsem_private *directory, void *argument) {
    struct creation *it = argument;
    altsem_private_maker maker = {it->file, fill, undo, it};
    return altsem_private_make(directory, &maker);
}

int altsem_named_create(const char *name, int type, int64_t value, int64_t maxvalue,
                        altsem_segment **segment, altsem_slot **slot) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    if (error) return error;
    altsem_slot unused; /* checks the value before anything is created */
    if ((error = altsem_slot_init(&unused, type, value, maxvalue)) != 0) return error;
    /* A name that exists in any candidate exists: to open it finds the first.  This comes before
     * the backend is chosen: who gets -EEXIST may open it next, and follow its backend. */
    if ((error = altsem_in_directories(0, altsem_private_exists, file.text)) != -ENOENT)
        return error ? error : -EEXIST;
    if (!altsem_backend(&error)) return error;
    struct creation it = {file.text, type, value, maxvalue, NULL, NULL};
    if ((error = altsem_in_directories(1, create_in, &it)) != 0) return error;
    *segment = it.segment;
    *slot = it.slot;
    return 0;
}
