/* semlock.h - what a SemLock is to the files of the binding. */
#ifndef ALTSEM_BINDING_SEMLOCK_H
#define ALTSEM_BINDING_SEMLOCK_H

#include "binding/binding.h"
#include "binding/bound.h"

#include "primitives/fast.h"

enum { RECURSIVE_MUTEX = 0, SEMAPHORE = 1 };

typedef struct {
    Primitive base;
    int kind;
    int maxvalue;
    int type; /* of the slot */
    /* A lock slot that was taken when the counting began: made with value 0, or disowned. */
    _Atomic int born_taken;
    _Atomic int count; /* counting slots: acquired minus released through this object */
    _Atomic uint32_t last_tid;
    _Atomic uint32_t forks; /* count belongs to the process that had seen so many */
    PyObject *name;
} SemLock;

static inline altsem_slot *slot_of(const SemLock *self) { return self->base.slot; }

static inline int count_get(SemLock *self) {
    return atomic_load_explicit(&self->count, memory_order_relaxed);
}

static inline void count_add(SemLock *self, int change) {
#ifdef Py_GIL_DISABLED
    atomic_fetch_add_explicit(&self->count, change, memory_order_relaxed);
#else
    atomic_store_explicit(&self->count, count_get(self) + change, memory_order_relaxed);
#endif
}

static inline int born_taken(SemLock *self) {
    return atomic_load_explicit(&self->born_taken, memory_order_relaxed);
}

static inline int semlock_is_mine(SemLock *self) {
    if (self->type != ALTSEM_SEM) return !born_taken(self) && altsem_fast_is_mine(slot_of(self));
    return count_get(self) > 0 &&
           atomic_load_explicit(&self->last_tid, memory_order_relaxed) == altsem_my_tid();
}

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
