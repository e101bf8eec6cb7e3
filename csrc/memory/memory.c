/* memory.c - shared memory that needs no /dev/shm and no name.
 *
 * memfd lives on the kernel's own tmpfs, which is always there and has no mount options to be wrong.
 * Where it is missing or refused, a file will do, if a directory accepts one and the filesystem can
 * map it shared (some network and FUSE filesystems cannot): each candidate is tried, not judged by
 * its name.  The file has no name, or loses it at once, so nothing is left behind by a kill.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/segment.h"

/* The libc may be older than the kernel, or hide these. */
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1u
#define MFD_ALLOW_SEALING 2u
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#endif
#define MFD_NOEXEC_SEAL 8u

static int from_memfd(size_t size) {
#ifdef SYS_memfd_create
    /* Not executable: some kernels are set to refuse, others to warn about, what could be. */
    int fd =
        (int)syscall(SYS_memfd_create, "altsem", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = (int)syscall(SYS_memfd_create, "altsem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -errno;
    if (ftruncate(fd, (off_t)size) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    /* Nobody who gets the descriptor can pull the memory from under the others (SIGBUS).  A kernel
     * without seals leaves it unsealed. */
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
#else
    (void)size;
    return -ENOSYS;
#endif
}

/* Gives the file its size, and makes sure that its blocks exist and that it can be mapped: a full
 * disk must be an error here, not a SIGBUS at the first touch.  Closes it if not. */
static int make_usable(int fd, size_t size) {
    int error;
    do {
        error = posix_fallocate(fd, 0, (off_t)size);
    } while (error == EINTR);
    if (error == 0) {
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory != MAP_FAILED) {
            munmap(memory, size);
            return fd;
        }
        error = errno;
    }
    close(fd);
    return -error;
}

static int from_tmpfile(const char *directory, size_t size) {
#ifdef O_TMPFILE
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (fd >= 0) return make_usable(fd, size);
    return -errno;
#else
    (void)directory, (void)size;
    return -ENOSYS;
#endif
}

static int from_unlinked_file(const char *directory, size_t size) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/altsem-XXXXXX", directory) >= (int)sizeof path)
        return -ENAMETOOLONG;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) return -errno;
    unlink(path);
    return make_usable(fd, size);
}

int altsem_memory_new(size_t size, const char **source) {
    static int (*const makers[])(const char *, size_t) = {from_tmpfile, from_unlinked_file};
    static const char *const names[] = {"O_TMPFILE", "unlinked file"};
    const char *none;
    if (!source) source = &none;
    *source = "memfd";
    int fd = from_memfd(size), error = fd;
    if (fd >= 0) return fd;
    for (unsigned maker = 0; maker < 2; maker++) {
        const char *directory;
        *source = names[maker];
        for (unsigned i = 0; (directory = altsem_directory(i)); i++) {
            if (!*directory) continue;
            fd = makers[maker](directory, size);
            if (fd >= 0) return fd;
            if (fd == -EMFILE || fd == -ENFILE) return fd; /* no directory will help */
            error = fd;
        }
    }
    return error;
}
