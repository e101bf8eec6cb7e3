/* kills.c - kills a process after 0, 1, 2, ... instructions of a call of the core, and looks
 * whether those it leaves behind go on.
 *
 *   kills SCENARIO STRIDE FIRST    after instruction FIRST, FIRST + STRIDE, ...
 *   kills                          lists the scenarios
 *   kills overtaken-...            not killed, but stopped after each instruction, while the
 *                                  others go on until the numbers come round
 *
 * For each kill there is a primitive of its own, with threads that sleep on it.  A child makes the
 * call step by step (ptrace), and is killed.  Where the call has to wait, the others go on meanwhile
 * so that it can, and it may be killed in its sleep.  Then a survivor does what survivors do.  A kill
 * may swallow a wake; so a sleeper may sleep until its slice ends, a second at the most, but must go
 * then: no call that it makes after the survivor has acted may last for a slice.  Slices are
 * counted, not seconds, so a machine under load changes nothing.  Robust locks have to be inherited
 * by that time.
 *
 * Prints how many instructions and kills there were, the longest time from a kill until a sleeper
 * was back, and a line per sleeper that did not come back in time, or with a wrong answer.  Exit 77:
 * processes cannot be traced here.
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
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "altsem.h"
#include "wait/cpus.h"

#define MOST_SLEEPERS 3
#define PATIENCE 30 /* s */
#define BATCH 64    /* tests at a time, each with some threads */
#define ALL UINT32_MAX

typedef struct test test;
typedef struct sleeper {
    test *of;
    pthread_t thread;
    _Atomic pid_t tid;
    _Atomic int done;
    _Atomic int late;     /* slices that it slept through after the survivor had acted */
    _Atomic int64_t back; /* when it was done */
    int answer;
    uint32_t ticket;
} sleeper;

typedef struct scenario {
    const char *name;
    int type;
    int64_t value, maxvalue;
    int sleepers;
    void (*enter)(sleeper *);  /* in order, before the sleeper's thread starts */
    int (*sleep)(sleeper *);   /* once: -EINTR after a slice */
    void (*before)(test *);    /* in the child, not traced */
    void (*call)(test *);      /* in the child, traced */
    void (*survive)(test *);   /* in a thread of its own */
    int may_break;             /* -EPIPE is as good an answer as 0 */
    void (*meanwhile)(test *); /* once, when the child sleeps in its call */
    enum { SLEEPERS_FIRST, CHILD_FIRST, SLEEPERS_LAST } order; /* last: when the call has begun */
    int robust, held;                                          /* held by this process at first */
} scenario;

struct test {
    const scenario *what;
    altsem_segment *segment;
    altsem_slot *slot;
    sleeper sleepers[MOST_SLEEPERS];
    uint32_t ticket, index, generation; /* of the child */
    _Atomic int acted;                  /* nothing more has to be done for the sleepers */
    int went_on;                        /* meanwhile() has been called */
    int64_t killed;                     /* when */
};

static void nap(void) { nanosleep(&(struct timespec){0, 1000000}, NULL); }

/* --- conditions ------------------------------------------------------------------------------- */

static void cond_enter(sleeper *me) { altsem_cond_enter(me->of->slot, &me->ticket); }
static int cond_sleep(sleeper *me) {
    return altsem_cond_sleep(me->of->segment, me->of->slot, me->ticket, ALTSEM_FOREVER);
}
static void notify_one(test *t) { altsem_cond_notify(t->segment, t->slot, 1); }
static void notify_two(test *t) { altsem_cond_notify(t->segment, t->slot, 2); }
static void notify_all(test *t) { altsem_cond_notify(t->segment, t->slot, ALL); }
static void child_enters(test *t) { altsem_cond_enter(t->slot, &t->ticket); }
static void child_leaves(test *t) { altsem_cond_leave(t->slot, t->ticket); }
static void child_takes(test *t) { altsem_cond_sleep(t->segment, t->slot, t->ticket, ALTSEM_NOW); }
static void enter_and_notify(test *t) {
    child_enters(t);
    notify_one(t);
}

/* --- barriers --------------------------------------------------------------------------------- */

