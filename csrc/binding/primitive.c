/* primitive.c - what all primitives share: a slot and its segment. */
#include "binding/binding.h"

int primitive_make(Primitive *self, int type, int64_t value, int64_t maxvalue, const char *what) {
    altsem_segment *segment;
    altsem_slot *slot;
    int error = altsem_slot_new(type, value, maxvalue, &segment, &slot);
    if (error != 0) {
        raise_create(error, what);
        return -1;
    }
    /* __init__ called again: the old slot is not given back, for another thread may sleep in it. */
    self->slot = slot;
    self->segment = segment;
    return 0;
}

void primitive_drop(Primitive *self) {
    altsem_slot *slot = self->slot;
    self->slot = NULL;
    if (slot) altsem_slot_free(self->segment, slot);
}

void primitive_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    primitive_drop((Primitive *)self);
    Py_CLEAR(((Primitive *)self)->lost);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *primitive_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
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
