/* shm.c - shm_open and shm_unlink, by the contract of _posixshmem. */
#include "binding/binding.h"

#include <errno.h>
#include <string.h>

static PyObject *raise_shm(int error, const char *name) {
    switch (error) {
    case -EPERM:
    case -ELOOP:
        return raise_os(error,
                        "refusing shared memory '%s': its directory or file is not private to this "
                        "user (somebody else's, a link, or open to others)",
                        name);
    case -EBADMSG:
        return raise_os(error, "what has the name of shared memory '%s' is not a file", name);
    default:
        return raise_os(error, "%s: '%s'", strerror(-error), name);
    }
}

PyObject *module_shm_open(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"path", "flags", "mode", NULL};
    const char *name;
    int flags, mode = 0; /* the mode is accepted and unused: it is 0600 */
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "si|i:shm_open", names, &name, &flags, &mode))
        return NULL;
    int fd = altsem_shm_open(name, flags);
    return fd < 0 ? raise_shm(fd, name) : PyLong_FromLong(fd);
}

PyObject *module_shm_unlink(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"path", NULL};
    const char *name;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s:shm_unlink", names, &name)) return NULL;
    int error = altsem_shm_unlink(name);
    if (error != 0) return raise_shm(error, name);
    Py_RETURN_NONE;
}
