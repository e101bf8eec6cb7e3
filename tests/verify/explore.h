/* explore.h - what a scenario may use of the explorer (explore.c).
 *
 * A scenario is a few threads that call the real primitives, and what must hold.  Its threads keep
 * what they know in the world (VF_GHOST): the explorer goes back and forth between states, and
 * takes the world and the stacks along, nothing else.  They must not call what keeps state anywhere
 * else, such as printf.
 */
#ifndef VERIFY_EXPLORE_H
#define VERIFY_EXPLORE_H

#include <errno.h>
#include <string.h>

#include "memory/segment.h"
#include "primitives/fast.h"

#define VF_THREADS 4
#define VF_SLOTS 2
#define VF_CELLS (VF_SLOTS * ALTSEM_SLOT_BYTES / 8)
#define VF_GHOST_BYTES 192
#define VF_MS INT64_C(1000000)
#define VF_START INT64_C(1000000000) /* the clock at the beginning */
#define VF_TICK INT64_C(300000)      /* longer than a waiter waits until it starves (fair.h) */

enum vf_status { VF_UNBORN, VF_READY, VF_ASLEEP, VF_DONE, VF_DEAD };

/* Where a thread stands: before which access or call. */
enum vf_at {
    VF_LOAD,
    VF_STORE,
    VF_RMW,
    VF_CAS,
    VF_SLEEP,
    VF_WAKE,
    VF_BACK,
    VF_PAUSE,
    VF_GUARD,
    VF_CLOCK,
    VF_JUDGE,
    VF_FAILED
};

typedef struct vf_thread {
    unsigned char *sp;
    uint64_t id; /* altsem_self(): another process each, unless the scenario says otherwise */
    const volatile void *place; /* of the access, or what it sleeps on */
    int (*guard)(void);
    int64_t until;            /* asleep */
    int64_t deadline;         /* of what it does, if it has one: the clock may jump there */
    uint32_t token, tid, pid; /* in the word of a lock that it holds; as the kernel numbers it */
    uint32_t start[2];        /* of the process, and of the thread */
    uint32_t wake;
    int32_t result;
    uint8_t status, at, op, weak, slept, queued, unborn, unused[5];
} vf_thread;

typedef struct vf_world {
    struct altsem_slot slots[VF_SLOTS];
    vf_thread threads[VF_THREADS];
    int64_t clock, calm;
    uint8_t kills, signals, spurious, jumps, ticks, weak; /* how often that may still happen */
    uint8_t handlers, last, preemptions, freed, mutex, mutex_knows;
    /* Who has heard of which write to plain data, a bit for each datum. */
    uint8_t knows[VF_THREADS], fence[VF_THREADS], published[VF_THREADS], cells[VF_CELLS];
    uint64_t told; /* the same of what goes from one to another by other means than a primitive */
    union {
        uint64_t ghost[VF_GHOST_BYTES / 8];
    };
} vf_world;

typedef struct vf_scenario {
    const char *name, *primitive;
    const char *what; /* in words, for the table */
    int threads;
    void (*body)(int me);
    void (*begin)(void);
    /* Each NULL if all is well. */
    const char *(*step)(int me, int field, uint64_t before,
                        uint64_t after); /* a word has changed */
    const char *(*end)(void);            /* all have come to their ends, or are dead */
    const char *(*stuck)(void);          /* some have not, and nothing more will happen */
    uint8_t kills, signals, spurious, jumps, ticks, weak, handlers;
    /* What a signal handler does, between any two accesses of whom it interrupts. */
    void (*handler)(int me);
    uint8_t victims;     /* who may be killed, a bit for each; 0: all */
    uint8_t slices;      /* sleeps end after a second */
    uint8_t spins;       /* a look before each sleep */
    uint8_t fifo;        /* wakes in order of arrival; else any */
    uint8_t preemptions; /* at most so many less one; 0: no bound */
    uint8_t zombies;     /* the dead are not reaped */
    uint8_t late;        /* only in the longer run */
    int64_t patience;    /* ns after the last death within which all must have gone on */
    int arg[4];          /* for the scenario */
} vf_scenario;

extern vf_world vf;
extern const vf_scenario *vf_what;
#define VF_SLOT (&vf.slots[0])
#define VF_SEGMENT ((altsem_segment *)&vf_segment)
extern altsem_segment vf_segment;

/* Each file of scenarios has one list, ended by one without a name. */
extern const vf_scenario vf_locks[], vf_rlocks[], vf_sems[], vf_events[], vf_conds[], vf_barriers[],
    vf_robust[];

/* --- for the threads of a scenario ---------------------------------------------------------------*/

int vf_me(void);
/* What the thread does from now on, for traces and the table of steps; forgets its sleeps. */
enum vf_op {
    OP_NONE,
    OP_ACQUIRE,
    OP_TRY,
    OP_RELEASE,
    OP_DISOWN,
    OP_AGAIN,
    OP_RELEASE_ALL,
    OP_RESTORE,
    OP_POST,
    OP_SET,
    OP_CLEAR,
    OP_WAIT,
    OP_ENTER,
    OP_LEAVE,
    OP_NOTIFY,
    OP_ARRIVE,
    OP_TRIP,
    OP_FAIL,
    OP_WITHDRAW,
    OP_ABORT,
    OP_RESET,
    OP_FREE,
    OPS
};
void vf_op(enum vf_op op);
/* Others may run here. */
void vf_pause(void);
/* Waits, without any primitive, until that holds. */
void vf_guard(int (*holds)(void));
void vf_fail(const char *why);
/* Writes plain data: everybody's last write to it must have been heard of. */
void vf_write(int datum);
/* Whether it has been heard of. */
int vf_heard(int datum);
/* A lock that is no business of the scenario; freed if its owner is killed. */
void vf_lock(void);
void vf_unlock(void);
/* By some other means, which order memory: says that it is so far; has heard one who has said so. */
void vf_tell(void);
void vf_hear(void);
/* The deadline so many ns after the beginning, up to which the clock may jump; 0: forever. */
int64_t vf_deadline(int64_t ns);
/* The slot is given back: from now on nobody touches it. */
void vf_freed(void);
void vf_slot(int number, int type, int64_t value, int64_t maxvalue);

/* Who a thread is; `number`: which of its process's threads.  To be called by begin(). */
void vf_identify(int thread, uint32_t pid, uint32_t tid, uint32_t start, uint32_t thread_start,
                 uint32_t number);
/* The thread begins to exist when nobody has its number any more. */
void vf_wait_to_be_born(void);

static inline uint64_t vf_read(const _Atomic uint64_t *field) {
    uint64_t value;
    memcpy(&value, (const void *)field, sizeof value);
    return value;
}
static inline uint64_t vf_word(void) { return vf_read(&vf.slots[0].word); }
static inline int vf_alive(int thread) { return vf.threads[thread].status != VF_DEAD; }
/* Whose time is up takes what is there, as one that does not wait. */
static inline int vf_late(int thread) {
    return vf.threads[thread].deadline && vf.clock >= vf.threads[thread].deadline;
}
static inline int vf_over(int thread) {
    return vf.threads[thread].status == VF_DEAD || vf.threads[thread].status == VF_DONE;
}
static inline int vf_anyone_dead(void) {
    for (int i = 0; i < vf_what->threads; i++)
        if (!vf_alive(i)) return 1;
    return 0;
}
#define VF_HOLDS(condition, why)                                                                   \
    do {                                                                                           \
        if (!(condition)) vf_fail(why);                                                            \
    } while (0)

#endif
