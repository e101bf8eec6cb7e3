/* primitive.c - what all primitives share: a slot and its segment. */
#include "binding/binding.h" /* Python.h must come first */

/* A lost one that is made again may become a robust lock: what it said of its loss is left then, for
 * another thread may be reading it. */
void primitive_set(Primitive *self, altsem_segment *segment, altsem_slot *slot) {
    altsem_slot **where = altsem_lock_is_robust(slot) ? &self->robust : &self->slot;
#ifdef Py_GIL_DISABLED
    if (where == &self->slot) {
        __atomic_store_n(&self->segment, segment, __ATOMIC_RELAXED);
        __atomic_store_n(where, slot, __ATOMIC_RELEASE);
    } else {
        __atomic_store_n(where, slot, __ATOMIC_RELAXED);
        __atomic_store_n(&self->segment, segment, __ATOMIC_RELEASE);
    }
#else
    self->segment = segment;
    *where = slot;
#endif
}

int primitive_make(Primitive *self, int type, int64_t value, int64_t maxvalue, const char *what) {
    altsem_segment *segment;
    altsem_slot *slot;
    int error = altsem_slot_new(type & ~MAKE_ROBUST, value, maxvalue, &segment, &slot);
    if (error != 0) {
        raise_create(error, what);
        return -1;
    }
    if (type & MAKE_ROBUST) altsem_lock_make_robust(slot);
    /* __init__ called again: the old slot is not given back, for another thread may sleep in it. */
    primitive_set(self, segment, slot);
    return 0;
}

#ifdef Py_GIL_DISABLED
/* The two words may be of two calls of __init__: only a slot that lies in the segment is of it.  The
 * segment is alive, for what an object has ever been stays alive. */
Place place_of(PyObject *self) {
    Place place;
    do {
        place.slot = __atomic_load_n(&((Primitive *)self)->slot, __ATOMIC_ACQUIRE);
        place.segment = __atomic_load_n(&((Primitive *)self)->segment, __ATOMIC_RELAXED);
    } while (place.slot && !altsem_slot_is_in(place.segment, place.slot));
    return place.slot ? place : place_without_slot(self);
}
#endif

int primitive_is(PyObject *object, PyTypeObject *type, const char *what) {
    if (PyObject_TypeCheck(object, type)) return 1;
    PyErr_Format(PyExc_TypeError, "not a %s of altsem", what);
    return 0;
}

Place primitive_in(PyObject *object, PyTypeObject *type, const char *what) {
    return primitive_is(object, type, what) ? place_of(object) : (Place){NULL, NULL};
}

void primitive_drop(Primitive *self) {
    altsem_slot *slot = any_slot((PyObject *)self);
    altsem_segment *segment = self->segment;
    if (!self->slot && slot) self->robust = NULL;
    self->slot = NULL;
    self->segment = NULL;
    if (slot) altsem_slot_free(segment, slot);
}

void primitive_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    primitive_drop((Primitive *)self);
    Py_CLEAR(((Primitive *)self)->lost);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

PyObject *primitive_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs; /* for __init__, which a subclass may call with others */
    return PyType_GenericAlloc(type, 0);
}

static PyType_Slot primitive_slots[] = {
    {Py_tp_doc, "A synchronisation primitive: a slot of a shared segment."},
    {Py_tp_new, primitive_new},
    {Py_tp_dealloc, primitive_dealloc},
    {0, NULL},
};
PyType_Spec primitive_spec = {"altsem._core.Primitive", sizeof(Primitive), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, primitive_slots};
