/* private.c - the private directory of this user, in which files may have names; and these files.
 *
 * It lies in a directory that everybody can write to, so another user may have created what has its
 * name.  It is opened without following a symbolic link.  Then the descriptor is checked, not the
 * path: it must be owned by this user, and closed to all others.  Anything else is an error.  It is
 * not repaired, and not skipped: to go on with the next candidate would let another user decide
 * where our files are.  Files are checked in the same way, but for the mode of shared memory: that is
 * the program's own, which may have set it with fchmod(), and nobody else comes past the directory.
 *
 * The directory is removed with its last file, so that nothing is left behind.  A process that has
 * just opened it to create a file finds it removed, and creates it again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/segment.h"
#include "names/private.h"
#include "process/clock.h"

static int path_of(const char *candidate, char path[PATH_MAX]) {
    int length = snprintf(path, PATH_MAX, "%s/altsem-%u", candidate, (unsigned)geteuid());
    return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

enum { RETRIES = 100 }; /* each time another process may remove the directory meanwhile */

static int open_directory(const char *path) {
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Opens the directory that was just made, of which the umask has cleared even this user's bits: as
 * it is nobody but root could ever open it.  They are given by a descriptor, not by the path. */
static int open_cleared(const char *path) {
#ifdef O_PATH
    struct stat status;
    char link[32];
    int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (fstat(fd, &status) == 0 && status.st_uid == geteuid()) chmod(link, 0700);
        close(fd);
    }
#endif
    return open_directory(path);
}

int altsem_private_directory(const char *candidate, int create) {
    char path[PATH_MAX];
    if (path_of(candidate, path) != 0) return -ENAMETOOLONG;
    struct stat status;
    int made, fd, tries = RETRIES;
    do { /* until nobody removes it between the two */
        made = create && mkdir(path, 0700) == 0;
        /* EPERM is what filesystems without directories return; here it means "not private". */
        if (create && !made && errno != EEXIST) return errno == EPERM ? -EACCES : -errno;
        fd = open_directory(path);
        if (made && fd < 0 && errno == EACCES) fd = open_cleared(path);
    } while (create && fd < 0 && errno == ENOENT && --tries > 0);
    if (fd < 0) {
        /* A link, a file, or a directory that we cannot open: something has the name, and it is not
         * private.  But the same errors come from a candidate that we cannot enter, such as the
         * XDG_RUNTIME_DIR that su kept.  Then lstat() finds nothing either. */
        int error = errno;
        int exists = error == ELOOP || error == ENOTDIR || error == EACCES;
        return exists && lstat(path, &status) == 0 ? -EPERM : -error;
    }
    if (made) fchmod(fd, 0700); /* the umask may have cleared bits */
    if (fstat(fd, &status) != 0 || status.st_uid != geteuid() || (status.st_mode & 0777) != 0700) {
        close(fd);
        return -EPERM;
    }
    return fd;
}

static void remove_if_empty(const char *candidate) {
    char path[PATH_MAX];
    if (path_of(candidate, path) == 0) rmdir(path);
}

/* --- the candidates --------------------------------------------------------------------------- */

static int call_in(const char *candidate, int create, altsem_private_callback callback,
                   void *argument, int *opened) {
    char path[PATH_MAX];
    altsem_private directory = {altsem_private_directory(candidate, create), path};
    *opened = directory.fd >= 0;
    if (!*opened) return directory.fd;
    path_of(candidate, path);
    int result = callback(&directory, argument);
    close(directory.fd);
    return result;
}

int altsem_in_directories(int create, altsem_private_callback callback, void *argument) {
    int error = -ENOENT;
    const char *candidate;
    for (unsigned i = 0; (candidate = altsem_directory(i)); i++) {
        if (!*candidate) continue;
        int opened, tries = create ? RETRIES : 1, result;
        do {
            result = call_in(candidate, create, callback, argument, &opened);
        } while (opened && result == -ENOENT && --tries > 0);
        if (!opened) {
            if (result == -EPERM) return -EPERM;
            if (result == -EMFILE || result == -ENFILE) return result; /* not that there is none */
            if (create) error = result;
            continue;
        }
        if (callback == altsem_private_remove || (create && result < 0)) remove_if_empty(candidate);
        if (create ? result >= 0 || result == -EEXIST : result != -ENOENT) return result;
        error = result;
    }
    return error;
}

