/* floor.c - a type whose methods do nothing: what the interpreter itself costs. */
#include <Python.h>

static PyObject *nothing(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    Py_RETURN_NONE;
}
static PyObject *leave(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self, (void)args, (void)nargs;
    Py_RETURN_NONE;
}
/* As acquire(block=True, timeout=None) has to be declared. */
static PyObject *take(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
    (void)self, (void)args, (void)nargs, (void)names;
    Py_RETURN_TRUE;
}
static PyMethodDef methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))take, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"release", nothing, METH_NOARGS, NULL},
    {"__enter__", nothing, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))leave, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {{Py_tp_methods, methods}, {0, NULL}};
static PyType_Spec spec = {"floor.Nothing", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, slots};

static int execute(PyObject *module) {
    PyObject *type = PyType_FromSpec(&spec);
    return type ? PyModule_AddObjectRef(module, "Nothing", type) : -1;
}
static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "floor", .m_slots = module_slots};

PyMODINIT_FUNC PyInit_floor(void) { return PyModuleDef_Init(&definition); }
