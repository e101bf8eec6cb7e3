/* owner.c - who holds a primitive, whether that one lives, and how many wait. */
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
    PLACE(self);
    return PyLong_FromUnsignedLong(count_waiters(place.slot));
}

static Place checked_place(PyObject *module, PyObject *object) {
    State *state = PyModule_GetState(module);
    return primitive_in(object, state->primitive, "primitive");
}

PyObject *module_waiters(PyObject *module, PyObject *object) {
    Place place = checked_place(module, object);
    return place.slot ? PyLong_FromUnsignedLong(count_waiters(place.slot)) : NULL;
}

PyObject *module_holder(PyObject *module, PyObject *object) {
    Place place = checked_place(module, object);
    if (!place.slot) return NULL;
    int type = altsem_slot_type(place.slot);
    if (type != ALTSEM_LOCK && type != ALTSEM_RLOCK) Py_RETURN_NONE;
    /* The two words are not written in one step: look until the thread is the same before and
     * after.  A lock that changes hands that fast has no owner worth naming. */
    uint32_t thread = altsem_lock_owner_token(place.slot), before;
    uint64_t id;
    int looks = 0;
    do {
        before = thread;
        id = altsem_lock_owner_id(place.slot);
        thread = altsem_lock_owner_token(place.slot);
    } while (before && (thread != before || id == 0) && ++looks < 1000);
    if (!before || thread != before) Py_RETURN_NONE;
    return Py_BuildValue("IKI", thread, (unsigned long long)id,
                         altsem_segment_namespace(place.segment));
}

static PyObject *told(int life) {
    if (life == ALTSEM_CANNOT_TELL) Py_RETURN_NONE;
    return PyBool_FromLong(life == ALTSEM_ALIVE);
}

PyObject *module_judge(PyObject *module, PyObject *args) {
    (void)module;
    unsigned thread, where;
    unsigned long long id;
    altsem_verdict verdict;
    if (!PyArg_ParseTuple(args, "IKI:judge", &thread, &id, &where)) return NULL;
    Py_BEGIN_ALLOW_THREADS altsem_judge(thread, id, where, &verdict);
    Py_END_ALLOW_THREADS PyObject *pid =
        verdict.pid ? PyLong_FromUnsignedLong(verdict.pid) : Py_NewRef(Py_None);
    return pid ? Py_BuildValue("NNNN", pid, told(verdict.process), told(verdict.thread),
                               PyBool_FromLong(verdict.is_shown))
               : NULL;
}
