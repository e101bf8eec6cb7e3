/* segment.c - segments of process-shared memory: created, attached, reference-counted, unmapped.
 *
 * A segment is a file without a name, and a mapping of it.  The kernel counts its users: when every
 * process has unmapped it or is dead, the memory is freed.  Nothing has to be tracked, and nothing
 * can leak.  A process maps a segment once, however many primitives in it arrive.  It finds it by
 * its identity, which is random and is part of the header.
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
    /* A sandbox without either: it has to be unique, not secret. */
    static _Atomic uint32_t made;
    uint64_t words[2] = {altsem_self()->id, (uint64_t)altsem_clock() + ((uint64_t)++made << 48)};
    memcpy(id, words, sizeof words);
}

/* --- mapping ---------------------------------------------------------------------------------- */

/* Segments that were unmapped, with the address ranges they had, linked by `next`.  Only for a
 * backend whose wake reads the slot.  It does so after the step that released the primitive.  By
 * then another thread may have acquired the primitive and freed it, and with it the last reference
 * to the segment.  So neither the address range nor the altsem_segment is returned to the system.
 * Private memory full of zeros is mapped there, in which nobody is asleep, until the next segment
 * of that size reuses both.  A late waker may then find the waiters of that one: they have a
 * spurious wake-up.  There are never more vacant segments than were once mapped together. */
static altsem_segment *vacant;

static altsem_segment *pop_vacant(size_t size) {
    for (altsem_segment **link = &vacant; *link; link = &(*link)->next)
        if ((*link)->size == size) {
            altsem_segment *segment = *link;
            *link = segment->next;
            return segment;
        }
    return NULL;
}

