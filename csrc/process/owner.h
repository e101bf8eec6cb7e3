/* owner.h - who am I: the calling thread and its process, as others can judge them.
 *
 * The identity of an owner, 64 bits, is what stands beside the word of a lock that is held:
 *
 *    63       42  41  40        20 19         0
 *   +-----------+----+------------+------------+
 *   |    pid    | K  |   origin   |   thread   |
 *   +-----------+----+------------+------------+
 *
 * pid     as in the process's own PID namespace (Linux has 22 bits at the most)
 * K       whether `origin` is what others can compute too
 * origin  a hash of when the process started and of the namespaces in which pid and start time are
 *         to be understood; where /proc does not tell them, chance
 * thread  counts the threads of the process that asked, from a chance beginning; never 0
 *
 * The upper part, all but `thread`, is the identity of the process.
 *
 * The word of a lock has room for less, so it has a token (word.h): the thread id, and six bits that
 * tell it from most later threads by the same number.  They are a hash of what others can compute
 * too: when the thread started, and the identity of its process.
 */
#ifndef ALTSEM_PROCESS_OWNER_H
#define ALTSEM_PROCESS_OWNER_H

#include <stdatomic.h>
#include <stdint.h>

#include "word.h"

/* Read on every acquire.  A few bytes of glibc's reserve for late libraries save the call that a
 * thread-local variable of a loaded library otherwise costs; other libcs have no such reserve. */
#ifdef __GLIBC__
#define ALTSEM_TLS __attribute__((tls_model("initial-exec")))
#else
#define ALTSEM_TLS
#endif

/* As large as a page can be, and aligned so. */
#if defined(__x86_64__) || defined(__i386__)
#define ALTSEM_PAGE 4096
#else
#define ALTSEM_PAGE 65536
#endif

/* What a child must not inherit: the kernel wipes it in a child, however that was made (owner.c). */
typedef union altsem_page {
    struct {
        _Atomic uint32_t generation; /* 0: this process has not noticed yet that it is a new one */
        _Atomic uint32_t threads;    /* the last number given to a thread; 0: none yet */
        _Atomic uint64_t id;         /* of the process; 0: not asked yet */
        _Atomic uint32_t start;      /* of the process, in clock ticks; right once `id` is */
    };
    char bytes[ALTSEM_PAGE];
} altsem_page;

typedef struct altsem_thread {
    uint64_t id;               /* the identity above */
    uint32_t token;            /* what stands in the word of a lock that it holds */
    uint32_t generation;       /* both are right in this generation only */
    _Atomic uint64_t numbered; /* generation << 32 | number within the process */
} altsem_thread;

extern altsem_page altsem_own __attribute__((visibility("hidden")));
extern _Thread_local altsem_thread altsem_me ALTSEM_TLS;

uint32_t altsem_new_generation(void);
void altsem_introduce(void);

static inline uint32_t altsem_generation_or_0(void) {
    return atomic_load_explicit(&altsem_own.generation, memory_order_relaxed);
}

/* Differs between a process and all that it descends from by fork: each is its parent's and more. */
static inline uint32_t altsem_generation(void) {
    uint32_t generation = altsem_generation_or_0();
    return __builtin_expect(generation != 0, 1) ? generation : altsem_new_generation();
}

/* The calling thread.  The one look at the generation makes sure of everything at once: that the
 * thread has been here before, and that no fork, of whatever kind, has come since. */
static inline const altsem_thread *altsem_self(void) {
    if (__builtin_expect(altsem_me.generation != altsem_generation_or_0(), 0)) altsem_introduce();
    return &altsem_me;
}

#define ALTSEM_THREAD_BITS 20
#define ALTSEM_ORIGIN_BITS 21

static inline uint32_t altsem_id_pid(uint64_t id) {
    return (uint32_t)(id >> (ALTSEM_THREAD_BITS + ALTSEM_ORIGIN_BITS + 1));
}
static inline uint64_t altsem_id_process(uint64_t id) {
    return id >> ALTSEM_THREAD_BITS << ALTSEM_THREAD_BITS;
}
static inline int altsem_id_known(uint64_t id) {
    return (int)(id >> (ALTSEM_THREAD_BITS + ALTSEM_ORIGIN_BITS) & 1);
}

/* The identity of this process: altsem_self()->id without the thread. */
uint64_t altsem_process_id(void);
/* What that is for the process `pid` that started then, in a namespace (altsem_pid_namespace). */
uint64_t altsem_id_from(uint32_t pid, uint32_t start, uint32_t pid_namespace);
/* The hash in the token of a thread that started then, of such a process; never 0 if that is known. */
uint32_t altsem_hash_from(uint64_t process, uint32_t start);
/* In which pids and start times mean the same: the inode of this process's PID namespace, mixed with
 * its time namespace if that is not the machine's.  0 if it cannot be known.  Ids of another mean
 * nothing here. */
uint32_t altsem_pid_namespace(void);
/* In the child of a fork: makes sure that it knows, also where no page is wiped.  `parent`: what
 * altsem_generation() was before the fork. */
void altsem_is_child_of(uint32_t parent);

#endif
