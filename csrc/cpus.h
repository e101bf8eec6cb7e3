/* cpus.h - how much of the machine this process may use. */
#ifndef ALTSEM_CPUS_H
#define ALTSEM_CPUS_H

/* How many CPUs this process may use at a time, by affinity and cgroup quota; at least 1.  Read once,
 * and again after altsem_cpus_forget. */
unsigned altsem_cpus(void);
void altsem_cpus_forget(void);

#endif
