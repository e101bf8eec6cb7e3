/* threads.c - threads of one process on all primitives, built with -fsanitize=thread.
 *
 *   threads SECONDS
 *
 * What the primitives guard is plain memory here: no atomics, no volatile.  So ThreadSanitizer says
 * where a primitive does not order what was done before it and after it, also on a machine whose own
 * order is stronger than what the code asks for.  It knows nothing of sleeps and wakes in the kernel;
 * it sees the atomics, and those are what publishes.
 *
 * Prints how much was done.  Exit status 1: what was guarded has come out wrong; ThreadSanitizer's own
 * is 66.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "altsem.h"

#define THREADS 4
#define ITEMS 8
#define SOON 0.0003 /* s: deadlines that pass now and then */

typedef struct thing {
    altsem_segment *segment;
    altsem_slot *slot;
} thing;

static int64_t end;
static long done[THREADS];

static void check(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "wrong: %s\n", what);
    exit(1);
}

static thing make(int type, int64_t value, int64_t maxvalue) {
    thing made;
    int error = altsem_slot_new(type, value, maxvalue, &made.segment, &made.slot);
    check(error == 0, strerror(-error));
    return made;
}
static int over(void) { return altsem_deadline_in(1) - 1000000000 > end; }

/* As a binding does: goes on after each slice. */
static int take_lock(thing it, int64_t deadline) {
    int answer;
    while ((answer = altsem_lock_wait(it.segment, it.slot, deadline)) == -EINTR) {
    }
    return answer;
}
static int take_sem(thing it, int64_t deadline) {
    int answer;
    while ((answer = altsem_sem_wait(it.segment, it.slot, deadline)) == -EINTR) {
    }
    return answer;
}

/* --- locks ------------------------------------------------------------------------------------ */

static thing lock, rlock, mutex;
static long guarded[3];

static void *locks(void *number) {
    long *mine = number;
    for (int i = 0; !over(); i++) {
        int got = i % 3 == 0
                      ? altsem_lock_try(lock.slot)
                      : take_lock(lock, i % 3 == 1 ? ALTSEM_FOREVER : altsem_deadline_in(SOON));
        if (got == 0) {
            guarded[0]++;
            check(altsem_lock_release(lock.segment, lock.slot) == 0, "release");
        }
        check(take_lock(rlock, ALTSEM_FOREVER) == 0, "rlock");
        check(altsem_rlock_again(rlock.slot) == 0, "again");
        guarded[1]++;
        check(altsem_rlock_release(rlock.segment, rlock.slot) == 0, "rlock_release");
        if (i % 2) {
            uint32_t depth;
            check(altsem_rlock_release_all(rlock.segment, rlock.slot, &depth) == 0 && depth == 1,
                  "release_all");
        } else {
            check(altsem_rlock_release(rlock.segment, rlock.slot) == 0, "rlock_release");
        }
        got = i % 3 == 0 ? altsem_sem_try(mutex.slot)
                         : take_sem(mutex, i % 3 == 1 ? ALTSEM_FOREVER : altsem_deadline_in(SOON));
        if (got == 0) {
            guarded[2]++;
            check(altsem_sem_post(mutex.segment, mutex.slot, 1) == 0, "post");
        }
        *mine += 3;
        altsem_lock_owner_pid(lock.slot), altsem_waiters(lock.slot);
    }
    return NULL;
}

/* --- from hand to hand -------------------------------------------------------------------------- */

static thing room, items; /* of a ring: what is free, what is full */
static long ring[ITEMS];
static thing in_order; /* among those that put, and those that get */
static unsigned put_at, got_at;

static void *puts_items(void *number) {
    long *mine = number;
    while (!over()) {
        if (take_sem(room, altsem_deadline_in(SOON)) != 0) continue;
        check(take_lock(in_order, ALTSEM_FOREVER) == 0, "order");
        ring[put_at++ % ITEMS] = 1;
        altsem_lock_release(in_order.segment, in_order.slot);
        check(altsem_sem_post(items.segment, items.slot, ITEMS) == 0, "item");
        ++*mine;
    }
    return NULL;
}
/* One thread: nothing but the semaphore stands between it and those that put. */
static void *gets_items(void *number) {
    long *mine = number;
    while (!over()) {
        if (take_sem(items, altsem_deadline_in(SOON)) != 0) continue;
        long *item = &ring[got_at++ % ITEMS];
        check(*item == 1, "an item");
        *item = 0;
        check(altsem_sem_post(room.segment, room.slot, ITEMS) == 0, "room");
        ++*mine;
    }
    return NULL;
}

