/* segment.h - what the rest of the core knows of segments and slots; the world knows altsem.h. */
#ifndef ALTSEM_MEMORY_SEGMENT_H
#define ALTSEM_MEMORY_SEGMENT_H

#include <sys/types.h>

#include "process/owner.h"
#include "word.h"

#define ALTSEM_MAGIC UINT64_C(0x6d65733174746c61) /* "alt1sem" read as bytes */
#define ALTSEM_LAYOUT 2u
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
    _Atomic uint32_t silent_forks; /* how many children of its users were made without handlers */
    uint32_t unused;
    uint64_t maker_id; /* of the maker: altsem_process_id() */
    uint32_t reserved[10];
} altsem_header;
static_assert(sizeof(altsem_header) == ALTSEM_HEADER_SLOTS * ALTSEM_SLOT_BYTES, "header size");

/* What a segment asks of the backend with which its waiters sleep.  memory/ does not know wait/:
 * that tells, when the library is loaded, by whom the backends are chosen. */
typedef struct altsem_segment_backend {
    uint32_t id; /* written into the header of a segment; never reused for another backend */
    /* Optional: no segment may have more slots than this. */
    uint32_t (*max_slots)(void);
    /* Optional, with the mutex held: no primitive of the segment is left in this process (one may
     * come again); a fork has happened, and this is the child. */
    void (*detach)(altsem_segment *segment);
    void (*after_fork)(altsem_segment *segment);
} altsem_segment_backend;

typedef struct altsem_backend_choice {
    /* The backend of this process, chosen now if it has not been; NULL and *error. */
    const altsem_segment_backend *(*own)(int *error);
    /* Follows a segment that came from elsewhere: 0, -EXDEV this process has chosen another
     * backend, -ENOSYS it does not work here, -EPROTONOSUPPORT there is none of that id. */
    int (*follow)(uint32_t id);
} altsem_backend_choice;

/* To be called from a constructor. */
void altsem_backends_chosen_by(const altsem_backend_choice *choice);

struct altsem_segment {
    altsem_header *header; /* the mapping starts here */
    const altsem_segment_backend *backend;
    size_t size; /* copied, as the next two: never trust what others can write */
    uint32_t slots;
    unsigned char id[ALTSEM_ID_BYTES];
    int fd;
    dev_t dev;
    ino_t ino;
    int64_t looked;        /* slot.c: when it was last seen that the descriptor is still ours */
    unsigned references;   /* guarded by the mutex (process/fork.h), as is all that follows */
    uint32_t mine;         /* the generation that made it and may take slots from it; 0: none */
    uint32_t entered;      /* known.c: the generation that put it into the lists */
    uint32_t silent_forks; /* those that slot.c has taken notice of */
    uint32_t used;         /* slots ever taken, header included */
    uint32_t free;         /* head of the free list, 0 for none */
    struct altsem_segment *next, *previous; /* known.c: of all */
    struct altsem_segment *same;            /* known.c: the next one in its row of the table */
    struct altsem_segment *next_free;       /* the next segment with a free list (slot.c) */
    _Atomic uint64_t joined;                /* sysv: the set of which this process is a user */
    _Atomic(void *) front; /* filelock: the words whose front waiter is of this process */
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

/* --- with the mutex held by the caller --------------------------------------------------------- */

/* Makes a segment in the file behind `fd`, which it owns then. */
int altsem_segment_make_at(int fd, uint32_t slots, altsem_segment **segment);
void altsem_segment_drop(altsem_segment *segment);
/* Writes a slot's first state; -EINVAL for a value the type cannot hold. */
int altsem_slot_init(altsem_slot *slot, int type, int64_t value, int64_t maxvalue);

/* --- where files may go ------------------------------------------------------------------------- */

/* Candidate number i ($ALTSEM_DIR, $XDG_RUNTIME_DIR, $TMPDIR, /tmp, /var/tmp, "."), or NULL past the
 * end; unset ones are skipped as "". */
const char *altsem_directory(unsigned i);

#endif