static int party(test *t, uint32_t *generation, int *arrived) {
    uint32_t index;
    if (!*arrived) {
        int answer =
            altsem_barrier_arrive(t->segment, t->slot, 0, ALTSEM_FOREVER, &index, generation);
        if (answer != 0) return answer == 1 ? 0 : answer;
        *arrived = 1;
    }
    int answer = altsem_barrier_wait(t->segment, t->slot, *generation, ALTSEM_FOREVER);
    if (answer == -EAGAIN) *arrived = 0;
    return answer == -EAGAIN ? -ECANCELED : answer; /* look again, but no slice has ended */
}
static void barrier_enter(sleeper *me) {
    uint32_t index;
    altsem_barrier_arrive(me->of->segment, me->of->slot, 0, ALTSEM_FOREVER, &index, &me->ticket);
}
static int barrier_sleep(sleeper *me) {
    int arrived = 1, answer;
    while ((answer = party(me->of, &me->ticket, &arrived)) == -ECANCELED) continue;
    return answer;
}
static void *extra_party(void *arg) {
    test *t = arg;
    uint32_t generation;
    int arrived = 0, answer;
    while ((answer = party(t, &generation, &arrived)) == -EINTR || answer == -ECANCELED) continue;
    return NULL;
}
static int are_done(test *t) {
    for (int i = 0; i < t->what->sleepers; i++)
        if (!t->sleepers[i].done) return 0;
    return 1;
}
/* Brings as many as are missing once those who sleep are counted; none if it has ended, or will
 * when they look after the one that runs the action. */
static void complete(test *t) {
    if (t->what->may_break && altsem_barrier_waiting(t->slot) == 0) t->acted = 1;
    while ((int)altsem_barrier_waiting(t->slot) < t->what->sleepers) {
        if (are_done(t)) return;
        nap();
    }
    int missing = (int)t->what->maxvalue - (int)altsem_barrier_waiting(t->slot);
    pthread_t threads[4];
    for (int i = 0; i < missing; i++) pthread_create(&threads[i], NULL, extra_party, t);
    for (int i = 0; i < missing; i++) pthread_join(threads[i], NULL);
}
static void child_arrives(test *t) {
    altsem_barrier_arrive(t->segment, t->slot, 0, ALTSEM_FOREVER, &t->index, &t->generation);
}
static void child_arrives_to_act(test *t) {
    altsem_barrier_arrive(t->segment, t->slot, 1, ALTSEM_FOREVER, &t->index, &t->generation);
}
static void child_acts(test *t) {
    child_arrives_to_act(t);
    altsem_barrier_trip(t->segment, t->slot, t->generation);
}
static void child_trips(test *t) { altsem_barrier_trip(t->segment, t->slot, t->generation); }
static void child_fails(test *t) { altsem_barrier_fail(t->segment, t->slot, t->generation); }
static void child_withdraws(test *t) {
    altsem_barrier_withdraw(t->segment, t->slot, t->generation);
}
static void child_times_out(test *t) {
    altsem_barrier_wait(t->segment, t->slot, t->generation, ALTSEM_NOW);
}
static void aborts(test *t) { altsem_barrier_abort(t->segment, t->slot); }
static void resets(test *t) { altsem_barrier_reset(t->segment, t->slot); }

/* --- locks, semaphores, events ---------------------------------------------------------------- */

static void nothing(sleeper *me) { (void)me; }
static int lock_sleep(sleeper *me) {
    int answer = altsem_lock_wait(me->of->segment, me->of->slot, ALTSEM_FOREVER);
    if (answer == 0) altsem_lock_release(me->of->segment, me->of->slot);
    return answer;
}
static void releases(test *t) { altsem_lock_release(t->segment, t->slot); }
/* The sleepers take it in turn once it is free; nobody frees it for a second time. */
static void releases_if_held(test *t) {
    if (altsem_lock_owner_tid(t->slot) == 0 && !altsem_lock_is_free(t->slot)) releases(t);
}
static void robust(sleeper *me) { altsem_lock_make_robust(me->of->slot); }
/* It is born taken.  Killed while it holds it, or is about to, or no more: a sleeper takes it over. */
static void holds(test *t) {
    releases(t);
    if (altsem_lock_try(t->slot) == 0) releases(t);
}
static void dies_with_it(test *t) {
    releases(t);
    pid_t pid = fork();
    if (pid == 0) _exit(altsem_lock_wait(t->segment, t->slot, ALTSEM_FOREVER));
    waitpid(pid, NULL, 0);
}
static void inherits(test *t) {
    if (altsem_lock_inherit(t->segment, t->slot) == 0) releases(t);
}
static int sem_sleep(sleeper *me) {
    return altsem_sem_wait(me->of->segment, me->of->slot, ALTSEM_FOREVER);
}
static void posts(test *t) { altsem_sem_post(t->segment, t->slot, ALTSEM_VALUE_MAX); }
static void posts_twice(test *t) {
    posts(t);
    posts(t);
}
static void event_enter(sleeper *me) { me->ticket = altsem_event_now(me->of->slot); }
static int event_sleep(sleeper *me) {
    return altsem_event_wait(me->of->segment, me->of->slot, me->ticket, ALTSEM_FOREVER);
}
static void sets(test *t) { altsem_event_set(t->segment, t->slot); }

