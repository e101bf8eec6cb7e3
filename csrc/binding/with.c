/* with.c - what `with lock:` finds in the class, on CPython 3.10 to 3.13.
 *
 * There it asks the class for __enter__ and __exit__ and has both bound to the lock before it calls
 * anything.  A method in C becomes a new object by that, which is allocated, shown to the collector
 * and freed: twice, and that costs as much as all the rest.  The descriptors here do the same with
 * objects that they keep when they are let go (bound.c), so nothing is allocated.
 *
 * 3.14 calls methods of C without binding them, so there the ordinary ones are better; and the list
 * of the kept ones relies on the GIL.  For both, with_method() makes an ordinary one.
 *
 * To everything else the two types stand for the built-in ones whose place they take: attributes,
 * repr(), comparison, pickling and the errors for wrong arguments are theirs.
 */
#include "binding/bound.h" /* Python.h must come first */

#include <structmember.h>

#if defined(Py_GIL_DISABLED) || defined(Py_TRACE_REFS)

int with_types(State *state, PyObject *module) {
    (void)state, (void)module;
    return 0;
}

PyObject *with_method(State *state, PyTypeObject *class, PyMethodDef *method,
                      bound_function *call) {
    (void)state, (void)call;
    return PyDescr_NewMethod(class, method);
}

#else

typedef PyObject *fast_function(PyObject *, PyObject *const *, Py_ssize_t);

static PyObject *with_get(PyObject *op, PyObject *lock, PyObject *class) {
    WithMethod *self = (WithMethod *)op;
    (void)class;
    if (!lock) return Py_NewRef(op);
    if (Py_TYPE(lock) != self->class && !PyObject_TypeCheck(lock, self->class))
        return PyObject_CallMethod(self->builtin, "__get__", "O", lock); /* says what is wrong */
    Bound *bound = self->kept;
    if (bound) {
        self->kept = bound->next;
        self->count--;
    } else if (!(bound = bound_new(self->bound_type, self->bound_call))) {
        return NULL;
    }
    Py_INCREF(lock);
    Py_INCREF(op);
    bound->lock = lock;
    bound->from = op;
    return (PyObject *)bound;
}

/* lock.__enter__() without `with`: called unbound, as the interpreter calls built-in methods. */
static PyObject *with_vectorcall(PyObject *op, PyObject *const *args, size_t nargs,
                                 PyObject *names) {
    WithMethod *self = (WithMethod *)op;
    Py_ssize_t n = (Py_ssize_t)(nargs & ~ARGUMENTS_OFFSET);
    if (n > 0 && !names && PyObject_TypeCheck(args[0], self->class)) {
        if (n == 1 && self->method->ml_flags == METH_NOARGS)
            return self->method->ml_meth(args[0], NULL);
        if (self->method->ml_flags == METH_FASTCALL)
            return ((fast_function *)(void (*)(void))self->method->ml_meth)(args[0], args + 1,
                                                                            n - 1);
    }
    return call_as_tuple(self->builtin, args, nargs, names);
}

static PyObject *with_call(PyObject *op, PyObject *args, PyObject *kwargs) {
    return PyObject_Call(((WithMethod *)op)->builtin, args, kwargs);
}

static PyObject *with_getattr(PyObject *op, PyObject *name) {
    return PyObject_GetAttr(((WithMethod *)op)->builtin, name);
}

static PyObject *with_repr(PyObject *op) { return PyObject_Repr(((WithMethod *)op)->builtin); }

static int with_traverse(PyObject *op, visitproc visit, void *arg) {
    WithMethod *self = (WithMethod *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->class);
    Py_VISIT(self->bound_type);
    Py_VISIT(self->builtin);
    return 0;
}

static void with_dealloc(PyObject *op) {
    WithMethod *self = (WithMethod *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    for (Bound *bound; (bound = self->kept);) {
        self->kept = bound->next;
        Py_DECREF(bound);
    }
    Py_XDECREF(self->class);
    Py_XDECREF(self->bound_type);
    Py_XDECREF(self->builtin);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyMemberDef with_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(WithMethod, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot with_slots[] = {
    {Py_tp_members, with_members}, {Py_tp_descr_get, with_get},
    {Py_tp_call, with_call},       {Py_tp_getattro, with_getattr},
    {Py_tp_repr, with_repr},       {Py_tp_traverse, with_traverse},
    {Py_tp_dealloc, with_dealloc}, {0, NULL},
};
static PyType_Spec with_spec = {"altsem._core._WithMethod", sizeof(WithMethod), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                                    Py_TPFLAGS_DISALLOW_INSTANTIATION | HAVE_VECTORCALL |
                                    Py_TPFLAGS_METHOD_DESCRIPTOR,
                                with_slots};

int with_types(State *state, PyObject *module) {
    if (running_version() < 0x030a || running_version() > 0x030d) return 0;
    state->bound = (PyTypeObject *)PyType_FromModuleAndSpec(module, &bound_spec, NULL);
    state->with_method = (PyTypeObject *)PyType_FromModuleAndSpec(module, &with_spec, NULL);
    return state->bound && state->with_method ? 0 : -1;
}

PyObject *with_method(State *state, PyTypeObject *class, PyMethodDef *method,
                      bound_function *call) {
    PyObject *builtin = PyDescr_NewMethod(class, method);
    if (!builtin || !state->with_method) return builtin;
    WithMethod *self = PyObject_GC_New(WithMethod, state->with_method);
    if (!self) {
        Py_DECREF(builtin);
        return NULL;
    }
    Py_INCREF(class);
    Py_INCREF(state->bound);
    self->class = class;
    self->bound_type = state->bound;
    self->builtin = builtin;
    self->call = with_vectorcall;
    self->method = method;
    self->bound_call = call;
    self->kept = NULL;
    self->count = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

#endif
