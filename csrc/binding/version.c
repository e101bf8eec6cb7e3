/* version.c - which Python this is: one binary of the stable ABI serves many. */
#include "binding/binding.h"

long running_version(void) {
    PyObject *version = PySys_GetObject("hexversion"); /* borrowed */
    return version ? PyLong_AsLong(version) >> 16 : -1;
}