/* --- locks that are inherited; calls that wait -------------------------------------------------- */

static void takes(test *t) {
    while (altsem_lock_wait(t->segment, t->slot, ALTSEM_FOREVER) == -EINTR) continue;
}
static void takes_and_releases(test *t) {
    takes(t);
    releases(t);
}
static void recurs(test *t) {
    takes(t);
    altsem_rlock_again(t->slot);
    altsem_rlock_release(t->segment, t->slot);
    altsem_rlock_release(t->segment, t->slot);
}
static void takes_twice(test *t) {
    takes(t);
    altsem_rlock_again(t->slot);
}
static void releases_twice(test *t) {
    altsem_rlock_release(t->segment, t->slot);
    altsem_rlock_release(t->segment, t->slot);
}
static int rlock_sleep(sleeper *me) {
    int answer = altsem_lock_wait(me->of->segment, me->of->slot, ALTSEM_FOREVER);
    if (answer == 0) answer = altsem_rlock_release(me->of->segment, me->of->slot);
    return answer;
}
/* Not twice: meanwhile it may have been taken by the sleepers. */
static void gives_up(test *t) {
    if (!t->went_on) releases(t);
}
static void does_nothing(test *t) { (void)t; }
static void waits_for_token(test *t) {
    while (altsem_sem_wait(t->segment, t->slot, ALTSEM_FOREVER) == -EINTR) continue;
}
static void waits_for_event(test *t) {
    uint32_t since = altsem_event_now(t->slot);
    while (altsem_event_wait(t->segment, t->slot, since, ALTSEM_FOREVER) == -EINTR) continue;
}
static void clears(test *t) { altsem_event_clear(t->slot); }
static void pulses(test *t) {
    sets(t);
    clears(t);
}
static void waits_to_be_notified(test *t) {
    while (altsem_cond_sleep(t->segment, t->slot, t->ticket, ALTSEM_FOREVER) == -EINTR) continue;
}
static void waits_for_parties(test *t) {
    while (altsem_barrier_wait(t->segment, t->slot, t->generation, ALTSEM_FOREVER) == -EINTR)
        continue;
}

#define LOCK(name, type, sleep, before, call, survive, ...)                                        \
    {name, type, 1, 1, 2, nothing, sleep, before, call, survive, 0, .robust = 1, __VA_ARGS__}
#define COND(name, sleepers, before, call)                                                         \
    {name,       ALTSEM_COND, 0,    0,          sleepers,      cond_enter,                         \
     cond_sleep, before,      call, notify_all, .may_break = 0}
#define BARRIER(name, parties, sleepers, before, call, survive, broken)                            \
    {name,          ALTSEM_BARRIER, 0,    parties, sleepers,           barrier_enter,              \
     barrier_sleep, before,         call, survive, .may_break = broken}
