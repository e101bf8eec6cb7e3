/* owner.c - who holds a primitive, and how many wait for it. */
#include "binding/binding.h"

static uint32_t count_waiters(const altsem_slot *slot) {
    switch (altsem_slot_type(slot)) {
    case ALTSEM_COND:
        return altsem_cond_waiters(slot);
    case ALTSEM_BARRIER:
        return altsem_barrier_waiting(slot);
    default:
        return altsem_waiters(slot);
    }
}

PyObject *primitive_waiters(PyObject *self, void *unused) {
    (void)unused;
    READY(self);
    return PyLong_FromUnsignedLong(count_waiters(((Primitive *)self)->slot));
}

static Primitive *primitive_of(PyObject *module, PyObject *object) {
    State *state = PyModule_GetState(module);
    if (!PyObject_TypeCheck(object, state->primitive))
        PyErr_SetString(PyExc_TypeError, "not a primitive of altsem");
    else if (!((Primitive *)object)->slot) raise_uninitialised(object);
    else return (Primitive *)object;
    return NULL;
}

PyObject *module_waiters(PyObject *module, PyObject *object) {
    Primitive *self = primitive_of(module, object);
    return self ? PyLong_FromUnsignedLong(count_waiters(self->slot)) : NULL;
}

PyObject *module_holder(PyObject *module, PyObject *object) {
    Primitive *self = primitive_of(module, object);
    if (!self) return NULL;
    int type = altsem_slot_type(self->slot);
    if (type != ALTSEM_LOCK && type != ALTSEM_RLOCK) Py_RETURN_NONE;
    /* The two words are not written in one step: look until the thread is the same before and
     * after.  A lock that changes hands that fast has no owner worth naming. */
    uint32_t thread = altsem_lock_owner_tid(self->slot), before;
    uint64_t id;
    int looks = 0;
    do {
        before = thread;
        id = altsem_lock_owner_id(self->slot);
        thread = altsem_lock_owner_tid(self->slot);
    } while (before && (thread != before || id == 0) && ++looks < 1000);
    if (!before || thread != before) Py_RETURN_NONE;
    return Py_BuildValue("IKI", thread, (unsigned long long)id,
                         altsem_segment_namespace(self->segment));
}
