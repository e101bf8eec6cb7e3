/* cpus.h - how much of the machine this process may use. */
#ifndef ALTSEM_WAIT_CPUS_H
#define ALTSEM_WAIT_CPUS_H

/* How many CPUs this process may use at a time, by affinity and cgroup quota; at least 1.  Read once,
 * and again after altsem_cpus_forget. */
unsigned altsem_cpus(void);
void altsem_cpus_forget(void);

/* The CPUs' worth of time that the control groups allow, 0 for no limit: the smallest quota of the
 * group that the file `membership` (/proc/self/cgroup) names and of those above it, in the hierarchy
 * mounted at `mount` (/sys/fs/cgroup).  What cannot be read sets no limit. */
#define ALTSEM_CGROUPS "/sys/fs/cgroup"
#define ALTSEM_MEMBERSHIP "/proc/self/cgroup"
double altsem_cpu_quota(const char *mount, const char *membership);

#endif
