/* segment.h - what the files of the core know of a segment; the world knows altsem.h. */
#ifndef ALTSEM_SEGMENT_H
#define ALTSEM_SEGMENT_H

#include <pthread.h>
#include <sys/types.h>

#include "wait.h"

#define ALTSEM_MAGIC UINT64_C(0x6d65733174746c61) /* "alt1sem" read as bytes */
#define ALTSEM_LAYOUT 1u
#define ALTSEM_HEADER_SLOTS 2u /* the header takes the place of the first slots */

/* At the start of every segment, written before anybody else can see it and constant ever after. */
typedef struct altsem_header {
    uint64_t magic;
    uint32_t layout;
    uint32_t backend;
    unsigned char id[ALTSEM_ID_BYTES];
    uint64_t size;          /* bytes of the file */
    uint32_t slots;         /* numbers below this are slots, from ALTSEM_HEADER_SLOTS on */
    uint32_t pid_namespace; /* of the maker */
    uint32_t maker;         /* its pid there */
    uint32_t slot_bytes;
    _Atomic uint32_t
        foreign; /* a process of another PID namespace uses it: owners cannot be judged */
    _Atomic uint32_t ipc_namespace; /* sysv: in which the set is; 0 not known, or no set was made */
    _Atomic uint64_t sysv_set; /* sysv: the set that waiters sleep in (sysv_set.c); 0 none yet */
    uint32_t reserved[14];
} altsem_header;
static_assert(sizeof(altsem_header) == ALTSEM_HEADER_SLOTS * ALTSEM_SLOT_BYTES, "header size");

struct altsem_segment {
    altsem_header *header; /* the mapping starts here */
    const altsem_backend_ops *ops;
    size_t size; /* copied, as the next two: never trust what others can write */
    uint32_t slots;
    unsigned char id[ALTSEM_ID_BYTES];
    int fd;
    dev_t dev;
    ino_t ino;
    unsigned references;                    /* guarded by altsem_mutex, as is all that follows */
    int mine;                               /* made by this process: slots may be taken from it */
    uint32_t used;                          /* slots ever taken, header included */
    uint32_t free;                          /* head of the free list, 0 for none */
    struct altsem_segment *next, *previous; /* known.c: of all */
    struct altsem_segment *same;            /* known.c: the next one in its row of the table */
    struct altsem_segment *next_free;       /* the next segment with a free list (slot.c) */
    _Atomic uint64_t joined;                /* sysv: the set of which this process is a user */
    _Atomic(void *) front; /* filelock: the words whose front waiter is of this process */
};

/* Guards the segments that are known, their counts and their free lists; held across fork(), so that the
 * child finds them whole. */
extern pthread_mutex_t altsem_mutex;
extern altsem_segment *altsem_segments;

static inline altsem_slot *altsem_slot_number(const altsem_segment *segment, uint32_t number) {
    return (altsem_slot *)((char *)segment->header + (size_t)number * ALTSEM_SLOT_BYTES);
}
static inline uint32_t altsem_number_of(const altsem_segment *segment, const altsem_slot *slot) {
    return (uint32_t)(((const char *)slot - (const char *)segment->header) / ALTSEM_SLOT_BYTES);
}

/* known.c; the mutex is held by the caller. */
void altsem_known_enter(altsem_segment *segment);
void altsem_known_remove(altsem_segment *segment);
altsem_segment *altsem_known_find(const unsigned char id[ALTSEM_ID_BYTES]);
unsigned altsem_known_count(void);

/* segment.c; the mutex is held by the caller. */
int altsem_segment_make(uint32_t slots, altsem_segment **segment);
int altsem_segment_make_at(int fd, uint32_t slots, altsem_segment **segment);
void altsem_segment_drop(altsem_segment *segment);
/* slot.c: writes a slot's first state; -EINVAL for a value the type cannot hold. */
int altsem_slot_init(altsem_slot *slot, int type, int64_t value, int64_t maxvalue);
/* slot.c: the child of a fork never takes slots from what it inherited. */
void altsem_slots_after_fork(void);
void altsem_slots_forget(altsem_segment *segment); /* it is about to go */
/* fork.c: makes fork() safe for all of the above, once. */
void altsem_watch_forks(void);
extern _Atomic unsigned altsem_forks;

/* directory.c: candidate number i ($ALTSEM_DIR, $XDG_RUNTIME_DIR, $TMPDIR, /tmp, /var/tmp, "."), or
 * NULL past the end; unset ones are skipped as "". */
const char *altsem_directory(unsigned i);
/* private.c: opens this user's private directory in a candidate, making it if `create`.  A descriptor,
 * or -errno; -EPERM: something is there, but it is not a directory that only we can use. */
int altsem_private_directory(const char *candidate, int create);
/* Runs `act` in the private directory of each candidate: until it says something else than -ENOENT,
 * or, if `create`, until it succeeds (0 or more) or says -EEXIST.  A candidate that has no such
 * directory, or cannot have one, is passed over.  Returns what the last `act` said; -EPERM as above. */
int altsem_in_directories(int create, int (*act)(int directory, void *what), void *what);
/* The name of a file in it: the prefix and `name` without leading slashes.  -EINVAL: no name, or one
 * with a slash; -ENAMETOOLONG. */
typedef struct {
    char text[256]; /* NAME_MAX and the end */
} altsem_file_name;
int altsem_file_name_of(const char *prefix, const char *name, altsem_file_name *file);
/* For altsem_in_directories, `file` being the text of its name: 0 if there is such a file, whatever
 * it is; removes it (-EBADMSG: it is no regular file). */
int altsem_private_there(int directory, void *file);
int altsem_private_remove(int directory, void *file);
/* Opens a regular file that is ours and closed to all others, not following a link, close-on-exec.
 * A descriptor, or -EBADMSG no regular file, -EPERM not ours alone, -ELOOP a link. */
int altsem_private_open(int directory, const char *file, int flags);

#endif
