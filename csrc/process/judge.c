/* judge.c - who is that owner, and does it still live.
 *
 * Never a guess: whoever takes a living owner for dead may rob it.  An owner is dead only if one of
 * these proves it, all of them in our own PID namespace:
 *   - the kernel knows no process, or no thread of the process, by that number (kill and tgkill with
 *     signal 0, which also answer where /proc is missing or hides others)
 *   - /proc shows a zombie without living threads: the owner itself, or a later process by its number
 *   - /proc shows that the process by that number started at another time
 *   - /proc shows that the thread by that number is not the one of the token: the hash differs
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

/* `process`: what /proc shows by the number of the pid; 0 if it shows nothing. */
static int judge_process(uint32_t pid, uint64_t id, uint32_t here, uint64_t *process) {
    altsem_seen seen;
    char name[16];
    *process = 0;
    if (is_no_process(pid)) return ALTSEM_DEAD;
    snprintf(name, sizeof name, "%u", pid);
    if (!altsem_proc_is_ours() || altsem_proc_look(name, &seen) != 0)
        return is_no_process(pid) ? ALTSEM_DEAD : ALTSEM_CANNOT_TELL; /* it may have just ended */
    int ended = has_ended(&seen) && seen.threads < 2;
    *process = altsem_id_from(pid, seen.start, here);
    if (!ended && !altsem_id_known(id)) return ALTSEM_CANNOT_TELL;
    return ended || *process != altsem_id_process(id) ? ALTSEM_DEAD : ALTSEM_ALIVE;
}

static int look_at_thread(uint32_t pid, uint32_t tid, altsem_seen *seen) {
    char name[32];
    snprintf(name, sizeof name, "%u/task/%u", pid, tid);
    return altsem_proc_look(name, seen);
}

/* Whether the thread that /proc shows cannot be that of the token. */
static int is_another(uint32_t token, uint64_t process, const altsem_seen *thread) {
    uint32_t hash = altsem_token_hash(token);
    return hash != 0 && hash != altsem_hash_from(process, thread->start);
}

static int judge_thread(uint32_t pid, uint32_t token, int life, uint64_t process) {
    altsem_seen seen;
    uint32_t tid = altsem_token_tid(token);
    if (life == ALTSEM_DEAD || is_no_thread(pid, tid)) return ALTSEM_DEAD;
    if (life == ALTSEM_CANNOT_TELL) return ALTSEM_CANNOT_TELL;
    if (look_at_thread(pid, tid, &seen) != 0)
        return is_no_thread(pid, tid) ? ALTSEM_DEAD : ALTSEM_CANNOT_TELL;
    return has_ended(&seen) || is_another(token, process, &seen) ? ALTSEM_DEAD : ALTSEM_ALIVE;
}

/* It was killed between taking the lock and writing who it is, or between clearing that and the
 * releasing step; or it is about to take that step.  The number was not given to another as long as it
 * lived.  If another has it now, which may be one of the same process, only the thread is dead. */
static void judge_nameless(uint32_t token, uint32_t here, altsem_verdict *verdict) {
    uint32_t tid = altsem_token_tid(token);
    if (is_no_process(tid)) {
        verdict->process = verdict->thread = ALTSEM_DEAD;
        return;
    }
    altsem_seen seen, thread;
    char name[16];
    uint32_t pid = altsem_proc_is_ours() ? altsem_proc_process_of(tid) : 0;
    snprintf(name, sizeof name, "%u", pid);
    if (!pid || altsem_proc_look(name, &seen) != 0) return;
    uint64_t process = altsem_id_from(pid, seen.start, here);
    if (look_at_thread(pid, tid, &thread) == 0 && is_another(token, process, &thread)) {
        verdict->thread = ALTSEM_DEAD;
        return;
    }
    verdict->pid = pid;
    verdict->is_shown = 1;
    verdict->process = has_ended(&seen) && seen.threads < 2 ? ALTSEM_DEAD : ALTSEM_ALIVE;
    verdict->thread = judge_thread(pid, token, verdict->process, process);
}

void altsem_judge(uint32_t token, uint64_t id, uint32_t pid_namespace, altsem_verdict *verdict) {
    int saved = errno;
    verdict->pid = altsem_id_pid(id);
    verdict->process = verdict->thread = ALTSEM_CANNOT_TELL;
    verdict->is_shown = 0;
    if (pid_namespace != 0 && pid_namespace == altsem_pid_namespace()) {
        if (id == 0) {
            judge_nameless(token, pid_namespace, verdict);
        } else {
            uint64_t process;
            verdict->process = judge_process(verdict->pid, id, pid_namespace, &process);
            verdict->is_shown = process == altsem_id_process(id);
            verdict->thread = judge_thread(verdict->pid, token, verdict->process, process);
        }
    }
    errno = saved;
}
