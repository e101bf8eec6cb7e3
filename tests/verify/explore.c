/* explore.c - runs all that a few threads can do with the real primitives.
 *
 *   explore                     lists the scenarios: name, primitive, threads, late, what
 *   explore NAME [OPTION]...    explores one
 *     --steps                   prints each kind of step that changed a word
 *     --graph FILE              writes the graph of all states, for verify/inclusion.py
 *     --quiet                   of a violation only the first line
 *
 * Threads are coroutines of one thread of the system.  Before each atomic access to a slot (hooks.h),
 * each sleep, each wake, each judgement they give control back.  A state is the memory of the slots, the
 * stacks and registers of the threads, and the rest of the world (explore.h); all of it is copied
 * away and back, so nothing is executed twice.  A depth-first search takes every choice in every
 * state: which thread makes its access; whom a wake reaches; and, as often as the scenario allows,
 * that a sleep ends by a signal or for no reason, that a weak compare-and-swap fails, that time
 * passes, that a thread is killed.  A state that has been seen (128 bits of hash say so) is not
 * gone on from again.  Time passes only by choice: when nobody can do anything it jumps to where
 * the first sleep ends.
 *
 * Wrong is: what a scenario says; a state in which nobody can do anything and somebody should; and a
 * state from which no way leads to a good end, unless by a signal, a death or a time-out.
 * Memory orders: the search itself is sequentially consistent.  But it is kept who has heard of which
 * write to plain data by acquire and release alone, as C11 counts it, and a scenario asks.
 *
 * Exit status: 0 all is well, 1 a violation, 2 a mistake of the caller, 3 too many states.
 */
#define _GNU_SOURCE
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hooks.h"
#include "process/clock.h"
#include "process/fork.h"
#include "process/proc.h"
#include "wait/spin.h"
#include "wait/testing.h"

#define STACK 16384
#define BELOW 2048 /* bytes of a stack that a step may use afresh */
#define MOST_STATES 60000000u
#define MOST_CHOICES 48
#define FAR (INT64_C(1) << 60)
#define NO_SLICE (INT64_C(1000000000) * 86400)

vf_world vf;
const vf_scenario *vf_what;
altsem_segment vf_segment;

static unsigned char stacks[VF_THREADS][STACK] __attribute__((aligned(64)));
static unsigned char *explorer_sp;
static int current = -1;     /* the thread that runs */
static uint32_t chosen_mask; /* of the step that runs: whom its wake reaches; 1: its swap fails */
static const char *failure;
static int tracing, keep_steps;

#define ME (&vf.threads[current])

/* --- switching -------------------------------------------------------------------------------- */

void vf_switch(unsigned char **save, unsigned char *to);
#if defined(__x86_64__)
__asm__(".text\n.globl vf_switch\n.type vf_switch,@function\nvf_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size vf_switch,.-vf_switch\n");
#else
#error "no coroutines for this machine"
#endif

static unsigned char *top_of(int thread) { return stacks[thread] + STACK; }

static void entry(void) {
    vf_what->body(current);
    ME->status = VF_DONE;
    vf_switch(&ME->sp, explorer_sp);
    abort();
}

static void prepare(int thread) {
    uint64_t *top = (uint64_t *)top_of(thread);
    memset(stacks[thread], 0, STACK);
    top[-2] = (uint64_t)(uintptr_t)entry;
    vf.threads[thread].sp = (unsigned char *)(top - 8);
    vf.threads[thread].status = VF_READY;
}

/* What is left of it. */
static void end_of(vf_thread *t, int status) {
    vf_thread rest = {.id = t->id, .token = t->token, .tid = t->tid, .pid = t->pid, .op = t->op};
    rest.start[0] = t->start[0], rest.start[1] = t->start[1];
    rest.status = (uint8_t)status;
    *t = rest;
}

static void resume(int thread) {
    vf_thread *t = &vf.threads[thread];
    current = thread;
    altsem_me.id = t->id;
#ifdef ALTSEM_SUSPECT
    altsem_me.token = t->token;
#else
    altsem_me.tid = t->token;
#endif
    altsem_me.generation = 1;
    errno = 0;
    memset(t->sp - BELOW, 0, BELOW); /* what lies there must not make states differ */
    vf_switch(&explorer_sp, t->sp);
    current = -1;
    if (t->status == VF_DONE || t->status == VF_DEAD) {
        end_of(t, t->status);
    }
}

static int interrupting; /* the step that is being made is one of a signal handler */

static void yield(enum vf_at at, const volatile void *place) {
    ME->at = (uint8_t)at;
    ME->place = place;
    vf_switch(&ME->sp, explorer_sp);
    while (interrupting) {
        vf_thread before = *ME;
        interrupting = 0;
        vf_what->handler(current);
        before.sp = ME->sp;
        *ME = before;
        vf_switch(&ME->sp, explorer_sp);
    }
    ME->at = 0;
    ME->place = NULL;
}

int vf_me(void) { return current; }

void vf_fail(const char *why) {
    failure = why;
    yield(VF_FAILED, NULL);
    abort();
}

/* --- accesses --------------------------------------------------------------------------------- */

