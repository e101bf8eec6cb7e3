/* A library that still has something to do when the process ends, after the core has: the core is
 * linked to it, so its destructor runs later. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EINTR_ (-4)
#define ETIMEDOUT_ (-110)

typedef struct {
    int (*wait)(void *segment, void *slot, int64_t deadline);
    int (*post)(void *segment, void *slot, int64_t bound);
    int64_t (*deadline_in)(double seconds);
    void *segment, *slot;
    volatile uint64_t *set; /* where the header says in which set waiters sleep */
    const char *what;
} late_work;

static late_work its;
static pthread_t thread;

static int wait_for(double seconds) {
    int64_t deadline = its.deadline_in(seconds);
    int result;
    do result = its.wait(its.segment, its.slot, deadline);
    while (result == EINTR_);
    return result;
}

static void *waiter(void *result) {
    *(int *)result = wait_for(strcmp(its.what, "post") == 0 ? 60 : 1.3);
    return NULL;
}

static int answer;

void begin(const late_work *work) {
    its = *work;
    its.what = strdup(work->what); /* the interpreter is gone when it is needed */
    if (strcmp(its.what, "fork") != 0) pthread_create(&thread, NULL, waiter, &answer);
}

static int in_a_child(void) {
    int status = 1;
    pid_t pid = fork();
    if (pid == 0) _exit(wait_for(0.2) == ETIMEDOUT_ && *its.set != 0 ? 0 : 1);
    waitpid(pid, &status, 0);
    return status;
}

__attribute__((destructor)) static void end(void) {
    if (!its.what) return;
    if (strcmp(its.what, "fork") == 0) {
        answer = in_a_child();
    } else {
        if (strcmp(its.what, "post") == 0) its.post(its.segment, its.slot, 9);
        pthread_join(thread, NULL);
    }
    dprintf(1, "%d\n", answer);
}
