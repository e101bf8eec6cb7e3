/* shm.c - shared memory with a name, for programs that insist on one: what shm_open gives elsewhere.
 *
 * A file each in the private directory.  Unlike a named semaphore it is empty at first, and its maker
 * gives it a size: that is the contract of shm_open, and what its users expect.
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

static int open_it(int directory, void *what) {
    struct opening *it = what;
    /* A nonblocking descriptor is no different for a regular file. */
    return altsem_private_open(directory, it->file, it->flags);
}

int altsem_shm_open(const char *name, int flags) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    if (error) return error;
    if (flags & ~(O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC)) return -EINVAL;
    struct opening it = {file.text, flags};
    if (!(flags & O_CREAT)) return altsem_in_directories(0, open_it, &it);
    /* Taken in any candidate is taken: an open finds the first. */
    error = altsem_in_directories(0, altsem_private_there, file.text);
    if (error == 0 && !(flags & O_EXCL)) {
        it.flags &= ~O_CREAT;
        return altsem_in_directories(0, open_it, &it);
    }
    if (error != -ENOENT) return error ? error : -EEXIST;
    return altsem_in_directories(1, open_it, &it);
}

int altsem_shm_unlink(const char *name) {
    altsem_file_name file;
    int error = altsem_file_name_of(PREFIX, name, &file);
    return error ? error : altsem_in_directories(0, altsem_private_remove, file.text);
}