static int is_shared(const volatile void *at) {
    return (uintptr_t)at - (uintptr_t)vf.slots < sizeof vf.slots;
}
static int cell_of(const volatile void *at) {
    return (int)(((uintptr_t)at - (uintptr_t)vf.slots) / 8);
}
static int acquires(int order) {
    return order == memory_order_acquire || order == memory_order_consume ||
           order == memory_order_acq_rel || order == memory_order_seq_cst;
}
static int releases(int order) {
    return order == memory_order_release || order == memory_order_acq_rel ||
           order == memory_order_seq_cst;
}
static void hear(int cell, int order) {
    if (acquires(order)) vf.knows[current] |= vf.cells[cell];
    else vf.fence[current] |= vf.cells[cell];
}
/* A read-modify-write goes on with the release sequence that it finds, a store ends it. */
static void tell(int cell, int order, int goes_on) {
    uint8_t what = releases(order) ? vf.knows[current] : vf.published[current];
    vf.cells[cell] = goes_on ? vf.cells[cell] | what : what;
}

static uint64_t get(const volatile void *at, int size) {
    uint64_t value = 0;
    memcpy(&value, (const void *)at, (size_t)size);
    return value;
}

/* What was a step of which thread in which word: for the comparison with the models. */
typedef struct step {
    uint64_t before, after;
    uint8_t op, thread, cell, slept;
} step;
static step *steps_seen;
static size_t steps_count, steps_room;
static step last_step; /* of the transition that is being made */

static void changed(const volatile void *at, uint64_t before, uint64_t after) {
    int cell = cell_of(at);
    if (before == after) return;
    last_step = (step){before, after, ME->op, (uint8_t)current, (uint8_t)cell, ME->slept};
    if (keep_steps) {
        size_t i = 0;
        while (i < steps_count && memcmp(&steps_seen[i], &last_step, sizeof last_step) != 0) i++;
        if (i == steps_count) {
            if (steps_count == steps_room)
                steps_seen = realloc(steps_seen, (steps_room = steps_room * 2 + 64) * sizeof(step));
            steps_seen[steps_count++] = last_step;
        }
    }
    const char *why = vf_what->step ? vf_what->step(current, cell, before, after) : NULL;
    if (why) vf_fail(why);
}
static void put(volatile void *at, int size, uint64_t value) {
    uint64_t before = get(at, size);
    memcpy((void *)at, &value, (size_t)size);
    changed(at, before, get(at, size));
}

/* Sleeping and waking are no access: the kernel may be told of a place that is somebody else's. */
static void point(enum vf_at at, const volatile void *place) {
    yield(at, place);
    if (vf.freed) vf_fail("touched after it was freed");
}

uint64_t vf_load(const volatile void *at, int size, int order) {
    if (current < 0 || !is_shared(at)) return get(at, size);
    point(VF_LOAD, at);
    hear(cell_of(at), order);
    return get(at, size);
}
void vf_store(volatile void *at, int size, uint64_t value, int order) {
    if (current < 0 || !is_shared(at)) {
        memcpy((void *)at, &value, (size_t)size);
        return;
    }
    point(VF_STORE, at);
    tell(cell_of(at), order, 0);
    put(at, size, value);
}
static uint64_t combine(uint64_t before, enum vf_rmw how, uint64_t value) {
    switch (how) {
    case VF_ADD:
        return before + value;
    case VF_SUB:
        return before - value;
    case VF_AND:
        return before & value;
    case VF_OR:
        return before | value;
    default:
        return value;
    }
}
uint64_t vf_rmw(volatile void *at, int size, enum vf_rmw how, uint64_t value, int order) {
    int shared = current >= 0 && is_shared(at);
    if (shared) {
        point(VF_RMW, at);
        hear(cell_of(at), order);
        tell(cell_of(at), order, 1);
    }
    uint64_t before = get(at, size), after = combine(before, how, value);
    if (shared) put(at, size, after);
    else memcpy((void *)at, &after, (size_t)size);
    return before;
}
int vf_cas(volatile void *at, int size, void *expected, uint64_t next, int weak, int order,
           int otherwise) {
    int shared = current >= 0 && is_shared(at), spurious = 0;
    if (shared) {
        ME->weak = (uint8_t)weak;
        point(VF_CAS, at);
        ME->weak = 0;
        spurious = chosen_mask != 0;
    }
    uint64_t before = get(at, size);
    if (spurious || memcmp((const void *)at, expected, (size_t)size) != 0) {
        if (shared) hear(cell_of(at), otherwise);
        memcpy(expected, &before, (size_t)size);
        return 0;
    }
    if (shared) {
        hear(cell_of(at), order);
        tell(cell_of(at), order, 1);
        put(at, size, next);
    } else {
        memcpy((void *)at, &next, (size_t)size);
    }
    return 1;
}
void vf_fence(int order) {
    if (current < 0) return;
    if (acquires(order)) vf.knows[current] |= vf.fence[current];
    if (releases(order)) vf.published[current] = vf.knows[current];
}

/* --- for scenarios ----------------------------------------------------------------------------- */