static const scenario scenarios[] = {
    COND("notify-one", 2, NULL, notify_one),
    COND("notify-second", 3, notify_one, notify_one),
    COND("notify-all", 3, NULL, notify_all),
    COND("notify-two-groups", 3, enter_and_notify, notify_two),
    COND("enter", 2, NULL, child_enters),
    COND("leave", 2, child_enters, child_leaves),
    COND("leave-notified", 2, enter_and_notify, child_leaves),
    COND("take", 2, enter_and_notify, child_takes),
    BARRIER("arrive-last", 3, 2, NULL, child_arrives, complete, 0),
    BARRIER("arrive-second", 3, 1, NULL, child_arrives, complete, 0),
    BARRIER("arrive-act-trip", 3, 2, NULL, child_acts, complete, 1),
    BARRIER("trip", 3, 2, child_arrives_to_act, child_trips, complete, 1),
    BARRIER("fail", 3, 2, child_arrives_to_act, child_fails, complete, 1),
    BARRIER("withdraw", 4, 2, child_arrives, child_withdraws, complete, 0),
    BARRIER("time-out", 4, 2, child_arrives, child_times_out, aborts, 1),
    BARRIER("abort", 3, 2, NULL, aborts, aborts, 1),
    BARRIER("reset", 3, 2, NULL, resets, resets, 1),
    {"release", ALTSEM_LOCK, 0, 1, 2, nothing, lock_sleep, NULL, releases, releases_if_held,
     .may_break = 0},
    {"hold", ALTSEM_LOCK, 0, 1, 2, robust, lock_sleep, NULL, holds, releases_if_held,
     .may_break = 0},
    {"inherit", ALTSEM_LOCK, 0, 1, 2, robust, lock_sleep, dies_with_it, inherits, releases_if_held,
     .may_break = 0},
    {"post", ALTSEM_SEM, 0, ALTSEM_VALUE_MAX, 2, nothing, sem_sleep, NULL, posts, posts_twice,
     .may_break = 0},
    {"set", ALTSEM_EVENT, 0, 0, 2, event_enter, event_sleep, NULL, sets, sets, .may_break = 0},
    LOCK("lock", ALTSEM_LOCK, lock_sleep, NULL, takes_and_releases, does_nothing,
         .order = SLEEPERS_LAST),
    LOCK("lock-waits", ALTSEM_LOCK, lock_sleep, NULL, takes_and_releases, gives_up,
         .order = SLEEPERS_LAST, .held = 1, .meanwhile = releases),
    LOCK("lock-wakes", ALTSEM_LOCK, lock_sleep, takes, releases, does_nothing,
         .order = CHILD_FIRST),
    LOCK("rlock", ALTSEM_RLOCK, rlock_sleep, NULL, recurs, does_nothing, .order = SLEEPERS_LAST),
    LOCK("rlock-wakes", ALTSEM_RLOCK, rlock_sleep, takes_twice, releases_twice, does_nothing,
         .order = CHILD_FIRST),
    {"sem", ALTSEM_SEM, 1, ALTSEM_VALUE_MAX, 2, nothing, sem_sleep, NULL, waits_for_token,
     posts_twice, 0, .order = SLEEPERS_LAST},
    {"sem-waits", ALTSEM_SEM, 0, ALTSEM_VALUE_MAX, 2, nothing, sem_sleep, NULL, waits_for_token,
     posts_twice, 0, .order = SLEEPERS_LAST, .meanwhile = posts},
    {"event-waits", ALTSEM_EVENT, 0, 0, 2, event_enter, event_sleep, NULL, waits_for_event, sets, 0,
     .order = SLEEPERS_LAST, .meanwhile = pulses},
    {"clear", ALTSEM_EVENT, 1, 0, 2, event_enter, event_sleep, NULL, clears, sets, 0,
     .order = SLEEPERS_LAST},
    {"cond-waits", ALTSEM_COND, 0, 0, 2, cond_enter, cond_sleep, child_enters, waits_to_be_notified,
     notify_all, 0, .meanwhile = notify_all},
    {"barrier-waits", ALTSEM_BARRIER, 0, 3, 1, barrier_enter, barrier_sleep, child_arrives,
     waits_for_parties, complete, 0, .meanwhile = complete},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

/* ---------------------------------------------------------------------------------------------- */

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void *run_sleeper(void *arg) {
    sleeper *me = arg;
    me->tid = (pid_t)syscall(SYS_gettid);
    for (;;) {
        int acted = me->of->acted;
        me->answer = me->of->what->sleep(me);
        if (me->answer != -EINTR) break;
        me->late += acted;
    }
    me->back = now();
    me->done = 1;
    return NULL;
}

static void *run_survivor(void *arg) {
    test *t = arg;
    t->what->survive(t);
    t->acted = 1;
    return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    int error = pthread_create(thread, &attr, run, arg);
    if (error != 0) {
        fprintf(stderr, "no thread: %s\n", strerror(error));
        exit(1);
    }
    pthread_attr_destroy(&attr);
}

static char state_of(const char *process, pid_t tid) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%s/%d/stat", process, (int)tid);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    char *end = strrchr(text, ')');
    return end ? end[2] : 0;
}

