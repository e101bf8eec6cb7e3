/* segment.c - segments: made, passed on, attached, let go.
 *
 * A segment is a file without a name, and a mapping of it.  The kernel counts its users: when every
 * process has unmapped it, also by being killed, it is gone.  Nothing to track, nothing to leak.
 * Within a process it is mapped once, however many primitives of it arrive: found by its identity,
 * which is random and stands in the header.
 *
 * What comes from outside is not trusted: the header is read once, checked against the file, and
 * copied; later only the copies are used.
 */
#define _GNU_SOURCE
#include "memory/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/clock.h"
#include "process/fork.h"
#include "process/owner.h"

static const altsem_backend_choice *choice;

void altsem_backends_chosen_by(const altsem_backend_choice *by) { choice = by; }

const altsem_segment_backend *altsem_own_backend(int *error) { return choice->own(error); }

static void random_id(unsigned char id[ALTSEM_ID_BYTES]) {
#ifdef SYS_getrandom
    if (syscall(SYS_getrandom, id, ALTSEM_ID_BYTES, 0) == ALTSEM_ID_BYTES) return;
#endif
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, id, ALTSEM_ID_BYTES);
        close(fd);
        if (got == ALTSEM_ID_BYTES) return;
    }
    /* A sandbox without either: unique is enough, secret it need not be. */
    static _Atomic uint32_t made;
    uint64_t words[2] = {altsem_self()->id, (uint64_t)altsem_clock() + ((uint64_t)++made << 48)};
    memcpy(id, words, sizeof words);
}

/* Maps `size` bytes of the file, for one reference. */
static int map(int fd, size_t size, altsem_segment **out) {
    struct stat status;
    if (fstat(fd, &status) != 0) return -errno;
    altsem_segment *segment = calloc(1, sizeof *segment);
    if (!segment) return -ENOMEM;
    segment->header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (segment->header == MAP_FAILED) {
        int error = -errno;
        free(segment);
        return error;
    }
    segment->size = size;
    segment->fd = fd;
    segment->dev = status.st_dev;
    segment->ino = status.st_ino;
    segment->references = 1;
    *out = segment;
    return 0;
}

int altsem_segment_make_at(int fd, uint32_t slots, altsem_segment **out) {
    int error = 0;
    const altsem_segment_backend *backend = altsem_own_backend(&error);
    if (!backend) return error;
    altsem_segment *segment;
    if ((error = map(fd, (size_t)slots * ALTSEM_SLOT_BYTES, &segment)) != 0) return error;
    if (backend->max_slots && slots > backend->max_slots()) slots = backend->max_slots();
    altsem_header *header = segment->header;
    header->layout = ALTSEM_LAYOUT;
    header->backend = backend->id;
    random_id(header->id);
    header->size = segment->size;
    header->slots = slots;
    header->pid_namespace = altsem_pid_namespace();
    header->maker = (uint32_t)getpid();
    header->maker_id = altsem_process_id();
    header->slot_bytes = ALTSEM_SLOT_BYTES;
    header->magic = ALTSEM_MAGIC;
    segment->backend = backend;
    segment->slots = slots;
    segment->mine = altsem_generation();
    segment->used = ALTSEM_HEADER_SLOTS;
    memcpy(segment->id, header->id, sizeof segment->id);
    altsem_known_enter(segment);
    *out = segment;
    return 0;
}

int altsem_segment_make(uint32_t slots, altsem_segment **out) {
    int error = 0;
    if (!altsem_own_backend(&error)) return error; /* before any memory is asked for */
    int fd = altsem_memory_new((size_t)slots * ALTSEM_SLOT_BYTES, NULL);
    if (fd < 0) return fd;
    if ((error = altsem_segment_make_at(fd, slots, out)) != 0) close(fd);
    return error;
}

static int is_still_ours(const altsem_segment *segment) {
    struct stat status;
    return fstat(segment->fd, &status) == 0 && status.st_dev == segment->dev &&
           status.st_ino == segment->ino;
}

