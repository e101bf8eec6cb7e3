/* altsem.h - process-shared synchronisation without POSIX semaphores.
 *
 * The public contract of the core, in prose.  The core is plain C11 and knows nothing of any
 * language runtime.  It never prints, never allocates on a hot path, never blocks a signal.
 *
 * Conventions
 *   - Every function that can fail returns 0 or a negative errno (-EAGAIN, -ETIMEDOUT, ...).
 *   - A deadline is an absolute time of CLOCK_MONOTONIC in nanoseconds.  ALTSEM_FOREVER never
 *     comes; ALTSEM_NOW has always passed ("try once").  See altsem_deadline_in().
 *   - A function that sleeps can fail with what the system said when it denied the means to sleep:
 *     -ENOSPC, -E2BIG, -ENOMEM, -EACCES, -EXDEV (wait/sysv.c).  Nothing is left behind then either.
 *   - A function that sleeps returns -EINTR when a signal arrived, and also about once a second.
 *     Nothing is left behind then: the caller runs its signal handlers and calls again with the
 *     same deadline.  That second is a promise: it bounds how long a waiter can oversleep when the
 *     process that was to wake it, or the waiter that was woken in its place, has been killed.
 *   - A primitive is a slot of a segment.  Passing a slot of another type is undefined; whoever
 *     takes a slot from outside must go through altsem_slot_at(), which checks.
 *   - All functions are safe in several threads at once.
 *   - Safe in a signal handler, also one that interrupts any function here, are only:
 *       altsem_sem_try, _post, _value         altsem_event_set, _clear, _is_set, _now
 *       altsem_lock_try, _is_mine, _is_ours, _is_free, _owner_tid, _owner_pid, _owner_id,
 *       _owner_token, _is_robust, _inherit, and
 *       _release of what the handler itself has taken
 *       altsem_waiters, altsem_tid, altsem_deadline_in
 *     What a thread may do only while it holds a lock may not be done by a handler that interrupts
 *     it there; what makes, takes, exports or gives back slots and segments uses a mutex and memory.
 *     A handler may fork, if its child then calls exec or _exit, or uses these functions only.
 *   - After a fork, of whatever kind, the child is a new process to all of this: it holds no lock, and
 *     takes slots from segments of its own.  A child that shares its parent's memory (vfork, clone
 *     with CLONE_VM) calls nothing here.
 */
#ifndef ALTSEM_H
#define ALTSEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ALTSEM_VALUE_MAX 2147483647 /* the same bound as SEM_VALUE_MAX of glibc */
#define ALTSEM_FOREVER INT64_MAX
#define ALTSEM_NOW INT64_MIN
#define ALTSEM_SLOT_BYTES 64
#define ALTSEM_ID_BYTES 16

typedef struct altsem_slot altsem_slot;       /* 64 bytes of shared memory: one primitive */
typedef struct altsem_segment altsem_segment; /* one process's view of a shared segment */

/* What a slot is; written into the slot, checked by altsem_slot_at(). */
enum altsem_type {
    ALTSEM_FREE = 0,
    ALTSEM_SEM = 1,     /* counting semaphore */
    ALTSEM_LOCK = 2,    /* binary; the word holds the owner's thread id */
    ALTSEM_RLOCK = 3,   /* the same, and the owner may take it again */
    ALTSEM_EVENT = 4,   /* a flag to wait for */
    ALTSEM_COND = 5,    /* the wait queue of a condition variable */
    ALTSEM_BARRIER = 6, /* a rendezvous of a fixed number of parties */
    ALTSEM_TYPES = 7
};

/* --- time ----------------------------------------------------------------------------------- */

/* The deadline `seconds` from now.  Negative or zero: ALTSEM_NOW.  Anything beyond 1e9 s, infinity
 * included: ALTSEM_FOREVER.  The caller refuses NaN; here it counts as ALTSEM_NOW. */
int64_t altsem_deadline_in(double seconds);

/* --- backends: how waiters sleep ------------------------------------------------------------- */

/* The backend of this process, chosen at the first call: the one named by the environment variable
 * ALTSEM_BACKEND, else the first whose probe answers.  Returns its name, or NULL with *error set:
 * -EINVAL the variable names no backend, -ENOSYS the named one (or none at all) works here. */
