/* arguments.c - arguments, by position and by keyword, without a tuple on the way. */
#include "binding/binding.h"

#include <limits.h>
#include <string.h>

int parse_timeout(PyObject *timeout, double *seconds) {
    if (!timeout || timeout == Py_None) return 0;
    *seconds = PyFloat_AsDouble(timeout);
    if (*seconds == -1.0 && PyErr_Occurred()) return -1;
    if (*seconds != *seconds) {
        PyErr_SetString(PyExc_ValueError, "timeout is NaN, which is no number of seconds");
        return -1;
    }
    return 1;
}

int parse_int(PyObject *value, int *out) {
    int overflow;
    long number = PyLong_AsLongAndOverflow(value, &overflow);
    if (number == -1 && !overflow && PyErr_Occurred()) return -1;
    if (overflow || number < INT_MIN || number > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "Python int too large to convert to C int");
        return -1;
    }
    *out = (int)number;
    return 0;
}

const char *parse_name(const char *argument, PyObject *value) {
    if (!PyUnicode_Check(value)) {
        PyObject *type = PyObject_GetAttrString((PyObject *)Py_TYPE(value), "__name__");
        if (type)
            PyErr_Format(PyExc_TypeError, "%s must be str, not %S", argument,
                         value == Py_None ? Py_None : type);
        Py_XDECREF(type);
        return NULL;
    }
    Py_ssize_t length;
    const char *name = PyUnicode_AsUTF8AndSize(value, &length);
    if (name && (size_t)length != strlen(name)) {
        PyErr_SetString(PyExc_ValueError, "embedded null character");
        return NULL;
    }
    return name;
}

int parse_two(const char *function, const char *first, const char *second, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames, PyObject **one, PyObject **two) {
    if (nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most 2 arguments (%zd given)", function,
                     nargs);
        return -1;
    }
    if (nargs > 0) *one = args[0];
    if (nargs > 1) *two = args[1];
    Py_ssize_t names = kwnames ? PyTuple_Size(kwnames) : 0;
    for (Py_ssize_t i = 0; i < names; i++) {
        PyObject *name = PyTuple_GetItem(kwnames, i);
        int at = PyUnicode_CompareWithASCIIString(name, first) == 0    ? 0
                 : PyUnicode_CompareWithASCIIString(name, second) == 0 ? 1
                                                                       : -1;
        if (at < 0) {
            PyErr_Format(PyExc_TypeError, "'%U' is an invalid keyword argument for %s()", name,
                         function);
            return -1;
        }
        if (at < nargs) {
            PyErr_Format(PyExc_TypeError,
                         "argument for %s() given by name ('%U') and position (%d)", function, name,
                         at + 1);
            return -1;
        }
        *(at ? two : one) = args[nargs + i];
    }
    return 0;
}
