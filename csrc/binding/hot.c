/* hot.c - acquire, release, __enter__, __exit__.
 *
 * Written once for a `type` that is a constant in all but one of the copies made at the end, so that
 * what does not concern a class is not even asked at run time.  The first try is made with the GIL
 * held and without a system call; only what it does not get goes the slow way.
 */
#include "binding/semlock.h" /* Python.h must come first */

#include <errno.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE int try_it(SemLock *self, altsem_slot *slot, int type) {
    if (type == ALTSEM_LOCK || type == ALTSEM_RLOCK) return altsem_fast_try(slot);
    int result = altsem_fast_sem_try(slot);
    if (result == 0) count_acquired(self);
    return result;
}

/* Already held by this thread: 1 taken once more, 0 not held, -1 exception. */
static int take_again(SemLock *self, altsem_slot *slot) {
    if (self->kind != RECURSIVE_MUTEX || !semlock_is_mine_at(self, slot)) return 0;
    if (is_counting(self)) {
        count_add(self, 1);
        return 1;
    }
    if (altsem_rlock_again(slot) == 0) return 1;
    PyErr_SetString(PyExc_OverflowError, "recursive lock acquired too many times");
    return -1;
}

/* For one that does not wait: the first try refuses what is reserved for those who do. */
COLD PyObject *try_again(SemLock *self) {
    int result;
    if (is_counting(self)) {
        result = altsem_sem_try(slot_of(self));
        if (result == 0) count_acquired(self);
    } else {
        result = altsem_lock_try(slot_of(self));
    }
    return PyBool_FromLong(result == 0);
}

/* What the first try did not get: True, False, or NULL with an exception. */
COLD PyObject *acquire_slowly(SemLock *self, int64_t deadline) {
    int result;
    if (deadline == ALTSEM_NOW) return try_again(self);
    PLACE((PyObject *)self);
    if (is_counting(self)) {
        SLEEP(result, altsem_sem_wait(place.segment, place.slot, deadline));
        if (result == 0) count_acquired(self);
    } else {
        SLEEP(result, altsem_lock_wait(place.segment, place.slot, deadline));
    }
    if (result == 0) Py_RETURN_TRUE;
    if (result == -ETIMEDOUT) Py_RETURN_FALSE;
    return result == -EINTR ? NULL : raise_sleep(result);
}

COLD PyObject *acquire_with_arguments(SemLock *self, PyObject *const *args, Py_ssize_t nargs,
                                      PyObject *kwnames) {
    PyObject *block = Py_True, *timeout = Py_None;
    double seconds;
    READY((PyObject *)self);
    if (parse_two("acquire", "block", "timeout", args, nargs, kwnames, &block, &timeout) != 0)
        return NULL;
    int blocking = PyObject_IsTrue(block);
    if (blocking < 0) return NULL;
    altsem_slot *slot = slot_of(self);
    int again = take_again(self, slot); /* natively, the timeout is not looked at then */
    if (again) return again > 0 ? PyBool_FromLong(1) : NULL;
    int limited = parse_timeout(timeout, &seconds);
    if (limited < 0) return NULL;
    if (!SLOT_OF(self))
        return robust_acquire((PyObject *)self, limited && blocking ? altsem_deadline_in(seconds)
                                                : blocking          ? ALTSEM_FOREVER
                                                                    : ALTSEM_NOW);
    if (try_it(self, slot, self->type) == 0) Py_RETURN_TRUE;
    if (!blocking) return try_again(self);
    return acquire_slowly(self, limited ? altsem_deadline_in(seconds) : ALTSEM_FOREVER);
}

COLD PyObject *acquire_again_or_slowly(SemLock *self) {
    int again = take_again(self, SLOT_OF(self));
    if (again) return again > 0 ? PyBool_FromLong(1) : NULL;
    return acquire_slowly(self, ALTSEM_FOREVER);
}

/* No slot: it has none, or is robust. */
COLD PyObject *acquire_unplain(PyObject *op) { return robust_acquire(op, ALTSEM_FOREVER); }

ALWAYS_INLINE PyObject *acquire_as(PyObject *op, int type) {
    altsem_slot *slot = SLOT_OF(op);
    if (__builtin_expect(!slot, 0)) return acquire_unplain(op);
    SemLock *self = (SemLock *)op;
    /* One that is held again must not be tried first: it may have a token left. */
    if (type == RECURSIVE_SEM) return acquire_again_or_slowly(self);
    if (__builtin_expect(try_it(self, slot, type) == 0, 1)) Py_RETURN_TRUE;
    return acquire_again_or_slowly(self);
}