/* Maps private memory over the address range of the segment. */
static int vacate(altsem_segment *segment) {
    return mmap(segment->header, segment->size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED
               ? -errno
               : 0;
}

static void unmap(altsem_segment *segment) {
    free(segment->path);
    segment->path = NULL;
    if (!segment->backend->wake_reads_slot) {
        munmap(segment->header, segment->size);
        free(segment);
        return;
    }
    vacate(segment); /* if it fails, the segment stays mapped until the range is reused */
    segment->next = vacant;
    vacant = segment;
}

static altsem_segment *map_at(int fd, size_t size, int *error) {
    altsem_segment *segment = pop_vacant(size);
    if (!segment) {
        segment = calloc(1, sizeof *segment);
        if (!segment) {
            *error = -ENOMEM;
            return NULL;
        }
    }
    int fixed = segment->header ? MAP_FIXED : 0;
    void *at = mmap(segment->header, size, PROT_READ | PROT_WRITE, MAP_SHARED | fixed, fd, 0);
    if (at != MAP_FAILED) {
        segment->header = at;
        return segment;
    }
    *error = -errno;
    if (!fixed) {
        free(segment);
    } else if (vacate(segment) == 0) { /* the failed call may have unmapped the range */
        segment->next = vacant;
        vacant = segment;
    }
    return NULL;
}

/* Maps `size` bytes of the file; the segment has one reference. */
static int map(int fd, const char *path, size_t size, const altsem_segment_backend *backend,
               altsem_segment **out) {
    struct stat status;
    if (fstat(fd, &status) != 0) return -errno;
    char *copy = path ? strdup(path) : NULL;
    if (path && !copy) return -ENOMEM;
    int error = 0;
    altsem_segment *segment = map_at(fd, size, &error);
    if (!segment) {
        free(copy);
        return error;
    }
    segment->backend = backend;
    segment->size = size;
    segment->fd = path ? -1 : fd;
    segment->path = copy;
    segment->dev = status.st_dev;
    segment->ino = status.st_ino;
    segment->checked = 0;
    segment->references = 1;
    segment->mine = 0;
    segment->high_water = 0;
    segment->free_list = 0;
    segment->current = 0;
    *out = segment;
    return 0;
}

/* --- created by this process ------------------------------------------------------------------ */

int altsem_segment_make_at(int fd, const char *path, uint32_t slots, altsem_segment **out) {
    int error = 0;
    const altsem_segment_backend *backend = altsem_own_backend(&error);
    if (!backend) return error;
    altsem_segment *segment;
    if ((error = map(fd, path, (size_t)slots * ALTSEM_SLOT_BYTES, backend, &segment)) != 0)
        return error;
    if (backend->max_slots && slots > backend->max_slots()) slots = backend->max_slots();
    altsem_header *header = segment->header;
    header->layout = ALTSEM_LAYOUT;
    header->backend = backend->id;
    random_id(header->id);
    header->size = segment->size;
    header->slots = slots;
    header->pid_namespace = segment->pid_namespace = altsem_pid_namespace();
    header->maker = (uint32_t)getpid();
    header->maker_id = altsem_process_id();
    header->slot_bytes = ALTSEM_SLOT_BYTES;
    header->magic = ALTSEM_MAGIC;
    segment->slots = slots;
    segment->mine = altsem_generation();
    segment->high_water = ALTSEM_HEADER_SLOTS;
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
    if ((error = altsem_segment_make_at(fd, NULL, slots, out)) != 0) close(fd);
    return error;
}

int altsem_segment_is_file(const altsem_segment *segment, int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_dev == segment->dev &&
           status.st_ino == segment->ino;
}

void altsem_segment_unref(altsem_segment *segment) {
    unsigned left = --segment->references;
    if (left > segment->current || altsem_known_forgot(segment)) return;
    /* No primitive of it is left in this process.  The current segment stays mapped.  What the
     * backend has allocated in the system does not stay: it would look like a leak. */
    if (segment->backend->detach) segment->backend->detach(segment);
    if (left != 0) return;
    altsem_known_remove(segment);
    altsem_free_lists_remove(segment);
    /* Programs that become daemons close all descriptors: the number may be a stranger's now. */
    if (altsem_segment_is_file(segment, segment->fd)) close(segment->fd);
    unmap(segment);
}

/* --- from elsewhere --------------------------------------------------------------------------- */

/* Reads and checks the header of the file behind fd.  It is read, not mapped: so a file that is
 * refused has not been changed, and one that is truncated just now is an error, not SIGBUS. */
static int read_header(int fd, const unsigned char *id, altsem_header *header) {
    struct stat status;
    if (fstat(fd, &status) != 0) return -errno;
    if (!S_ISREG(status.st_mode)) return -EINVAL;
    ssize_t got = pread(fd, header, sizeof *header, 0);
    if (got < 0) return errno == EBADF ? -EACCES : -errno; /* open for writing only */
    if (got != sizeof *header || header->magic != ALTSEM_MAGIC) return -EINVAL;
    if (header->layout != ALTSEM_LAYOUT || header->slot_bytes != ALTSEM_SLOT_BYTES)
        return -EPROTONOSUPPORT;
    /* Nobody makes larger ones.  The bound is needed: a backend may allocate by the number of slots,
     * and a file that is only said to be large costs whoever sends it nothing. */
    if (header->size != (uint64_t)status.st_size ||
        header->size > (uint64_t)ALTSEM_MAX_SLOTS * ALTSEM_SLOT_BYTES ||
        (uint64_t)header->slots * ALTSEM_SLOT_BYTES > header->size ||
        header->slots <= ALTSEM_HEADER_SLOTS)
        return -EINVAL;
    return id && memcmp(id, header->id, sizeof header->id) != 0 ? -ESTALE : 0;
}

/* With the mutex held: a reference to the segment behind fd.  If it is `fresh`, it has been mapped
 * just now, and still has to be admitted. */
static int find_or_map(int fd, const char *path, const unsigned char *id, altsem_segment **out,
                       int *fresh) {
    altsem_header seen; /* a copy: what was checked must be what is used */
    int error = read_header(fd, id, &seen);
    if (error != 0) return error;
    const altsem_segment_backend *backend = choice->usable(seen.backend, &error);
    if (!backend) return error;
    altsem_segment *known = altsem_known_find(seen.id);
    *fresh = !known;
    if (known) {
        known->references++;
        *out = known;
        return 0;
    }
    if ((error = map(fd, path, (size_t)seen.size, backend, out)) != 0) return error;
    (*out)->slots = seen.slots;
    (*out)->pid_namespace = seen.pid_namespace;
    memcpy((*out)->id, seen.id, sizeof seen.id);
    return 0;
}

/* Admits a segment that has been mapped just now, or unmaps it if there is an `error`.  Only a
 * segment that is admitted chooses the backend of this process. */
static int admit(altsem_segment *segment, int error) {
    if (error == 0) error = choice->follow(segment->backend);
    if (error != 0) {
        unmap(segment);
        return error;
    }
    if (segment->pid_namespace != altsem_pid_namespace())
        atomic_store_explicit(&segment->header->foreign, 1, memory_order_relaxed);
    altsem_known_enter(segment);
    return 0;
}

int altsem_slot_checked(altsem_segment *segment, uint64_t offset, int type, altsem_slot **slot) {
    if (offset % ALTSEM_SLOT_BYTES != 0) return -EINVAL;
    uint64_t number = offset / ALTSEM_SLOT_BYTES;
    if (number < ALTSEM_HEADER_SLOTS || number >= segment->slots) return -EINVAL;
    *slot = altsem_slot_number(segment, (uint32_t)number);
    uint32_t state = atomic_load_explicit(&(*slot)->state, memory_order_relaxed);
    int found = (int)(state & ALTSEM_TYPE_MASK);
    if (found == ALTSEM_FREE || found >= ALTSEM_TYPES || (type && type != found)) return -EINVAL;
    /* It has two users now.  They may not be seen one without the other: else the other user could
     * free the slot in between, and it would be reused. */
    atomic_fetch_or_explicit(&(*slot)->state, ALTSEM_EXPORTED, memory_order_relaxed);
    segment->references++;
    return 0;
}

int altsem_segment_attach(int fd, const unsigned char *id, altsem_segment **segment, int *took) {
    *took = 0;
    int fresh = 0, error = altsem_watch_forks();
    if (error != 0) return error;
    altsem_mutex_lock();
    error = find_or_map(fd, NULL, id, segment, &fresh);
    if (error == 0 && fresh) error = admit(*segment, 0);
    *took = error == 0 && fresh;
    if (*took) fcntl(fd, F_SETFD, FD_CLOEXEC); /* it may have been inherited */
    altsem_mutex_unlock();
    return error;
}

int altsem_segment_attach_named(int fd, const char *path, int type, altsem_segment **segment,
                                altsem_slot **slot) {
    int fresh = 0, error = altsem_watch_forks();
    if (error != 0) return error;
    altsem_mutex_lock();
    error = find_or_map(fd, path, NULL, segment, &fresh);
    if (error == 0) {
        uint64_t first = ALTSEM_HEADER_SLOTS * ALTSEM_SLOT_BYTES;
        error = altsem_slot_checked(*segment, first, type, slot);
        int gone = fresh && (error = admit(*segment, error)) != 0;
        if (!gone) altsem_segment_unref(*segment); /* the slot has a reference of its own */
    }
    altsem_mutex_unlock();
    return error;
}

int altsem_segment_reopen(const altsem_segment *segment) {
    if (!segment->path) return -EBADF;
    int fd = open(segment->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -errno;
    if (altsem_segment_is_file(segment, fd)) return fd;
    close(fd);
    return -ESTALE;
}

/* --- references, and what is known of a segment ----------------------------------------------- */

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
    altsem_segment_unref(segment);
    altsem_mutex_unlock();
}

const unsigned char *altsem_segment_id(const altsem_segment *segment) { return segment->id; }

int altsem_segment_fd(const altsem_segment *segment) {
    return altsem_segment_is_file(segment, segment->fd) ? segment->fd : -EBADF;
}

size_t altsem_segment_size(const altsem_segment *segment) { return segment->size; }

unsigned altsem_segment_count(void) {
    altsem_mutex_lock();
    unsigned count = altsem_known_count();
    altsem_mutex_unlock();
    return count;
}

uint32_t altsem_segment_namespace(const altsem_segment *segment) {
    int foreign = atomic_load_explicit(&segment->header->foreign, memory_order_relaxed) != 0;
    return foreign ? 0 : segment->pid_namespace;
}
