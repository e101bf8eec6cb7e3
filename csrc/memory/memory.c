/* memory.c - shared memory that needs no /dev/shm and no name.
 *
 * A memfd is a file on the kernel's own tmpfs, which always exists and has no mount options that
 * could be wrong.  Where memfd_create is missing or refused, an ordinary file will do, if a
 * directory accepts one and the filesystem supports MAP_SHARED (some network and FUSE filesystems
 * do not).  Each candidate is tried, not judged by its name.  The file is created without a name,
 * or unlinked at once, so a process that is killed leaves nothing behind.
 *
 * All of it is allocated at once.  Otherwise a page would be allocated when it is first touched, in
 * whatever process that is, and a failure there is no error but a signal: SIGBUS, if the disk is
 * full, or if Linux runs with strict overcommit (vm.overcommit_memory = 2) and the limit is
 * reached.  A memory limit of a control group is different: since Linux 4.19 the OOM killer acts
 * also when memory is allocated (before, that was an error).  But then it acts in the call that
 * makes the primitive, and what has been made can be touched.  Allocating costs what the page
 * faults would have cost: for a segment of one page 2 us, for one of two megabytes 0.4 ms.
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

/* The libc may be older than the kernel, or not declare these. */
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
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

#define CHUNK ((off_t)1 << 24)
#define PAGE ((off_t)4096) /* where pages are larger, more bytes are written than needed */

/* Where the libc, the filesystem or a sandbox does not know fallocate. */
static int write_zeros(int fd, off_t from, off_t to) {
    for (off_t at = from; at < to; at += PAGE)
        while (pwrite(fd, "", 1, at) != 1)
            if (errno != EINTR) return -errno;
    return 0;
}

int altsem_memory_allocate(int fd, size_t size) {
    if (ftruncate(fd, (off_t)size) != 0) return -errno;
    off_t at = 0, end = (off_t)size, chunk = CHUNK;
    while (at < end) {
        if (chunk > end - at) chunk = end - at;
        int error = posix_fallocate(fd, at, chunk);
        if (error == EOPNOTSUPP || error == ENOSYS || error == EPERM)
            return write_zeros(fd, at, end);
        /* A signal undoes the whole call.  If signals keep coming, only smaller chunks succeed. */
        if (error == EINTR && chunk > PAGE) chunk /= 2;
        else if (error != 0 && error != EINTR) return -error;
        if (error == 0) at += chunk;
    }
    return 0;
}

static int from_memfd(size_t size) {
#ifdef SYS_memfd_create
    /* Not executable: kernels can be configured to refuse executable memfds, or to warn. */
    int fd =
        (int)syscall(SYS_memfd_create, "altsem", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = (int)syscall(SYS_memfd_create, "altsem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -errno;
    int error = altsem_memory_allocate(fd, size);
    if (error != 0) {
        close(fd);
        return error;
    }
    /* So that no process that is sent the descriptor can truncate it, which would be SIGBUS for the
     * others.  Fails on a kernel without seals. */
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
#else
    (void)size;
    return -ENOSYS;
#endif
}

/* Makes sure that the file has its size and can be mapped.  Closes it if not. */
static int make_usable(int fd, size_t size) {
    int error = altsem_memory_allocate(fd, size);
    if (error == 0) {
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory != MAP_FAILED) {
            munmap(memory, size);
            return fd;
        }
        error = -errno;
    }
    close(fd);
    return error;
}

static int from_tmpfile(const char *directory, size_t size) {
#ifdef O_TMPFILE
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    return fd >= 0 ? make_usable(fd, size) : -errno;
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
            if (fd == -EMFILE || fd == -ENFILE) return fd; /* another directory would not help */
            error = fd;
        }
    }
    return error;
}