const char *altsem_backend(int *error);
/* The names of all built-in backends, in order of preference; NULL past the end. */
const char *altsem_backend_name(unsigned index);
/* Runs the probe of one backend: 0, or why it cannot be used.  -EINVAL for an unknown name. */
int altsem_backend_probe(const char *name);
/* Why this process uses the backend it uses, in words; NULL as long as none has been chosen. */
const char *altsem_backend_reason(void);
/* Frees what killed processes of this user have left in the system (SysV semaphore sets), and says
 * how many things that were.  Touches nothing that a living process uses.  A process does the same
 * when it needs such a thing itself.  -ENOSYS, -EPERM: the system does not let us look. */
int altsem_clean(unsigned *removed);

/* --- segments and slots ---------------------------------------------------------------------- */

/* Takes a slot of this process's own segments, making a segment if need be, and initialises it:
 *   ALTSEM_SEM             value 0..ALTSEM_VALUE_MAX, maxvalue the bound of altsem_sem_post
 *   ALTSEM_LOCK, _RLOCK    value 1 (free) or 0 (taken by nobody)
 *   ALTSEM_EVENT           value 1 (set) or 0
 *   ALTSEM_COND            value ignored
 *   ALTSEM_BARRIER         maxvalue the number of parties, at least 1
 * The segment gains a reference that altsem_slot_free() drops.
 * -EINVAL for a value outside these; -ENOSYS no backend; what the system said when no memory could
 * be had (altsem_memory_new), or to notice forks with. */
int altsem_slot_new(int type, int64_t value, int64_t maxvalue, altsem_segment **segment,
                    altsem_slot **slot);
/* Gives a slot back and drops the reference.  The slot is used again only if no other process can
 * ever have seen it: it was never exported and no fork happened since it was taken. */
void altsem_slot_free(altsem_segment *segment, altsem_slot *slot);
/* Marks a slot as seen by others; returns its offset in the segment, in bytes. */
uint64_t altsem_slot_export(altsem_segment *segment, altsem_slot *slot);
/* The slot at an offset that came from outside, taking a reference to the segment.
 * -EINVAL: outside the segment, misaligned, or not a slot of that type. */
int altsem_slot_at(altsem_segment *segment, uint64_t offset, int type, altsem_slot **slot);
/* Finds the live slot at an address of this process, taking a reference to its segment (for handles
 * that are addresses).  -EINVAL: no slot of any mapped segment is there. */
int altsem_slot_find(uintptr_t address, altsem_segment **segment, altsem_slot **slot);
int altsem_slot_type(const altsem_slot *slot);
int32_t altsem_slot_maxvalue(const altsem_slot *slot);

/* The identity of a segment: random, made with it, the same in every process. */
const unsigned char *altsem_segment_id(const altsem_segment *segment);
/* The file descriptor that can be passed to another process.  Borrowed.  -EBADF: somebody closed
 * it, or reused its number, behind our back: the segment cannot travel from here any more.  Also
 * for the segment of a named semaphore. */
int altsem_segment_fd(const altsem_segment *segment);
size_t altsem_segment_size(const altsem_segment *segment);
/* The segment of that identity, if this process has it mapped already, with a new reference; NULL
 * if not. */
altsem_segment *altsem_segment_lookup(const unsigned char id[ALTSEM_ID_BYTES]);
/* Maps the segment behind `fd` and takes a reference; the same segment is mapped once however often
 * it arrives.  Takes `fd` over only on success and only if the segment was new here (*took = 1).
 * `id`: what it must be (NULL: anything).  -EBADF, -EINVAL not a segment of ours, -ESTALE another
 * segment, -EPROTONOSUPPORT another layout version or pointer size, -EXDEV a segment of another
 * backend than this process uses, -ENOSYS a backend that does not work here. */
int altsem_segment_attach(int fd, const unsigned char *id, altsem_segment **segment, int *took);
void altsem_segment_incref(altsem_segment *segment);
void altsem_segment_decref(altsem_segment *segment);
/* How many segments are mapped here; how many forks this process and those it descends from have
 * seen (tests, doctor). */
unsigned altsem_segment_count(void);
unsigned altsem_fork_count(void);

