/* shm.c - named shared memory, for programs that require a name: what shm_open() does elsewhere.
 *
 * Each is a file in the private directory.  Unlike a named semaphore it is empty at first, and who
 * creates it sets its size: that is the contract of shm_open(), and what its users expect.
 */
#include <errno.h>
#include <fcntl.h>

#include "altsem.h"
#include "names/private.h"

#define PREFIX "shm."

struct opening {
    const char *file;
    int flags;
};

static int open_in(const altsem_private *directory, void *argument) {
    struct opening *it = argument;
    /* O_NONBLOCK, which it sets, has no effect on a regular file. */
    return altsem_private_open_fd(directory, it->file, it->flags);
}

int altsem_shm_open(const char *name, int flags) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    if (error) return error;
    int mode = flags & O_ACCMODE;
    if (flags & ~(O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC) || (mode != O_RDONLY && mode != O_RDWR))
        return -EINVAL;
    struct opening it = {file.text, flags};
    if (!(flags & O_CREAT)) return altsem_in_directories(0, open_in, &it);
    /* A name that exists in any candidate exists: to open it finds the first. */
    error = altsem_in_directories(0, altsem_private_exists, file.text);
    if (error == 0 && !(flags & O_EXCL)) {
        it.flags &= ~O_CREAT;
        int result = altsem_in_directories(0, open_in, &it);
        if (result != -ENOENT) return result;
        it.flags = flags; /* it has been removed meanwhile */
        error = -ENOENT;
    }
    if (error != -ENOENT) return error ? error : -EEXIST;
    return altsem_in_directories(1, open_in, &it);
}

int altsem_shm_exists(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_exists, file.text);
}

int altsem_shm_unlink(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_remove, file.text);
}
