/* count.c - the counts of a SemLock on a counting slot, where they are not as they were (semlock.h). */
#include "binding/semlock.h"

void count_acquired_in_general(SemLock *self) {
    atomic_store_explicit(&self->last, altsem_self()->id, memory_order_relaxed);
    count_add(self, 1);
}

#ifndef Py_GIL_DISABLED
void count_begin(SemLock *self) {
    self->generation = altsem_generation();
    self->count = 0;
}
#endif