/* Fresh shared memory of `size` bytes without a name, all of it allocated: memfd, else O_TMPFILE,
 * else a file created and unlinked, in the first of the candidate directories that works when
 * tried.  `source`, if not NULL, receives a static string: "memfd", "O_TMPFILE" or "unlinked file".
 * Returns a descriptor (close-on-exec) or the errno of the last attempt. */
int altsem_memory_new(size_t size, const char **source);

/* --- named semaphores: only for constructors that insist on a name ---------------------------- */

/* Named semaphores keep no descriptor (altsem_segment_fd: -EBADF); what is sent to another process
 * is the name.  Their file must not be truncated to nothing while it is mapped: that is SIGBUS for
 * who uses it next (names/name.c says why, and what is an error instead). */

/* Makes the semaphore `name` with one slot in a private file, complete before anybody can open it.
 * -EEXIST taken, -EINVAL not a name, -ENAMETOOLONG, -EPERM the private directory is not ours alone,
 * or what the system said. */
int altsem_named_create(const char *name, int type, int64_t value, int64_t maxvalue,
                        altsem_segment **segment, altsem_slot **slot);
/* Opens it.  -ENOENT there is none; -EPERM or -ELOOP what is there is not ours alone; -EBADMSG it is
 * no semaphore, or damaged; further what altsem_segment_attach says. */
int altsem_named_open(const char *name, int type, altsem_segment **segment, altsem_slot **slot);
/* 0 if it exists, -ENOENT if not. */
int altsem_named_exists(const char *name);
/* Removes the name; whoever has the semaphore open keeps it.  -EBADMSG: not a file. */
int altsem_named_unlink(const char *name);

/* --- named shared memory: only for programs that insist on a name -------------------------------- */

/* As shm_open(3): flags O_RDONLY or O_RDWR, with O_CREAT, O_EXCL, O_TRUNC; the file is for this user
 * alone.  Returns a descriptor (close-on-exec), or -EEXIST, -ENOENT, -EINVAL not a name or other
 * flags, -ENAMETOOLONG, -EPERM or -ELOOP what is there is not ours alone, -EBADMSG it is no file. */
int altsem_shm_open(const char *name, int flags);
/* Removes the name; whoever has it open keeps it.  -ENOENT; -EBADMSG: not a file. */
int altsem_shm_unlink(const char *name);
int altsem_shm_exists(const char *name); /* 0, or -ENOENT */

/* --- counting semaphores --------------------------------------------------------------------- */

int altsem_sem_try(altsem_slot *slot); /* -EAGAIN: the value is zero */
int altsem_sem_wait(altsem_segment *segment, altsem_slot *slot, int64_t deadline);
/* Adds one unless the value has reached `bound`: -EOVERFLOW then, and nothing has changed. */
int altsem_sem_post(altsem_segment *segment, altsem_slot *slot, int64_t bound);
int32_t altsem_sem_value(const altsem_slot *slot);

/* --- locks ----------------------------------------------------------------------------------- */

int altsem_lock_try(altsem_slot *slot); /* -EAGAIN: somebody holds it, perhaps the caller */
int altsem_lock_wait(altsem_segment *segment, altsem_slot *slot, int64_t deadline);
/* Frees the lock, whoever holds it, unless it is robust.  -EOVERFLOW: nobody does. */
int altsem_lock_release(altsem_segment *segment, altsem_slot *slot);
int altsem_lock_is_mine(const altsem_slot *slot); /* held by the calling thread */
int altsem_lock_is_ours(const altsem_slot *slot); /* held by a thread of this process */
int altsem_lock_is_free(const altsem_slot *slot);
/* If a thread of this process holds it, it is held by nobody from now on, as one born taken is.
 * Returns whether it is held by nobody now. */
int altsem_lock_disown(altsem_slot *slot);
/* --- locks that survive their holder ---------------------------------------------------------- */

/* Makes a LOCK or RLOCK that nobody else has seen yet one that is taken over when its owner is proved
 * dead (primitives/robust.c); -EINVAL for other types.  The owner of a LOCK is the process, of an
 * RLOCK the thread.  It may be released by its owner only: altsem_lock_release says -EPERM to others.
 * altsem_lock_wait looks whether the owner is dead whenever it gives up, or returns -EINTR.  */
