/* races.c - one call is stopped after 0, 1, 2, ... of its instructions, another is made meanwhile, and
 * the first goes on: what comes out must be right, and nobody may be left asleep.
 *
 *   races SCENARIO STRIDE    stops after every STRIDE'th instruction
 *   races                    lists the scenarios
 *
 * For each stop there is a primitive of its own.  A child makes the one call step by step (ptrace),
 * this process the other.  If the child falls asleep before it has made so many steps, the other call
 * has to wake it.  In some scenarios it is first woken in vain, and the steps are those after that.
 * In some it has to fall asleep in the end, and to be woken by a last call.  Built as a test build and run without slices (wait/testing.h), so a wake that is
 * lost hangs.
 *
 * Prints how many stops there were, and a line per wrong outcome.  Exit 77: processes cannot be traced
 * here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "altsem.h"
#include "wait/cpus.h"

#define PATIENCE 8000 /* ms: far beyond what anything here takes */
#define TICK 1        /* ms */

typedef struct race {
    altsem_segment *segment;
    altsem_slot *slot;
    uint32_t ticket;
    int mine; /* what the call of this process answered */
    struct {
        _Atomic int answer, done;
    } *child; /* what the child's did */
    pthread_t thread;
    _Atomic pid_t tid;
    _Atomic int back; /* the waiter of this process has come back */
} race;

typedef struct scenario {
    const char *name;
    int type;
    int64_t value, maxvalue;
    void (*before)(race *);
    int (*call)(race *); /* in the child, step by step */
    int (*other)(race *);
    int (*good)(race *);
    int (*in_vain)(race *); /* wakes the child first, and takes away what it was woken for */
    int (*last)(race *);
} scenario;

static void nap(void) { nanosleep(&(struct timespec){0, 200000}, NULL); }

static char state_of(pid_t pid, pid_t tid) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    char *end = strrchr(text, ')');
    return end ? end[2] : 0;
}

static int is_asleep(pid_t pid, pid_t tid) {
    for (int i = 0; i < 3; i++, nap())
        if (state_of(pid, tid) != 'S') return 0;
    return 1;
}

/* --- the calls ---------------------------------------------------------------------------------- */

static int sem_try(race *r) { return altsem_sem_try(r->slot); }
static int post(race *r) { return altsem_sem_post(r->segment, r->slot, 1); }
static int sem_wait_(race *r) { return altsem_sem_wait(r->segment, r->slot, ALTSEM_FOREVER); }
static int lock_try(race *r) { return altsem_lock_try(r->slot); }
static int release(race *r) { return altsem_lock_release(r->segment, r->slot); }
static int lock_wait(race *r) { return altsem_lock_wait(r->segment, r->slot, ALTSEM_FOREVER); }
static int barge(race *r) {
    int answer = release(r);
    return answer ? answer : lock_try(r);
}
static int steal(race *r) {
    int answer = post(r);
    return answer ? answer : sem_try(r);
}
static int set(race *r) { return altsem_event_set(r->segment, r->slot); }
static int pulse(race *r) {
    int answer = set(r);
    altsem_event_clear(r->slot);
    return answer;
}
static int event_wait(race *r) {
    return altsem_event_wait(r->segment, r->slot, r->ticket, ALTSEM_FOREVER);
}
static void join_queue(race *r) { altsem_cond_enter(r->slot, &r->ticket); }
static int cond_sleep(race *r) {
    return altsem_cond_sleep(r->segment, r->slot, r->ticket, ALTSEM_FOREVER);
}
static int notify(race *r) { return altsem_cond_notify(r->segment, r->slot, 1) == 1 ? 0 : -1; }
/* Of two in its group the other takes the token first, and more groups come and go. */
static int groups_pass(race *r, int groups) {
    uint32_t other;
    altsem_cond_enter(r->slot, &other);
    altsem_cond_notify(r->segment, r->slot, 2);
    int answer = altsem_cond_sleep(r->segment, r->slot, other, ALTSEM_NOW);
    for (int i = 0; i < groups && answer == 0; i++) {
        altsem_cond_enter(r->slot, &other);
        altsem_cond_notify(r->segment, r->slot, 1);
        answer = altsem_cond_sleep(r->segment, r->slot, other, ALTSEM_NOW);
    }
    return answer;
}
static int one_group_passes(race *r) { return groups_pass(r, 1); }
static int two_groups_pass(race *r) { return groups_pass(r, 2); }
static int three_groups_pass(race *r) { return groups_pass(r, 3); }

