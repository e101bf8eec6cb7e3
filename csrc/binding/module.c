/* module.c - the module altsem._core: types, functions, multi-phase init. */
#include "binding/bound.h" /* Python.h must come first */

#include "wait/cpus.h"

#include <string.h>

/* Slot numbers that the headers of 3.10 do not know yet (multiple interpreters 3.12, no GIL 3.13). */
#define SLOT_INTERPRETERS 3
#define SLOT_GIL 4
#define PER_INTERPRETER_GIL ((void *)2)
#define GIL_NOT_USED ((void *)1)

static PyObject *module_memory(PyObject *module, PyObject *object) {
    (void)module;
    const char *source;
    size_t size = PyLong_AsSize_t(object);
    if (size == (size_t)-1 && PyErr_Occurred()) return NULL;
    PyThreadState *thread = PyEval_SaveThread(); /* a gigabyte takes a third of a second */
    int fd = altsem_memory_new(size, &source);
    PyEval_RestoreThread(thread);
    if (fd < 0) return raise_create(fd, "shared array");
    return Py_BuildValue("is", fd, source);
}

static PyObject *module_backend(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    int error = 0;
    const char *name = altsem_backend(&error);
    return name ? PyUnicode_FromString(name) : raise_create(error, "semaphore");
}

static PyObject *module_backends(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    PyObject *all = PyDict_New();
    const char *name;
    for (unsigned i = 0; all && (name = altsem_backend_name(i)); i++) {
        PyObject *error = PyLong_FromLong(-altsem_backend_probe(name));
        if (!error || PyDict_SetItemString(all, name, error) != 0) Py_CLEAR(all);
        Py_XDECREF(error);
    }
    return all;
}

static PyObject *module_reason(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    const char *reason = altsem_backend_reason();
    if (!reason) Py_RETURN_NONE;
    return PyUnicode_FromString(reason);
}

static PyObject *module_clean(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    unsigned removed;
    int error = altsem_clean(&removed);
    return error ? raise_errno(error) : PyLong_FromUnsignedLong(removed);
}

static PyObject *module_segments(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLong(altsem_segment_count());
}

static PyObject *module_cpu_quota(PyObject *module, PyObject *args) {
    (void)module;
    const char *mount = ALTSEM_CGROUPS, *membership = ALTSEM_MEMBERSHIP;
    if (!PyArg_ParseTuple(args, "|ss:cpu_quota", &mount, &membership)) return NULL;
    return PyFloat_FromDouble(altsem_cpu_quota(mount, membership));
}

static PyMethodDef functions[] = {
    {"sem_unlink", module_sem_unlink, METH_O,
     "sem_unlink(name, /)\n--\n\nRemove a named semaphore.  Raises FileNotFoundError."},
    {"cond_wait", (PyCFunction)(void (*)(void))module_cond_wait, METH_FASTCALL,
     "cond_wait(cond, lock, timeout): Condition.wait for a Lock or RLock of ours."},
    {"own_methods", module_own_methods, METH_O,
     "own_methods(class): a decorator that gives a subclass of SemLock its hot methods directly."},
    {"shm_open", (PyCFunction)(void (*)(void))module_shm_open, METH_VARARGS | METH_KEYWORDS,
     "shm_open(path, flags, mode=0o600): a descriptor of named shared memory.  Raises OSError."},
    {"shm_unlink", (PyCFunction)(void (*)(void))module_shm_unlink, METH_VARARGS | METH_KEYWORDS,
     "shm_unlink(path): remove named shared memory.  Raises FileNotFoundError."},
    {"export", module_export, METH_O,
     "export(primitive) -> (Segment, offset): where it is; it counts as seen by others from now "
     "on."},
    {"adopt", (PyCFunction)(void (*)(void))module_adopt, METH_FASTCALL,
     "adopt(class, segment, offset): the primitive at that place.  Raises OSError if there is "
     "none."},
    {"attach", (PyCFunction)(void (*)(void))module_attach, METH_FASTCALL,
     "attach(fd, id) -> (Segment, took): map a segment; `took`: the descriptor is owned by it "
     "now."},
    {"lookup", module_lookup, METH_O, "lookup(id): the Segment if it is mapped here, else None."},
    {"lose", (PyCFunction)(void (*)(void))module_lose, METH_FASTCALL,
     "lose(class, errno, sentence, sent): a primitive that is of no use: all that needs its "
     "memory\n"
     "raises OSError(errno, sentence)."},
    {"lost", module_lost, METH_O,
     "lost(primitive): what lose() was given as `sent`; None if it is not lost."},
    {"dumpable", module_dumpable, METH_NOARGS,
     "Whether this process lets others of its user look into it."},
    {"memory", module_memory, METH_O,
     "memory(size) -> (fd, source): nameless shared memory of `size` bytes."},
    {"backend", module_backend, METH_NOARGS,
     "The name of the backend.  Raises OSError if none works."},
    {"backends", module_backends, METH_NOARGS,
     "All backends by name: 0 if the probe answers here, else the errno it gave."},
    {"waiters", module_waiters, METH_O, "waiters(primitive): how many wait for it now."},
    {"holder", module_holder, METH_O,
     "holder(primitive) -> (token, identity, PID namespace) of who holds a lock; None if\n"
     "nobody does, or it is none.  Identity: 0 if not known, else the pid in its upper 22 bits."},
    {"judge", module_judge, METH_VARARGS,
     "judge(token, identity, PID namespace) -> (pid, process alive, thread alive, is it shown by\n"
     "/proc, perhaps as a zombie) of such a holder; None each for what cannot be proved."},
    {"death", module_death, METH_O,
     "death(lock) -> (pid, thread, is it shown by /proc) of the owner whose death its holder, who\n"
     "asks, is told of; pid 0: not known.  None if there is none, or another holds it."},
    {"deaths", module_deaths, METH_O, "deaths(lock): how often it was taken over from the dead."},
    {"free_dead", module_free_dead, METH_O,
     "free_dead(lock): release it, robust or not, if its owner is proved dead; whether it was."},
    {"robust_by_default", module_robust_by_default, METH_NOARGS,
     "Whether locks are robust unless they are made otherwise."},
    {"reason", module_reason, METH_NOARGS,
     "Why the backend is the one it is, in words; None as long as none has been chosen."},
    {"clean", module_clean, METH_NOARGS,
     "Remove what killed processes of this user have left in the system; how many things that "
     "were."},
    {"segments", module_segments, METH_NOARGS, "How many segments are mapped in this process."},
    {"cpu_quota", module_cpu_quota, METH_VARARGS,
     "How many CPUs' worth of time the control groups allow, 0.0 for no limit."},
    {NULL, NULL, 0, NULL},
};