void vf_op(enum vf_op op) {
    ME->op = (uint8_t)op;
    ME->slept = 0;
    ME->deadline = 0;
}
void vf_pause(void) { yield(VF_PAUSE, NULL); }
void vf_guard(int (*holds)(void)) {
    ME->guard = holds;
    yield(VF_GUARD, NULL);
    ME->guard = NULL;
}
void vf_write(int datum) {
    uint8_t bit = (uint8_t)(1u << datum);
    if (!vf_heard(datum)) vf_fail("memory order: a write to plain data has not been heard of");
    for (int i = 0; i < VF_THREADS; i++) {
        vf.knows[i] &= (uint8_t)~bit;
        vf.fence[i] &= (uint8_t)~bit;
        vf.published[i] &= (uint8_t)~bit;
    }
    for (int i = 0; i < VF_CELLS; i++) vf.cells[i] &= (uint8_t)~bit;
    vf.told &= ~(uint64_t)bit;
    vf.mutex_knows &= (uint8_t)~bit;
    vf.knows[current] |= bit;
}
static int mutex_is_free(void) { return vf.mutex == 0; }
void vf_lock(void) {
    vf_guard(mutex_is_free);
    vf.mutex = (uint8_t)(current + 1);
    vf.knows[current] |= vf.mutex_knows;
}
void vf_unlock(void) {
    vf_pause();
    vf.mutex = 0;
    vf.mutex_knows = vf.knows[current];
}
void vf_tell(void) { vf.told = vf.knows[current]; }
void vf_hear(void) { vf.knows[current] |= (uint8_t)vf.told; }
int vf_heard(int datum) { return vf.knows[current] >> datum & 1; }
int64_t vf_deadline(int64_t ns) {
    ME->deadline = ns ? VF_START + ns : 0;
    return ns ? VF_START + ns : ALTSEM_FOREVER;
}
void vf_freed(void) { vf.freed = 1; }
void vf_slot(int number, int type, int64_t value, int64_t maxvalue) {
    if (altsem_slot_init(&vf.slots[number], type, value, maxvalue) != 0) abort();
}

/* --- what the core asks of the rest ------------------------------------------------------------- */

altsem_page altsem_own = {.generation = 1};
_Thread_local altsem_thread altsem_me ALTSEM_TLS;
_Atomic uint32_t altsem_settled = 1;
void altsem_settle(void) {}
void altsem_at_fork(altsem_fork_hooks *hooks) { (void)hooks; }
unsigned altsem_fork_count(void) { return 0; }
uint32_t altsem_new_generation(void) { abort(); }
void altsem_introduce(void) { abort(); }
uint64_t altsem_process_id(void) { return altsem_id_process(altsem_me.id); }
uint32_t altsem_pid_namespace(void) { return 1; }
uint32_t altsem_segment_namespace(const altsem_segment *segment) { return (void)segment, 1; }
void altsem_backends_chosen_by(const altsem_backend_choice *choice) { (void)choice; }
int64_t altsem_slice(void) { return vf_what->slices ? ALTSEM_SLICE : NO_SLICE; }
int altsem_may_spin(void) { return 0; }
void altsem_slept(int result, int slice, int64_t until) { (void)result, (void)slice, (void)until; }
void altsem_woke(void) {}
uint64_t altsem_id_from(uint32_t pid, uint32_t start, uint32_t space) {
    return (uint64_t)pid << (ALTSEM_THREAD_BITS + ALTSEM_ORIGIN_BITS + 1) |
           UINT64_C(1) << (ALTSEM_THREAD_BITS + ALTSEM_ORIGIN_BITS) |
           (uint64_t)(start ^ (space - 1)) << ALTSEM_THREAD_BITS;
}

int64_t altsem_clock(void) {
    if (current >= 0 && vf.ticks) yield(VF_CLOCK, NULL); /* time may pass before it is read */
    return vf.clock;
}

/* --- the kernel, as process/judge.c asks it ------------------------------------------------------ */

/* Each question is a choice of its own: between two the answers may change. */
static int is_living(const vf_thread *t) { return t->status != VF_DEAD && !t->unborn; }
static int is_known(const vf_thread *t) {
    if (is_living(t) || t->unborn) return !t->unborn;
    if (vf_what->zombies) return 1;
    /* A leader that has ended is a zombie as long as other threads live. */
    for (int i = 0; t->tid == t->pid && i < vf_what->threads; i++)
        if (is_living(&vf.threads[i]) && vf.threads[i].pid == t->pid &&
            vf.threads[i].start[0] == t->start[0])
            return 1;
    return 0;
}
static const vf_thread *thread_by(uint32_t tid) {
    for (int i = 0; i < vf_what->threads; i++)
        if (is_known(&vf.threads[i]) && vf.threads[i].tid == tid) return &vf.threads[i];
    return NULL;
}
int vf_kill(int pid, int signal) {
    (void)signal;
    yield(VF_JUDGE, NULL);
    errno = thread_by((uint32_t)pid) ? 0 : ESRCH;
    return errno ? -1 : 0;
}
long vf_syscall(long number, uint32_t pid, uint32_t tid, int signal) {
    (void)number, (void)signal;
    yield(VF_JUDGE, NULL);
    const vf_thread *t = thread_by(tid);
    errno = t && t->pid == pid ? 0 : ESRCH;
    return errno ? -1 : 0;
}
int altsem_proc_is_ours(void) { return 1; }
uint32_t altsem_proc_process_of(uint32_t tid) {
    yield(VF_JUDGE, NULL);
    const vf_thread *t = thread_by(tid);
    return t ? t->pid : 0;
}
int altsem_proc_look(const char *name, altsem_seen *seen) {
    uint32_t pid = (uint32_t)strtoul(name, NULL, 10), living = 0;
    const char *task = strstr(name, "/task/");
    yield(VF_JUDGE, NULL);
    if (task) {
        const vf_thread *t = thread_by((uint32_t)strtoul(task + 6, NULL, 10));
        if (!t || t->pid != pid) return -1;
        *seen = (altsem_seen){t->status == VF_DEAD ? 'Z' : 'S', 1, t->start[1]};
        return 0;
    }
    const vf_thread *any = NULL, *leader = NULL;
    for (int i = 0; i < vf_what->threads; i++) {
        const vf_thread *t = &vf.threads[i];
        if (t->pid != pid || !is_known(t)) continue;
        any = t;
        living += (uint32_t)is_living(t);
        if (t->tid == pid && is_living(t)) leader = t;
    }
    if (!any) return -1;
    *seen = (altsem_seen){leader ? 'S' : 'Z', living + !leader, any->start[0]};
    return 0;
}
void vf_identify(int thread, uint32_t pid, uint32_t tid, uint32_t start, uint32_t thread_start,
                 uint32_t number) {
    vf_thread *t = &vf.threads[thread];
    t->pid = pid, t->tid = tid, t->start[0] = start, t->start[1] = thread_start;
    t->id = altsem_id_from(pid, start, 1) | number;
    t->token = tid;
#ifdef ALTSEM_SUSPECT
    t->token |= altsem_hash_from(altsem_id_process(t->id), thread_start) << ALTSEM_HASH_AT;
#endif
}
static int is_number_free(void) {
    for (int i = 0; i < vf_what->threads; i++)
        if (!vf.threads[i].unborn && is_known(&vf.threads[i]))
            for (int j = 0; j < vf_what->threads; j++)
                if (vf.threads[j].unborn && vf.threads[j].tid == vf.threads[i].tid) return 0;
    return 1;
}
void vf_wait_to_be_born(void) {
    ME->unborn = 1;
    vf_guard(is_number_free);
    ME->unborn = 0;
}
/* Threads that start 63 ticks apart have the same. */
uint32_t altsem_hash_from(uint64_t process, uint32_t start);
uint32_t altsem_hash_from(uint64_t process, uint32_t start) {
    return (void)process, start % 63 + 1;
}

