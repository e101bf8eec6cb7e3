/* file.c - the file of a named semaphore, with any content.
 *
 *   byte 0     the type that is asked for; bit 7: the header is put right (as far as segment.c does)
 *   1 .. 8     calls
 *   9 ...      the file
 */
#define _GNU_SOURCE
#include "use.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static char home[] = "/tmp/fuzz-file-XXXXXX";
static char inner[64], path[128];

static void leave(void) {
    unlink(path);
    rmdir(inner);
    rmdir(home);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    MUST(mkdtemp(home) != NULL && setenv("ALTSEM_DIR", home, 1) == 0);
    atexit(leave);
    snprintf(inner, sizeof inner, "%s/altsem-%u", home, (unsigned)geteuid());
    snprintf(path, sizeof path, "%s/sem.n", inner);
    MUST(mkdir(inner, 0700) == 0);
    fuzz_backend();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    if (length < 9 || length > 9 + 65536) return 0;
    const uint8_t *calls = data + 1, *file = data + 9;
    size_t size = length - 9;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), type = (data[0] & 0x7f) % ALTSEM_TYPES;
    MUST(fd >= 0 && write(fd, file, size) == (ssize_t)size);
    if (data[0] & 0x80 && size >= sizeof(altsem_header)) {
        altsem_header header;
        memcpy(&header, file, sizeof header);
        header.magic = ALTSEM_MAGIC, header.layout = ALTSEM_LAYOUT;
        header.slot_bytes = ALTSEM_SLOT_BYTES, header.backend = fuzz_backend();
        if (calls[0] % 2) header.size = size;
        if (calls[0] % 4 < 2) header.slots %= size / 64 + 2;
        MUST(pwrite(fd, &header, sizeof header, 0) == sizeof header);
    }
    altsem_segment *segment;
    altsem_slot *slot;
    unsigned before = altsem_segment_count();
    MUST(altsem_named_exists("n") == 0);
    int error = altsem_named_open("n", type, &segment, &slot);
    MUST(error <= 0 && error != -EINVAL); /* it is the file that is wrong, not the name */
    if (error == 0) {
        MUST(altsem_segment_size(segment) == size && size >= 192);
        int found = altsem_slot_type(slot);
        MUST(found > ALTSEM_FREE && found < ALTSEM_TYPES && (!type || found == type));
        uint32_t number = calls[0];
        for (int i = 0; i < 8; i++) use(segment, slot, found, calls[i], &number);
        altsem_slot_free(segment, slot);
    }
    MUST(altsem_segment_count() == before);
    MUST(close(fd) == 0);
    return 0;
}