int altsem_lock_make_robust(altsem_slot *slot);
int altsem_lock_is_robust(const altsem_slot *slot);
/* Takes a lock of any kind whose owner is proved dead; -EAGAIN: it is not, or nobody holds it. */
int altsem_lock_inherit(altsem_segment *segment, altsem_slot *slot);
/* Whether an owner has died of whom no holder has been told: to be asked after each taking, by the
 * holder.  A release forgets it, or _release_untold does not: then the next one is told. */
typedef struct altsem_death {
    uint32_t pid, tid; /* pid 0: not known */
    int is_shown;      /* /proc still has that process, as a zombie, or alive without the thread */
} altsem_death;
int altsem_lock_death(const altsem_segment *segment, const altsem_slot *slot, altsem_death *death);
int altsem_lock_release_untold(altsem_segment *segment, altsem_slot *slot);
/* How often it was taken over. */
uint32_t altsem_lock_deaths(const altsem_slot *slot);
/* For a holder of a robust lock: a note that nobody could go on where it is now.  If it dies there the
 * note stays, for all that come after. */
void altsem_lock_set_midway(altsem_slot *slot, int midway);
int altsem_lock_is_midway(const altsem_slot *slot);

/* RLOCK: the calling thread takes it once more (it must hold it).  -EOVERFLOW after 2^31-2. */
int altsem_rlock_again(altsem_slot *slot);
/* RLOCK: undoes one taking.  -EPERM: the calling thread does not hold it. */
int altsem_rlock_release(altsem_segment *segment, altsem_slot *slot);
/* RLOCK: frees it however often the calling thread has taken it, which is told in *depth, and makes
 * it so again for a thread that has just taken it once (for a condition).  -EPERM: not held. */
int altsem_rlock_release_all(altsem_segment *segment, altsem_slot *slot, uint32_t *depth);
void altsem_rlock_restore(altsem_slot *slot, uint32_t depth);
/* How often the owner has taken it; 0 if it is free or held by another process. */
uint32_t altsem_rlock_depth(const altsem_slot *slot);

/* --- events ---------------------------------------------------------------------------------- */

int altsem_event_is_set(const altsem_slot *slot);
int altsem_event_set(altsem_segment *segment, altsem_slot *slot);
void altsem_event_clear(altsem_slot *slot);
/* The state to wait from.  Take it once, before the first altsem_event_wait. */
uint32_t altsem_event_now(const altsem_slot *slot);
/* Returns 0 once the event is set, or has been set at any time since `since` was taken (a pulse of
 * set and clear wakes those who waited). */
int altsem_event_wait(altsem_segment *segment, altsem_slot *slot, uint32_t since, int64_t deadline);

/* --- conditions: a wait queue, used together with a lock of the caller's --------------------- */

/* Joins the queue.  With the caller's lock held, so that no notification is missed.  -EAGAIN:
 * 2^20-1 are waiting. */
int altsem_cond_enter(altsem_slot *slot, uint32_t *ticket);
/* Sleeps until notified.  With the caller's lock released. */
int altsem_cond_sleep(altsem_segment *segment, altsem_slot *slot, uint32_t ticket,
                      int64_t deadline);
/* Leaves the queue after altsem_cond_sleep failed, best at once: before the caller's lock is taken
 * again, which may take long or fail.  1: a notification had come after all, and has been used up:
 * the caller acts on it, or hands it on with altsem_cond_notify(1); 0: none had. */
int altsem_cond_leave(altsem_slot *slot, uint32_t ticket);
/* Hands a notification to `n` of those that have entered and not yet been notified.  With the
 * caller's lock held, or else whoever looks at what is waited for, enters and sleeps may miss it.
 * Returns how many were notified; waits for nobody. */
uint32_t altsem_cond_notify(altsem_segment *segment, altsem_slot *slot, uint32_t n);
uint32_t altsem_cond_waiters(const altsem_slot *slot);

/* --- barriers -------------------------------------------------------------------------------- */

