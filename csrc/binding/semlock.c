/* semlock.c - SemLock, by the contract of _multiprocessing.SemLock, and the four classes on it.
 *
 * Two kinds of slots stand behind them.  A lock slot (maxvalue 1, value 0 or 1: every Lock, RLock and
 * BoundedSemaphore(1)) knows its owner; whether it is mine, and how often, follows from the slot
 * alone.  Everything else is a counting slot, and then the contract's `_count` and `_is_mine` are
 * about this object, as they are natively: `count` and `last_tid` below.
 */
#include "binding.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>

enum { RECURSIVE_MUTEX = 0, SEMAPHORE = 1 };

typedef struct {
    Primitive base;
    int kind;
    int maxvalue;
    int type;          /* of the slot */
    int born_taken;    /* a lock slot made with value 0 */
    _Atomic int count; /* counting slots: acquired minus released through this object */
    _Atomic uint32_t last_tid;
    _Atomic uint32_t forks; /* count belongs to the process that had seen so many */
    PyObject *name;
} SemLock;

static altsem_slot *slot_of(const SemLock *self) { return self->base.slot; }

/* --- the bookkeeping of counting slots --------------------------------------------------------- */

static int count_get(SemLock *self) {
    return atomic_load_explicit(&self->count, memory_order_relaxed);
}

static void count_add(SemLock *self, int change) {
#ifdef Py_GIL_DISABLED
    atomic_fetch_add_explicit(&self->count, change, memory_order_relaxed);
#else
    atomic_store_explicit(&self->count, count_get(self) + change, memory_order_relaxed);
#endif
}

static int counting_is_mine(SemLock *self) {
    return count_get(self) > 0 &&
           atomic_load_explicit(&self->last_tid, memory_order_relaxed) == altsem_tid();
}

static int is_mine(SemLock *self) {
    if (self->type == ALTSEM_SEM) return counting_is_mine(self);
    return !self->born_taken && altsem_lock_is_mine(slot_of(self));
}

/* --- acquire and release ----------------------------------------------------------------------- */

static int try_it(SemLock *self) {
    return self->type == ALTSEM_SEM ? altsem_sem_try(slot_of(self))
                                    : altsem_lock_try(slot_of(self));
}

static int wait_for_it(SemLock *self, int64_t deadline) {
    return self->type == ALTSEM_SEM ? altsem_sem_wait(self->base.segment, slot_of(self), deadline)
                                    : altsem_lock_wait(self->base.segment, slot_of(self), deadline);
}

static void taken(SemLock *self) {
    if (self->type != ALTSEM_SEM) return;
    count_add(self, 1);
    atomic_store_explicit(&self->last_tid, altsem_tid(), memory_order_relaxed);
}

/* Already held by this thread: 1 taken once more, 0 not held, -1 exception. */
static int take_again(SemLock *self) {
    if (self->kind != RECURSIVE_MUTEX || !is_mine(self)) return 0;
    if (self->type == ALTSEM_SEM) {
        count_add(self, 1);
        return 1;
    }
    if (altsem_rlock_again(slot_of(self)) == 0) return 1;
    PyErr_SetString(PyExc_OverflowError, "recursive lock acquired too many times");
    return -1;
}

/* What the first try did not get: 1 taken, 0 not, -1 exception. */
static int acquire_slowly(SemLock *self, int64_t deadline) {
    int result;
    if (deadline == ALTSEM_NOW) return 0;
    SLEEP(result, wait_for_it(self, deadline));
    if (result == 0) {
        taken(self);
        return 1;
    }
    if (result == -ETIMEDOUT) return 0;
    if (result != -EINTR) raise_errno(result);
    return -1;
}

static PyObject *semlock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames) {
    READY(op);
    SemLock *self = (SemLock *)op;
    PyObject *block = Py_True, *timeout = Py_None;
    int blocking = 1, limited = 0;
    double seconds;
    if (nargs || kwnames) {
        if (parse_two("acquire", "block", "timeout", args, nargs, kwnames, &block, &timeout) != 0)
            return NULL;
        blocking = PyObject_IsTrue(block);
        if (blocking < 0) return NULL;
    }
    int again = take_again(self); /* natively, before the timeout is looked at */
    if (again) return again > 0 ? PyBool_FromLong(1) : NULL;
    if (timeout != Py_None && (limited = parse_timeout(timeout, &seconds)) < 0) return NULL;
    if (try_it(self) == 0) {
        taken(self);
        Py_RETURN_TRUE;
    }
    if (!blocking) Py_RETURN_FALSE;
    int got = acquire_slowly(self, limited ? altsem_deadline_in(seconds) : ALTSEM_FOREVER);
    return got < 0 ? NULL : PyBool_FromLong(got);
}

