/* private.c - the one directory that may hold files with names: ours, and nobody else's; and the
 * files in it.
 *
 * It lies in a directory where everybody may write, so somebody may have been there first.  It is
 * opened without following a link, and then the descriptor is judged, not the path: owned by us,
 * closed to all others.  Anything else is refused, not repaired and not passed over: falling through
 * to the next candidate would let a stranger choose for us.  Files are judged in the same way.
 *
 * The directory goes with its last file, so that nothing is left behind.  Whoever had just opened it
 * to make a file finds it gone, and makes it again.
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

static int path_of(const char *candidate, char path[PATH_MAX]) {
    int length = snprintf(path, PATH_MAX, "%s/altsem-%u", candidate, (unsigned)geteuid());
    return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int altsem_private_directory(const char *candidate, int create) {
    char path[PATH_MAX];
    if (path_of(candidate, path) != 0) return -ENAMETOOLONG;
    int made = create && mkdir(path, 0700) == 0;
    /* EPERM is how some filesystems say that they make no directories; here it means "hostile". */
    if (create && !made && errno != EEXIST) return errno == EPERM ? -EACCES : -errno;
    struct stat status;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        /* A link, a file, or a directory closed to us in its place is not "missing", but hostile.
         * But the same errors come from a candidate that we cannot enter, such as the
         * XDG_RUNTIME_DIR that su kept: then nothing is seen there at all. */
        int error = errno;
        int judged = error == ELOOP || error == ENOTDIR || error == EACCES;
        return judged && lstat(path, &status) == 0 ? -EPERM : -error;
    }
    if (made) fchmod(fd, 0700); /* whatever the umask took away */
    if (fstat(fd, &status) != 0 || status.st_uid != geteuid() || (status.st_mode & 0777) != 0700) {
        close(fd);
        return -EPERM;
    }
    return fd;
}

/* Removes the directory if it is empty. */
static void drop_directory(const char *candidate) {
    char path[PATH_MAX];
    if (path_of(candidate, path) == 0) rmdir(path);
}

/* --- going through the candidates --------------------------------------------------------------- */

static int act_in(const char *candidate, int create, int (*act)(int directory, void *what),
                  void *what, int *opened) {
    *opened = 0;
    int directory = altsem_private_directory(candidate, create);
    if (directory < 0) return directory;
    *opened = 1;
    int result = act(directory, what);
    close(directory);
    return result;
}

int altsem_in_directories(int create, int (*act)(int directory, void *what), void *what) {
    enum { TRIES = 100 }; /* so often may somebody else remove the directory under our hands */
    int error = -ENOENT;
    const char *candidate;
    for (unsigned i = 0; (candidate = altsem_directory(i)); i++) {
        if (!*candidate) continue;
        int opened, tries = create ? TRIES : 1, result;
        do {
            result = act_in(candidate, create, act, what, &opened);
        } while (opened && result == -ENOENT && --tries > 0);
        if (!opened) {
            if (result == -EPERM) return -EPERM;
            if (create) error = result;
            continue;
        }
        if (act == altsem_private_remove || (create && result < 0)) drop_directory(candidate);
        if (create ? result >= 0 || result == -EEXIST : result != -ENOENT) return result;
        error = result;
    }
    return error;
}

/* --- the files ---------------------------------------------------------------------------------- */

int altsem_file_name_of(const char *prefix, const char *name, altsem_file_name *file) {
    while (*name == '/') name++;
    if (!*name || strchr(name, '/')) return -EINVAL;
    int length = snprintf(file->text, sizeof file->text, "%s%s", prefix, name);
    return length < (int)sizeof file->text ? 0 : -ENAMETOOLONG;
}

int altsem_private_there(int directory, void *file) {
    struct stat status;
    return fstatat(directory, file, &status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int altsem_private_remove(int directory, void *file) {
    struct stat status;
    if (fstatat(directory, file, &status, AT_SYMLINK_NOFOLLOW) != 0) return -errno;
    if (!S_ISREG(status.st_mode)) return -EBADMSG;
    return unlinkat(directory, file, 0) == 0 ? 0 : -errno;
}

int altsem_private_open(int directory, const char *file, int flags) {
    /* O_NONBLOCK: a FIFO in its place must not hang us. */
    int fd = openat(directory, file, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0) return errno == EISDIR || errno == ENXIO ? -EBADMSG : -errno;
    struct stat status;
    int error = 0;
    if (fstat(fd, &status) != 0) error = -errno;
    else if (!S_ISREG(status.st_mode)) error = -EBADMSG;
    else if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) error = -EPERM;
    if (error == 0) return fd;
    close(fd);
    return error;
}
