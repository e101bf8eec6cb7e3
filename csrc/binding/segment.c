/* segment.c - segments as Python objects, and how primitives travel in them.
 *
 * A primitive travels as (identity of its segment, offset).  The segment itself travels as a
 * descriptor, by the ways of multiprocessing; synchronize/travel.py sees to that.
 */
#include "binding/semlock.h"

#include <errno.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static PyObject *segment_wrap(State *state, altsem_segment *segment) {
    PyObject *self = PyType_GenericAlloc(state->segment, 0);
    if (!self) altsem_segment_decref(segment);
    else ((Segment *)self)->segment = segment;
    return self;
}

static void segment_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (((Segment *)self)->segment) altsem_segment_decref(((Segment *)self)->segment);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *segment_id(PyObject *self, void *unused) {
    (void)unused;
    const unsigned char *id = altsem_segment_id(((Segment *)self)->segment);
    return PyBytes_FromStringAndSize((const char *)id, ALTSEM_ID_BYTES);
}

static PyObject *segment_size(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(altsem_segment_size(((Segment *)self)->segment));
}

static PyObject *segment_fileno(PyObject *self, PyObject *unused) {
    (void)unused;
    int fd = altsem_segment_fd(((Segment *)self)->segment);
    if (fd < 0)
        return raise_os(fd,
                        "the descriptor of a shared segment was closed or reused by other code: "
                        "the primitives in it can no longer be sent to another process");
    return PyLong_FromLong(fd);
}

static PyGetSetDef segment_getset[] = {
    {"id", segment_id, NULL, "The identity of the segment: 16 random bytes.", NULL},
    {"size", segment_size, NULL, "Bytes.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef segment_methods[] = {
    {"fileno", segment_fileno, METH_NOARGS,
     "The descriptor of the segment, still owned by it.  Raises OSError if other code closed it."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot segment_slots[] = {
    {Py_tp_doc, "A reference to a shared segment mapped in this process."},
    {Py_tp_dealloc, segment_dealloc},
    {Py_tp_getset, segment_getset},
    {Py_tp_methods, segment_methods},
    {0, NULL},
};
PyType_Spec segment_spec = {"altsem._core.Segment", sizeof(Segment), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, segment_slots};

/* --- travelling ------------------------------------------------------------------------------- */

PyObject *module_export(PyObject *module, PyObject *object) {
    State *state = PyModule_GetState(module);
    if (!primitive_is(object, state->primitive, "primitive")) return NULL;
    PLACE(object);
    altsem_segment_incref(place.segment);
    PyObject *segment = segment_wrap(state, place.segment);
    if (!segment) return NULL;
    uint64_t offset = altsem_slot_export(place.segment, place.slot);
    return Py_BuildValue("NK", segment, (unsigned long long)offset);
}

static const unsigned char *id_of(PyObject *id) {
    char *bytes;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(id, &bytes, &length) != 0) return NULL;
    if (length != ALTSEM_ID_BYTES) {
        PyErr_Format(PyExc_ValueError, "the identity of a segment has %d bytes, not %zd",
                     ALTSEM_ID_BYTES, length);
        return NULL;
    }
    return (const unsigned char *)bytes;
}

PyObject *module_lookup(PyObject *module, PyObject *object) {
    const unsigned char *id = id_of(object);
    if (!id) return NULL;
    altsem_segment *segment = altsem_segment_lookup(id);
    if (!segment) Py_RETURN_NONE;
    return segment_wrap(PyModule_GetState(module), segment);
}

PyObject *module_attach(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    int fd, took;
    altsem_segment *segment;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "attach(fd, id) takes 2 arguments");
        return NULL;
    }
    const unsigned char *id = id_of(args[1]);
    if (!id || parse_int(args[0], &fd) != 0) return NULL;
    int error = altsem_segment_attach(fd, id, &segment, &took);
    if (error != 0) return raise_attach(error);
    PyObject *wrapped = segment_wrap(PyModule_GetState(module), segment);
    return wrapped ? Py_BuildValue("NO", wrapped, took ? Py_True : Py_False) : NULL;
}