static PyObject *semlock_enter(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    SemLock *self = (SemLock *)op;
    int got = take_again(self);
    if (got == 0) {
        if (try_it(self) != 0) {
            got = acquire_slowly(self, ALTSEM_FOREVER);
        } else {
            taken(self);
            got = 1;
        }
    }
    if (got < 0) return NULL;
    Py_RETURN_TRUE;
}

static PyObject *too_many(void) {
    PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
    return NULL;
}

static PyObject *not_mine(void) {
    PyErr_SetString(PyExc_AssertionError, "attempt to release recursive lock not owned by thread");
    return NULL;
}

static PyObject *release_counting(SemLock *self) {
    int recursive = self->kind == RECURSIVE_MUTEX;
    if (recursive && !counting_is_mine(self)) return not_mine();
    if (!recursive || count_get(self) == 1) {
        int64_t bound = recursive ? ALTSEM_VALUE_MAX : self->maxvalue;
        if (altsem_sem_post(self->base.segment, slot_of(self), bound) != 0)
            return recursive ? raise_errno(-EOVERFLOW) : too_many();
    }
    count_add(self, -1);
    Py_RETURN_NONE;
}

static PyObject *semlock_release(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    SemLock *self = (SemLock *)op;
    switch (self->type) {
    case ALTSEM_LOCK:
        if (altsem_lock_release(self->base.segment, slot_of(self)) != 0) return too_many();
        Py_RETURN_NONE;
    case ALTSEM_RLOCK:
        if (altsem_rlock_release(self->base.segment, slot_of(self)) != 0) return not_mine();
        Py_RETURN_NONE;
    default:
        return release_counting(self);
    }
}

static PyObject *semlock_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs) {
    (void)args;
    if (nargs > 3) {
        PyErr_Format(PyExc_TypeError, "__exit__() takes at most 3 arguments (%zd given)", nargs);
        return NULL;
    }
    return semlock_release(op, NULL);
}

/* --- looking at it ----------------------------------------------------------------------------- */

static int value_of(SemLock *self) {
    return self->type == ALTSEM_SEM ? altsem_sem_value(slot_of(self))
                                    : altsem_lock_is_free(slot_of(self));
}

static PyObject *semlock_count(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    SemLock *self = (SemLock *)op;
    int count;
    if (self->type == ALTSEM_SEM) count = altsem_fork_count() == self->forks ? count_get(self) : 0;
    else if (self->born_taken) /* as natively: one release more than acquisitions, when free */
        count = self->kind == SEMAPHORE && altsem_lock_is_free(slot_of(self)) ? -1 : 0;
    else if (self->type == ALTSEM_RLOCK) count = (int)altsem_rlock_depth(slot_of(self));
    else count = altsem_lock_is_ours(slot_of(self));
    return PyLong_FromLong(count);
}

static PyObject *semlock_is_mine(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    return PyBool_FromLong(is_mine((SemLock *)op));
}

static PyObject *semlock_get_value(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    return PyLong_FromLong(value_of((SemLock *)op));
}

static PyObject *semlock_is_zero(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    return PyBool_FromLong(value_of((SemLock *)op) == 0);
}