void altsem_segment_drop(altsem_segment *segment) {
    if (--segment->references != 0 || !altsem_known_remove(segment)) return;
    altsem_with_free_remove(segment);
    if (segment->backend->detach) segment->backend->detach(segment);
    /* Programs that become daemons close every descriptor: the number may be a stranger's now. */
    if (is_still_ours(segment)) close(segment->fd);
    munmap(segment->header, segment->size);
    free(segment);
}

/* 0, or why the header cannot be used.  `size` is what the file really has. */
static int check(const altsem_header *header, uint64_t size) {
    if (header->magic != ALTSEM_MAGIC) return -EINVAL;
    if (header->layout != ALTSEM_LAYOUT || header->slot_bytes != ALTSEM_SLOT_BYTES)
        return -EPROTONOSUPPORT;
    if (header->size != size || (uint64_t)header->slots * ALTSEM_SLOT_BYTES > size ||
        header->slots <= ALTSEM_HEADER_SLOTS)
        return -EINVAL;
    return choice->follow(header->backend);
}

/* With the mutex held: maps what is behind fd, or finds that it is mapped already. */
static int attach(int fd, const unsigned char *id, altsem_segment **out, int *took) {
    struct stat status;
    if (fstat(fd, &status) != 0) return -errno;
    if (!S_ISREG(status.st_mode) || status.st_size < (off_t)sizeof(altsem_header)) return -EINVAL;
    altsem_segment *segment;
    int error = map(fd, (size_t)status.st_size, &segment);
    if (error != 0) return error;
    altsem_header seen; /* a copy: what was checked must be what is used */
    memcpy(&seen, segment->header, sizeof seen);
    error = check(&seen, (uint64_t)status.st_size);
    if (error == 0 && id && memcmp(id, seen.id, sizeof seen.id) != 0) error = -ESTALE;
    altsem_segment *known = error == 0 ? altsem_known_find(seen.id) : NULL;
    if (error != 0 || known) {
        munmap(segment->header, segment->size);
        free(segment);
        if (error != 0) return error;
        known->references++;
        *out = known;
        return 0;
    }
    segment->slots = seen.slots;
    memcpy(segment->id, seen.id, sizeof segment->id);
    int unused = 0;
    segment->backend = choice->own(&unused);
    if (seen.pid_namespace != altsem_pid_namespace())
        atomic_store_explicit(&segment->header->foreign, 1, memory_order_relaxed);
    fcntl(fd, F_SETFD, FD_CLOEXEC); /* it may have come by inheritance */
    altsem_known_enter(segment);
    *out = segment;
    *took = 1;
    return 0;
}

int altsem_segment_attach(int fd, const unsigned char *id, altsem_segment **segment, int *took) {
    *took = 0;
    int error = altsem_watch_forks();
    if (error != 0) return error;
    altsem_mutex_lock();
    error = attach(fd, id, segment, took);
    altsem_mutex_unlock();
    return error;
}

altsem_segment *altsem_segment_lookup(const unsigned char id[ALTSEM_ID_BYTES]) {
    altsem_mutex_lock();
    altsem_segment *segment = altsem_known_find(id);
    if (segment) segment->references++;
    altsem_mutex_unlock();
    return segment;
}

void altsem_segment_incref(altsem_segment *segment) {
    altsem_mutex_lock();
    segment->references++;
    altsem_mutex_unlock();
}

void altsem_segment_decref(altsem_segment *segment) {
    altsem_mutex_lock();
    altsem_segment_drop(segment);
    altsem_mutex_unlock();
}

const unsigned char *altsem_segment_id(const altsem_segment *segment) {
    return segment->header->id;
}

int altsem_segment_fd(const altsem_segment *segment) {
    return is_still_ours(segment) ? segment->fd : -EBADF;
}

size_t altsem_segment_size(const altsem_segment *segment) { return segment->size; }

unsigned altsem_segment_count(void) {
    altsem_mutex_lock();
    unsigned count = altsem_known_count();
    altsem_mutex_unlock();
    return count;
}

uint32_t altsem_segment_namespace(const altsem_segment *segment) {
    const altsem_header *header = segment->header;
    if (atomic_load_explicit(&header->foreign, memory_order_relaxed)) return 0;
    return header->pid_namespace;
}