/* A spin is a look: any that finds nothing changes nothing, so one is as good as many. */
int altsem_spin(const altsem_spinner *spinner) {
    if (!vf_what->spins) return 0;
    uint64_t seen = vf_load(spinner->word, 8, memory_order_relaxed);
    if (spinner->until == ALTSEM_UNTIL_FREE) return altsem_lock_takeable(seen, spinner->woken);
    if (spinner->until == ALTSEM_UNTIL_TOKEN) return altsem_sem_takeable(seen, spinner->woken);
    return altsem_low(seen) != spinner->low;
}

static void leave_queue(vf_thread *t) {
    for (int i = 0; i < vf_what->threads; i++) {
        vf_thread *other = &vf.threads[i];
        if (other->status == VF_ASLEEP && other->place == t->place && other->queued > t->queued)
            other->queued--;
    }
    t->queued = 0;
    t->until = 0;
    t->place = NULL;
}
static int mock_probe(void) { return 0; }
static int mock_sleep(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                      uint32_t expected, int64_t until) {
    _Atomic uint64_t *word = altsem_word_of(slot, which);
    (void)segment;
    yield(VF_SLEEP, word);
    ME->slept = 1;
    if (altsem_low(vf_read(word)) != expected) return ALTSEM_CHANGED;
    ME->until = until;
    if (vf_what->fifo)
        for (int i = 0; i < vf_what->threads; i++)
            ME->queued +=
                vf.threads[i].status == VF_ASLEEP && vf.threads[i].place == (const void *)word;
    ME->status = VF_ASLEEP;
    yield(VF_BACK, word);
    return ME->result;
}
static void get_up(vf_thread *t, int result) {
    leave_queue(t);
    t->status = VF_READY;
    t->result = result;
}
static int mock_wake(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                     uint32_t n) {
    (void)segment;
    ME->wake = n;
    yield(VF_WAKE, altsem_word_of(slot, which));
    ME->wake = 0;
    for (int i = 0; i < vf_what->threads; i++)
        if (chosen_mask >> i & 1) get_up(&vf.threads[i], 0);
    return 0;
}
const altsem_backend_ops altsem_futex_ops = {
    .name = "mock", .base.id = 1, .probe = mock_probe, .sleep = mock_sleep, .wake = mock_wake};
const altsem_backend_ops altsem_sysv_ops = {.name = "none", .base.id = 2, .probe = mock_probe};
const altsem_backend_ops altsem_filelock_ops = {.name = "no", .base.id = 3, .probe = mock_probe};

/* --- choices ------------------------------------------------------------------------------------ */

enum kind { STEP, SIGNAL, SPURIOUS, KILL, JUMP, TICK, HANDLER };
typedef struct choice {
    uint8_t kind, thread, mask, free; /* free: happens by itself, however little is allowed */
} choice;

static int64_t next_time(int with_deadlines) {
    int64_t next = FAR;
    for (int i = 0; i < vf_what->threads; i++) {
        const vf_thread *t = &vf.threads[i];
        if (t->status == VF_ASLEEP && t->until > vf.clock && t->until < next) next = t->until;
        if (with_deadlines && t->deadline > vf.clock && t->deadline < next) next = t->deadline;
    }
    return next - vf.clock >= NO_SLICE / 2 ? FAR : next;
}

static int add(choice *list, int n, enum kind kind, int thread, unsigned mask, int free) {
    if (n == MOST_CHOICES) abort();
    list[n] = (choice){(uint8_t)kind, (uint8_t)thread, (uint8_t)mask, (uint8_t)free};
    return n + 1;
}