/* Natively resets the count in the child of a fork.  Lock slots need no reset. */
static PyObject *semlock_after_fork(PyObject *op, PyObject *unused) {
    (void)unused;
    SemLock *self = (SemLock *)op;
    atomic_store_explicit(&self->count, 0, memory_order_relaxed);
    atomic_store_explicit(&self->forks, altsem_fork_count(), memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *get_handle(PyObject *op, void *unused) {
    (void)unused;
    return PyLong_FromVoidPtr(slot_of((SemLock *)op));
}
static PyObject *get_kind(PyObject *op, void *unused) {
    (void)unused;
    return PyLong_FromLong(((SemLock *)op)->kind);
}
static PyObject *get_maxvalue(PyObject *op, void *unused) {
    (void)unused;
    return PyLong_FromLong(((SemLock *)op)->maxvalue);
}
static PyObject *get_name(PyObject *op, void *unused) {
    (void)unused;
    PyObject *name = ((SemLock *)op)->name;
    if (!name) Py_RETURN_NONE;
    Py_INCREF(name);
    return name;
}
static PyObject *get_self(PyObject *op, void *unused) {
    (void)unused;
    Py_INCREF(op);
    return op;
}

/* --- making it --------------------------------------------------------------------------------- */

static void remember(SemLock *self, int kind, int maxvalue, int born_taken) {
    self->kind = kind;
    self->maxvalue = maxvalue;
    self->type = altsem_slot_type(slot_of(self));
    self->born_taken = born_taken && self->type != ALTSEM_SEM;
    atomic_store_explicit(&self->count, 0, memory_order_relaxed);
    atomic_store_explicit(&self->forks, altsem_fork_count(), memory_order_relaxed);
}

void semlock_adopted(PyObject *op) {
    SemLock *self = (SemLock *)op;
    int recursive = altsem_slot_type(slot_of(self)) == ALTSEM_RLOCK;
    remember(self, recursive ? RECURSIVE_MUTEX : SEMAPHORE, altsem_slot_maxvalue(slot_of(self)), 0);
}

static int type_for(int kind, int value, int maxvalue) {
    if (maxvalue != 1 || (value != 0 && value != 1)) return ALTSEM_SEM;
    return kind == RECURSIVE_MUTEX ? ALTSEM_RLOCK : ALTSEM_LOCK;
}

static PyObject *semlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"kind", "value", "maxvalue", "name", "unlink", NULL};
    PyObject *kind_object, *value_object, *maxvalue_object, *name_object, *unlink_object;
    int kind, value, maxvalue;
    const char *name;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO:SemLock", names, &kind_object,
                                     &value_object, &maxvalue_object, &name_object,
                                     &unlink_object) ||
        parse_int(kind_object, &kind) != 0 || parse_int(value_object, &value) != 0 ||
        parse_int(maxvalue_object, &maxvalue) != 0 ||
        !(name = parse_name("SemLock() argument 'name'", name_object)))
        return NULL;
    int unlink = PyObject_IsTrue(unlink_object);
    if (unlink < 0) return NULL;
    if (kind != RECURSIVE_MUTEX && kind != SEMAPHORE) {
        PyErr_SetString(PyExc_ValueError, "unrecognized kind");
        return NULL;
    }
    SemLock *self = (SemLock *)PyType_GenericAlloc(type, 0);
    if (!self) return NULL;
    int slot_type = type_for(kind, value, maxvalue), error;
    if (unlink) {
        /* No name is needed then, but a taken or impossible one is still refused. */
        error = altsem_named_exists(name);
        if (value < 0) error = -EINVAL;
        else if (error == 0) error = -EEXIST;
        else if (error != -EINVAL && error != -ENAMETOOLONG) error = 0;
        if (error != 0) raise_named(error, name);
        else error = primitive_make(&self->base, slot_type, value, maxvalue, "semaphore");
    } else {
        error = altsem_named_create(name, slot_type, value, maxvalue, &self->base.segment,
                                    &self->base.slot);
        if (error != 0) raise_named(error, name);
        else if (!(self->name = PyUnicode_FromString(name))) error = -1;
    }
    if (error != 0) {
        Py_DECREF(self);
        return NULL;
    }
    remember(self, kind, maxvalue, value == 0);
    return (PyObject *)self;
}

static PyObject *semlock_rebuild(PyObject *type, PyObject *args) {
    PyObject *handle;
    int kind, maxvalue, error;
    const char *name;
    altsem_segment *segment;
    altsem_slot *slot;
    if (!PyArg_ParseTuple(args, "Oiiz:_rebuild", &handle, &kind, &maxvalue, &name)) return NULL;
    if (name) {
        if ((error = altsem_named_open(name, 0, &segment, &slot)) != 0)
            return raise_named(error, name);
    } else {
        void *address = PyLong_AsVoidPtr(handle);
        if (!address && PyErr_Occurred()) return NULL;
        if (altsem_slot_find((uintptr_t)address, &segment, &slot) != 0)
            return raise_os(-EINVAL, "handle %R is no semaphore of this process", handle);
    }
    int found = altsem_slot_type(slot);
    int fits =
        found == ALTSEM_SEM || found == (kind == RECURSIVE_MUTEX ? ALTSEM_RLOCK : ALTSEM_LOCK);
    PyObject *self = fits ? PyType_GenericAlloc((PyTypeObject *)type, 0) : NULL;
    if (!self) {
        altsem_slot_free(segment, slot);
        if (!fits) raise_os(-EINVAL, "kind %d is not the kind of this semaphore", kind);
        return NULL;
    }
    ((Primitive *)self)->segment = segment;
    ((Primitive *)self)->slot = slot;
    remember((SemLock *)self, kind, maxvalue, 0);
    if (name && !(((SemLock *)self)->name = PyUnicode_FromString(name))) Py_CLEAR(self);
    return self;
}

