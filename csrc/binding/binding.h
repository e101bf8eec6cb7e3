/* binding.h - the CPython glue.  It converts arguments and errors; the algorithms are in the core. */
#ifndef ALTSEM_BINDING_H
#define ALTSEM_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "altsem.h"
#include "memory/segment.h"

/* Kept out of what is hot. */
#define COLD static __attribute__((noinline, cold, unused))

/* Every primitive is this, and perhaps more.  __init__ may be called again while others use it: they
 * stay with the slot that they found, which is never given back then.  So each call reads both words
 * once, before it lets the GIL go, and goes on with what it has read. */
typedef struct {
    PyObject_HEAD altsem_slot
        *slot;               /* NULL until __init__ or adopt(), in one that is lost, and in a
                                      * robust lock: the hot methods ask for nothing else */
    altsem_segment *segment; /* NULL where there is no slot */
    union {
        PyObject *lost; /* lose(): (errno, sentence, how it was sent); else NULL.  Never changed. */
        altsem_slot *robust; /* there is a segment, but no slot: that of a robust lock (robust.c) */
    };
} Primitive;

typedef struct {
    altsem_slot *slot;
    altsem_segment *segment;
} Place;

typedef struct {
    PyObject_HEAD altsem_segment *segment;
} Segment;

typedef struct {
    PyTypeObject *segment, *primitive;
    PyTypeObject *semlock, *lock, *rlock, *semaphore, *bounded;
    PyTypeObject *event, *cond, *barrier;
    PyTypeObject *bound, *with_method; /* NULL where they are of no use */
} State;

long running_version(void); /* version.c: 0x030b for 3.11; -1 not to be known */

/* errors.c: each sets an exception and returns NULL. */
PyObject *raise_errno(int error);                       /* OSError, the system's own words */
PyObject *raise_os(int error, const char *format, ...); /* OSError with a sentence */
PyObject *raise_create(int error, const char *what);    /* a primitive could not be made */
PyObject *raise_named(int error, const char *name);     /* a named semaphore */
PyObject *raise_attach(int error);                      /* a segment was refused */
PyObject *raise_sleep(int error);                       /* no means to sleep were to be had */
/* A release that is one too many; of a recursive lock of another thread. */
__attribute__((cold)) PyObject *raise_too_many(void);
__attribute__((cold)) PyObject *raise_not_mine(void);
PyObject *raise_uninitialised(PyObject *self); /* no slot: never made, or lost */

/* arguments.c */
int parse_timeout(PyObject *timeout, double *seconds); /* 1 a number, 0 None, -1 exception set */
int parse_int(PyObject *value, int *out);              /* -1 exception set, as for a C int */
/* A text without nulls, which lives as long as `value`; NULL: exception set, which says `argument`. */
const char *parse_name(const char *argument, PyObject *value);
/* (first, second) by position or keyword, as METH_FASTCALL|METH_KEYWORDS hands them over; missing
 * ones stay as they are.  -1: exception set. */
int parse_two(const char *function, const char *first, const char *second, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames, PyObject **one, PyObject **two);

/* primitive.c */
#define MAKE_ROBUST 0x200 /* added to the type */
void primitive_set(Primitive *self, altsem_segment *segment, altsem_slot *slot);
int primitive_make(Primitive *self, int type, int64_t value, int64_t maxvalue, const char *what);
PyObject *primitive_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
void primitive_drop(Primitive *self);
/* Whether an argument is of the type; 0: exception set, which says that it is not `what`. */
int primitive_is(PyObject *object, PyTypeObject *type, const char *what);
/* The same, and what it is now; slot NULL: exception set. */
Place primitive_in(PyObject *object, PyTypeObject *type, const char *what);
void primitive_dealloc(PyObject *self);
extern PyType_Spec primitive_spec;