/* A heap type under the module's real name, which differs when the package is vendored. */
static PyTypeObject *add(PyObject *module, PyType_Spec *spec, PyTypeObject *base) {
    PyObject *bases = base ? PyTuple_Pack(1, base) : NULL;
    if (base && !bases) return NULL;
    PyObject *type = PyType_FromModuleAndSpec(module, spec, bases);
    Py_XDECREF(bases);
    PyObject *name = type ? PyModule_GetNameObject(module) : NULL;
    const char *short_name = strrchr(spec->name, '.') + 1;
    if (!name || PyObject_SetAttrString(type, "__module__", name) != 0 ||
        PyModule_AddObjectRef(module, short_name, type) != 0)
        Py_CLEAR(type);
    Py_XDECREF(name);
    return (PyTypeObject *)type;
}

static int set_constant(PyTypeObject *type, const char *name, long value) {
    PyObject *number = PyLong_FromLong(value);
    int result = number ? PyObject_SetAttrString((PyObject *)type, name, number) : -1;
    Py_XDECREF(number);
    return result;
}

static int execute(PyObject *module) {
    State *state = PyModule_GetState(module);
    if (robust_begin(module) != 0) return -1;
    if (!(state->segment = add(module, &segment_spec, NULL)) ||
        !(state->primitive = add(module, &primitive_spec, NULL)) ||
        !(state->semlock = add(module, &semlock_spec, state->primitive)) ||
        !(state->lock = add(module, &lock_spec, state->semlock)) ||
        !(state->rlock = add(module, &rlock_spec, state->semlock)) ||
        !(state->semaphore = add(module, &semaphore_spec, state->semlock)) ||
        !(state->bounded = add(module, &bounded_spec, state->semlock)) ||
        !(state->event = add(module, &event_spec, state->primitive)) ||
        !(state->cond = add(module, &cond_spec, state->primitive)) ||
        !(state->barrier = add(module, &barrier_spec, state->primitive)) ||
        with_types(state, module) != 0)
        return -1;
    return set_constant(state->semlock, "SEM_VALUE_MAX", ALTSEM_VALUE_MAX);
}

static PyTypeObject **types_in(State *state) { return (PyTypeObject **)state; }
enum { TYPES = sizeof(State) / sizeof(PyTypeObject *) };

static int traverse(PyObject *module, visitproc visit, void *arg) {
    State *state = PyModule_GetState(module);
    for (int i = 0; state && i < TYPES; i++) Py_VISIT(types_in(state)[i]);
    return 0;
}

static int clear(PyObject *module) {
    State *state = PyModule_GetState(module);
    for (int i = 0; state && i < TYPES; i++) Py_CLEAR(types_in(state)[i]);
    return 0;
}

static void release(void *module) { clear(module); }

/* A runtime refuses slots it does not know, and one binary serves all of them: so there is an array
 * for each, and the running version chooses. */
static PyModuleDef_Slot slots_310[] = {{Py_mod_exec, execute}, {0, NULL}};
static PyModuleDef_Slot slots_312[] = {
    {Py_mod_exec, execute}, {SLOT_INTERPRETERS, PER_INTERPRETER_GIL}, {0, NULL}};
static PyModuleDef_Slot slots_313[] = {{Py_mod_exec, execute},
                                       {SLOT_INTERPRETERS, PER_INTERPRETER_GIL},
                                       {SLOT_GIL, GIL_NOT_USED},
                                       {0, NULL}};

static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_core",
    .m_doc = "The compiled core of altsem: semaphores in shared memory that needs no /dev/shm.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__core(void) {
    long version = running_version();
    definition.m_slots = version >= 0x030d ? slots_313 : version >= 0x030c ? slots_312 : slots_310;
    return PyModuleDef_Init(&definition);
}
