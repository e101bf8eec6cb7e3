/* semlock.h - what a SemLock is to the files of the binding. */
#ifndef ALTSEM_BINDING_SEMLOCK_H
#define ALTSEM_BINDING_SEMLOCK_H

#include "binding/binding.h"
#include "binding/bound.h"

#include "primitives/fast.h"

enum { RECURSIVE_MUTEX = 0, SEMAPHORE = 1 };

/* The type of a slot, or this: a counting slot of a recursive mutex. */
enum { RECURSIVE_SEM = ALTSEM_TYPES };

typedef struct {
    Primitive base;
    int kind;
    int maxvalue;
    int type;
    /* A lock slot that was taken when the counting began: made with value 0, or disowned. */
    _Atomic int born_taken;
    /* Counting slots: acquired minus released through this object, and whose count that is: a process
     * that did not write it, for it was forked since, begins at 0. */
#ifdef Py_GIL_DISABLED
    _Atomic uint64_t counted; /* generation << 32 | count */
#else
    uint32_t generation;
    int count;
#endif
    _Atomic uint64_t last; /* the thread that acquired it last */
    PyObject *name;
} SemLock;

static inline altsem_slot *slot_of(const SemLock *self) { return any_slot((PyObject *)self); }

static inline int is_counting(const SemLock *self) {
    return self->type != ALTSEM_LOCK && self->type != ALTSEM_RLOCK;
}

/* Returns what the count was. */
#ifdef Py_GIL_DISABLED
static inline int count_add(SemLock *self, int change) {
    uint64_t seen = atomic_load_explicit(&self->counted, memory_order_relaxed), next;
    uint32_t generation = altsem_generation(), count;
    do {
        count = seen >> 32 == generation ? (uint32_t)seen : 0;
        next = (uint64_t)generation << 32 | (count + (uint32_t)change);
    } while (!atomic_compare_exchange_weak(&self->counted, &seen, next));
    return (int)count;
}
static inline int count_get(SemLock *self) {
    uint64_t seen = atomic_load_explicit(&self->counted, memory_order_acquire);
    return seen >> 32 == altsem_generation() ? (int)(uint32_t)seen : 0;
}
static inline void count_begin(SemLock *self) {
    atomic_store(&self->counted, (uint64_t)altsem_generation() << 32);
}
#else
void count_begin(SemLock *self);
static inline int count_add(SemLock *self, int change) {
    if (__builtin_expect(self->generation != altsem_generation_or_0(), 0)) count_begin(self);
    int count = self->count;
    self->count = count + change;
    return count;
}
static inline int count_get(SemLock *self) {
    return self->generation == altsem_generation() ? self->count : 0;
}
#endif

/* In this order: whoever finds itself in `last` while the count is not 0 must be who acquired it, and
 * not an earlier one that has been counted out. */
void count_acquired_in_general(SemLock *self);
static inline void count_acquired(SemLock *self) {
#ifndef Py_GIL_DISABLED /* the same, where all is as it was: by one look at the generation */
    uint32_t generation = altsem_generation_or_0();
    if (__builtin_expect(self->generation == generation && altsem_me.generation == generation, 1)) {
        atomic_store_explicit(&self->last, altsem_me.id, memory_order_relaxed);
        self->count++;
        return;
    }
#endif
    count_acquired_in_general(self);
}

static inline int born_taken(SemLock *self) {
    return atomic_load_explicit(&self->born_taken, memory_order_relaxed);
}

static inline int semlock_is_mine_at(SemLock *self, altsem_slot *slot) {
    if (!is_counting(self)) return !born_taken(self) && altsem_fast_is_mine(slot);
    return count_get(self) > 0 &&
           atomic_load_explicit(&self->last, memory_order_relaxed) == altsem_self()->id;
}

static inline int semlock_is_mine(SemLock *self) { return semlock_is_mine_at(self, slot_of(self)); }

/* robust.c: what the hot methods do with one that has no slot for them.  Each raises if it has none at
 * all. */
PyObject *robust_acquire(PyObject *self, int64_t deadline);
PyObject *robust_release(PyObject *self);
PyObject *refuse_robust(const char *what); /* ValueError */

/* semlock.c */
int semlock_value(SemLock *self);
PyObject *semlock_get_value(PyObject *self, PyObject *unused);
void semlock_remember(SemLock *self, int kind, int maxvalue, int taken);
int semlock_type_for(int kind, int value, int maxvalue);

/* hot.c: acquire, release, __enter__, __exit__, once for each type of slot and once for any. */
#define HOT_DECLARE(suffix)                                                                        \
    PyObject *hot_acquire_##suffix(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);         \
    PyObject *hot_release_##suffix(PyObject *, PyObject *);                                        \
    PyObject *hot_enter_##suffix(PyObject *, PyObject *);                                          \
    PyObject *hot_exit_##suffix(PyObject *, PyObject *const *, Py_ssize_t);                        \
    bound_function hot_bound_enter_##suffix, hot_bound_exit_##suffix;
HOT_DECLARE(any)
HOT_DECLARE(lock)
HOT_DECLARE(rlock)
HOT_DECLARE(sem)

#define HOT_METHODS(suffix)                                                                        \
    {"acquire", (PyCFunction)(void (*)(void))hot_acquire_##suffix, METH_FASTCALL | METH_KEYWORDS,  \
     "acquire($self, /, block=True, timeout=None)\n--\n\n"                                         \
     "Take it.  Waits at most `timeout` seconds (None: for ever; negative: not at all) if\n"       \
     "`block`.  Returns whether it was taken.  Raises ValueError for a NaN timeout."},             \
        {"release", hot_release_##suffix, METH_NOARGS,                                             \
         "release($self, /)\n--\n\n"                                                               \
         "Give it back.  Raises ValueError if that is once too often, AssertionError if it is\n"   \
         "a recursive lock of another thread."},                                                   \
        {"__enter__", hot_enter_##suffix, METH_NOARGS,                                             \
         "__enter__($self, /)\n--\n\nacquire(); returns True."},                                   \
        {"__exit__", (PyCFunction)(void (*)(void))hot_exit_##suffix, METH_FASTCALL,                \
         "__exit__($self, exc_type=None, exc_value=None, exc_tb=None, /)\n--\n\nrelease()."}

#endif
