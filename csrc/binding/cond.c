/* cond.c - Cond: the wait queue of a Condition, which brings the lock (synchronize). */
#include "binding/semlock.h"

#include <errno.h>
#include <time.h>

static int cond_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Cond", names)) return -1;
    return primitive_make((Primitive *)self, ALTSEM_COND, 0, 0, "Condition");
}

static PyObject *notify(PyObject *op, PyObject *object) {
    PLACE(op);
    int overflow;
    long n = PyLong_AsLongAndOverflow(object, &overflow);
    if (n == -1 && !overflow && PyErr_Occurred()) return NULL;
    if (overflow < 0 || n < 0) n = 0;
    if (overflow > 0 || (unsigned long)n > UINT32_MAX) n = (long)(UINT32_MAX >> 1);
    return PyLong_FromUnsignedLong(altsem_cond_notify(place.segment, place.slot, (uint32_t)n));
}

static PyObject *waiters(PyObject *self, PyObject *unused) {
    (void)unused;
    READY(self);
    return PyLong_FromUnsignedLong(altsem_cond_waiters(SLOT_OF(self)));
}

/* --- Condition.wait ---------------------------------------------------------------------------- */

/* The lock that is given up while waiting: ours, which needs no Python code; or another's, which
 * `depth` calls of its own methods release and take. */
typedef struct {
    Place ours;
    PyObject *lock; /* ours */
    int type;       /* of ours */
    PyObject *other;
    uint32_t depth;
} Held;

static int call_often(PyObject *lock, const char *method, uint32_t times) {
    for (uint32_t i = 0; i < times; i++) {
        PyObject *result = PyObject_CallMethod(lock, method, NULL);
        if (!result) return -1;
        Py_DECREF(result);
    }
    return 0;
}

static int give_up(Held *held) {
    if (held->other) return call_often(held->other, "release", held->depth);
    if (held->type == ALTSEM_RLOCK)
        altsem_rlock_release_all(held->ours.segment, held->ours.slot, &held->depth);
    else altsem_lock_release(held->ours.segment, held->ours.slot);
    return 0;
}

/* Takes the lock, a millisecond at a time where the means to sleep are denied: wait() has to come
 * back with the lock, also to say just that. */
static int take_somehow(Place lock) {
    static const struct timespec moment = {0, 1000000};
    int result = altsem_lock_wait(lock.segment, lock.slot, ALTSEM_FOREVER);
    if (result == 0 || result == -EINTR) return result;
    return altsem_lock_try(lock.slot) == 0 ? 0 : (nanosleep(&moment, NULL), -EINTR);
}

/* 0, or -1 with an exception: then the lock is not held, as natively. */
static int take_back(Held *held) {
    if (held->other) return call_often(held->other, "acquire", held->depth);
    int result;
    SLEEP(result, take_somehow(held->ours));
    if (result != 0) return -1;
    if (!SLOT_OF(held->lock) && robust_tell(held->lock, held->ours) != 0) return -1;
    if (held->type == ALTSEM_RLOCK) altsem_rlock_restore(held->ours.slot, held->depth);
    return 0;
}

/* Leaves the queue at once, with or without the lock: while the lock is taken back, which may take
 * long and may end in an exception, a notification goes to somebody who waits.  A notification that
 * had come before is never lost: either wait() returns True, or the next waiter gets it. */
static PyObject *wait_in(Place queue, Held *held, PyObject *timeout) {
    uint32_t ticket;
    double seconds;
    int limited = parse_timeout(timeout, &seconds), error, slept = -EINTR;
    if (limited < 0) return NULL;
    if ((error = altsem_cond_enter(queue.slot, &ticket)) != 0)
        return raise_os(error, "too many wait for one Condition (2**20-1 already do)");
    int64_t deadline = limited ? altsem_deadline_in(seconds) : ALTSEM_FOREVER;
    int released = give_up(held) == 0;
    if (released) SLEEP(slept, altsem_cond_sleep(queue.segment, queue.slot, ticket, deadline));
    int notified = slept == 0 || altsem_cond_leave(queue.slot, ticket);
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    if (slept == -EINTR) PyErr_Fetch(&type, &value, &trace);
    int failed = released && take_back(held) != 0;
    if (notified && (failed || slept == -EINTR)) altsem_cond_notify(queue.segment, queue.slot, 1);
    if (failed) {
        Py_XDECREF(type), Py_XDECREF(value), Py_XDECREF(trace);
        return NULL;
    }
    if (slept == -EINTR) {
        PyErr_Restore(type, value, trace);
        return NULL;
    }
    if (notified) Py_RETURN_TRUE;
    if (slept == -ETIMEDOUT) Py_RETURN_FALSE;
    return raise_sleep(slept);
}

PyObject *module_cond_wait(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    State *state = PyModule_GetState(module);
    if (nargs != 3 || !PyObject_TypeCheck(args[0], state->cond) ||
        !(PyObject_TypeCheck(args[1], state->lock) || PyObject_TypeCheck(args[1], state->rlock))) {
        PyErr_SetString(PyExc_TypeError,
                        "cond_wait(cond, lock, timeout) takes a Cond and a Lock or "
                        "RLock of altsem");
        return NULL;
    }
    Place queue = place_of(args[0]), lock = queue.slot ? place_of(args[1]) : queue;
    if (!lock.slot) return NULL;
    SemLock *self = (SemLock *)args[1];
    if (!semlock_is_mine(self)) {
        PyErr_SetString(PyExc_AssertionError, "must acquire() condition before using wait()");
        return NULL;
    }
    Held held = {.ours = lock, .lock = args[1], .type = self->type, .depth = 1};
    return wait_in(queue, &held, args[2]);
}

static PyObject *wait_with(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    PLACE(self);
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "wait_with(lock, depth, timeout) takes 3 arguments");
        return NULL;
    }
    int depth;
    if (parse_int(args[1], &depth) != 0) return NULL;
    Held held = {.other = args[0], .depth = depth > 0 ? (uint32_t)depth : 0};
    return wait_in(place, &held, args[2]);
}

static PyMethodDef methods[] = {
    {"wait_with", (PyCFunction)(void (*)(void))wait_with, METH_FASTCALL,
     "wait_with(lock, depth, timeout): Condition.wait for any lock, held `depth` times."},
    {"notify", notify, METH_O, "Notify up to n; returns how many were."},
    {"waiters", waiters, METH_NOARGS, "How many wait and have not been notified."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc, "The wait queue of a Condition."},
    {Py_tp_init, cond_init},
    {Py_tp_methods, methods},
    {0, NULL},
};
PyType_Spec cond_spec = {"altsem._core.Cond", sizeof(Primitive), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