/* segment.c */
extern PyType_Spec segment_spec;
PyObject *module_export(PyObject *module, PyObject *primitive);
PyObject *module_adopt(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *module_attach(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *module_lookup(PyObject *module, PyObject *id);
PyObject *module_lose(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *module_lost(PyObject *module, PyObject *primitive);
PyObject *module_dumpable(PyObject *module, PyObject *unused);

/* owner.c */
PyObject *primitive_waiters(PyObject *self, void *unused); /* the getter of `waiters` */
PyObject *module_waiters(PyObject *module, PyObject *primitive);
PyObject *module_holder(PyObject *module, PyObject *primitive);
PyObject *module_judge(PyObject *module, PyObject *args);

/* robust.c */
int robust_begin(PyObject *module); /* -1: exception set */
int robust_by_default(void);
/* To be called when a robust lock has been taken.  -1: exception set, and it is released. */
int robust_tell(PyObject *lock, Place place);
PyObject *module_death(PyObject *module, PyObject *lock);
PyObject *module_deaths(PyObject *module, PyObject *lock);
PyObject *module_free_dead(PyObject *module, PyObject *lock);
PyObject *module_robust_by_default(PyObject *module, PyObject *unused);

/* semlock.c, event.c, cond.c, barrier.c */
extern PyType_Spec semlock_spec, lock_spec, rlock_spec, semaphore_spec, bounded_spec;
extern PyType_Spec event_spec, cond_spec, barrier_spec;
void semlock_adopted(PyObject *self); /* sets what follows from the slot */
PyObject *module_cond_wait(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *module_own_methods(PyObject *module, PyObject *type);
PyObject *module_sem_unlink(PyObject *module, PyObject *name);

/* shm.c */
PyObject *module_shm_open(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *module_shm_unlink(PyObject *module, PyObject *args, PyObject *kwargs);

#ifdef Py_GIL_DISABLED
#define SLOT_OF(self) __atomic_load_n(&((Primitive *)(self))->slot, __ATOMIC_RELAXED)
#else
#define SLOT_OF(self) (((Primitive *)(self))->slot)
#endif

/* That of a robust lock; NULL for everything else.  Where it is being made again, without a GIL, the two
 * words may be of two calls, and what looks like a slot be what a lost one says: only a slot that lies
 * in the segment is one. */
COLD altsem_slot *robust_slot(PyObject *op) {
    Primitive *self = (Primitive *)op;
    altsem_segment *segment = __atomic_load_n(&self->segment, __ATOMIC_ACQUIRE);
    altsem_slot *slot = segment ? __atomic_load_n(&self->robust, __ATOMIC_RELAXED) : NULL;
    return slot && altsem_slot_is_in(segment, slot) ? slot : NULL;
}

static inline altsem_slot *any_slot(PyObject *primitive) {
    altsem_slot *slot = SLOT_OF(primitive);
    return __builtin_expect(slot != NULL, 1) ? slot : robust_slot(primitive);
}

/* For calls that need the slot only, and only once. */
#define READY(self)                                                                                \
    if (__builtin_expect(!any_slot(self), 0)) return raise_uninitialised(self)

/* What a primitive is now; slot NULL: exception set. */
COLD Place place_without_slot(PyObject *self) {
    Place place;
    do {
        place.slot = robust_slot(self);
        place.segment = ((Primitive *)self)->segment;
    } while (place.slot && !altsem_slot_is_in(place.segment, place.slot));
    if (!place.slot) raise_uninitialised(self);
    return place;
}
#ifdef Py_GIL_DISABLED
Place place_of(PyObject *primitive);
#else
static inline Place place_of(PyObject *primitive) {
    Place place = {((Primitive *)primitive)->slot, ((Primitive *)primitive)->segment};
    if (__builtin_expect(!place.slot, 0)) return place_without_slot(primitive);
    return place;
}
#endif

/* Declares `place`. */
#define PLACE(self)                                                                                \
    Place place = place_of(self);                                                                  \
    if (!place.slot) return NULL

/* Runs a call of the core that sleeps: without the GIL, and again after each signal whose handler
 * returns.  `result` is -EINTR only if an exception is set. */
#define SLEEP(result, call)                                                                        \
    do {                                                                                           \
        Py_BEGIN_ALLOW_THREADS result = call;                                                      \
        Py_END_ALLOW_THREADS                                                                       \
    } while (result == -EINTR && PyErr_CheckSignals() == 0)

#endif