/* A recursive mutex on a counting slot: natively its bound is not looked at. */
COLD PyObject *release_recursive_counting(SemLock *self) {
    if (!semlock_is_mine(self)) return raise_not_mine();
    PLACE((PyObject *)self);
    /* Counted before it is given back: whoever gets the token counts itself then. */
    if (count_add(self, -1) == 1 &&
        altsem_sem_post(place.segment, place.slot, ALTSEM_VALUE_MAX) != 0) {
        count_add(self, 1);
        return raise_errno(-EOVERFLOW);
    }
    Py_RETURN_NONE;
}

ALWAYS_INLINE PyObject *release_as(PyObject *op, int type) {
    altsem_slot *slot = SLOT_OF(op);
    if (__builtin_expect(!slot, 0)) return robust_release(op);
    SemLock *self = (SemLock *)op;
    /* Without a GIL, and in a race with another __init__, it may be the segment of another slot: a
     * wake-up that goes astray then is one that the waiter does without for a second. */
    altsem_segment *segment = self->base.segment;
    if (type == ALTSEM_LOCK) {
        if (altsem_fast_release(segment, slot) != 0) return raise_too_many();
    } else if (type == ALTSEM_RLOCK) {
        if (altsem_fast_rlock_release(segment, slot) != 0) return raise_not_mine();
    } else if (type == ALTSEM_SEM) {
        if (altsem_fast_post(segment, slot, self->maxvalue) != 0) return raise_too_many();
        count_add(self, -1);
    } else {
        return release_recursive_counting(self);
    }
    Py_RETURN_NONE;
}

COLD PyObject *too_many_arguments(Py_ssize_t nargs) {
    PyErr_Format(PyExc_TypeError, "__exit__() takes at most 3 arguments (%zd given)", nargs);
    return NULL;
}

#define COPY(suffix, type_of)                                                                      \
    PyObject *hot_acquire_##suffix(PyObject *op, PyObject *const *args, Py_ssize_t nargs,          \
                                   PyObject *kwnames) {                                            \
        if (__builtin_expect(!nargs && !kwnames, 1)) return acquire_as(op, type_of);               \
        return acquire_with_arguments((SemLock *)op, args, nargs, kwnames);                        \
    }                                                                                              \
    PyObject *hot_enter_##suffix(PyObject *op, PyObject *unused) {                                 \
        (void)unused;                                                                              \
        return acquire_as(op, type_of);                                                            \
    }                                                                                              \
    PyObject *hot_release_##suffix(PyObject *op, PyObject *unused) {                               \
        (void)unused;                                                                              \
        return release_as(op, type_of);                                                            \
    }                                                                                              \
    PyObject *hot_exit_##suffix(PyObject *op, PyObject *const *args, Py_ssize_t nargs) {           \
        (void)args;                                                                                \
        if (__builtin_expect(nargs > 3, 0)) return too_many_arguments(nargs);                      \
        return release_as(op, type_of);                                                            \
    }                                                                                              \
    PyObject *hot_bound_enter_##suffix(PyObject *bound, PyObject *const *args, size_t nargs,       \
                                       PyObject *names) {                                          \
        PyObject *op = ((Bound *)bound)->lock;                                                     \
        if (__builtin_expect(!op || names || nargs & ~ARGUMENTS_OFFSET, 0))                        \
            return bound_call_builtin(bound, args, nargs, names);                                  \
        return acquire_as(op, type_of);                                                            \
    }                                                                                              \
    PyObject *hot_bound_exit_##suffix(PyObject *bound, PyObject *const *args, size_t nargs,        \
                                      PyObject *names) {                                           \
        PyObject *op = ((Bound *)bound)->lock;                                                     \
        if (__builtin_expect(!op || names || (nargs & ~ARGUMENTS_OFFSET) > 3, 0))                  \
            return bound_call_builtin(bound, args, nargs, names);                                  \
        return release_as(op, type_of);                                                            \
    }

COPY(any, ((SemLock *)op)->type)
COPY(lock, ALTSEM_LOCK)
COPY(rlock, ALTSEM_RLOCK)
COPY(sem, ALTSEM_SEM)