/* How many were notified, or whether one was. */
static int leave(race *r) { return altsem_cond_leave(r->slot, r->ticket); }
static int count_notified(race *r) { return (int)altsem_cond_notify(r->segment, r->slot, 1); }

static int arrive(race *r, int to_act) {
    uint32_t index;
    return altsem_barrier_arrive(r->segment, r->slot, to_act, ALTSEM_FOREVER, &index, &r->ticket);
}
static void one_arrives(race *r) { arrive(r, 0); }
static void one_acts(race *r) { arrive(r, 1); }
static void two_arrive(race *r) { arrive(r, 0), arrive(r, 0); }
static int party(race *r) {
    int answer = arrive(r, 0);
    if (answer != 0) return answer == 1 ? 0 : answer;
    return altsem_barrier_wait(r->segment, r->slot, r->ticket, ALTSEM_FOREVER);
}
static int comes_early(race *r) { return arrive(r, 0) == 1 ? 0 : -1; }
static int barrier_wait(race *r) {
    return altsem_barrier_wait(r->segment, r->slot, r->ticket, ALTSEM_FOREVER);
}
static int last_arrives(race *r) { return arrive(r, 0) == 1 ? 0 : -1; }
static int trips(race *r) { return altsem_barrier_trip(r->segment, r->slot, r->ticket); }
static int acts(race *r) { return arrive(r, 1) == 1 ? trips(r) : -1; }
static int aborts(race *r) {
    altsem_barrier_abort(r->segment, r->slot);
    return 0;
}
static int resets(race *r) {
    altsem_barrier_reset(r->segment, r->slot);
    return 0;
}
static int withdraws(race *r) {
    altsem_barrier_withdraw(r->segment, r->slot, r->ticket);
    return 0;
}

/* A thread of this process that waits, and is asleep, or back already, when the child goes on. */
typedef struct waiter {
    race *of;
    int (*wait)(race *);
} waiter;
static void *run_waiter(void *arg) {
    waiter *me = arg;
    me->of->tid = (pid_t)syscall(SYS_gettid);
    me->of->mine = me->wait(me->of);
    me->of->back = 1;
    return NULL;
}
static int starts(race *r, int (*wait)(race *)) {
    static waiter one;
    one = (waiter){r, wait};
    sigset_t ticks;
    sigemptyset(&ticks);
    sigaddset(&ticks, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &ticks, NULL);
    if (pthread_create(&r->thread, NULL, run_waiter, &one) != 0) exit(1);
    pthread_sigmask(SIG_UNBLOCK, &ticks, NULL);
    while (!r->back && (r->tid == 0 || !is_asleep(getpid(), r->tid))) nap();
    return 0;
}
static int waits_for_token(race *r) { return starts(r, sem_wait_); }
static int waits_for_lock(race *r) { return starts(r, lock_wait); }
static int waits_for_event(race *r) { return starts(r, event_wait); }
static int waits_in_queue(race *r) { return starts(r, cond_sleep); }
static int comes_as_party(race *r) { return starts(r, party); }
static int waits_at_barrier(race *r) { return starts(r, barrier_wait); }

/* --- what must come out ------------------------------------------------------------------------- */