static int wakes(choice *list, int n, int thread) {
    const vf_thread *t = &vf.threads[thread];
    unsigned asleep = 0;
    for (int i = 0; i < vf_what->threads; i++)
        if (vf.threads[i].status == VF_ASLEEP && vf.threads[i].place == t->place) asleep |= 1u << i;
    unsigned count = (unsigned)__builtin_popcount(asleep);
    if (t->wake >= count) return add(list, n, STEP, thread, asleep, 1);
    for (unsigned mask = 0; mask < 1u << VF_THREADS; mask++) {
        if ((mask & ~asleep) || (unsigned)__builtin_popcount(mask) != t->wake) continue;
        int in_order = 1;
        for (int i = 0; vf_what->fifo && i < VF_THREADS; i++)
            if (mask >> i & 1) in_order &= vf.threads[i].queued < t->wake;
        if (in_order) n = add(list, n, STEP, thread, mask, 1);
    }
    return n;
}

static int can_run(int thread) {
    const vf_thread *t = &vf.threads[thread];
    if (t->status == VF_ASLEEP) return t->until <= vf.clock;
    return t->status == VF_READY && (t->at != VF_GUARD || t->guard());
}

static int has_been_woken(const vf_thread *t) {
    return t->status == VF_READY && t->at == VF_BACK && t->result == 0;
}

/* *quiet: nobody can do anything. */
static int choices(choice *list, int *quiet) {
    int n = 0;
    *quiet = 1;
    int held = vf_what->preemptions && vf.preemptions == 1 && can_run(vf.last);
    for (int i = 0; i < vf_what->threads; i++) {
        const vf_thread *t = &vf.threads[i];
        if (!can_run(i)) continue;
        *quiet = 0;
        if (held && i != vf.last) continue;
        if (t->status == VF_READY && t->at == VF_WAKE) {
            n = wakes(list, n, i);
            continue;
        }
        n = add(list, n, STEP, i, 0, 1);
        if (t->status == VF_READY && t->at == VF_CAS && t->weak && vf.weak)
            n = add(list, n, STEP, i, 1, 0);
    }
    for (int i = 0; i < vf_what->threads; i++) {
        const vf_thread *t = &vf.threads[i];
        /* Also just after a wake: a backend may say that a signal came, or that the time is up,
         * and have used up the wake all the same. */
        if (vf.signals && (t->status == VF_ASLEEP || has_been_woken(t)))
            n = add(list, n, SIGNAL, i, 0, 0);
        if (t->status == VF_ASLEEP && vf.spurious) n = add(list, n, SPURIOUS, i, 0, 0);
        if (vf.handlers && t->status == VF_READY && t->at != VF_PAUSE && t->at != VF_GUARD)
            n = add(list, n, HANDLER, i, 0, 0);
        if (vf.kills && (t->status == VF_READY || t->status == VF_ASLEEP) &&
            (!vf_what->victims || vf_what->victims >> i & 1))
            n = add(list, n, KILL, i, 0, 0);
    }
    int64_t next = next_time(0);
    if (*quiet && next < FAR && next - vf.calm <= vf_what->patience)
        n = add(list, n, JUMP, 0, 0, 1);
    else if (vf.jumps && next_time(1) < FAR) n = add(list, n, JUMP, 0, 1, 0);
    if (vf.ticks && !*quiet) n = add(list, n, TICK, 0, 0, 0);
    return n;
}

static void apply(choice c) {
    vf_thread *t = &vf.threads[c.thread];
    last_step = (step){0};
    switch (c.kind) {
    case STEP:
        if (vf_what->preemptions) {
            if (c.thread != vf.last && can_run(vf.last)) vf.preemptions--;
            vf.last = c.thread;
        }
        if (t->status == VF_ASLEEP) get_up(t, -ETIMEDOUT);
        if (t->at == VF_CAS && c.mask) vf.weak--;
        chosen_mask = c.mask;
        resume(c.thread);
        chosen_mask = 0;
        break;
    case SIGNAL:
        vf.signals--;
        if (t->status == VF_ASLEEP) get_up(t, -EINTR);
        else t->result = t->deadline && t->deadline <= vf.clock ? -ETIMEDOUT : -EINTR;
        break;
    case SPURIOUS:
        vf.spurious--;
        get_up(t, 0);
        break;
    case KILL:
        vf.kills--;
        vf.calm = vf.clock;
        if (t->status == VF_ASLEEP) leave_queue(t);
        if (vf.mutex == c.thread + 1) vf.mutex = 0;
        end_of(t, VF_DEAD);
        break;
    case HANDLER:
        vf.handlers--;
        interrupting = 1;
        resume(c.thread);
        break;
    case JUMP:
        if (c.mask) vf.jumps--;
        vf.clock = next_time(c.mask);
        break;
    case TICK:
        vf.ticks--;
        vf.clock += VF_TICK;
        break;
    }
}

/* --- states ------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
static void hash(const void *bytes, size_t size, uint64_t out[2]) {
    const uint64_t *words = bytes;
    uint64_t a = out[0], b = out[1];
    for (size_t i = 0; i < size / 8; i++) {
        a = mix(a ^ words[i] ^ UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xd6e8feb86659fd93));
        b = mix(b ^ words[i] ^ UINT64_C(0xe7037ed1a0b428db), UINT64_C(0xa0761d6478bd642f)) + a;
    }
    out[0] = a, out[1] = b;
}
static void hash_state(uint64_t out[2]) {
    out[0] = out[1] = 1;
    hash(&vf, sizeof vf, out);
    for (int i = 0; i < vf_what->threads; i++)
        if (vf.threads[i].sp) hash(vf.threads[i].sp, (size_t)(top_of(i) - vf.threads[i].sp), out);
}
static_assert(sizeof(vf_world) % 8 == 0, "hashed by words");

typedef struct known {
    uint64_t hash[2];
} known;
static known *table;
static uint32_t *numbers; /* of the states in the table, from 1 on */
static uint32_t table_size, states;

