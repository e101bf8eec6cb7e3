/* cond.c - Cond: the waiting room of a Condition, which brings the lock (synchronize.py). */
#include "binding/semlock.h"

#include <errno.h>
#include <time.h>

static int cond_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Cond", names)) return -1;
    return primitive_make((Primitive *)self, ALTSEM_COND, 0, 0, "Condition");
}

static PyObject *enter(PyObject *self, PyObject *unused) {
    (void)unused;
    READY(self);
    uint32_t ticket;
    int error = altsem_cond_enter(SLOT_OF(self), &ticket);
    if (error != 0) return raise_os(error, "too many wait for one Condition (2**20-1 already do)");
    return PyLong_FromUnsignedLong(ticket);
}

static int parse_ticket(PyObject *object, uint32_t *ticket) {
    unsigned long number = PyLong_AsUnsignedLong(object);
    if (number == (unsigned long)-1 && PyErr_Occurred()) return -1;
    *ticket = (uint32_t)number;
    return 0;
}

static PyObject *sleep_in(PyObject *op, PyObject *const *args, Py_ssize_t nargs) {
    PLACE(op);
    uint32_t ticket;
    double seconds;
    int result;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "sleep(ticket, timeout) takes 2 arguments");
        return NULL;
    }
    int limited = parse_timeout(args[1], &seconds);
    if (limited < 0 || parse_ticket(args[0], &ticket) != 0) return NULL;
    int64_t deadline = limited ? altsem_deadline_in(seconds) : ALTSEM_FOREVER;
    SLEEP(result, altsem_cond_sleep(place.segment, place.slot, ticket, deadline));
    if (result == 0) Py_RETURN_TRUE;
    if (result == -ETIMEDOUT) Py_RETURN_FALSE;
    return result == -EINTR ? NULL : raise_sleep(result);
}

static PyObject *leave(PyObject *self, PyObject *object) {
    READY(self);
    uint32_t ticket;
    if (parse_ticket(object, &ticket) != 0) return NULL;
    return PyBool_FromLong(altsem_cond_leave(SLOT_OF(self), ticket));
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

/* --- the whole of Condition.wait, for a lock of ours ------------------------------------------- */

/* Takes the lock, a millisecond at a time where the means to sleep are denied: wait() has to come
 * back with the lock, also to say just that. */
static int take_somehow(Place lock) {
    static const struct timespec moment = {0, 1000000};
    int result = altsem_lock_wait(lock.segment, lock.slot, ALTSEM_FOREVER);
    if (result == 0 || result == -EINTR) return result;
    return altsem_lock_try(lock.slot) == 0 ? 0 : (nanosleep(&moment, NULL), -EINTR);
}

/* 0, or -1 with an exception: then the lock is not held, as natively. */
static int take_back(Place lock, uint32_t depth) {
    int result;
    SLEEP(result, take_somehow(lock));
    if (result != 0) return -1;
    if (altsem_slot_type(lock.slot) == ALTSEM_RLOCK) altsem_rlock_restore(lock.slot, depth);
    return 0;
}

/* With the lock held again: whether a notification came, given how the sleep ended. */
static int settle(Place room, uint32_t ticket, int slept) {
    if (slept == 0) return 1;
    int notified = altsem_cond_leave(room.slot, ticket);
    /* Interrupted, and will not act on it: let another. */
    if (notified && slept == -EINTR) altsem_cond_notify(room.segment, room.slot, 1);
    return notified;
}

static PyObject *wait_in(Place room, Place lock, PyObject *timeout) {
    uint32_t ticket, depth = 1;
    double seconds;
    int limited = parse_timeout(timeout, &seconds), error, slept;
    if (limited < 0) return NULL;
    if ((error = altsem_cond_enter(room.slot, &ticket)) != 0)
        return raise_os(error, "too many wait for one Condition (2**20-1 already do)");
    int64_t deadline = limited ? altsem_deadline_in(seconds) : ALTSEM_FOREVER;
    if (altsem_slot_type(lock.slot) == ALTSEM_RLOCK)
        altsem_rlock_release_all(lock.segment, lock.slot, &depth);
    else altsem_lock_release(lock.segment, lock.slot);
    SLEEP(slept, altsem_cond_sleep(room.segment, room.slot, ticket, deadline));
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    if (slept == -EINTR) PyErr_Fetch(&type, &value, &trace);
    if (take_back(lock, depth) != 0) {
        Py_XDECREF(type), Py_XDECREF(value), Py_XDECREF(trace);
        return NULL;
    }
    int notified = settle(room, ticket, slept);
    if (slept == -EINTR) {
        PyErr_Restore(type, value, trace);
        return NULL;
    }
    if (slept != 0 && slept != -ETIMEDOUT) return raise_sleep(slept);
    return PyBool_FromLong(notified);
}

PyObject *module_cond_wait(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    State *state = PyModule_GetState(module);
    if (nargs != 3 || !PyObject_TypeCheck(args[0], state->cond) ||
        !(PyObject_TypeCheck(args[1], state->lock) || PyObject_TypeCheck(args[1], state->rlock))) {
        PyErr_SetString(PyExc_TypeError,
                        "cond_wait(room, lock, timeout) takes a Cond and a Lock or "
                        "RLock of altsem");
        return NULL;
    }
    Place room = place_of(args[0]), lock = room.slot ? place_of(args[1]) : room;
    if (!lock.slot) return NULL;
    if (!altsem_lock_is_mine(lock.slot)) {
        PyErr_SetString(PyExc_AssertionError, "must acquire() condition before using wait()");
        return NULL;
    }
    return wait_in(room, lock, args[2]);
}

static PyMethodDef methods[] = {
    {"enter", enter, METH_NOARGS, "Lock held: take a place; returns a ticket."},
    {"sleep", (PyCFunction)(void (*)(void))sleep_in, METH_FASTCALL,
     "sleep(ticket, timeout): lock not held: wait to be notified, at most `timeout` seconds."},
    {"leave", leave, METH_O,
     "Lock held: give the place up; returns whether a notification had come after all."},
    {"notify", notify, METH_O, "Lock held: notify up to n; returns how many were."},
    {"waiters", waiters, METH_NOARGS, "How many wait and have not been notified."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc, "The waiting room of a Condition."},
    {Py_tp_init, cond_init},
    {Py_tp_methods, methods},
    {0, NULL},
};
PyType_Spec cond_spec = {"altsem._core.Cond", sizeof(Primitive), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
