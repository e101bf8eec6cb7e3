/* private.c - the one directory that may hold files with names: ours, and nobody else's.
 *
 * It lies in a directory where everybody may write, so somebody may have been there first.  It is
 * opened without following a link, and then the descriptor is judged, not the path: owned by us,
 * closed to all others.  Anything else is refused, not repaired and not passed over: falling through
 * to the next candidate would let a stranger choose for us.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "segment.h"

int altsem_private_directory(const char *candidate, int create) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/altsem-%u", candidate, (unsigned)geteuid()) >=
        (int)sizeof path)
        return -ENAMETOOLONG;
    int made = create && mkdir(path, 0700) == 0;
    if (create && !made && errno != EEXIST) return -errno;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int error = errno; /* a link or a file in its place is not "missing", but hostile */
        return error == ELOOP || error == ENOTDIR || error == EACCES ? -EPERM : -error;
    }
    if (made) fchmod(fd, 0700); /* whatever the umask took away */
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_uid != geteuid() || (status.st_mode & 0777) != 0700) {
        close(fd);
        return -EPERM;
    }
    return fd;
}