static void start_sleepers(test *t);
static void prepare(test *t, const scenario *what) {
    memset(t, 0, sizeof *t);
    t->what = what;
    int error = altsem_slot_new(what->type, what->value, what->maxvalue, &t->segment, &t->slot);
    if (error != 0) {
        fprintf(stderr, "no slot: %s\n", strerror(-error));
        exit(1);
    }
    altsem_slot_export(t->segment, t->slot);
    if (what->robust) altsem_lock_make_robust(t->slot);
    if (what->held) takes(t);
    if (what->order == SLEEPERS_FIRST) start_sleepers(t);
}

static void start_sleepers(test *t) {
    const scenario *what = t->what;
    for (int i = 0; i < what->sleepers; i++) {
        sleeper *each = &t->sleepers[i];
        each->of = t;
        what->enter(each);
        start(&each->thread, run_sleeper, each);
    }
    for (int i = 0; i < what->sleepers; i++)
        while (!t->sleepers[i].done &&
               (t->sleepers[i].tid == 0 || state_of("self/task", t->sleepers[i].tid) != 'S'))
            nap();
}

/* A child that stands before the first instruction of the call. */
static pid_t child_of(test *t) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        altsem_segment *segment;
        altsem_slot *lock; /* asks the kernel who this is now, rather than in the call */
        if (altsem_slot_new(ALTSEM_LOCK, 1, 1, &segment, &lock) != 0 || altsem_lock_try(lock) != 0)
            _exit(1);
        if (t->what
                ->meanwhile) { /* with one CPU there is no spin, which would be most of the call */
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(sched_getcpu(), &one);
            sched_setaffinity(0, sizeof one, &one);
            altsem_cpus_forget();
            altsem_cpus();
        }
        if (t->what->before) t->what->before(t);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(77);
        raise(SIGSTOP);
        t->what->call(t);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) exit(77);
    return pid;
}

/* How many instructions it makes, at most `most`; *ended: it has come to its end before. */
static long step(test *t, pid_t pid, long most, int *ended) {
    int status;
    long made = 0;
    for (*ended = 0; made < most; made++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) exit(1);
        /* A system call may sleep. */
        for (int i = 0; t->what->meanwhile && waitpid(pid, &status, WNOHANG) != pid; i++) {
            sched_yield();
            if (i % 16 != 15 || state_of(".", pid) != 'S') continue;
            if (made + 1 == most) return most;
            if (t->went_on) nap();
            else t->went_on = 1, t->what->meanwhile(t);
        }
        if (!t->what->meanwhile && waitpid(pid, &status, 0) != pid) exit(1);
        if ((*ended = !WIFSTOPPED(status))) break;
    }
    return made;
}

static long kill_after(test *t, long most) {
    int ended, status;
    pid_t pid = child_of(t);
    if (t->what->order == CHILD_FIRST) start_sleepers(t);
    long made = step(t, pid, most, &ended);
    if (t->what->order == SLEEPERS_LAST) start_sleepers(t);
    t->killed = now();
    if (ended) return made;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return made;
}

/* Waits until it has come back, or will not.  Whether all is well. */
static int look(sleeper *s, long after, int64_t *slowest) {
    time_t limit = time(NULL) + PATIENCE;
    while (!s->done && s->late < 2 && time(NULL) < limit) nap();
    int done = s->done;
    int answered = s->answer == 0 || (s->of->what->may_break && s->answer == -EPIPE);
    if (done && s->back - s->of->killed > *slowest) *slowest = s->back - s->of->killed;
    if (done && answered && s->late == 0) return 1;
    printf("killed after %ld: sleeper %d %s, after %d slices, answer %d\n", after,
           (int)(s - s->of->sleepers), done ? "came back" : "sleeps on", s->late, s->answer);
    return 0;
}

/* --- not killed, but stopped while the others go on -------------------------------------------- */

#define GROUPS 4096 /* as many as the half of the word that waiters sleep on can number */
#define GENERATIONS 65536

static void member(test *t) {
    uint32_t ticket;
    altsem_cond_enter(t->slot, &ticket);
    altsem_cond_notify(t->segment, t->slot, 1);
    altsem_cond_sleep(t->segment, t->slot, ticket, ALTSEM_NOW);
}
/* One that is notified after exactly as many groups is robbed of nothing. */
static int groups_go_on(test *t, pid_t child) {
    uint32_t ticket;
    int status;
    for (int i = 1; i < GROUPS; i++) member(t);
    altsem_cond_enter(t->slot, &ticket);
    altsem_cond_notify(t->segment, t->slot, 1);
    ptrace(PTRACE_DETACH, child, NULL, NULL);
    waitpid(child, &status, 0);
    return altsem_cond_sleep(t->segment, t->slot, ticket, ALTSEM_NOW) == 0;
}

