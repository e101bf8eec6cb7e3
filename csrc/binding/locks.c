/* locks.c - Lock, RLock, Semaphore, BoundedSemaphore: SemLocks with constructors for people. */
#include "binding/semlock.h"

#include <errno.h>
#include <string.h>

static int init(PyObject *self, int type, int kind, int value, int maxvalue, const char *what) {
    if (primitive_make((Primitive *)self, type, value, maxvalue, what) != 0) return -1;
    semlock_remember((SemLock *)self, kind, maxvalue, value == 0);
    return 0;
}

/* (*, ctx=None, robust=None); ctx is accepted so that the classes can stand in for
 * multiprocessing.synchronize's.  One that is made again stays as robust as it was.  MAKE_ROBUST, 0, or
 * -1: exception set. */
static int whether_robust(PyObject *self, PyObject *args, PyObject *kwargs, const char *format) {
    static char *names[] = {"ctx", "robust", NULL};
    PyObject *ctx, *robust = Py_None;
    if ((kwargs || PyTuple_Size(args) != 0) &&
        !PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &ctx, &robust))
        return -1;
    int was = SLOT_OF(self) ? 0 : robust_slot(self) ? 1 : -1;
    int wanted = robust != Py_None ? PyObject_IsTrue(robust) : was >= 0 ? was : robust_by_default();
    if (wanted >= 0 && was >= 0 && wanted != was) {
        PyErr_SetString(PyExc_ValueError, "a lock that exists stays as robust as it was made");
        return -1;
    }
    return wanted > 0 ? MAKE_ROBUST : wanted;
}

static int lock_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    int robust = whether_robust(self, args, kwargs, "|$OO:Lock");
    if (robust < 0) return -1;
    return init(self, ALTSEM_LOCK | robust, SEMAPHORE, 1, 1, "Lock");
}

static int rlock_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    int robust = whether_robust(self, args, kwargs, "|$OO:RLock");
    if (robust < 0) return -1;
    return init(self, ALTSEM_RLOCK | robust, RECURSIVE_MUTEX, 1, 1, "RLock");
}

/* (value=1, *, ctx=None, robust=None), of which the last is there to be refused. */
static int value_and_ctx(PyObject *args, PyObject *kwargs, const char *format, const char *what,
                         int *value) {
    static char *names[] = {"value", "ctx", "robust", NULL};
    PyObject *object = NULL, *ctx, *robust = NULL;
    *value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &object, &ctx, &robust))
        return -1;
    int wanted = robust ? PyObject_IsTrue(robust) : 0;
    if (wanted > 0) refuse_robust(what);
    if (wanted != 0) return -1;
    if (!object) return 0;
    int overflow;
    long number = PyLong_AsLongAndOverflow(object, &overflow);
    if (number == -1 && !overflow && PyErr_Occurred()) return -1;
    if (overflow > 0 || number > ALTSEM_VALUE_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s value %R is above the maximum, %d", what, object,
                     ALTSEM_VALUE_MAX);
        return -1;
    }
    if (overflow < 0 || number < 0) {
        raise_os(-EINVAL, "%s value %R is below 0", what, object);
        return -1;
    }
    *value = (int)number;
    return 0;
}

static int semaphore_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    int value;
    if (value_and_ctx(args, kwargs, "|O$OO:Semaphore", "Semaphore", &value) != 0) return -1;
    return init(self, ALTSEM_SEM, SEMAPHORE, value, ALTSEM_VALUE_MAX, "Semaphore");
}

static int bounded_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    int value;
    if (value_and_ctx(args, kwargs, "|O$OO:BoundedSemaphore", "BoundedSemaphore", &value) != 0)
        return -1;
    return init(self, semlock_type_for(SEMAPHORE, value, value), SEMAPHORE, value, value,
                "BoundedSemaphore");
}

static PyObject *is_locked(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    return PyBool_FromLong(semlock_value((SemLock *)op) == 0);
}