static uint32_t *place_of(const uint64_t key[2]) {
    uint32_t at = (uint32_t)key[0] & (table_size - 1);
    while (numbers[at] && (table[at].hash[0] != key[0] || table[at].hash[1] != key[1]))
        at = (at + 1) & (table_size - 1);
    return &numbers[at];
}
static void grow(void) {
    known *old = table;
    uint32_t *old_numbers = numbers, old_size = table_size;
    table_size = old_size ? old_size * 2 : 1u << 16;
    table = malloc(table_size * sizeof *table);
    numbers = calloc(table_size, sizeof *numbers);
    if (!table || !numbers) exit(3);
    for (uint32_t i = 0; i < old_size; i++) {
        if (!old_numbers[i]) continue;
        uint32_t *place = place_of(old[i].hash);
        *place = old_numbers[i];
        table[place - numbers] = old[i];
    }
    free(old);
    free(old_numbers);
}
/* Its number; *is_new. */
static uint32_t number_of(int *is_new) {
    uint64_t key[2];
    if (states >= table_size / 2) grow();
    hash_state(key);
    uint32_t *place = place_of(key);
    if ((*is_new = !*place)) {
        if (states == MOST_STATES) {
            printf("%s: too many states\n", vf_what->name);
            exit(3);
        }
        *place = ++states;
        table[place - numbers] = (known){{key[0], key[1]}};
    }
    return *place;
}

/* Who comes from where: to find the states without a way out, and the way to them. */
typedef struct edge {
    uint32_t from, to;
    choice by;
} edge;
static edge *edges;
static size_t edge_count, edge_room;
static uint32_t *ends; /* states that are a good end */
static size_t end_count, end_room;
typedef struct label { /* with --graph: of each edge */
    step step;
    uint8_t kind, thread, before, after; /* where the thread stood before and stands after */
} label;
static label *labels;
static int keep_labels;

static void add_edge(uint32_t from, uint32_t to, choice by, label l) {
    if (edge_count == edge_room) {
        edge_room = edge_room ? edge_room * 2 : 1 << 16;
        edges = realloc(edges, edge_room * sizeof *edges);
        if (keep_labels) labels = realloc(labels, edge_room * sizeof *labels);
        if (!edges || (keep_labels && !labels)) exit(3);
    }
    if (keep_labels) labels[edge_count] = l;
    edges[edge_count++] = (edge){from, to, by};
}
static void add_end(uint32_t state) {
    if (end_count == end_room) ends = realloc(ends, (end_room = end_room * 2 + 64) * sizeof *ends);
    ends[end_count++] = state;
}

/* A copy of everything, on a stack of copies. */
typedef struct frame {
    size_t at; /* of the copy */
    uint32_t state;
    int count, next;
    choice list[MOST_CHOICES];
} frame;
static unsigned char *copies;
static size_t copies_used, copies_room;
static frame *frames;
static size_t depth, frames_room, deepest;

static void save(frame *f) {
    size_t need = sizeof vf;
    for (int i = 0; i < vf_what->threads; i++)
        if (vf.threads[i].sp) need += (size_t)(top_of(i) - vf.threads[i].sp);
    while (copies_used + need > copies_room) {
        copies_room = copies_room ? copies_room * 2 : 1 << 20;
        copies = realloc(copies, copies_room);
        if (!copies) exit(3);
    }
    f->at = copies_used;
    unsigned char *out = copies + f->at;
    memcpy(out, &vf, sizeof vf);
    out += sizeof vf;
    for (int i = 0; i < vf_what->threads; i++) {
        if (!vf.threads[i].sp) continue;
        size_t size = (size_t)(top_of(i) - vf.threads[i].sp);
        memcpy(out, vf.threads[i].sp, size);
        out += size;
    }
    copies_used = (size_t)(out - copies);
}
static void restore(const frame *f) {
    const unsigned char *in = copies + f->at;
    memcpy(&vf, in, sizeof vf);
    in += sizeof vf;
    for (int i = 0; i < vf_what->threads; i++) {
        if (!vf.threads[i].sp) continue;
        size_t size = (size_t)(top_of(i) - vf.threads[i].sp);
        memcpy(vf.threads[i].sp, in, size);
        in += size;
    }
}
static frame *push(void) {
    if (depth == frames_room) {
        frames_room = frames_room ? frames_room * 2 : 1 << 10;
        frames = realloc(frames, frames_room * sizeof *frames);
        if (!frames) exit(3);
    }
    if (depth >= deepest) deepest = depth + 1;
    return &frames[depth++];
}

/* --- telling ------------------------------------------------------------------------------------ */

static const char *const op_names[OPS] = {
    "none", "acquire", "try",      "release", "disown", "again", "release-all", "restore",
    "post", "set",     "clear",    "wait",    "enter",  "leave", "notify",      "arrive",
    "trip", "fail",    "withdraw", "abort",   "reset",  "free"};