static int generations_go_on(test *t, pid_t child) {
    uint32_t index, generation;
    int status, acted = altsem_barrier_waiting(t->slot) != 1;
    if (acted) { /* it has made its step */
        ptrace(PTRACE_DETACH, child, NULL, NULL);
        waitpid(child, &status, 0);
        return 1;
    }
    altsem_barrier_arrive(t->segment, t->slot, 0, ALTSEM_NOW, &index, &generation);
    for (int i = 0; i < 2 * (GENERATIONS - 1); i++)
        altsem_barrier_arrive(t->segment, t->slot, 0, ALTSEM_NOW, &index, &generation);
    altsem_barrier_arrive(t->segment, t->slot, 0, ALTSEM_NOW, &index, &generation);
    ptrace(PTRACE_DETACH, child, NULL, NULL);
    waitpid(child, &status, 0);
    return altsem_barrier_waiting(t->slot) == 1;
}

static const struct {
    scenario what;
    int (*go_on)(test *, pid_t);
    int stride; /* there are some ten instructions from a look to the step */
} overtaken[] = {
    {COND("overtaken-take", 0, enter_and_notify, child_takes), groups_go_on, 1},
    {COND("overtaken-leave", 0, enter_and_notify, child_leaves), groups_go_on, 1},
    {BARRIER("overtaken-wait", 2, 0, child_arrives, child_times_out, NULL, 0), generations_go_on,
     5},
    {BARRIER("overtaken-withdraw", 2, 0, child_arrives, child_withdraws, NULL, 0),
     generations_go_on, 5},
};
enum { OVERTAKEN = sizeof overtaken / sizeof overtaken[0] };

static int overtake(int number) {
    int ended = 0, good = 1;
    for (long at = 0; !ended; at += overtaken[number].stride) {
        test t;
        prepare(&t, &overtaken[number].what);
        pid_t child = child_of(&t);
        step(&t, child, at, &ended);
        if (!ended && !overtaken[number].go_on(&t, child)) {
            printf("stopped after %ld: has hurt who came later\n", at);
            good = 0;
        }
        altsem_slot_free(t.segment, t.slot);
    }
    return !good;
}

int main(int argc, char **argv) {
    for (int i = 0; argc == 2 && i < OVERTAKEN; i++)
        if (strcmp(overtaken[i].what.name, argv[1]) == 0) return overtake(i);
    const scenario *what = NULL;
    for (int i = 0; i < SCENARIOS; i++) {
        if (argc == 1) puts(scenarios[i].name);
        if (argc == 4 && strcmp(scenarios[i].name, argv[1]) == 0) what = &scenarios[i];
    }
    if (argc == 1) return 0;
    if (!what) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *limit = getenv("ALTSEM_KILLS_SECONDS");
    alarm(limit ? (unsigned)strtoul(limit, NULL, 10) : 100);
    long stride = strtol(argv[2], NULL, 10), first = strtol(argv[3], NULL, 10);
    /* The sleepers of the first may still be on their way when the others are prepared. */
    test *tests = calloc(BATCH + 1, sizeof *tests), *whole = &tests[BATCH];
    prepare(whole, what);
    long instructions = kill_after(whole, 1000000), kills = 0;
    int64_t slowest = 0;
    int good = 1;
    for (long at = first; at < instructions; at += BATCH * stride) {
        int n = 0;
        while (n < BATCH && at + n * stride < instructions) prepare(&tests[n++], what);
        for (int i = 0; i < n; i++) {
            pthread_t survivor;
            kill_after(&tests[i], at + i * stride);
            start(&survivor, run_survivor, &tests[i]);
        }
        for (int i = 0; i < n; i++)
            for (int j = 0; j < what->sleepers; j++)
                good &= look(&tests[i].sleepers[j], at + i * stride, &slowest);
        if (!good) break; /* some may sleep on, in what the next ones would use */
        kills += n;
    }
    printf("%ld instructions, %ld kills, %d ms at the most\n", instructions, kills,
           (int)(slowest / 1000000));
    exit(!good);
}
