/* bound.c - a method bound to a lock, in an object that is used again (with.c says what for).
 *
 * Where it differs from a built-in method is only its memory.  Let go, it gets back its one reference
 * and goes into the list of the descriptor that made it; the collector goes on seeing it, which costs
 * less than to hide and show it each time.
 */
#include "binding/bound.h" /* Python.h must come first */

#include <structmember.h>

/* As many `with` of one class may be nested, or be waited in by threads, before one is allocated. */
#define MOST_KEPT 16

/* For errors, and for calls that need not be fast. */
PyObject *call_as_tuple(PyObject *builtin, PyObject *const *args, size_t nargs, PyObject *names) {
    Py_ssize_t n = (Py_ssize_t)(nargs & ~ARGUMENTS_OFFSET), named = names ? PyTuple_Size(names) : 0;
    PyObject *tuple = PyTuple_New(n), *dict = PyDict_New(), *result = NULL;
    int error = !tuple || !dict;
    for (Py_ssize_t i = 0; !error && i < n; i++)
        error = PyTuple_SetItem(tuple, i, Py_NewRef(args[i]));
    for (Py_ssize_t i = 0; !error && i < named; i++)
        error = PyDict_SetItem(dict, PyTuple_GetItem(names, i), args[n + i]);
    if (!error) result = PyObject_Call(builtin, tuple, dict);
    Py_XDECREF(tuple);
    Py_XDECREF(dict);
    return result;
}

/* The built-in method that it stands for.  One that is kept stands for none, and is known only to
 * who has asked the collector for all objects. */
static PyObject *builtin_of(PyObject *op) {
    Bound *self = (Bound *)op;
    if (self->lock) {
        PyObject *builtin = ((WithMethod *)self->from)->builtin;
        return PyObject_CallMethod(builtin, "__get__", "O", self->lock);
    }
    PyErr_SetString(PyExc_ReferenceError, "a method that is bound to nothing any more");
    return NULL;
}

Bound *bound_new(PyTypeObject *type, bound_function *call) {
    Bound *self = PyObject_GC_New(Bound, type);
    if (!self) return NULL;
    self->call = call;
    self->lock = self->from = NULL;
    PyObject_GC_Track(self);
    return self;
}

static int bound_traverse(PyObject *op, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((Bound *)op)->lock);
    Py_VISIT(((Bound *)op)->from);
    return 0;
}

static void bound_dealloc(PyObject *op) {
    Bound *self = (Bound *)op;
    WithMethod *from = (WithMethod *)self->from;
    PyObject *lock = self->lock;
    self->lock = self->from = NULL;
    if (from && from->count < MOST_KEPT) {
        Py_INCREF(op); /* from 0: it lives on */
        self->next = from->kept;
        from->kept = self;
        from->count++;
    } else {
        PyTypeObject *type = Py_TYPE(op);
        PyObject_GC_UnTrack(op);
        PyObject_GC_Del(op);
        Py_DECREF(type);
    }
    Py_XDECREF(lock); /* anything may happen in these */
    Py_XDECREF(from);
}

static PyObject *bound_call(PyObject *op, PyObject *args, PyObject *kwargs) {
    PyObject *builtin = builtin_of(op);
    PyObject *result = builtin ? PyObject_Call(builtin, args, kwargs) : NULL;
    Py_XDECREF(builtin);
    return result;
}

PyObject *bound_call_builtin(PyObject *op, PyObject *const *args, size_t nargs, PyObject *names) {
    PyObject *builtin = builtin_of(op);
    PyObject *result = builtin ? call_as_tuple(builtin, args, nargs, names) : NULL;
    Py_XDECREF(builtin);
    return result;
}

static PyObject *bound_getattr(PyObject *op, PyObject *name) {
    PyObject *builtin = builtin_of(op), *value = builtin ? PyObject_GetAttr(builtin, name) : NULL;
    Py_XDECREF(builtin);
    return value;
}

static PyObject *bound_repr(PyObject *op) {
    PyObject *builtin = builtin_of(op), *text = builtin ? PyObject_Repr(builtin) : NULL;
    Py_XDECREF(builtin);
    return text;
}

static Py_hash_t bound_hash(PyObject *op) {
    PyObject *builtin = builtin_of(op);
    Py_hash_t hash = builtin ? PyObject_Hash(builtin) : -1;
    Py_XDECREF(builtin);
    return hash;
}

static PyObject *bound_compare(PyObject *op, PyObject *other, int how) {
    PyObject *one = builtin_of(op);
    PyObject *two = Py_TYPE(other) == Py_TYPE(op) ? builtin_of(other) : Py_NewRef(other);
    PyObject *result = one && two ? PyObject_RichCompare(one, two, how) : NULL;
    Py_XDECREF(one);
    Py_XDECREF(two);
    return result;
}

static PyMemberDef bound_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Bound, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot bound_slots[] = {
    {Py_tp_members, bound_members},
    {Py_tp_traverse, bound_traverse},
    {Py_tp_dealloc, bound_dealloc},
    {Py_tp_call, bound_call},
    {Py_tp_getattro, bound_getattr},
    {Py_tp_repr, bound_repr},
    {Py_tp_hash, bound_hash},
    {Py_tp_richcompare, bound_compare},
    {0, NULL},
};
PyType_Spec bound_spec = {"altsem._core._Bound", sizeof(Bound), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                              Py_TPFLAGS_DISALLOW_INSTANTIATION | HAVE_VECTORCALL,
                          bound_slots};