/* --- an event ----------------------------------------------------------------------------------- */

static thing event, seen_by_all;
static long told;
static thing turn;
static _Atomic int telling_over; /* a thread has left: what it sets at last tells nothing */

/* The last of a round tells, the others are told; a round ends when all have looked. */
static void *events(void *number) {
    long *mine = number;
    for (long round = 1; !over(); round++) {
        uint32_t index, generation;
        int answer = altsem_barrier_arrive(seen_by_all.segment, seen_by_all.slot, 0, ALTSEM_FOREVER,
                                           &index, &generation);
        if (answer == 1) {
            told = round;
            altsem_event_set(event.segment, event.slot);
        } else {
            if (answer != 0) break;
            uint32_t since = altsem_event_now(event.slot);
            do {
                answer =
                    altsem_event_wait(event.segment, event.slot, since, altsem_deadline_in(0.1));
            } while (answer != 0 && !over());
            if (answer != 0) break;
            if (telling_over) break;
            check(told == round, "told");
        }
        /* A second rendezvous, so that nobody tells again before all have looked. */
        answer =
            altsem_barrier_arrive(turn.segment, turn.slot, 1, ALTSEM_FOREVER, &index, &generation);
        if (answer == 1) {
            altsem_event_clear(event.slot);
            altsem_barrier_trip(turn.segment, turn.slot, generation);
        } else {
            do {
                answer = altsem_barrier_wait(turn.segment, turn.slot, generation, ALTSEM_FOREVER);
            } while (answer == -EINTR && !over());
            if (answer != 0) break;
        }
        ++*mine;
    }
    telling_over = 1;
    altsem_barrier_abort(turn.segment, turn.slot);
    altsem_barrier_abort(seen_by_all.segment, seen_by_all.slot);
    altsem_event_set(event.segment, event.slot);
    return NULL;
}

/* --- a condition -------------------------------------------------------------------------------- */

static thing cond, cond_lock;
static long stock, made_by_all, used_by_all;

static void *conditions(void *number) {
    long *mine = number;
    int makes = (mine - done) % 2;
    while (!over()) {
        check(take_lock(cond_lock, ALTSEM_FOREVER) == 0, "lock of a condition");
        if (makes) {
            stock++, made_by_all++;
            altsem_cond_notify(cond.segment, cond.slot, 1);
        } else if (stock == 0) {
            uint32_t ticket;
            check(altsem_cond_enter(cond.slot, &ticket) == 0, "enter");
            altsem_lock_release(cond_lock.segment, cond_lock.slot);
            int answer =
                altsem_cond_sleep(cond.segment, cond.slot, ticket, altsem_deadline_in(SOON));
            if (answer != 0 && altsem_cond_leave(cond.slot, ticket))
                altsem_cond_notify(cond.segment, cond.slot, 1);
            check(take_lock(cond_lock, ALTSEM_FOREVER) == 0, "lock of a condition");
        }
        if (!makes && stock > 0) stock--, used_by_all++;
        altsem_lock_release(cond_lock.segment, cond_lock.slot);
        ++*mine;
    }
    return NULL;
}

/* --- a barrier ---------------------------------------------------------------------------------- */

static thing barrier;
static long cells[THREADS];

static int meet(int acts) {
    uint32_t index, generation;
    int answer;
    do { /* the action of the generation before may not be over */
        answer = altsem_barrier_arrive(barrier.segment, barrier.slot, acts, ALTSEM_FOREVER, &index,
                                       &generation);
    } while (answer == -EINTR);
    if (answer == 1 && acts) {
        long sum = 0;
        for (int i = 0; i < THREADS; i++) sum += cells[i];
        check(sum == THREADS * cells[0], "what the action sees");
        return altsem_barrier_trip(barrier.segment, barrier.slot, generation);
    }
    if (answer != 0) return answer == 1 ? 0 : answer;
    do {
        answer = altsem_barrier_wait(barrier.segment, barrier.slot, generation, ALTSEM_FOREVER);
    } while (answer == -EINTR);
    return answer;
}

static void *barriers(void *number) {
    long *mine = number, me = mine - done;
    for (long round = 1; !over(); round++) {
        cells[me] = round;
        if (meet(round % 2) != 0) break;
        for (int i = 0; i < THREADS; i++) check(cells[i] == round, "a cell");
        if (meet(0) != 0) break;
        ++*mine;
    }
    altsem_barrier_abort(barrier.segment, barrier.slot);
    return NULL;
}

/* --- slots, segments and names ------------------------------------------------------------------ */