/* The slot types that a class may stand for, as a bit set; 0: it cannot be adopted. */
static unsigned types_of(State *state, PyTypeObject *type) {
    if (PyType_IsSubtype(type, state->lock)) return 1u << ALTSEM_LOCK;
    if (PyType_IsSubtype(type, state->rlock)) return 1u << ALTSEM_RLOCK;
    if (PyType_IsSubtype(type, state->bounded)) return 1u << ALTSEM_SEM | 1u << ALTSEM_LOCK;
    if (PyType_IsSubtype(type, state->semaphore)) return 1u << ALTSEM_SEM;
    if (PyType_IsSubtype(type, state->semlock))
        return 1u << ALTSEM_SEM | 1u << ALTSEM_LOCK | 1u << ALTSEM_RLOCK;
    if (PyType_IsSubtype(type, state->event)) return 1u << ALTSEM_EVENT;
    if (PyType_IsSubtype(type, state->cond)) return 1u << ALTSEM_COND;
    if (PyType_IsSubtype(type, state->barrier)) return 1u << ALTSEM_BARRIER;
    return 0;
}

PyObject *module_adopt(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    State *state = PyModule_GetState(module);
    unsigned types = 0;
    if (nargs == 3 && PyType_Check(args[0])) types = types_of(state, (PyTypeObject *)args[0]);
    if (!types || !PyObject_TypeCheck(args[1], state->segment)) {
        PyErr_SetString(PyExc_TypeError, "adopt(class, segment, offset) takes a primitive class of "
                                         "altsem, a Segment and an int");
        return NULL;
    }
    altsem_segment *segment = ((Segment *)args[1])->segment;
    unsigned long long offset = PyLong_AsUnsignedLongLong(args[2]);
    if (offset == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    altsem_slot *slot;
    int error = altsem_slot_at(segment, offset, 0, &slot);
    if (error == 0 && !(types >> altsem_slot_type(slot) & 1)) {
        altsem_slot_free(segment, slot);
        error = -EINVAL;
    }
    if (error != 0)
        return raise_os(error, "no such primitive at offset %llu of a shared segment of %zu bytes",
                        offset, altsem_segment_size(segment));
    PyObject *self = PyType_GenericAlloc((PyTypeObject *)args[0], 0);
    if (!self) {
        altsem_slot_free(segment, slot);
        return NULL;
    }
    primitive_set((Primitive *)self, segment, slot);
    if (PyObject_TypeCheck(self, state->semlock)) semlock_adopted(self);
    return self;
}

/* --- what arrived, but not its memory ----------------------------------------------------------- */

/* Pools and queues take an exception while they unpickle for the end of the world.  So whatever
 * cannot be had becomes an object all the same, of the right class, without a slot: that is checked
 * by each operation anyway (READY). */
PyObject *module_lose(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    State *state = PyModule_GetState(module);
    int number;
    if (nargs != 4 || !PyType_Check(args[0]) || !types_of(state, (PyTypeObject *)args[0]) ||
        !PyUnicode_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "lose(class, errno, sentence, sent) takes a primitive "
                                         "class of altsem, an int, a str and any object");
        return NULL;
    }
    if (parse_int(args[1], &number) != 0) return NULL;
    PyObject *lost = Py_BuildValue("iOO", number, args[2], args[3]);
    PyObject *self = lost ? PyType_GenericAlloc((PyTypeObject *)args[0], 0) : NULL;
    if (self) ((Primitive *)self)->lost = lost;
    else Py_XDECREF(lost);
    return self;
}

PyObject *module_lost(PyObject *module, PyObject *object) {
    State *state = PyModule_GetState(module);
    if (!primitive_is(object, state->primitive, "primitive")) return NULL;
    Primitive *self = (Primitive *)object;
    if (self->segment || !self->lost) Py_RETURN_NONE; /* __init__ called again makes it whole */
    PyObject *sent = PyTuple_GetItem(self->lost, 2);
    return sent ? Py_NewRef(sent) : NULL;
}

PyObject *module_dumpable(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
#ifdef __linux__
    return PyBool_FromLong(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
#else
    Py_RETURN_TRUE;
#endif
}