static void semlock_dealloc(PyObject *self) {
    Py_CLEAR(((SemLock *)self)->name);
    primitive_dealloc(self);
}

PyObject *module_sem_unlink(PyObject *module, PyObject *object) {
    (void)module;
    const char *name = parse_name("sem_unlink() argument", object);
    if (!name) return NULL;
    int error = altsem_named_unlink(name);
    if (error == -EINVAL) error = -ENOENT; /* as natively: what is no name names no semaphore */
    if (error != 0) return raise_named(error, name);
    Py_RETURN_NONE;
}

static PyObject *semlock_sem_unlink(PyObject *unused, PyObject *name) {
    return module_sem_unlink(unused, name);
}

/* What programs call most comes first; see module_own_methods. */
static PyMethodDef semlock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))semlock_acquire, METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, /, block=True, timeout=None)\n--\n\n"
     "Take it.  Waits at most `timeout` seconds (None: for ever; negative: not at all) if "
     "`block`.\n"
     "Returns whether it was taken.  Raises ValueError for a NaN timeout."},
    {"release", semlock_release, METH_NOARGS,
     "release($self, /)\n--\n\n"
     "Give it back.  Raises ValueError if that is once too often, AssertionError if it is a\n"
     "recursive lock of another thread."},
    {"__enter__", semlock_enter, METH_NOARGS,
     "__enter__($self, /)\n--\n\nacquire(); returns True."},
    {"__exit__", (PyCFunction)(void (*)(void))semlock_exit, METH_FASTCALL,
     "__exit__($self, exc_type=None, exc_value=None, exc_tb=None, /)\n--\n\nrelease()."},
#define HOT_METHODS 4
    {"_count", semlock_count, METH_NOARGS, "How often this process holds it."},
    {"_is_mine", semlock_is_mine, METH_NOARGS, "Whether the calling thread holds it."},
    {"_get_value", semlock_get_value, METH_NOARGS, "The value of the semaphore."},
    {"_is_zero", semlock_is_zero, METH_NOARGS, "Whether the value is zero."},
    {"_after_fork", semlock_after_fork, METH_NOARGS, "Forget what the parent of a fork held."},
    {"_rebuild", semlock_rebuild, METH_VARARGS | METH_CLASS,
     "_rebuild(handle, kind, maxvalue, name): the same semaphore, by its name or handle."},
    {"sem_unlink", semlock_sem_unlink, METH_O | METH_STATIC,
     "sem_unlink(name, /)\n--\n\nRemove a named semaphore.  Raises FileNotFoundError."},
    {NULL, NULL, 0, NULL},
};
/* The interpreter calls a C method directly only on an object of exactly the type that the method
 * was defined for; on an object of a subclass it takes a detour that costs more than the lock.  Our
 * classes are subclasses, made in Python: this gives such a class the hot methods as its own. */
PyObject *module_own_methods(PyObject *module, PyObject *object) {
    State *state = PyModule_GetState(module);
    if (!PyType_Check(object) || !PyType_IsSubtype((PyTypeObject *)object, state->semlock)) {
        PyErr_SetString(PyExc_TypeError, "own_methods(class) takes a subclass of SemLock");
        return NULL;
    }
    for (int i = 0; i < HOT_METHODS; i++) {
        PyObject *method = PyDescr_NewMethod((PyTypeObject *)object, &semlock_methods[i]);
        int error =
            method ? PyObject_SetAttrString(object, semlock_methods[i].ml_name, method) : -1;
        Py_XDECREF(method);
        if (error != 0) return NULL;
    }
    Py_INCREF(object);
    return object;
}

static PyGetSetDef semlock_getset[] = {
    {"handle", get_handle, NULL, "An int that names the semaphore in this process.", NULL},
    {"kind", get_kind, NULL, "0 recursive mutex, 1 semaphore.", NULL},
    {"maxvalue", get_maxvalue, NULL, "The bound of the value.", NULL},
    {"name", get_name, NULL, "Its name, None if it has none.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot semlock_slots[] = {
    {Py_tp_doc,
     "SemLock(kind, value, maxvalue, name, unlink)\n--\n\n"
     "A semaphore by the contract of _multiprocessing.SemLock.  kind: 0 recursive mutex,\n"
     "1 semaphore.  unlink=True makes it nameless.  Raises OSError, among it\n"
     "FileExistsError, and ValueError for an unknown kind."},
    {Py_tp_new, semlock_new},
    {Py_tp_dealloc, semlock_dealloc},
    {Py_tp_methods, semlock_methods},
    {Py_tp_getset, semlock_getset},
    {0, NULL},
};
PyType_Spec semlock_spec = {"altsem._core.SemLock", sizeof(SemLock), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, semlock_slots};

/* --- Lock, RLock, Semaphore, BoundedSemaphore --------------------------------------------------- */

static PyObject *bare_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs; /* for __init__, which a subclass may call with others */
    return PyType_GenericAlloc(type, 0);
}

