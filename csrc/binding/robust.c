/* robust.c - locks that survive their owner, as Python sees them.
 *
 * A robust lock asks more of an acquire and a release than another: was there a death, whose is it.  So
 * that others need not even ask whether they are robust, the slot of one that is stands in another place
 * (Primitive.robust): the hot methods find none, which they ask anyway, and come here.
 */
#include "binding/semlock.h" /* Python.h must come first */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char package[256]; /* this one's name: another than "altsem" in a vendored copy */
static int by_default;

int robust_begin(PyObject *module) {
    const char *name = PyModule_GetName(module), *wanted = getenv("ALTSEM_ROBUST");
    if (!name) return -1;
    const char *dot = strrchr(name, '.');
    size_t length = dot ? (size_t)(dot - name) : 0;
    if (length >= sizeof package) length = 0;
    memcpy(package, name, length);
    package[length] = 0;
    by_default = wanted && strcmp(wanted, "1") == 0;
    return 0;
}

int robust_by_default(void) { return by_default; }

PyObject *refuse_robust(const char *what) {
    PyErr_Format(PyExc_ValueError,
                 "a %s cannot be robust: only a Lock or RLock has an owner who may die", what);
    return NULL;
}

static PyObject *tell(PyObject *lock, const altsem_death *death) {
    char name[sizeof package + 8];
    strcat(strcpy(name, package), "._death");
    PyObject *module = PyImport_ImportModule(name);
    PyObject *done = module ? PyObject_CallMethod(module, "tell", "OIIi", lock, death->pid,
                                                  death->tid, death->is_shown)
                            : NULL;
    Py_XDECREF(module);
    return done;
}

int robust_tell(PyObject *lock, Place place) {
    altsem_death death;
    if (!altsem_lock_death(place.segment, place.slot, &death)) return 0;
    PyObject *done = tell(lock, &death);
    Py_XDECREF(done);
    if (done) return 0;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    altsem_lock_release_untold(place.segment, place.slot);
    PyErr_Restore(type, value, trace);
    return -1;
}

/* Whoever does not wait looks whether the owner is dead, too: that takes some system calls. */
static int take(Place place, int64_t deadline) {
    int result;
    if (altsem_lock_try(place.slot) == 0) return 0;
    SLEEP(result, altsem_lock_wait(place.segment, place.slot, deadline));
    return result;
}

PyObject *robust_acquire(PyObject *op, int64_t deadline) {
    PLACE(op);
    SemLock *self = (SemLock *)op;
    if (self->kind == RECURSIVE_MUTEX && semlock_is_mine_at(self, place.slot)) {
        if (altsem_rlock_again(place.slot) == 0) Py_RETURN_TRUE;
        PyErr_SetString(PyExc_OverflowError, "recursive lock acquired too many times");
        return NULL;
    }
    int result = altsem_fast_try(place.slot);
    if (result != 0) result = take(place, deadline);
    if (result == 0) return robust_tell(op, place) == 0 ? PyBool_FromLong(1) : NULL;
    if (result == -ETIMEDOUT) Py_RETURN_FALSE;
    return result == -EINTR ? NULL : raise_sleep(result);
}

PyObject *robust_release(PyObject *op) {
    PLACE(op);
    if (((SemLock *)op)->type == ALTSEM_RLOCK) {
        if (altsem_rlock_release(place.segment, place.slot) != 0) return raise_not_mine();
        Py_RETURN_NONE;
    }
    int error = altsem_lock_release(place.segment, place.slot);
    if (error == -EOVERFLOW) return raise_too_many();
    if (error == 0) Py_RETURN_NONE;
    PyErr_SetString(PyExc_AssertionError,
                    "attempt to release robust lock not owned by this process");
    return NULL;
}

/* --- functions of the module --------------------------------------------------------------------- */

static Place lock_in(PyObject *module, PyObject *object) {
    State *state = PyModule_GetState(module);
    return primitive_in(object, state->semlock, "lock");
}

PyObject *module_death(PyObject *module, PyObject *object) {
    Place place = lock_in(module, object);
    altsem_death death;
    if (!place.slot) return NULL;
    int held = altsem_slot_type(place.slot) == ALTSEM_RLOCK ? altsem_lock_is_mine(place.slot)
                                                            : altsem_lock_is_ours(place.slot);
    if (!held || !altsem_lock_death(place.segment, place.slot, &death)) Py_RETURN_NONE;
    return Py_BuildValue("IIN", death.pid, death.tid, PyBool_FromLong(death.is_shown));
}

PyObject *module_deaths(PyObject *module, PyObject *object) {
    Place place = lock_in(module, object);
    return place.slot ? PyLong_FromUnsignedLong(altsem_lock_deaths(place.slot)) : NULL;
}

PyObject *module_free_dead(PyObject *module, PyObject *object) {
    Place place = lock_in(module, object);
    if (!place.slot) return NULL;
    int type = altsem_slot_type(place.slot);
    int done = (type == ALTSEM_LOCK || type == ALTSEM_RLOCK) &&
               altsem_lock_inherit(place.segment, place.slot) == 0;
    if (done) altsem_lock_release_untold(place.segment, place.slot);
    return PyBool_FromLong(done);
}

PyObject *module_robust_by_default(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyBool_FromLong(by_default);
}
