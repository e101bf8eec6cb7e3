/* segment.h - what the rest of the core knows of segments and slots; the world knows altsem.h. */
#ifndef ALTSEM_MEMORY_SEGMENT_H
#define ALTSEM_MEMORY_SEGMENT_H

#include <sys/types.h>

#include "process/owner.h"
#include "word.h"

#define ALTSEM_MAGIC UINT64_C(0x6d65733174746c61) /* "alt1sem" read as bytes */
#define ALTSEM_LAYOUT 2u
#define ALTSEM_HEADER_SLOTS 2u  /* the header takes the place of the first slots */
#define ALTSEM_MAX_SLOTS 32768u /* of a segment: two megabytes */

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
    _Atomic uint32_t silent_forks; /* how many children of its users were made without handlers */
    uint32_t unused;
    uint64_t maker_id; /* of the maker: altsem_process_id() */
    uint32_t reserved[10];
} altsem_header;
static_assert(sizeof(altsem_header) == ALTSEM_HEADER_SLOTS * ALTSEM_SLOT_BYTES, "header size");

/* What a segment asks of the backend with which its waiters sleep.  memory/ does not depend on
 * wait/: wait/ registers, when the library is loaded, what chooses the backends. */
typedef struct altsem_segment_backend {
    uint32_t id; /* written into the header of a segment; never reused for another backend */
    /* Optional: no segment may have more slots than this. */
    uint32_t (*max_slots)(void);
    /* Optional, with the mutex held: no primitive of the segment is left in this process (one may
     * come again); a fork has happened, and this is the child. */
    void (*detach)(altsem_segment *segment);
    void (*after_fork)(altsem_segment *segment);
    /* Its wake reads the slot.  The primitive has been released by then, and may have been freed by
     * another thread.  So the address range of a segment must stay readable (segment.c). */
    int wake_reads_slot;
} altsem_segment_backend;

typedef struct altsem_backend_choice {
    /* The backend of this process, chosen now if it has not been; NULL and *error. */
    const altsem_segment_backend *(*own)(int *error);
    /* The backend that a segment from elsewhere names, if this process can use it; chooses nothing.
     * NULL and *error: -EXDEV this process has chosen another backend, -ENOSYS it does not work
     * here, -EPROTONOSUPPORT there is none of that id. */
    const altsem_segment_backend *(*usable)(uint32_t id, int *error);
    /* Chooses it, now that the segment is accepted: 0, or -EXDEV another thread chose meanwhile. */
    int (*follow)(const altsem_segment_backend *backend);
} altsem_backend_choice;

/* To be called from a constructor. */
void altsem_backends_chosen_by(const altsem_backend_choice *choice);

struct altsem_segment {
    altsem_header *header; /* the mapping starts here */
    const altsem_segment_backend *backend;
    size_t size; /* copied, as the next three: never trust what others can write */
    uint32_t slots;
    uint32_t pid_namespace;
    unsigned char id[ALTSEM_ID_BYTES];
    int fd;     /* -1 if the file has a name */
    char *path; /* by which a file with a name can be opened again; NULL for others */
    dev_t dev;
    ino_t ino;
    int64_t checked;       /* slot.c: when the descriptor was last seen to be still ours */
    unsigned references;   /* protected by the mutex (process/fork.h), as is all that follows */
    uint32_t mine;         /* the generation that made it and may allocate slots; 0: none */
    uint32_t entered;      /* known.c: the generation that put it into the lists */
    uint32_t silent_forks; /* those that slot.c has taken notice of */
    uint32_t high_water;   /* slots from this number on were never allocated */
    uint32_t free_list;    /* its first slot; 0: empty */
    unsigned current;      /* 1: it is the current one, which is a reference */
    struct altsem_segment *next, *previous; /* known.c: in the list of all */
    struct altsem_segment *next_in_bucket;  /* known.c: in the hash table */
    struct altsem_segment *next_free_list;  /* the next segment with a free list (slot.c) */
    _Atomic uint64_t joined;                /* sysv: the set that this process has joined */
    _Atomic(void *) front;                  /* filelock: who is at the front of each queue */
};

extern altsem_segment *altsem_segments;

static inline int altsem_segment_is_mine(const altsem_segment *segment) {
    return segment->mine == altsem_generation();
}
static inline altsem_slot *altsem_slot_number(const altsem_segment *segment, uint32_t number) {
    return (altsem_slot *)((char *)segment->header + (size_t)number * ALTSEM_SLOT_BYTES);
}
static inline int altsem_slot_is_in(const altsem_segment *segment, const altsem_slot *slot) {
    return (uintptr_t)slot - (uintptr_t)segment->header < segment->size;
}
static inline uint32_t altsem_number_of(const altsem_segment *segment, const altsem_slot *slot) {
    return (uint32_t)(((const char *)slot - (const char *)segment->header) / ALTSEM_SLOT_BYTES);
}

/* --- with the mutex held by the caller -------------------------------------------------------- */

/* Makes a segment in the file behind `fd`.  It owns `fd` then, unless the file is to have a name:
 * `path`, else NULL. */
int altsem_segment_make_at(int fd, const char *path, uint32_t slots, altsem_segment **segment);
/* Drops a reference. */
void altsem_segment_unref(altsem_segment *segment);
/* Initialises a slot; -EINVAL for a value that the type cannot have. */
int altsem_slot_init(altsem_slot *slot, int type, int64_t value, int64_t maxvalue);

/* --- files with names ------------------------------------------------------------------------- */

/* As altsem_segment_attach, for the file with the name `path`, in which only the first slot is of
 * interest: takes a reference for that one.  `fd` stays the caller's.  Further -EINVAL: the slot is
 * of another type. */
int altsem_segment_attach_named(int fd, const char *path, int type, altsem_segment **segment,
                                altsem_slot **slot);
/* Opens the file of such a segment again by its name, for reading and writing, close-on-exec.  The
 * caller closes it.  -EBADF it has none, -ESTALE another file has the name now, or what open()
 * said. */
int altsem_segment_reopen(const altsem_segment *segment);
/* Whether a descriptor still is one of its file: other code may have closed it, and used the
 * number. */
int altsem_segment_is_file(const altsem_segment *segment, int fd);

/* Gives the empty file behind `fd` its size, and allocates that: 0 or -errno. */
int altsem_memory_allocate(int fd, size_t size);

/* --- where files may go ----------------------------------------------------------------------- */

/* Candidate number i ($ALTSEM_DIR, $XDG_RUNTIME_DIR, $TMPDIR, /tmp, /var/tmp, "."), or NULL past
 * the end; unset ones are skipped as "". */
const char *altsem_directory(unsigned i);

#endif
