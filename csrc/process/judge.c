/* judge.c - who is that owner, and does it still live.
 *
 * Never a guess: whoever takes a living owner for dead may rob it.  An owner is dead only if one of
 * these proves it, all of them in our own PID namespace:
 *   - the kernel knows no process, or no thread of the process, by that number (kill and tgkill with
 *     signal 0, which also answer where /proc is missing or hides others)
 *   - /proc shows a zombie without living threads: the owner itself, or a later process by its number
 *   - /proc shows that the process by that number started at another time
 * And it is alive only if /proc shows the very process.  What /proc shows counts only if it is that of
 * our own namespace: in a container it may be the host's, where the numbers are of others.  A file
 * that is missing or cannot be read proves nothing: with `hidepid` living processes have none.  A
 * zombie leader (the main thread has ended) may have threads that live, and hold.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "altsem.h"
#include "process/owner.h"
#include "process/proc.h"

/* Proof that there is none; EPERM proves that there is one.  A thread's number will do as well. */
static int is_no_process(uint32_t pid) {
    return pid > INT32_MAX || (kill((pid_t)pid, 0) != 0 && errno == ESRCH);
}

static int is_no_thread(uint32_t pid, uint32_t tid) {
#ifdef SYS_tgkill
    return syscall(SYS_tgkill, pid, tid, 0) != 0 && errno == ESRCH;
#else
    (void)pid, (void)tid;
    return 0;
#endif
}

static int has_ended(const altsem_seen *seen) { return seen->state == 'Z' || seen->state == 'X'; }

static int judge_process(uint32_t pid, uint64_t id, uint32_t here, int *is_shown) {
    altsem_seen seen;
    char name[16];
    *is_shown = 0;
    if (is_no_process(pid)) return ALTSEM_DEAD;
    snprintf(name, sizeof name, "%u", pid);
    if (!altsem_proc_is_ours() || altsem_proc_look(name, &seen) != 0)
        return is_no_process(pid) ? ALTSEM_DEAD : ALTSEM_CANNOT_TELL; /* it may have just ended */
    int ended = has_ended(&seen) && seen.threads < 2;
    *is_shown = altsem_id_from(pid, seen.start, here) == altsem_id_process(id);
    if (!ended && !altsem_id_known(id)) return ALTSEM_CANNOT_TELL;
    return ended || !*is_shown ? ALTSEM_DEAD : ALTSEM_ALIVE;
}

static int judge_thread(uint32_t pid, uint32_t tid, int process) {
    altsem_seen seen;
    char name[32];
    if (process == ALTSEM_DEAD || is_no_thread(pid, tid)) return ALTSEM_DEAD;
    if (process == ALTSEM_CANNOT_TELL) return ALTSEM_CANNOT_TELL;
    snprintf(name, sizeof name, "%u/task/%u", pid, tid);
    if (altsem_proc_look(name, &seen) != 0)
        return is_no_thread(pid, tid) ? ALTSEM_DEAD : ALTSEM_CANNOT_TELL;
    return has_ended(&seen) ? ALTSEM_DEAD : ALTSEM_ALIVE;
}

/* It was killed between taking the lock and writing who it is; or it is about to write that.  The
 * number was not given to another as long as it lived. */
static void judge_nameless(uint32_t tid, altsem_verdict *verdict) {
    if (is_no_process(tid)) {
        verdict->process = verdict->thread = ALTSEM_DEAD;
        return;
    }
    altsem_seen seen;
    char name[16];
    uint32_t pid = altsem_proc_is_ours() ? altsem_proc_process_of(tid) : 0;
    snprintf(name, sizeof name, "%u", pid);
    if (!pid || altsem_proc_look(name, &seen) != 0) return;
    verdict->pid = pid;
    verdict->is_shown = 1;
    verdict->process = has_ended(&seen) && seen.threads < 2 ? ALTSEM_DEAD : ALTSEM_ALIVE;
    verdict->thread = judge_thread(pid, tid, verdict->process);
}

void altsem_judge(uint32_t tid, uint64_t id, uint32_t pid_namespace, altsem_verdict *verdict) {
    int saved = errno;
    verdict->pid = altsem_id_pid(id);
    verdict->process = verdict->thread = ALTSEM_CANNOT_TELL;
    verdict->is_shown = 0;
    if (pid_namespace != 0 && pid_namespace == altsem_pid_namespace()) {
        if (id == 0) {
            judge_nameless(tid, verdict);
        } else {
            verdict->process = judge_process(verdict->pid, id, pid_namespace, &verdict->is_shown);
            verdict->thread = judge_thread(verdict->pid, tid, verdict->process);
        }
    }
    errno = saved;
}