static int both(race *r) { return r->mine == 0 && r->child->answer == 0; }
static int one_of(race *r, int error) {
    return (r->mine == 0 && r->child->answer == error) ||
           (r->child->answer == 0 && r->mine == error);
}
static int one_took_it(race *r) {
    return one_of(r, -EAGAIN) && !(r->mine == 0) == (altsem_lock_is_mine(r->slot) == 0);
}
static int one_took_the_token(race *r) {
    return one_of(r, -EAGAIN) && altsem_sem_value(r->slot) == 0;
}
static int one_released(race *r) {
    return one_of(r, -EOVERFLOW) && altsem_lock_is_free(r->slot) &&
           altsem_lock_owner_id(r->slot) == 0;
}
static int one_posted(race *r) { return one_of(r, -EOVERFLOW) && altsem_sem_value(r->slot) == 1; }
static int token_is_taken(race *r) {
    return both(r) && altsem_sem_value(r->slot) == 0 && altsem_waiters(r->slot) == 0;
}
static int lock_is_taken(race *r) {
    return both(r) && !altsem_lock_is_free(r->slot) && altsem_lock_owner_tid(r->slot) != 0 &&
           altsem_waiters(r->slot) == 0;
}
static int nobody_waits(race *r) { return both(r) && altsem_waiters(r->slot) == 0; }
static int queue_is_empty(race *r) { return both(r) && altsem_cond_waiters(r->slot) == 0; }
static int none_or_one(race *r) {
    return r->mine == r->child->answer && (unsigned)r->mine <= 1 &&
           altsem_cond_waiters(r->slot) == 0;
}
static int passed(race *r) {
    return both(r) && altsem_barrier_waiting(r->slot) == 0 && !altsem_barrier_broken(r->slot);
}
static int is_broken(race *r) {
    return r->mine == 0 && r->child->answer == -EPIPE && altsem_barrier_broken(r->slot);
}
static int is_whole(race *r) {
    return r->mine == 0 && r->child->answer == -EPIPE && !altsem_barrier_broken(r->slot);
}
static int begins_anew(race *r) {
    return r->mine == 0 && r->child->answer == -EAGAIN && altsem_barrier_waiting(r->slot) == 0;
}