static thing known;

static void *slots(void *number) {
    long *mine = number;
    for (int i = 0; !over(); i++) {
        thing some[5], again;
        for (int k = 0; k < 5; k++) {
            some[k] = make(1 + (i + k) % 6, 1, 3);
            if (k % 2) {
                uint64_t at = altsem_slot_export(some[k].segment, some[k].slot);
                check(altsem_slot_at(some[k].segment, at, 0, &again.slot) == 0, "slot_at");
                altsem_slot_free(some[k].segment, again.slot);
            }
        }
        check(altsem_slot_find((uintptr_t)known.slot, &again.segment, &again.slot) == 0, "find");
        altsem_slot_free(again.segment, again.slot);
        altsem_segment *found = altsem_segment_lookup(altsem_segment_id(known.segment));
        check(found == known.segment, "lookup");
        altsem_segment_decref(found);
        int fd = dup(altsem_segment_fd(known.segment)), took = 0;
        if (altsem_segment_attach(fd, NULL, &found, &took) == 0) altsem_segment_decref(found);
        check(!took, "took");
        close(fd);
        altsem_segment_count(), altsem_fork_count();
        for (int k = 0; k < 5; k++) altsem_slot_free(some[k].segment, some[k].slot);
        *mine += 5;
    }
    return NULL;
}

static void *names(void *number) {
    static const char *const all[] = {"one", "two"};
    long *mine = number;
    for (int i = 0; !over(); i++) {
        thing it;
        const char *name = all[i % 2];
        int error = altsem_named_create(name, ALTSEM_SEM, 0, 9, &it.segment, &it.slot);
        if (error == -EEXIST) error = altsem_named_open(name, ALTSEM_SEM, &it.segment, &it.slot);
        if (error == 0) {
            altsem_sem_post(it.segment, it.slot, 9), altsem_sem_try(it.slot);
            if (i % 3 == 0) altsem_named_unlink(name);
            altsem_slot_free(it.segment, it.slot);
        }
        altsem_named_exists(name);
        ++*mine;
    }
    altsem_named_unlink(all[0]), altsem_named_unlink(all[1]);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ */

typedef void *work(void *);
typedef struct part {
    const char *name;
    work *works[THREADS];
} part;

static const part parts[] = {
    {"locks", {locks, locks, locks, locks}},
    {"semaphores", {puts_items, puts_items, puts_items, gets_items}},
    {"events", {events, events, events, events}},
    {"conditions", {conditions, conditions, conditions, conditions}},
    {"barriers", {barriers, barriers, barriers, barriers}},
    {"slots", {slots, slots, slots, slots}},
    {"names", {names, names, names, names}},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

int main(int count, char **arguments) {
    double seconds = count > 1 ? atof(arguments[1]) : 7;
    int error = 0;
    const char *backend = altsem_backend(&error);
    check(backend != NULL, "a backend");
    lock = make(ALTSEM_LOCK, 1, 1), rlock = make(ALTSEM_RLOCK, 1, 1);
    mutex = make(ALTSEM_SEM, 1, 1);
    room = make(ALTSEM_SEM, ITEMS, ITEMS), items = make(ALTSEM_SEM, 0, ITEMS);
    in_order = make(ALTSEM_LOCK, 1, 1);
    event = make(ALTSEM_EVENT, 0, 1);
    seen_by_all = make(ALTSEM_BARRIER, 0, THREADS), turn = make(ALTSEM_BARRIER, 0, THREADS);
    cond = make(ALTSEM_COND, 0, 0), cond_lock = make(ALTSEM_LOCK, 1, 1);
    barrier = make(ALTSEM_BARRIER, 0, THREADS);
    known = make(ALTSEM_SEM, 0, 1);
    altsem_slot_export(known.segment, known.slot);
    printf("%s:", backend);
    for (int i = 0; i < PARTS; i++) {
        pthread_t threads[THREADS];
        long sum = 0;
        memset(done, 0, sizeof done);
        end = altsem_deadline_in(seconds / PARTS);
        for (int k = 0; k < THREADS; k++)
            check(pthread_create(&threads[k], NULL, parts[i].works[k], &done[k]) == 0, "a thread");
        for (int k = 0; k < THREADS; k++) pthread_join(threads[k], NULL), sum += done[k];
        check(sum > 0, parts[i].name);
        printf(" %s %ld", parts[i].name, sum);
        fflush(stdout);
    }
    check(stock == made_by_all - used_by_all, "the stock");
    check(guarded[1] > 0, "nothing was done");
    printf("\n");
    return 0;
}