#define LOCKED                                                                                     \
    {"locked", is_locked, METH_NOARGS,                                                             \
     "locked($self, /)\n--\n\nWhether acquire() would have to wait."}
#define GET_VALUE                                                                                  \
    {"get_value", semlock_get_value, METH_NOARGS, "get_value($self, /)\n--\n\nThe value now."}

static PyMethodDef lock_methods[] = {LOCKED, {NULL, NULL, 0, NULL}};
static PyMethodDef value_methods[] = {LOCKED, GET_VALUE, {NULL, NULL, 0, NULL}};
static PyObject *get_self(PyObject *op, void *unused) {
    (void)unused;
    Py_INCREF(op);
    return op;
}
static PyGetSetDef self_getset[] = {
    {"_semlock", get_self, NULL, "The object by the contract of SemLock: itself.", NULL},
    {"waiters", primitive_waiters, NULL, "How many wait for it; the killed stay counted.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define CLASS(lower, Name, methods, text)                                                          \
    static PyType_Slot lower##_slots[] = {                                                         \
        {Py_tp_doc, text},        {Py_tp_new, primitive_new},  {Py_tp_init, lower##_init},         \
        {Py_tp_methods, methods}, {Py_tp_getset, self_getset}, {0, NULL},                          \
    };                                                                                             \
    PyType_Spec lower##_spec = {"altsem._core." #Name, sizeof(SemLock), 0,                         \
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, lower##_slots};

CLASS(lock, Lock, lock_methods,
      "Lock(*, ctx=None, robust=None)\n--\n\nA non-recursive lock of processes.")
CLASS(rlock, RLock, lock_methods,
      "RLock(*, ctx=None, robust=None)\n--\n\nA lock of processes that its owner may take again.")
CLASS(semaphore, Semaphore, value_methods,
      "Semaphore(value=1, *, ctx=None, robust=None)\n--\n\nA semaphore of processes, 0 <= value <= "
      "2**31-1.")
CLASS(bounded, BoundedSemaphore, value_methods,
      "BoundedSemaphore(value=1, *, ctx=None, robust=None)\n--\n\nA semaphore that never rises "
      "above its first "
      "value.")

typedef struct {
    PyMethodDef *methods;
    bound_function *enter, *exit;
} Hot;
#define HOT(suffix)                                                                                \
    static PyMethodDef hot_##suffix[] = {HOT_METHODS(suffix), {NULL, NULL, 0, NULL}};              \
    static const Hot suffix = {hot_##suffix, hot_bound_enter_##suffix, hot_bound_exit_##suffix};
HOT(any)
HOT(lock)
HOT(rlock)
HOT(sem)

/* The interpreter calls a C method directly only on an object of exactly the type that the method
 * was defined for; on an object of a subclass it takes a detour that costs more than the lock.  Our
 * classes are subclasses, made in Python: this gives such a class the hot methods as its own. */
PyObject *module_own_methods(PyObject *module, PyObject *object) {
    State *state = PyModule_GetState(module);
    if (!PyType_Check(object) || !PyType_IsSubtype((PyTypeObject *)object, state->semlock)) {
        PyErr_SetString(PyExc_TypeError, "own_methods(class) takes a subclass of SemLock");
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)object;
    const Hot *hot = PyType_IsSubtype(type, state->lock)        ? &lock
                     : PyType_IsSubtype(type, state->rlock)     ? &rlock
                     : PyType_IsSubtype(type, state->semaphore) ? &sem
                                                                : &any;
    for (PyMethodDef *method = hot->methods; method->ml_name; method++) {
        bound_function *call = strcmp(method->ml_name, "__enter__") == 0  ? hot->enter
                               : strcmp(method->ml_name, "__exit__") == 0 ? hot->exit
                                                                          : NULL;
        PyObject *own =
            call ? with_method(state, type, method, call) : PyDescr_NewMethod(type, method);
        int error = own ? PyObject_SetAttrString(object, method->ml_name, own) : -1;
        Py_XDECREF(own);
        if (error != 0) return NULL;
    }
    Py_INCREF(object);
    return object;
}
