/* event.c - Event: a flag to wait for. */
#include "binding/binding.h"

#include <errno.h>

static int event_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ctx", NULL};
    PyObject *ctx;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:Event", names, &ctx)) return -1;
    return primitive_make((Primitive *)self, ALTSEM_EVENT, 0, 0, "Event");
}

static PyObject *is_set(PyObject *self, PyObject *unused) {
    (void)unused;
    READY(self);
    return PyBool_FromLong(altsem_event_is_set(SLOT_OF(self)));
}

static PyObject *set(PyObject *self, PyObject *unused) {
    (void)unused;
    PLACE(self);
    altsem_event_set(place.segment, place.slot);
    Py_RETURN_NONE;
}

static PyObject *clear(PyObject *self, PyObject *unused) {
    (void)unused;
    PLACE(self);
    altsem_event_clear(place.slot);
    Py_RETURN_NONE;
}

static PyObject *wait_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames) {
    PLACE(op);
    PyObject *timeout = Py_None, *none = NULL;
    double seconds;
    if (parse_two("wait", "timeout", "", args, nargs, kwnames, &timeout, &none) != 0) return NULL;
    if (none) {
        PyErr_SetString(PyExc_TypeError, "wait() takes at most 1 argument");
        return NULL;
    }
    int limited = parse_timeout(timeout, &seconds);
    if (limited < 0) return NULL;
    uint32_t since = altsem_event_now(place.slot);
    int result = altsem_event_wait(place.segment, place.slot, since, ALTSEM_NOW);
    if (result == -ETIMEDOUT) {
        int64_t deadline = limited ? altsem_deadline_in(seconds) : ALTSEM_FOREVER;
        if (deadline != ALTSEM_NOW)
            SLEEP(result, altsem_event_wait(place.segment, place.slot, since, deadline));
    }
    if (result == 0) Py_RETURN_TRUE;
    if (result == -ETIMEDOUT) Py_RETURN_FALSE;
    return result == -EINTR ? NULL : raise_sleep(result);
}

static PyMethodDef methods[] = {
    {"is_set", is_set, METH_NOARGS, "is_set($self, /)\n--\n\nWhether it is set."},
    {"set", set, METH_NOARGS,
     "set($self, /)\n--\n\nSet it and wake all who wait.  Never blocks; safe in a signal handler."},
    {"clear", clear, METH_NOARGS, "clear($self, /)\n--\n\nUnset it."},
    {"wait", (PyCFunction)(void (*)(void))wait_set, METH_FASTCALL | METH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\n"
     "Wait until it is set, or has been set in the meantime, at most `timeout` seconds.\n"
     "Returns False if it was not.  Raises ValueError for a NaN timeout."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef getset[] = {
    {"waiters", primitive_waiters, NULL, "How many wait for it; the killed stay counted.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc, "Event(*, ctx=None)\n--\n\nA flag that processes can wait for."},
    {Py_tp_init, event_init},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {0, NULL},
};
PyType_Spec event_spec = {"altsem._core.Event", sizeof(Primitive), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