static const char *const at_names[] = {"load", "store", "change", "swap",  "sleep", "wake",
                                       "back", "pause", "guard",  "clock", "judge", "failed"};
static const char *const cell_names[] = {"word",  "holder",  "again",   "born",
                                         "word2", "current", "tripped", "sleepers"};
static const char *const kind_names[] = {"",
                                         "signal",
                                         "wakes for no reason",
                                         "KILLED",
                                         "time passes",
                                         "a moment passes",
                                         "a handler runs"};

static void tell_choice(choice c) {
    const vf_thread *t = &vf.threads[c.thread];
    if (c.kind == HANDLER) {
        printf("  %d: a handler interrupts %s before a %s\n", c.thread, op_names[t->op],
               at_names[t->at]);
    } else if (c.kind == JUMP || c.kind == TICK) {
        printf("  -- %s\n", kind_names[c.kind]);
    } else if (c.kind != STEP) {
        printf("  %d: %s (%s, %s)\n", c.thread, kind_names[c.kind], op_names[t->op],
               t->status == VF_ASLEEP ? "asleep" : at_names[t->at]);
    } else {
        printf("  %d: %-8s %s", c.thread, op_names[t->op],
               t->status == VF_ASLEEP ? "time is up" : at_names[t->at]);
        if (t->place && is_shared(t->place))
            printf(" %s %016llx", cell_names[cell_of(t->place) % 8],
                   (unsigned long long)get(t->place, 8));
        if (c.mask) printf(" mask %x", c.mask);
    }
}
static void tell_after(choice c) {
    if (c.kind != STEP) return;
    if (last_step.before != last_step.after)
        printf(" -> %016llx", (unsigned long long)last_step.after);
    printf("\n");
}

static void start(void) {
    memset(&vf, 0, sizeof vf);
    vf.clock = vf.calm = VF_START;
    vf.kills = vf_what->kills;
    vf.signals = vf_what->signals;
    vf.spurious = vf_what->spurious;
    vf.jumps = vf_what->jumps;
    vf.ticks = vf_what->ticks;
    vf.weak = vf_what->weak;
    vf.handlers = vf_what->handlers;
    vf.preemptions = vf_what->preemptions;
    memset(vf.knows, 0xff, sizeof vf.knows);
    memset(vf.cells, 0xff, sizeof vf.cells);
    failure = NULL;
    for (int i = 0; i < vf_what->threads; i++) {
        uint32_t number = (uint32_t)i + 1;
        vf_identify(i, number, number, number, number, 1);
    }
    vf_what->begin();
    for (int i = 0; i < vf_what->threads; i++) {
        prepare(i);
        resume(i);
    }
}

static void tell_way(const choice *way, size_t length) {
    start();
    for (size_t i = 0; i < length; i++) {
        tell_choice(way[i]);
        apply(way[i]);
        tell_after(way[i]);
    }
    printf("  word %016llx word2 %016llx joining %016llx current %016llx\n",
           (unsigned long long)vf_word(), (unsigned long long)vf_read(&vf.slots[0].word2),
           (unsigned long long)vf_read(&vf.slots[0].joining),
           (unsigned long long)vf_read(&vf.slots[0].current));
    for (int i = 0; i < vf_what->threads; i++) {
        static const char *const words[] = {"unborn", "ready", "asleep", "done", "dead"};
        const vf_thread *t = &vf.threads[i];
        printf("  %d: %s, %s", i, words[t->status], op_names[t->op]);
        if (t->status == VF_READY) printf(", before a %s", at_names[t->at]);
        printf("\n");
    }
}

static int violation(const char *why, const choice *way, size_t length) {
    printf("%s: VIOLATION %s (after %zu steps, %u states)\n", vf_what->name, why, length, states);
    if (tracing) tell_way(way, length);
    return 1;
}

/* By the way of the search. */
static int violation_here(const char *why) {
    choice *way = malloc((depth + 1) * sizeof *way);
    size_t length = 0;
    for (size_t i = 0; i < depth; i++)
        if (frames[i].next) way[length++] = frames[i].list[frames[i].next - 1];
    return violation(why, way, length);
}

/* By the edges that first led to a state. */
static int violation_at(uint32_t state, const char *why) {
    uint32_t *by = calloc(states + 1, sizeof *by);
    for (size_t i = edge_count; i-- > 0;) by[edges[i].to] = (uint32_t)i + 1;
    size_t length = 0;
    choice *way = malloc((states + 1) * sizeof *way), *out = way + states + 1;
    for (uint32_t at = state; at != 1; at = edges[by[at] - 1].from, length++)
        *--out = edges[by[at] - 1].by;
    return violation(why, out, length);
}

/* --- the search --------------------------------------------------------------------------------- */

/* 0, or a state from which no good end can be reached by what happens by itself. */
static uint32_t without_a_way_out(void) {
    uint32_t *first = calloc(states + 2, sizeof *first);
    uint32_t *from = malloc((edge_count + 1) * sizeof *from);
    uint32_t *todo = malloc((states + 1) * sizeof *todo);
    unsigned char *good = calloc(states + 1, 1);
    size_t left = 0;
    if (!first || !from || !todo || !good) exit(3);
    for (size_t i = 0; i < edge_count; i++)
        if (edges[i].by.free) first[edges[i].to]++;
    for (uint32_t i = 1; i <= states + 1; i++) first[i] += first[i - 1];
    for (size_t i = 0; i < edge_count; i++)
        if (edges[i].by.free) from[--first[edges[i].to]] = edges[i].from;
    for (size_t i = 0; i < end_count; i++)
        if (!good[ends[i]]) good[ends[i]] = 1, todo[left++] = ends[i];
    while (left) {
        uint32_t state = todo[--left];
        for (uint32_t i = first[state]; i < first[state + 1]; i++)
            if (!good[from[i]]) good[from[i]] = 1, todo[left++] = from[i];
    }
    uint32_t bad = 0;
    for (uint32_t i = 1; i <= states && !bad; i++)
        if (!good[i]) bad = i;
    free(first), free(from), free(todo), free(good);
    return bad;
}

