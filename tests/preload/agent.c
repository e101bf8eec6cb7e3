/* agent.c - does what it is told, a line at a time, and says what came of it.
 *
 * An ordinary program: it knows nothing of altsem, and is linked with the libc alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64, THREADS = 8, ROUNDS = 300 };

static sem_t *sems[MOST];
static int count;

static int flags_of(const char *text) {
    int flags = 0;
    for (; *text; text++) {
        if (*text == 'w') flags |= O_RDWR;
        if (*text == 'c') flags |= O_CREAT;
        if (*text == 'x') flags |= O_EXCL;
        if (*text == 't') flags |= O_TRUNC;
    }
    return flags;
}

static void say(long result) {
    if (result < 0) printf("errno %d\n", errno);
    else printf("%ld\n", result);
}

/* Opens, uses and closes one semaphore over and over, as the other threads do. */
static void *use(void *name) {
    for (int i = 0; i < ROUNDS; i++) {
        sem_t *sem = sem_open(name, O_CREAT, 0600, 1);
        if (sem == SEM_FAILED || sem_wait(sem) != 0) return name;
        if (sem_post(sem) != 0 || sem_close(sem) != 0) return name;
    }
    return NULL;
}

static long crowd(char *name) {
    pthread_t threads[THREADS];
    long failed = 0;
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, use, name);
    /* Meanwhile forks, each at whatever moment the others are in. */
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (child == 0) _exit(use(name) ? 1 : 0);
        int status = 1;
        if (waitpid(child, &status, 0) != child || status != 0) failed++;
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failed += result != NULL;
    }
    return failed;
}

/* In the child of a fork: opens it again, gives it once, closes both. */
static long in_child(const char *name, sem_t *mine) {
    pid_t child = fork();
    if (child == 0) {
        sem_t *again = sem_open(name, 0);
        int good = again == mine && sem_post(again) == 0 && !sem_close(again) && !sem_close(mine);
        _exit(good ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status;
}

static long wait_for(sem_t *sem, long ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    return sem_timedwait(sem, &until);
}

/* Writes a byte to each page, or reads the first byte back. */
static long touch(int fd, long size, int value) {
    unsigned char *memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return -1;
    for (long at = 0; value >= 0 && at < size; at += 4096) memory[at] = (unsigned char)value;
    long found = memory[0];
    munmap(memory, (size_t)size);
    return found;
}

static void act(const char *what, const char *name, const char *flags, long a, long b) {
    struct stat status;
    if (strcmp(what, "sem_open") == 0) {
        sem_t *sem = sem_open(name, flags_of(flags), (mode_t)a, (unsigned)b);
        if (sem == SEM_FAILED) {
            say(-1);
            return;
        }
        for (int i = 0; i < count; i++)
            if (sems[i] == sem) {
                say(i);
                return;
            }
        sems[count++] = sem;
        say(count - 1);
    } else if (strcmp(what, "sem_close") == 0) say(sem_close(sems[atoi(name)]));
    else if (strcmp(what, "sem_post") == 0) say(sem_post(sems[atoi(name)]));
    else if (strcmp(what, "sem_wait") == 0) say(wait_for(sems[atoi(name)], a));
    else if (strcmp(what, "sem_value") == 0) {
        int value = -1;
        sem_getvalue(sems[atoi(name)], &value);
        say(value);
    } else if (strcmp(what, "sem_unlink") == 0) say(sem_unlink(name));
    else if (strcmp(what, "in_child") == 0) say(in_child(name, sems[a]));
    else if (strcmp(what, "crowd") == 0) say(crowd((char *)name));
    else if (strcmp(what, "shm_open") == 0) say(shm_open(name, flags_of(flags), (mode_t)a));
    else if (strcmp(what, "shm_unlink") == 0) say(shm_unlink(name));
    else if (strcmp(what, "ftruncate") == 0) say(ftruncate(atoi(name), a));
    else if (strcmp(what, "touch") == 0) say(touch(atoi(name), a, (int)b));
    else if (strcmp(what, "close") == 0) say(close(atoi(name)));
    else if (strcmp(what, "cloexec") == 0) say(fcntl(atoi(name), F_GETFD) & FD_CLOEXEC);
    else if (strcmp(what, "size") == 0) say(fstat(atoi(name), &status) ? -1 : status.st_size);
    else if (strcmp(what, "blocks") == 0) say(fstat(atoi(name), &status) ? -1 : status.st_blocks);
    else if (strcmp(what, "open") == 0) say(open(name, flags_of(flags), (mode_t)a));
    else if (strcmp(what, "setenv") == 0) say(setenv(name, flags, 1));
    else if (strcmp(what, "print") == 0) say(0);
    else printf("what is %s?\n", what);
}

int main(void) {
    char line[1024];
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        char *words[5] = {"", "", "", "0", "0"};
        int n = 0;
        for (char *word = strtok(line, " \n"); word && n < 5; word = strtok(NULL, " \n"))
            words[n++] = strcmp(word, "-") ? word : "";
        act(words[0], words[1], words[2], strtol(words[3], NULL, 0), strtol(words[4], NULL, 0));
    }
    return 0;
}
