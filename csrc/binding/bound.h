/* bound.h - __enter__ and __exit__ bound to a lock, as `with` wants them (with.c says why). */
#ifndef ALTSEM_BINDING_BOUND_H
#define ALTSEM_BINDING_BOUND_H

#include "binding/binding.h"

/* By the vectorcall protocol; the first argument is what is called. */
typedef PyObject *bound_function(PyObject *, PyObject *const *, size_t, PyObject *);
#define ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1)) /* set in the third, or not */
#define HAVE_VECTORCALL (1UL << 11) /* the limited API names it from 3.12 on, 3.8 has it */

typedef struct Bound {
    PyObject_HEAD bound_function *call;
    PyObject *lock, *from; /* NULL while it is kept for another time; from: a WithMethod */
    struct Bound *next;    /* of those kept */
} Bound;

typedef struct {
    PyObject_HEAD bound_function *call;
    PyTypeObject *class, *bound_type;
    PyObject *builtin; /* the method_descriptor that it stands for */
    PyMethodDef *method;
    bound_function *bound_call;
    Bound *kept;
    int count;
} WithMethod;

/* with.c */
int with_types(State *state, PyObject *module); /* -1: exception set */
PyObject *with_method(State *state, PyTypeObject *class, PyMethodDef *method, bound_function *call);

/* bound.c */
extern PyType_Spec bound_spec;
Bound *bound_new(PyTypeObject *type, bound_function *call);
/* For arguments that are none of ours: an error from the built-in method, or its answer. */
bound_function bound_call_builtin;
PyObject *call_as_tuple(PyObject *builtin, PyObject *const *args, size_t nargs, PyObject *names);

#endif
