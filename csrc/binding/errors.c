/* errors.c - errnos of the core as Python exceptions, in sentences. */
#include "binding/binding.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

PyObject *raise_errno(int error) {
    errno = -error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* OSError(errno, text) picks the subclass of the errno, as the interpreter's own errors do. */
static PyObject *raise_text(int error, PyObject *text) {
    if (!text) return NULL;
    PyObject *exception = PyObject_CallFunction(PyExc_OSError, "iO", -error, text);
    Py_DECREF(text);
    if (exception) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    return NULL;
}

PyObject *raise_os(int error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyObject *text = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    return raise_text(error, text);
}

/* The backends whose probe answers, for a message. */
static void list_usable(char *text, size_t size) {
    const char *name;
    text[0] = 0;
    for (unsigned i = 0; (name = altsem_backend_name(i)); i++)
        if (altsem_backend_probe(name) == 0 && strlen(text) + strlen(name) + 3 < size) {
            if (text[0]) strcat(text, ", ");
            strcat(text, name);
        }
    if (!text[0]) strcpy(text, "none");
}

static PyObject *raise_backend(int error) {
    char usable[128];
    const char *wanted = getenv("ALTSEM_BACKEND");
    list_usable(usable, sizeof usable);
    if (!wanted || !*wanted)
        return raise_os(error, "no way to sleep works on this machine (usable backends: %s)",
                        usable);
    if (error == -EINVAL)
        return raise_os(error, "ALTSEM_BACKEND=%s names no backend (usable here: %s)", wanted,
                        usable);
    int why = altsem_backend_probe(wanted);
    const char *text = strerror(-why);
    if (strcmp(wanted, "sysv") == 0 && (why == -ENOSPC || why == -E2BIG))
        text = "the limits in kernel.sem leave no room for a SysV semaphore set";
    return raise_os(error, "ALTSEM_BACKEND=%s cannot be used here: %s (usable here: %s)", wanted,
                    text, usable);
}

/* What the probe of sysv, or a set of its, has been denied.  The errnos are few, the limits many. */
static const char SYSV_LIMIT[] =
    "the limits of SysV semaphores (kernel.sem = %s: SEMMSL per set, SEMMNS in all, SEMOPM, SEMMNI "
    "sets) leave no room for waiters to sleep in: `python -m altsem clean` removes what killed "
    "programs "
    "left, `ipcs -s` lists the rest, `sysctl -w kernel.sem='32000 1024000000 500 32000'` raises "
    "them, ALTSEM_BACKEND=filelock does without";

static PyObject *raise_sysv_limit(int error) {
    char limits[80] = "unknown";
    FILE *file = fopen("/proc/sys/kernel/sem", "re");
    if (file) {
        if (!fgets(limits, sizeof limits, file)) strcpy(limits, "unreadable");
        fclose(file);
    }
    for (char *c = limits; *c; c++) *c = *c == '\n' ? 0 : *c == '\t' ? ' ' : *c;
    return raise_os(error, SYSV_LIMIT, limits);
}

PyObject *raise_sleep(int error) {
    switch (error) {
    case -ENOSPC:
    case -E2BIG:
        return raise_sysv_limit(error);
    case -EACCES:
    case -EPERM:
        return raise_os(error, "the SysV semaphores that waiters sleep in belong to another user");
    case -EXDEV:
        return raise_os(error,
                        "the SysV semaphores that waiters sleep in are of another IPC "
                        "namespace than this process; ALTSEM_BACKEND=filelock in both works");
    default:
        return raise_errno(error);
    }
}

PyObject *raise_create(int error, const char *what) {
    int backend_error = 0;
    if (!altsem_backend(&backend_error)) return raise_backend(backend_error);
    switch (error) {
    case -EMFILE:
    case -ENFILE:
        return raise_os(error, "no file descriptor is free for the shared memory of a %s", what);
    case -ENOMEM:
        return raise_os(error, "no memory can be mapped for a %s", what);
    default:
        return raise_os(error,
                        "no shared memory for a %s: memfd_create is refused and no candidate "
                        "directory works (ALTSEM_DIR, XDG_RUNTIME_DIR, TMPDIR, /tmp, /var/tmp, .); "
                        "the last said: %s",
                        what, strerror(-error));
    }
}

PyObject *raise_named(int error, const char *name) {
    int backend_error = 0;
    switch (error) {
    case -ENOSYS:
        if (!altsem_backend(&backend_error)) return raise_backend(backend_error);
        return raise_errno(error);
    case -EPERM:
    case -ELOOP:
        return raise_os(
            error,
            "refusing named semaphore '%s': its directory or file is not private to this "
            "user (somebody else's, a link, or open to others)",
            name);
    case -EBADMSG:
        return raise_os(error, "the file of named semaphore '%s' is damaged or is no semaphore",
                        name);
    case -EPROTONOSUPPORT:
    case -EXDEV:
        return raise_attach(error);
    default:
        return raise_errno(error);
    }
}

PyObject *raise_attach(int error) {
    int backend_error = 0;
    const char *backend = altsem_backend(&backend_error);
    switch (error) {
    case -EBADF:
        return raise_os(error, "the descriptor of a shared segment is not open in this process");
    case -EINVAL:
        return raise_os(error, "not a shared segment of altsem, or a damaged one");
    case -ESTALE:
        return raise_os(error, "another shared segment than the one expected");
    case -EPROTONOSUPPORT:
        return raise_os(error,
                        "a shared segment of another layout version of altsem, or of a backend "
                        "this version does not know");
    case -EXDEV:
        return raise_os(error, "a shared segment of another backend than this process uses (%s)",
                        backend ? backend : "none");
    case -ENOSYS:
        return raise_os(error, "a shared segment of a backend that does not work in this process");
    default:
        return raise_errno(error);
    }
}

/* What lose() was given.  A new exception each time: one object cannot be raised in two threads. */
static PyObject *raise_lost(PyObject *lost) {
    PyObject *number = PyTuple_GetItem(lost, 0), *sentence = PyTuple_GetItem(lost, 1);
    long error = number ? PyLong_AsLong(number) : -1;
    if (!sentence || (error == -1 && PyErr_Occurred())) return NULL;
    return raise_text((int)-error, Py_NewRef(sentence));
}

PyObject *raise_too_many(void) {
    PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
    return NULL;
}

PyObject *raise_not_mine(void) {
    PyErr_SetString(PyExc_AssertionError, "attempt to release recursive lock not owned by thread");
    return NULL;
}

PyObject *raise_uninitialised(PyObject *self) {
    if (!((Primitive *)self)->segment && ((Primitive *)self)->lost)
        return raise_lost(((Primitive *)self)->lost);
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__name__");
    if (name) {
        PyErr_Format(PyExc_ValueError, "%U.__init__() has not been called", name);
        Py_DECREF(name);
    }
    return NULL;
}
