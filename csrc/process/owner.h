/* owner.h - who am I: the calling thread, and the process as others can judge it. */
#ifndef ALTSEM_PROCESS_OWNER_H
#define ALTSEM_PROCESS_OWNER_H

#include <stdatomic.h>
#include <stdint.h>

/* Read on every acquire.  Four bytes of glibc's reserve for late libraries save the call that a
 * thread-local variable of a loaded library otherwise costs; other libcs have no such reserve. */
#ifdef __GLIBC__
#define ALTSEM_TLS __attribute__((tls_model("initial-exec")))
#else
#define ALTSEM_TLS
#endif

/* pid << 32 | start time: unlike the pid alone it is not given to another process later.
 * 0 until altsem_self_init() has run in this process (a fork sets it back to 0). */
extern _Atomic uint64_t altsem_self_id;
extern _Thread_local uint32_t altsem_self_tid ALTSEM_TLS;

uint64_t altsem_self_init(void);
uint32_t altsem_tid_init(void);

static inline uint64_t altsem_self(void) {
    uint64_t id = atomic_load_explicit(&altsem_self_id, memory_order_relaxed);
    return __builtin_expect(id != 0, 1) ? id : altsem_self_init();
}

static inline uint32_t altsem_my_tid(void) {
    uint32_t tid = altsem_self_tid;
    return __builtin_expect(tid != 0, 1) ? tid : altsem_tid_init();
}

static inline uint32_t altsem_id_pid(uint64_t id) { return (uint32_t)(id >> 32); }

/* The inode of this process's PID namespace, 0 if it cannot be known.  Ids of another namespace mean
 * nothing here. */
uint32_t altsem_pid_namespace(void);
/* What altsem_self() is in the living process `pid` of this namespace; 0 if there is none. */
uint64_t altsem_id_of(uint32_t pid);

#endif
