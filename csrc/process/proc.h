/* proc.h - what /proc says of processes and threads. */
#ifndef ALTSEM_PROCESS_PROC_H
#define ALTSEM_PROCESS_PROC_H

#include <stdint.h>

typedef struct altsem_seen {
    char state;       /* the kernel's letter: Z a zombie, X dead */
    uint32_t threads; /* of the process, a zombie leader included */
    uint32_t start;   /* start time of the process or thread, in clock ticks; never 0 */
} altsem_seen;

/* Reads /proc/NAME/stat; NAME is "self", "PID" or "PID/task/TID".  -1: it cannot be read, which
 * proves nothing: /proc may be missing, hide others, or be that of another PID namespace. */
int altsem_proc_look(const char *name, altsem_seen *seen);
/* Whether the numbers in /proc mean what they mean here: that it is of our own PID namespace. */
int altsem_proc_is_ours(void);
/* The process that thread `tid` belongs to; 0 if it is not told. */
uint32_t altsem_proc_process_of(uint32_t tid);

#endif
