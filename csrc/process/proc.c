/* proc.c - what /proc says of processes and threads.
 *
 * Nothing here judges: a file that cannot be read is only that.
 */
#define _GNU_SOURCE
#include "process/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    if (length <= 0) return -1;
    text[length] = 0;
    return length;
}

int altsem_proc_look(const char *name, altsem_seen *seen) {
    enum { STATE = 3, THREADS = 20, START = 22 }; /* as proc(5) counts the fields */
    char path[64], text[512];
    if (snprintf(path, sizeof path, "/proc/%s/stat", name) >= (int)sizeof path) return -1;
    if (read_text(path, text, sizeof text) < 0) return -1;
    char *field = strrchr(text, ')'); /* the command before it may hold anything, even ')' */
    if (!field || field[1] != ' ' || !field[2]) return -1;
    field += 2;
    seen->state = *field;
    for (int number = STATE; number < START; number++) {
        if (number == THREADS) seen->threads = (uint32_t)strtoul(field, NULL, 10);
        field = strchr(field, ' ');
        if (!field) return -1;
        field++;
    }
    seen->start = (uint32_t)strtoull(field, NULL, 10);
    if (seen->start == 0) seen->start = 1;
    return 0;
}

int altsem_proc_is_ours(void) {
    char pid[16], own[16];
    ssize_t length = readlink("/proc/self", pid, sizeof pid - 1);
    if (length <= 0) return 0;
    pid[length] = 0;
    snprintf(own, sizeof own, "%d", (int)getpid());
    return strcmp(pid, own) == 0;
}

uint32_t altsem_proc_process_of(uint32_t tid) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%u/status", tid);
    if (read_text(path, text, sizeof text) < 0) return 0;
    /* The name of the program stands before it, with its line ends escaped. */
    const char *found = strstr(text, "\nTgid:");
    return found ? (uint32_t)strtoul(found + 6, NULL, 10) : 0;
}
