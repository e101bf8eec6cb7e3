/* What wait.c and sysv.c call, in a machine of the test's own (test_wait_simulated.py): its clock, its
 * system calls, and a memory in which what one thread writes is seen by others only after a fence. */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

#include "process/clock.h"
#include "process/fork.h"
#include "wait/sysv_set.h"
#include "wait/testing.h"
#include "wait/wait.h"

/* Told to the test, which answers, and may change what it likes. */
static int64_t simulated_clock(void);
static int simulated_semaphore(int operation, int64_t limit);
static int simulated_sleep(int64_t time);
static int simulated_backend(int64_t until);
static void before_step(int what);
enum { LOOKS_AT_WORD, LOOKS_AT_COUNT, STEPS_COUNT };

static struct {
    altsem_segment segment;
    _Alignas(64) char memory[4096];
    int exiting;
    void *written; /* what is not yet seen by others: an addition to 4 bytes, or 8 bytes anew */
    uint32_t added;
    uint64_t value;
} machine;

static altsem_slot *only_slot(void) { return altsem_slot_number(&machine.segment, 2); }
static uint32_t *count_of_sleepers(void) { return (uint32_t *)&only_slot()->sleepers[0]; }
static uint64_t *word_of_slot(void) { return (uint64_t *)&only_slot()->word; }

static void begin_anew(void) {
    memset(&machine, 0, sizeof machine);
    machine.segment.header = (altsem_header *)machine.memory;
    machine.segment.size = sizeof machine.memory;
    machine.segment.slots = sizeof machine.memory / ALTSEM_SLOT_BYTES;
}

static void all_is_seen(void) {
    if (machine.written && machine.added) *(uint32_t *)machine.written += machine.added;
    else if (machine.written) *(uint64_t *)machine.written = machine.value;
    machine.written = NULL;
}
static void write_word_unseen(uint64_t value) {
    machine.written = word_of_slot(), machine.added = 0, machine.value = value;
}
static uint32_t add_unseen(_Atomic uint32_t *at, uint32_t n) {
    uint32_t before = *at;
    machine.written = (void *)at, machine.added = n;
    return before;
}
static uint64_t look_at_word(const _Atomic uint64_t *word) {
    before_step(LOOKS_AT_WORD);
    return *word;
}
static uint32_t look_at_count(const _Atomic uint32_t *count) {
    before_step(LOOKS_AT_COUNT);
    return *count;
}
static int step_count(_Atomic uint32_t *count, uint32_t *seen, uint32_t next) {
    all_is_seen();
    before_step(STEPS_COUNT);
    return atomic_compare_exchange_strong(count, seen, next);
}
static int operate(struct sembuf *operation, int64_t limit) {
    all_is_seen();
    errno = simulated_semaphore(operation->sem_op, limit);
    return errno ? -1 : 0;
}
static int operate_until(struct sembuf *operation, const struct timespec *limit) {
    return operate(operation, limit->tv_sec * INT64_C(1000000000) + limit->tv_nsec);
}
static int doze(const struct timespec *time) {
    errno = simulated_sleep(time->tv_sec * INT64_C(1000000000) + time->tv_nsec);
    return errno ? -1 : 0;
}

uint32_t altsem_set_limit(void) { return 32000; }
int altsem_set_make(uint32_t semaphores, altsem_set *set) { return (void)semaphores, *set = 1, 0; }
void altsem_set_remove(altsem_set set) { (void)set; }
int altsem_set_enter(altsem_set set, uint32_t semaphores) { return (void)set, (void)semaphores, 0; }
int altsem_set_join(altsem_segment *segment, int make, altsem_set *set) {
    return (void)segment, (void)make, *set = 0, 0;
}
void altsem_set_forget(altsem_segment *segment, altsem_set set) { (void)segment, (void)set; }
void altsem_set_leave(altsem_segment *segment) { (void)segment; }
void altsem_set_after_fork(altsem_segment *segment) { (void)segment; }
int altsem_set_sweep(void) { return 0; }
int altsem_set_exiting(void) { return machine.exiting; }
void altsem_backends_chosen_by(const altsem_backend_choice *choice) { (void)choice; }
_Atomic uint32_t altsem_settled;
altsem_page altsem_own;
uint32_t altsem_new_generation(void) { return 1; }
void altsem_settle(void) {}

static int works(void) { return 0; }
static int sleeps_as_told(altsem_segment *segment, altsem_slot *slot, enum altsem_which which,
                          uint32_t expected, int64_t until) {
    (void)segment, (void)slot, (void)which, (void)expected;
    return simulated_backend(until);
}
const altsem_backend_ops altsem_futex_ops = {
    .name = "futex", .probe = works, .sleep = sleeps_as_told};
const altsem_backend_ops altsem_filelock_ops = {.name = "filelock", .probe = works};

#define altsem_clock simulated_clock
#include "wait/wait.c"

#undef atomic_fetch_add
#undef atomic_thread_fence
#undef atomic_load_explicit
#undef atomic_compare_exchange_weak
#define atomic_fetch_add add_unseen
#define atomic_thread_fence(order) all_is_seen()
#define atomic_load_explicit(count, order) look_at_count(count)
#define atomic_compare_exchange_weak step_count
#define altsem_load look_at_word
#define semtimedop(id, operation, n, limit) operate_until(operation, limit)
#define semop(id, operation, n) operate(operation, -1)
#define nanosleep(time, rest) doze(time)
#include "wait/sysv.c"

static int sleep_in_set(uint32_t expected, int64_t until) {
    return altsem_sysv_ops.sleep(&machine.segment, only_slot(), ALTSEM_WORD, expected, until);
}
static int wake_in_set(uint32_t n) {
    return altsem_sysv_ops.wake(&machine.segment, only_slot(), ALTSEM_WORD, n);
}
static int sleep_once(int64_t deadline) {
    int error;
    if (!altsem_ops(&error)) abort();
    return altsem_sleep(&machine.segment, only_slot(), ALTSEM_WORD, 0, deadline);
}
static void exit_begins(void) { machine.exiting = 1; }
