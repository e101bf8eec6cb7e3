/* driver.c - runs a fuzz target where there is no libFuzzer: all inputs of a corpus, then mutations of
 * them, as blind as they come.
 *
 *   TARGET SECONDS FILE...
 *
 * An input that makes the target crash, or take longer than ten seconds, is written to ./crash-input. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST 8192
#define INPUTS 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***arguments);
void __sanitizer_set_death_callback(void (*callback)(void));

static uint8_t *inputs[INPUTS], now[MOST];
static size_t sizes[INPUTS], size_now, count;
static uint64_t chance_state = 88172645463325252u;

static uint32_t chance(uint32_t below) {
    chance_state ^= chance_state << 13, chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return (uint32_t)(chance_state >> 20) % below;
}

static void keep(void) {
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, now, size_now) < 0) return;
    close(fd);
}
static void too_long(int number) {
    keep();
    signal(number, SIG_DFL);
    raise(number);
}

static void run(void) {
    uint8_t *exact = malloc(size_now ? size_now : 1); /* so that reading beyond is noticed */
    memcpy(exact, now, size_now);
    alarm(10);
    LLVMFuzzerTestOneInput(exact, size_now);
    alarm(0);
    free(exact);
}

static void mutate(void) {
    static const uint8_t edges[] = {0, 1, 2, 3, 0x7f, 0x80, 0xff, 64, 63};
    size_t of = chance((uint32_t)count);
    memcpy(now, inputs[of], size_now = sizes[of]);
    for (uint32_t n = 1 + chance(8); n > 0 && size_now > 0; n--) {
        size_t at = chance((uint32_t)size_now), other = chance((uint32_t)count);
        switch (chance(6)) {
        case 0:
            now[at] ^= (uint8_t)(1u << chance(8));
            break;
        case 1:
            now[at] = edges[chance(sizeof edges)];
            break;
        case 2:
            now[at] = (uint8_t)chance(256);
            break;
        case 3:
            memset(now + at, chance(2) ? 0xff : 0, size_now - at < 8 ? size_now - at : 8);
            break;
        case 4:
            if (sizes[other] > at) size_now = sizes[other];
            if (sizes[other] > at) memcpy(now + at, inputs[other] + at, sizes[other] - at);
            break;
        default:
            if (chance(4) == 0) size_now = at;
            else if (size_now < MOST) now[size_now++] = (uint8_t)chance(256);
        }
    }
}

int main(int arguments_count, char **arguments) {
    if (arguments_count < 3) return 2;
    double seconds = atof(arguments[1]);
    __sanitizer_set_death_callback(keep);
    signal(SIGALRM, too_long), signal(SIGABRT, too_long);
    LLVMFuzzerInitialize(&arguments_count, &arguments);
    for (int i = 2; i < arguments_count && count < INPUTS; i++) {
        FILE *file = fopen(arguments[i], "re");
        if (!file) return 2;
        size_now = fread(now, 1, MOST, file);
        fclose(file);
        inputs[count] = malloc(size_now + 1);
        memcpy(inputs[count], now, sizes[count] = size_now);
        count++;
        run();
    }
    time_t end = time(NULL) + (time_t)seconds;
    long runs = (long)count;
    for (; time(NULL) < end; runs++) mutate(), run();
    printf("Done %ld runs\n", runs);
    return 0;
}
