/* semlock.c - SemLock, by the contract of _multiprocessing.SemLock: making it and looking at it.
 *
 * Two kinds of slots stand behind it.  A lock slot (maxvalue 1, value 0 or 1: every Lock, RLock and
 * BoundedSemaphore(1)) knows its owner; whether it is mine, and how often, follows from the slot
 * alone.  Everything else is a counting slot, and then the contract's `_count` and `_is_mine` are
 * about this object, as they are natively: semlock.h has the count, and who acquired it last.
 */
#include "binding/semlock.h"

#include <errno.h>

/* --- looking at it ----------------------------------------------------------------------------- */

int semlock_value(SemLock *self) {
    return is_counting(self) ? altsem_sem_value(slot_of(self)) : altsem_lock_is_free(slot_of(self));
}

static PyObject *semlock_count(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    SemLock *self = (SemLock *)op;
    int count;
    if (is_counting(self)) count = count_get(self);
    else if (born_taken(self)) /* as natively: one release more than acquisitions, when free */
        count = self->kind == SEMAPHORE && altsem_lock_is_free(slot_of(self)) ? -1 : 0;
    else if (self->type == ALTSEM_RLOCK) count = (int)altsem_rlock_depth(slot_of(self));
    else count = altsem_lock_is_ours(slot_of(self));
    return PyLong_FromLong(count);
}

static PyObject *is_mine(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    return PyBool_FromLong(semlock_is_mine((SemLock *)op));
}

PyObject *semlock_get_value(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    return PyLong_FromLong(semlock_value((SemLock *)op));
}

static PyObject *semlock_is_zero(PyObject *op, PyObject *unused) {
    (void)unused;
    READY(op);
    return PyBool_FromLong(semlock_value((SemLock *)op) == 0);
}

static void set_born_taken(SemLock *self, int taken) {
    atomic_store_explicit(&self->born_taken, taken, memory_order_relaxed);
}

/* Natively sets the count of acquisitions back to 0, for the child of a fork.  There a lock slot has
 * nothing to forget: it is not the child's.  Called without a fork, a lock that this process holds
 * stays taken, and it is forgotten who has taken it. */
static PyObject *semlock_after_fork(PyObject *op, PyObject *unused) {
    (void)unused;
    SemLock *self = (SemLock *)op;
    if (slot_of(self) && !is_counting(self))
        set_born_taken(self, altsem_lock_disown(slot_of(self)));
    count_begin(self);
    Py_RETURN_NONE;
}