/* --- the files -------------------------------------------------------------------------------- */

int altsem_file_name_of(const char *prefix, const char *name, altsem_file_name *file) {
    while (*name == '/') name++;
    if (!*name || strchr(name, '/')) return -EINVAL;
    int length = snprintf(file->text, sizeof file->text, "%s%s", prefix, name);
    return length < (int)sizeof file->text ? 0 : -ENAMETOOLONG;
}

int altsem_private_exists(const altsem_private *directory, void *file) {
    struct stat status;
    return fstatat(directory->fd, file, &status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int altsem_private_remove(const altsem_private *directory, void *file) {
    struct stat status;
    if (fstatat(directory->fd, file, &status, AT_SYMLINK_NOFOLLOW) != 0) return -errno;
    if (!S_ISREG(status.st_mode)) return -EBADMSG;
    return unlinkat(directory->fd, file, 0) == 0 ? 0 : -errno;
}

static int open_unless(mode_t refused, const altsem_private *directory, const char *file,
                       int flags) {
    /* O_NONBLOCK: to open a FIFO would block. */
    int fd = openat(directory->fd, file, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0) return errno == EISDIR || errno == ENXIO ? -EBADMSG : -errno;
    struct stat status;
    int error = 0;
    if (fstat(fd, &status) != 0) error = -errno;
    else if (!S_ISREG(status.st_mode)) error = -EBADMSG;
    else if (status.st_uid != geteuid() || (status.st_mode & refused) != 0) error = -EPERM;
    if (error == 0) return fd;
    close(fd);
    return error;
}

int altsem_private_open(const altsem_private *directory, const char *file, int flags) {
    return open_unless(077, directory, file, flags);
}

int altsem_private_open_fd(const altsem_private *directory, const char *file, int flags) {
    return open_unless(0, directory, file, flags);
}

/* --- files that are complete before they have their names --------------------------------------- */

/* Links the file to its name: the one called `temporary`, or the one behind fd if that is empty. */
static int publish(const altsem_private *directory, int fd, const char *temporary,
                   const char *file) {
    int in = directory->fd;
    if (!*temporary) {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        return linkat(AT_FDCWD, link, in, file, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
    }
    if (linkat(in, temporary, in, file, 0) == 0) {
        unlinkat(in, temporary, 0);
        return 0;
    }
    int error = -errno;
#ifdef SYS_renameat2
    /* Android and some filesystems have no hard links.  1: RENAME_NOREPLACE. */
    if (error != -EEXIST) {
        if (syscall(SYS_renameat2, in, temporary, in, file, 1u) == 0) return 0;
        if (errno == EEXIST) error = -EEXIST;
    }
#endif
    unlinkat(in, temporary, 0);
    return error;
}

/* Makes it in the file behind fd, which it closes. */
static int make_with(const altsem_private *directory, const altsem_private_maker *maker, int fd,
                     const char *temporary) {
    fchmod(fd, 0600); /* the umask may have cleared bits */
    int error = maker->fill(directory, fd, maker->argument);
    if (error != 0) {
        if (*temporary) unlinkat(directory->fd, temporary, 0);
    } else {
        error = publish(directory, fd, temporary, maker->file);
        if (error != 0 && maker->undo) maker->undo(maker->argument);
    }
    close(fd);
    return error;
}

int altsem_private_make(const altsem_private *directory, const altsem_private_maker *maker) {
    if (altsem_private_exists(directory, (void *)maker->file) == 0) return -EEXIST;
#ifdef O_TMPFILE
    int nameless = openat(directory->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (nameless >= 0) {
        int result = make_with(directory, maker, nameless, "");
        if (result == 0 || result == -EEXIST) return result;
        /* It cannot be linked without /proc: with a temporary name, then. */
    }
#endif
    static _Atomic unsigned count;
    char temporary[64];
    snprintf(temporary, sizeof temporary, "tmp.%u.%u.%llu", (unsigned)getpid(), count++,
             (unsigned long long)altsem_clock());
    int fd =
        openat(directory->fd, temporary, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : make_with(directory, maker, fd, temporary);
}