/* NULL, or what is wrong with a state in which nothing happens by itself any more. */
static const char *judge_end(void) {
    int over = 1;
    for (int i = 0; i < vf_what->threads; i++) over &= vf_over(i);
    if (over) return vf_what->end ? vf_what->end() : NULL;
    for (int i = 0; i < vf_what->threads; i++)
        if (!vf_over(i) && vf.threads[i].deadline) return "asleep beyond its deadline";
    return vf_what->stuck ? vf_what->stuck() : "asleep, and nobody left to wake";
}

/* 0, or what is wrong with the state that the world is in now. */
static int arrive(uint32_t state) {
    frame *f = push();
    int quiet, free = 0;
    f->state = state;
    f->next = 0;
    f->count = choices(f->list, &quiet);
    for (int i = 0; i < f->count; i++) free |= f->list[i].free;
    const char *why = free ? NULL : judge_end();
    if (why) return violation_here(why);
    if (!free) add_end(state);
    save(f);
    return 0;
}

static int explore(void) {
    int is_new;
    start();
    if (failure) return violation_here(failure);
    if (arrive(number_of(&is_new))) return 1;
    int fresh = 1;
    while (depth) {
        frame *f = &frames[depth - 1];
        if (f->next == f->count) {
            copies_used = f->at;
            depth--;
            fresh = 0;
            continue;
        }
        if (!fresh) restore(f);
        choice c = f->list[f->next++];
        label l = {.kind = c.kind, .thread = c.thread, .before = vf.threads[c.thread].at};
        apply(c);
        if (failure) return violation_here(failure);
        l.step = last_step;
        l.after = vf.threads[c.thread].status == VF_ASLEEP ? VF_BACK + 64
                  : vf_over(c.thread)                      ? 255
                                                           : vf.threads[c.thread].at;
        uint32_t state = number_of(&is_new), from = f->state;
        add_edge(from, state, c, l);
        fresh = is_new;
        if (is_new && arrive(state)) return 1;
    }
    uint32_t bad = without_a_way_out();
    return bad ? violation_at(bad, "no way out") : 0;
}

/* --- */

static const vf_scenario *const lists[] = {vf_locks, vf_rlocks,   vf_sems,  vf_events,
                                           vf_conds, vf_barriers, vf_robust};
enum { LISTS = sizeof lists / sizeof lists[0] };

static const vf_scenario *by_name(const char *name) {
    for (int i = 0; i < LISTS; i++)
        for (const vf_scenario *s = lists[i]; s->name; s++)
            if (strcmp(s->name, name) == 0) return s;
    return NULL;
}
static void list_all(void) {
    for (int i = 0; i < LISTS; i++)
        for (const vf_scenario *s = lists[i]; s->name; s++)
            printf("%s\t%s\t%d\t%d\t%s\n", s->name, s->primitive, s->threads, s->late, s->what);
}

/* Numbers from 1 on; what a step changed: cell before after, and who, doing what. */
static void write_graph(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) exit(2);
    for (size_t i = 0; i < edge_count; i++) {
        const label *l = &labels[i];
        fprintf(file, "%u %u %d %d %d %d %d %llx %llx\n", edges[i].from, edges[i].to, l->kind,
                l->thread, l->before, l->after, l->step.before == l->step.after ? -1 : l->step.cell,
                (unsigned long long)l->step.before, (unsigned long long)l->step.after);
    }
    fclose(file);
}

int main(int argc, char **argv) {
    const char *graph = NULL;
    int error;
    if (argc == 1) return list_all(), 0;
    tracing = 1;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--steps") == 0) keep_steps = 1;
        else if (strcmp(argv[i], "--quiet") == 0) tracing = 0;
        else if (strcmp(argv[i], "--graph") == 0 && i + 1 < argc) graph = argv[++i];
        else return 2;
    }
    const vf_scenario *found = by_name(argv[1]);
    if (!found) return 2;
    static vf_scenario what;
    what = *found;
    if (!what.patience) what.patience = ALTSEM_SLICE;
    vf_what = &what;
    keep_labels = graph != NULL;
    if (!altsem_ops(&error)) return 2;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    int wrong = explore();
    clock_gettime(CLOCK_MONOTONIC, &after);
    double seconds =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    if (graph) write_graph(graph);
    for (size_t i = 0; i < steps_count; i++)
        printf("step %s %d %s %d %llx %llx\n", op_names[steps_seen[i].op], steps_seen[i].thread,
               cell_names[steps_seen[i].cell % 8], steps_seen[i].slept,
               (unsigned long long)steps_seen[i].before, (unsigned long long)steps_seen[i].after);
    if (!wrong)
        printf("%s: states %u, transitions %zu, ends %zu, longest %zu, seconds %.2f\n",
               vf_what->name, states, edge_count, end_count, deepest - 1, seconds);
    return wrong;
}
