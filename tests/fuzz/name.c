/* name.c - names: lines of a letter, what to do, and a name.  Whatever they are, files are made in the
 * private directory only, and it goes with the last of them. */
#define _GNU_SOURCE
#include "use.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static char home[] = "/tmp/fuzz-name-XXXXXX";

static void leave(void) {
    if (rmdir(home) != 0) fprintf(stderr, "%s is not empty\n", home);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    MUST(mkdtemp(home) != NULL && setenv("ALTSEM_DIR", home, 1) == 0);
    atexit(leave);
    fuzz_backend();
    return 0;
}

/* Removes what is left; whether everything there was a file of ours, in our directory. */
static int clean(void) {
    char inner[PATH_MAX];
    int good = 1, number = 0;
    snprintf(inner, sizeof inner, "%s/altsem-%u", home, (unsigned)geteuid());
    DIR *directory = opendir(inner);
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        good &= strncmp(entry->d_name, "sem.", 4) == 0 || strncmp(entry->d_name, "shm.", 4) == 0;
        MUST(unlinkat(dirfd(directory), entry->d_name, 0) == 0);
        number++;
    }
    if (directory) {
        good &= number > 0; /* else it should have gone */
        closedir(directory);
        rmdir(inner);
    }
    int others = 0;
    MUST((directory = opendir(home)) != NULL);
    while ((entry = readdir(directory))) others += entry->d_name[0] != '.';
    closedir(directory);
    return good && others == 0;
}

static int is_name(const char *name) {
    while (*name == '/') name++;
    return *name && !strchr(name, '/');
}

static void act(char what, const char *name) {
    altsem_segment *segment;
    altsem_slot *slot;
    int error, there = altsem_named_exists(name) == 0;
    MUST(is_name(name) || (!there && altsem_named_exists(name) == -EINVAL));
    switch (what % 6) {
    case 0:
        error = altsem_named_create(name, ALTSEM_SEM, 1, 5, &segment, &slot);
        MUST(!there || error == -EEXIST);
        if (error == 0) {
            MUST(is_name(name) && altsem_named_exists(name) == 0);
            MUST(altsem_sem_try(slot) == 0 && altsem_sem_try(slot) == -EAGAIN);
            MUST(altsem_sem_post(segment, slot, 5) == 0);
            altsem_slot_free(segment, slot);
        }
        break;
    case 1:
        error = altsem_named_open(name, ALTSEM_SEM, &segment, &slot);
        MUST(there == (error == 0));
        if (error == 0) {
            MUST(altsem_sem_value(slot) == 1);
            altsem_slot_free(segment, slot);
        }
        break;
    case 2:
        error = altsem_named_unlink(name);
        MUST(there == (error == 0) && altsem_named_exists(name) != 0);
        break;
    case 3:
        error = altsem_shm_open(name, O_RDWR | O_CREAT);
        MUST(error < 0 || is_name(name));
        if (error >= 0) close(error);
        break;
    case 4:
        error = altsem_shm_open(name, O_RDONLY);
        if (error >= 0) close(error);
        break;
    default:
        altsem_shm_unlink(name);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    char line[600];
    while (length > 0) {
        const uint8_t *end = memchr(data, '\n', length);
        size_t bytes = end ? (size_t)(end - data) : length;
        size_t kept = bytes < sizeof line - 1 ? bytes : sizeof line - 1;
        memcpy(line, data, kept);
        line[kept] = 0;
        if (kept > 0) act(line[0], line + 1);
        data += bytes, length -= bytes;
        if (end) data++, length--;
    }
    MUST(clean());
    return 0;
}