static int init(PyObject *self, int type, int kind, int value, int maxvalue, const char *what) {
    if (primitive_make((Primitive *)self, type, value, maxvalue, what) != 0) return -1;
    remember((SemLock *)self, kind, maxvalue, value == 0);
    return 0;
}

/* (*, ctx=None): accepted so that the classes can stand in for multiprocessing.synchronize's. */
static int only_ctx(PyObject *args, PyObject *kwargs, const char *format) {
    static char *names[] = {"ctx", NULL};
    PyObject *ctx;
    if (!kwargs && PyTuple_Size(args) == 0) return 0;
    return PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &ctx) ? 0 : -1;
}

static int lock_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    if (only_ctx(args, kwargs, "|$O:Lock") != 0) return -1;
    return init(self, ALTSEM_LOCK, SEMAPHORE, 1, 1, "Lock");
}

static int rlock_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    if (only_ctx(args, kwargs, "|$O:RLock") != 0) return -1;
    return init(self, ALTSEM_RLOCK, RECURSIVE_MUTEX, 1, 1, "RLock");
}

/* (value=1, *, ctx=None) */
static int value_and_ctx(PyObject *args, PyObject *kwargs, const char *format, const char *what,
                         int *value) {
    static char *names[] = {"value", "ctx", NULL};
    PyObject *object = NULL, *ctx;
    *value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &object, &ctx)) return -1;
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
    if (value_and_ctx(args, kwargs, "|O$O:Semaphore", "Semaphore", &value) != 0) return -1;
    return init(self, ALTSEM_SEM, SEMAPHORE, value, ALTSEM_VALUE_MAX, "Semaphore");
}

static int bounded_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    int value;
    if (value_and_ctx(args, kwargs, "|O$O:BoundedSemaphore", "BoundedSemaphore", &value) != 0)
        return -1;
    return init(self, type_for(SEMAPHORE, value, value), SEMAPHORE, value, value,
                "BoundedSemaphore");
}

static PyObject *is_locked(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    return PyBool_FromLong(value_of((SemLock *)op) == 0);
}

#define LOCKED                                                                                     \
    {"locked", is_locked, METH_NOARGS,                                                             \
     "locked($self, /)\n--\n\nWhether acquire() would have to wait."}
#define GET_VALUE                                                                                  \
    {"get_value", semlock_get_value, METH_NOARGS, "get_value($self, /)\n--\n\nThe value now."}

static PyMethodDef lock_methods[] = {LOCKED, {NULL, NULL, 0, NULL}};
static PyMethodDef value_methods[] = {LOCKED, GET_VALUE, {NULL, NULL, 0, NULL}};
static PyGetSetDef self_getset[] = {
    {"_semlock", get_self, NULL, "The object by the contract of SemLock: itself.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define CLASS(lower, Name, methods, text)                                                          \
    static PyType_Slot lower##_slots[] = {                                                         \
        {Py_tp_doc, text},        {Py_tp_new, bare_new},       {Py_tp_init, lower##_init},         \
        {Py_tp_methods, methods}, {Py_tp_getset, self_getset}, {0, NULL},                          \
    };                                                                                             \
    PyType_Spec lower##_spec = {"altsem._core." #Name, sizeof(SemLock), 0,                         \
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, lower##_slots};

CLASS(lock, Lock, lock_methods, "Lock(*, ctx=None)\n--\n\nA non-recursive lock of processes.")
CLASS(rlock, RLock, lock_methods,
      "RLock(*, ctx=None)\n--\n\nA lock of processes that its owner may take again.")
CLASS(semaphore, Semaphore, value_methods,
      "Semaphore(value=1, *, ctx=None)\n--\n\nA semaphore of processes, 0 <= value <= 2**31-1.")
CLASS(bounded, BoundedSemaphore, value_methods,
      "BoundedSemaphore(value=1, *, ctx=None)\n--\n\nA semaphore that never rises above its first "
      "value.")