/* Arrives.  *index: 0 for the first, parties-1 for the last, different for each; *generation: for
 * the calls below.
 *   0        others are still to come: altsem_barrier_wait
 *   1        the last one.  If `to_act` is 0 the generation has tripped and all are released.  Else
 *            it is closed: the caller runs its action, then calls altsem_barrier_trip or _fail.  If
 *            it is killed before, waiters break the generation within about a second; but never
 *            unless its death is proved, so not if it is of another PID namespace.
 *   -EPIPE   broken
 *   -ETIMEDOUT, -EINTR   the action of the generation before is not over.  Nothing has happened.
 *   -EAGAIN  2^23-1 have arrived, of still more */
int altsem_barrier_arrive(altsem_segment *segment, altsem_slot *slot, int to_act, int64_t deadline,
                          uint32_t *index, uint32_t *generation);
/* Waits for the generation to be released: 0.
 *   -EPIPE      it was broken, or reset
 *   -ETIMEDOUT  the time was over before all had arrived; the barrier is now broken.  Once all have
 *               arrived the deadline does not matter: the action is waited for, in slices
 *   -EAGAIN     another party has withdrawn and all begin anew: altsem_barrier_arrive again */
int altsem_barrier_wait(altsem_segment *segment, altsem_slot *slot, uint32_t generation,
                        int64_t deadline);
/* Takes an arrival back (the party was interrupted), if its generation still waits for others.
 * They begin anew, so that their indexes have no gap. */
void altsem_barrier_withdraw(altsem_segment *segment, altsem_slot *slot, uint32_t generation);
/* The action is over: releases the generation.  -EPIPE: it was broken or reset meanwhile. */
int altsem_barrier_trip(altsem_segment *segment, altsem_slot *slot, uint32_t generation);
/* The action has failed: breaks the generation, unless it was broken or reset meanwhile. */
void altsem_barrier_fail(altsem_segment *segment, altsem_slot *slot, uint32_t generation);
/* Whether the calling thread runs an action now, and of which generation: whoever would arrive from
 * there waits for itself. */
int altsem_barrier_acting(const altsem_slot *slot, uint32_t *generation);
/* Breaks it: all who wait, and all who come, get -EPIPE until a reset. */
void altsem_barrier_abort(altsem_segment *segment, altsem_slot *slot);
/* Empties it and makes it whole: whoever waits gets -EPIPE. */
void altsem_barrier_reset(altsem_segment *segment, altsem_slot *slot);
/* How many have arrived and wait for others; 0 once all have. */
uint32_t altsem_barrier_waiting(const altsem_slot *slot);
int altsem_barrier_broken(const altsem_slot *slot);

/* --- who holds, who waits --------------------------------------------------------------------- */

/* The kernel's id of the calling thread; the pid of the process that holds a lock (0: nobody, or
 * not known); how many sleep on a semaphore, lock or event (a killed waiter stays counted). */
uint32_t altsem_tid(void);
uint32_t altsem_lock_owner_tid(const altsem_slot *slot);
uint32_t altsem_lock_owner_token(const altsem_slot *slot); /* with a hash: word.h */
uint32_t altsem_lock_owner_pid(const altsem_slot *slot);
/* Which thread of which process that is, also when its numbers are used again: the pid in the upper
 * 22 bits; the upper 44 are the same for all threads of a process (process/owner.h).  0: nobody, or
 * whoever took the lock has not said so yet. */
uint64_t altsem_lock_owner_id(const altsem_slot *slot);
/* What is proved of the owner whose numbers are `token` (or only its thread id) and `id` in that PID
 * namespace (0: not known, which proves nothing).  pid 0: not known. */
enum altsem_life { ALTSEM_CANNOT_TELL = -1, ALTSEM_DEAD = 0, ALTSEM_ALIVE = 1 };
typedef struct altsem_verdict {
    uint32_t pid;
    int process, thread; /* enum altsem_life */
    int is_shown;        /* /proc has the very process: alive, or a zombie */
} altsem_verdict;
void altsem_judge(uint32_t token, uint64_t id, uint32_t pid_namespace, altsem_verdict *verdict);
/* The PID namespace (its inode; mixed with that of a time namespace, if there is one) in which the
 * owners of locks in a segment are to be understood; 0: processes of several use it, or it is not
 * known. */
uint32_t altsem_segment_namespace(const altsem_segment *segment);
uint32_t altsem_waiters(const altsem_slot *slot);

#ifdef __cplusplus
}
#endif
#endif