static const scenario scenarios[] = {
    {"try-try", ALTSEM_SEM, 1, 1, NULL, sem_try, sem_try, one_took_the_token, NULL, NULL},
    {"post-post", ALTSEM_SEM, 0, 1, NULL, post, post, one_posted, NULL, NULL},
    {"wait-post", ALTSEM_SEM, 0, 1, NULL, sem_wait_, post, token_is_taken, NULL, NULL},
    {"post-wait", ALTSEM_SEM, 0, 1, NULL, post, waits_for_token, token_is_taken, NULL, NULL},
    {"take-take", ALTSEM_LOCK, 1, 1, NULL, lock_try, lock_try, one_took_it, NULL, NULL},
    {"release-release", ALTSEM_LOCK, 0, 1, NULL, release, release, one_released, NULL, NULL},
    {"lock-release", ALTSEM_LOCK, 0, 1, NULL, lock_wait, release, lock_is_taken, NULL, NULL},
    {"release-lock", ALTSEM_LOCK, 0, 1, NULL, release, waits_for_lock, lock_is_taken, NULL, NULL},
    {"woken-post", ALTSEM_SEM, 0, 1, NULL, sem_wait_, post, token_is_taken, steal, NULL},
    {"woken-release", ALTSEM_LOCK, 0, 1, NULL, lock_wait, release, lock_is_taken, barge, NULL},
    {"wait-steal", ALTSEM_SEM, 0, 1, NULL, sem_wait_, steal, token_is_taken, NULL, post},
    {"lock-barge", ALTSEM_LOCK, 0, 1, NULL, lock_wait, barge, lock_is_taken, NULL, release},
    {"woken-steal", ALTSEM_SEM, 0, 1, NULL, sem_wait_, steal, token_is_taken, steal, post},
    {"woken-barge", ALTSEM_LOCK, 0, 1, NULL, lock_wait, barge, lock_is_taken, barge, release},
    {"event-set", ALTSEM_EVENT, 0, 0, NULL, event_wait, set, nobody_waits, NULL, NULL},
    {"event-pulse", ALTSEM_EVENT, 0, 0, NULL, event_wait, pulse, nobody_waits, NULL, NULL},
    {"set-event", ALTSEM_EVENT, 0, 0, NULL, set, waits_for_event, nobody_waits, NULL, NULL},
    {"sleep-notify", ALTSEM_COND, 0, 0, join_queue, cond_sleep, notify, queue_is_empty, NULL, NULL},
    {"notify-sleep", ALTSEM_COND, 0, 0, join_queue, notify, waits_in_queue, queue_is_empty, NULL,
     NULL},
    {"sleep-group", ALTSEM_COND, 0, 0, join_queue, cond_sleep, one_group_passes, queue_is_empty,
     NULL, NULL},
    {"sleep-groups", ALTSEM_COND, 0, 0, join_queue, cond_sleep, two_groups_pass, queue_is_empty,
     NULL, NULL},
    {"sleep-more", ALTSEM_COND, 0, 0, join_queue, cond_sleep, three_groups_pass, queue_is_empty,
     NULL, NULL},
    {"leave-notify", ALTSEM_COND, 0, 0, join_queue, leave, count_notified, none_or_one, NULL, NULL},
    {"notify-leave", ALTSEM_COND, 0, 0, join_queue, count_notified, leave, none_or_one, NULL, NULL},
    {"party-party", ALTSEM_BARRIER, 0, 2, NULL, party, comes_as_party, passed, NULL, NULL},
    {"wait-arrive", ALTSEM_BARRIER, 0, 2, one_arrives, barrier_wait, last_arrives, passed, NULL,
     NULL},
    {"arrive-wait", ALTSEM_BARRIER, 0, 2, one_arrives, last_arrives, waits_at_barrier, passed, NULL,
     NULL},
    {"wait-act", ALTSEM_BARRIER, 0, 2, one_arrives, barrier_wait, acts, passed, NULL, NULL},
    {"wait-abort", ALTSEM_BARRIER, 0, 2, one_arrives, barrier_wait, aborts, is_broken, NULL, NULL},
    {"wait-reset", ALTSEM_BARRIER, 0, 2, one_arrives, barrier_wait, resets, is_whole, NULL, NULL},
    {"wait-withdraw", ALTSEM_BARRIER, 0, 3, two_arrive, barrier_wait, withdraws, begins_anew, NULL,
     NULL},
    {"early-trip", ALTSEM_BARRIER, 0, 1, one_acts, comes_early, trips, passed, NULL, NULL},
    {"early-reset", ALTSEM_BARRIER, 0, 1, one_acts, comes_early, resets, passed, NULL, NULL},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

/* ------------------------------------------------------------------------------------------------ */

/* Whether the child has stopped or ended within `limit` milliseconds; -1: it has fallen asleep. */
static int wait_for(pid_t pid, int *status, int limit, int asleep) {
    for (; limit > 0; limit -= TICK) {
        if (waitpid(pid, status, 0) == pid) return 1; /* else a tick has come */
        if (asleep && is_asleep(pid, pid)) return waitpid(pid, status, WNOHANG) == pid ? 1 : -1;
    }
    return 0;
}

static void tick(int number) { (void)number; }

/* Ends a waitpid() now and then, in this thread only. */
static void start_ticking(void) {
    struct sigaction action = {.sa_handler = tick};
    struct itimerval often = {{0, TICK * 1000}, {0, TICK * 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

static void stay_on_one_cpu(void) {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
    altsem_cpus_forget();
    altsem_cpus(); /* not for the first time in the call */
}

static int step(pid_t pid, int *status) {
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) exit(1);
    int stopped = wait_for(pid, status, PATIENCE, 1);
    if (stopped == 0) exit(1);
    return stopped;
}

/* NULL, or what is wrong; *more: the call has more than `steps` instructions. */
static const char *stop_after(const scenario *what, race *r, long steps, int *more) {
    int status, asleep = 0;
    int error = altsem_slot_new(what->type, what->value, what->maxvalue, &r->segment, &r->slot);
    if (error != 0) {
        fprintf(stderr, "no slot: %s\n", strerror(-error));
        exit(1);
    }
    altsem_slot_export(r->segment, r->slot);
    if (what->before) what->before(r);
    r->child->answer = r->child->done = r->tid = r->back = 0;
    pid_t pid = fork();
    if (pid == 0) {
        altsem_segment *segment;
        altsem_slot *lock; /* asks the kernel who this is now, rather than in the call */
        if (altsem_slot_new(ALTSEM_LOCK, 1, 1, &segment, &lock) != 0 || altsem_lock_try(lock) != 0)
            _exit(1);
        stay_on_one_cpu(); /* so it yields instead of going round and round, where it may spin */
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(77);
        raise(SIGSTOP);
        r->child->answer = what->call(r);
        r->child->done = 1;
        _exit(0);
    }
    if (!wait_for(pid, &status, PATIENCE, 0) || !WIFSTOPPED(status)) exit(77);
    const char *wrong = NULL;
    if (what->in_vain) {
        while (step(pid, &status) > 0) continue;
        if (what->in_vain(r) != 0 || wait_for(pid, &status, PATIENCE, 0) <= 0)
            wrong = "is not woken in vain";
    }
    for (long i = 0; !wrong && i < steps && !r->child->done && !asleep; i++)
        asleep = step(pid, &status) < 0;
    *more = !r->child->done && !asleep;
    int answer = what->other(r);
    if (r->tid == 0) r->mine = answer;
    /* One that is asleep stops at the end of the step that it was in; but not if it is to sleep on. */
    if (asleep && !wrong) {
        int stopped = wait_for(pid, &status, PATIENCE, what->last != NULL);
        if (stopped < 0) r->mine = what->last(r), stopped = wait_for(pid, &status, PATIENCE, 0);
        if (!stopped) wrong = "sleeps on";
    }
    if (!wrong) ptrace(PTRACE_DETACH, pid, NULL, NULL);
    int ended = wrong ? 0 : wait_for(pid, &status, PATIENCE, what->last != NULL);
    if (ended < 0) r->mine = what->last(r), ended = wait_for(pid, &status, PATIENCE, 0);
    if (!wrong && (ended <= 0 || !WIFEXITED(status))) wrong = "does not come back";
    for (int i = 0; !wrong && r->tid != 0 && !r->back; i++, nap()) /* 5 in a ms */
        if (i == 5 * PATIENCE) wrong = "leaves the other one asleep";
    if (wrong) {
        kill(pid, SIGKILL);
        return wrong;
    }
    if (r->tid != 0) pthread_join(r->thread, NULL);
    if (!what->good(r)) return "answers wrong";
    altsem_slot_free(r->segment, r->slot);
    return NULL;
}

int main(int argc, char **argv) {
    const scenario *what = NULL;
    for (int i = 0; i < SCENARIOS; i++) {
        if (argc == 1) puts(scenarios[i].name);
        if (argc == 3 && strcmp(scenarios[i].name, argv[1]) == 0) what = &scenarios[i];
    }
    if (argc == 1) return 0;
    if (!what) return 2;
    start_ticking();
    race r = {.child = mmap(NULL, sizeof *r.child, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    if (r.child == MAP_FAILED) return 1;
    long stride = strtol(argv[2], NULL, 10), stops = 0;
    const char *wrong = NULL;
    for (int more = 1; more && !wrong; stops++) {
        wrong = stop_after(what, &r, stops * stride, &more);
        if (wrong)
            printf("stopped after %ld it %s: %d, the other %d\n", stops * stride, wrong,
                   r.child->answer, r.mine);
    }
    printf("%ld stops\n", stops);
    exit(wrong != NULL);
}
