/* slot.c - a primitive that others scribble over while it is used.
 *
 *   byte 0     its type
 *   1 .. 64    its 64 bytes
 *   65 ...     pairs: what to call; or, from 192 on, where to write and (the byte after) what
 */
#define _GNU_SOURCE
#include "use.h"

#include <signal.h>
#include <sys/mman.h>
#include <time.h>

static void nothing(int number) { (void)number; }

/* Every millisecond a signal: a barrier that is closed is waited for in slices, whatever the deadline. */
static void interrupt(void) {
    struct sigaction action = {.sa_handler = nothing};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    struct itimerspec often = {{0, 1000000}, {0, 1000000}};
    timer_t timer;
    MUST(sigaction(SIGUSR2, &action, NULL) == 0);
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    MUST(timer_settime(timer, 0, &often, NULL) == 0);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    fuzz_backend();
    interrupt();
    return 0;
}

/* A segment with one page, as a stranger sends it. */
static altsem_segment *segment_with(const uint8_t image[64], int type) {
    static uint64_t made;
    union {
        altsem_header header;
        uint8_t bytes[4096];
    } page;
    memset(&page, 0, sizeof page);
    page.header.magic = ALTSEM_MAGIC;
    page.header.layout = ALTSEM_LAYOUT;
    page.header.slot_bytes = ALTSEM_SLOT_BYTES;
    page.header.size = sizeof page;
    page.header.slots = 64;
    page.header.backend = fuzz_backend();
    page.header.pid_namespace = altsem_pid_namespace();
    ++made;
    memcpy(page.header.id, &made, sizeof made);
    memcpy(page.bytes + 128, image, 64);
    uint32_t *state = (uint32_t *)(page.bytes + 128 + offsetof(struct altsem_slot, state));
    *state = (*state & ~(uint32_t)ALTSEM_TYPE_MASK) | (uint32_t)type;
    int fd = memfd_create("stranger", MFD_CLOEXEC), took;
    MUST(fd >= 0 && write(fd, &page, sizeof page) == sizeof page);
    altsem_segment *segment;
    MUST(altsem_segment_attach(fd, NULL, &segment, &took) == 0 && took);
    return segment;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    if (length < 65 || length > 65 + 128) return 0;
    int type = 1 + data[0] % (ALTSEM_TYPES - 1);
    altsem_segment *segment = segment_with(data + 1, type);
    altsem_slot *slot;
    MUST(altsem_slot_at(segment, 128, type, &slot) == 0);
    uint32_t number = data[1];
    for (size_t i = 65; i + 1 < length; i += 2) {
        if (data[i] >= 192) ((volatile uint8_t *)slot)[data[i] - 192] = data[i + 1];
        else use(segment, slot, type, data[i], &number);
    }
    altsem_slot_free(segment, slot);
    altsem_segment_decref(segment);
    return 0;
}