/* For a lock that has just been made: natively, a Lock and a BoundedSemaphore(1) are made alike. */
static PyObject *semlock_make_robust(PyObject *op, PyObject *unused) {
    (void)unused;
    PLACE(op);
    if (altsem_lock_make_robust(place.slot) != 0) return refuse_robust("semaphore");
    if (SLOT_OF(op)) {
        ((Primitive *)op)->robust = place.slot;
        ((Primitive *)op)->slot = NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *get_robust(PyObject *op, void *unused) {
    (void)unused;
    return PyBool_FromLong(robust_slot(op) != NULL);
}

static PyObject *get_midway(PyObject *op, void *unused) {
    (void)unused;
    PLACE(op);
    return PyBool_FromLong(altsem_lock_is_midway(place.slot));
}

static int set_midway(PyObject *op, PyObject *value, void *unused) {
    (void)unused;
    Place place = place_of(op);
    int midway = value ? PyObject_IsTrue(value) : 0;
    if (!place.slot || midway < 0) return -1;
    if (!altsem_lock_is_robust(place.slot)) {
        refuse_robust("lock that is not");
        return -1;
    }
    altsem_lock_set_midway(place.slot, midway);
    return 0;
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

/* --- making it --------------------------------------------------------------------------------- */

void semlock_remember(SemLock *self, int kind, int maxvalue, int taken) {
    self->kind = kind;
    self->maxvalue = maxvalue;
    self->type = altsem_slot_type(slot_of(self));
    if (self->type == ALTSEM_SEM && kind == RECURSIVE_MUTEX) self->type = RECURSIVE_SEM;
    set_born_taken(self, taken && !is_counting(self));
    count_begin(self);
}

void semlock_adopted(PyObject *op) {
    SemLock *self = (SemLock *)op;
    int recursive = altsem_slot_type(slot_of(self)) == ALTSEM_RLOCK;
    semlock_remember(self, recursive ? RECURSIVE_MUTEX : SEMAPHORE,
                     altsem_slot_maxvalue(slot_of(self)), 0);
}

int semlock_type_for(int kind, int value, int maxvalue) {
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
    int slot_type = semlock_type_for(kind, value, maxvalue), error;
    if (unlink) {
        /* No name is needed then, but a taken or impossible one is still refused. */
        error = altsem_named_exists(name);
        if (value < 0) error = -EINVAL;
        else if (error == 0) error = -EEXIST;
        else if (error != -EINVAL && error != -ENAMETOOLONG) error = 0;
        if (error != 0) raise_named(error, name);
        else error = primitive_make(&self->base, slot_type, value, maxvalue, "semaphore");
    } else {
        altsem_segment *segment;
        altsem_slot *slot;
        error = altsem_named_create(name, slot_type, value, maxvalue, &segment, &slot);
        if (error != 0) raise_named(error, name);
        else primitive_set(&self->base, segment, slot);
        if (error == 0 && !(self->name = PyUnicode_FromString(name))) error = -1;
    }
    if (error != 0) {
        Py_DECREF(self);
        return NULL;
    }
    semlock_remember(self, kind, maxvalue, value == 0);
    return (PyObject *)self;
}

/* The classes of locks.c have hot methods for one type of slot, and know which they make. */
static int makes_its_own(PyTypeObject *type) {
    for (;; type = PyType_GetSlot(type, Py_tp_base)) {
        void *make = PyType_GetSlot(type, Py_tp_new);
        if (make == (void *)semlock_new || make == (void *)primitive_new)
            return make == (void *)primitive_new;
    }
}

static PyObject *semlock_rebuild(PyObject *type, PyObject *args) {
    PyObject *handle;
    if (makes_its_own((PyTypeObject *)type)) {
        PyErr_SetString(PyExc_TypeError, "_rebuild() makes a SemLock, nothing else");
        return NULL;
    }
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
    primitive_set((Primitive *)self, segment, slot);
    semlock_remember((SemLock *)self, kind, maxvalue, 0);
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

static PyMethodDef semlock_methods[] = {
    HOT_METHODS(any),
    {"_count", semlock_count, METH_NOARGS, "How often this process holds it."},
    {"_is_mine", is_mine, METH_NOARGS, "Whether the calling thread holds it."},
    {"_get_value", semlock_get_value, METH_NOARGS, "The value of the semaphore."},
    {"_is_zero", semlock_is_zero, METH_NOARGS, "Whether the value is zero."},
    {"_make_robust", semlock_make_robust, METH_NOARGS,
     "Of a lock that was made just now: have it survive its owner."},
    {"_after_fork", semlock_after_fork, METH_NOARGS, "Forget what the parent of a fork held."},
    {"_rebuild", semlock_rebuild, METH_VARARGS | METH_CLASS,
     "_rebuild(handle, kind, maxvalue, name): the same semaphore, by its name or handle."},
    {"sem_unlink", semlock_sem_unlink, METH_O | METH_STATIC,
     "sem_unlink(name, /)\n--\n\nRemove a named semaphore.  Raises FileNotFoundError."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef semlock_getset[] = {
    {"handle", get_handle, NULL, "An int that names the semaphore in this process.", NULL},
    {"kind", get_kind, NULL, "0 recursive mutex, 1 semaphore.", NULL},
    {"maxvalue", get_maxvalue, NULL, "The bound of the value.", NULL},
    {"name", get_name, NULL, "Its name, None if it has none.", NULL},
    {"_robust", get_robust, NULL, "Whether it survives its owner.", NULL},
    {"_midway", get_midway, set_midway, "A holder's note that nobody could go on from here.", NULL},
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
