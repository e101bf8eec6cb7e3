/* barrier.c - Rendezvous: the shared part of a Barrier, which brings the action (synchronize.py). */
#include "binding/binding.h"

#include <errno.h>

static int barrier_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"parties", NULL};
    PyObject *object;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Rendezvous", names, &object)) return -1;
    int overflow;
    long parties = PyLong_AsLongAndOverflow(object, &overflow);
    if (parties == -1 && !overflow && PyErr_Occurred()) return -1;
    if (overflow > 0 || parties > ALTSEM_VALUE_MAX) {
        PyErr_Format(PyExc_OverflowError, "a Barrier of %R parties is above the maximum, %d",
                     object, ALTSEM_VALUE_MAX);
        return -1;
    }
    if (overflow < 0 || parties < 1) {
        PyErr_Format(PyExc_ValueError, "a Barrier needs at least 1 party, not %R", object);
        return -1;
    }
    return primitive_make((Primitive *)self, ALTSEM_BARRIER, 0, parties, "Barrier");
}

/* The last to arrive: runs the action, then releases the others. */
static int run_action(Place place, PyObject *action, uint32_t generation) {
    PyObject *result = PyObject_CallObject(action, NULL);
    if (!result) {
        altsem_barrier_fail(place.segment, place.slot, generation);
        return -EINTR; /* with an exception set */
    }
    Py_DECREF(result);
    return altsem_barrier_trip(place.segment, place.slot, generation);
}

/* As natively, the time begins to run with the first arrival: a newcomer waits without limit until
 * the action of the generation before is over. */
static int meet_others(Place place, PyObject *action, int limited, double seconds,
                       uint32_t *index) {
    int to_act = action != Py_None, result;
    int64_t deadline = ALTSEM_FOREVER;
    uint32_t generation;
    if (to_act && altsem_barrier_acting(place.slot, &generation)) {
        /* In its own action, which would be waited for for ever.  Natively the time of this call
         * would have to be over first, if it has any. */
        altsem_barrier_fail(place.segment, place.slot, generation);
        return -EPIPE;
    }
    for (int again = 0;; again = 1) {
        SLEEP(result, altsem_barrier_arrive(place.segment, place.slot, to_act, ALTSEM_FOREVER,
                                            index, &generation));
        if (result == 1) return to_act ? run_action(place, action, generation) : 0;
        if (result != 0) return result;
        if (limited && !again) deadline = altsem_deadline_in(seconds);
        SLEEP(result, altsem_barrier_wait(place.segment, place.slot, generation, deadline));
        if (result != -EAGAIN) break;
    }
    if (result != 0 && result != -EPIPE && result != -ETIMEDOUT)
        altsem_barrier_withdraw(place.segment, place.slot, generation);
    return result;
}

static PyObject *meet(PyObject *op, PyObject *const *args, Py_ssize_t nargs) {
    PLACE(op);
    uint32_t index;
    double seconds;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "meet(action, timeout) takes 2 arguments");
        return NULL;
    }
    int limited = parse_timeout(args[1], &seconds);
    if (limited < 0) return NULL;
    int result = meet_others(place, args[0], limited, seconds, &index);
    if (result == 0) return PyLong_FromUnsignedLong(index);
    if (result == -EPIPE || result == -ETIMEDOUT) Py_RETURN_NONE;
    if (result == -EAGAIN)
        return raise_os(result, "too many wait in one Barrier (2**23-1 already do)");
    return result == -EINTR ? NULL : raise_sleep(result);
}

static PyObject *abort_it(PyObject *self, PyObject *unused) {
    (void)unused;
    PLACE(self);
    altsem_barrier_abort(place.segment, place.slot);
    Py_RETURN_NONE;
}

static PyObject *reset(PyObject *self, PyObject *unused) {
    (void)unused;
    PLACE(self);
    altsem_barrier_reset(place.segment, place.slot);
    Py_RETURN_NONE;
}

static PyObject *get_parties(PyObject *self, void *unused) {
    (void)unused;
    READY(self);
    return PyLong_FromLong(altsem_slot_maxvalue(SLOT_OF(self)));
}

static PyObject *get_waiting(PyObject *self, void *unused) {
    (void)unused;
    READY(self);
    return PyLong_FromUnsignedLong(altsem_barrier_waiting(SLOT_OF(self)));
}

static PyObject *get_broken(PyObject *self, void *unused) {
    (void)unused;
    READY(self);
    return PyBool_FromLong(altsem_barrier_broken(SLOT_OF(self)));
}

static PyMethodDef methods[] = {
    {"meet", (PyCFunction)(void (*)(void))meet, METH_FASTCALL,
     "meet(action, timeout): wait for all; returns the order of arrival, or None if it is broken.\n"
     "The last to arrive calls `action` (None: nothing) first."},
    {"abort", abort_it, METH_NOARGS, "Break it."},
    {"reset", reset, METH_NOARGS, "Make it whole and empty."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef getset[] = {
    {"parties", get_parties, NULL, "How many must come.", NULL},
    {"n_waiting", get_waiting, NULL, "How many wait for others.", NULL},
    {"broken", get_broken, NULL, "Whether it is broken.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc, "Rendezvous(parties)\n--\n\nThe shared part of a Barrier."},
    {Py_tp_init, barrier_init},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {0, NULL},
};
PyType_Spec barrier_spec = {"altsem._core.Rendezvous", sizeof(Primitive), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
