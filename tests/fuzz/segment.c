/* segment.c - a segment from a stranger: any header, in a file of any size.
 *
 *   byte 0      what is put right, so that the rest is looked at (see FIX_...)
 *   bytes 1, 2  with FIX_LARGE: the size of the file, in pages
 *   3 .. 18     calls: pairs of an offset and what to call
 *   19 ...      the file
 */
#define _GNU_SOURCE
#include "use.h"

#include <fcntl.h>
#include <sys/mman.h>

enum {
    FIX_MAGIC = 1,
    FIX_LAYOUT = 2,
    FIX_SIZE = 4,
    FIX_BACKEND = 8,
    FIX_LARGE = 16,
    FIX_SLOTS = 32
};
#define CALLS 16
#define HEAD (3 + CALLS)

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    fuzz_backend();
    return 0;
}

/* What every segment that is taken has to be. */
static void check(const altsem_header *header, size_t size) {
    MUST(header->magic == ALTSEM_MAGIC && header->layout == ALTSEM_LAYOUT);
    MUST(header->slot_bytes == ALTSEM_SLOT_BYTES && header->size == size);
    MUST(header->slots > ALTSEM_HEADER_SLOTS && header->slots <= size / ALTSEM_SLOT_BYTES);
    MUST(size <= (size_t)32768 * ALTSEM_SLOT_BYTES);
    MUST(header->backend == fuzz_backend());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    if (length < HEAD || length > HEAD + 65536) return 0;
    uint8_t fix = data[0];
    const uint8_t *calls = data + 3, *file = data + HEAD;
    size_t size = length - HEAD, pages = data[1] | (size_t)data[2] << 8;
    altsem_header header;
    memset(&header, 0, sizeof header);
    memcpy(&header, file, size < sizeof header ? size : sizeof header);
    if (fix & FIX_LARGE && pages * 4096 > size) size = pages * 4096;
    if (fix & FIX_MAGIC) header.magic = ALTSEM_MAGIC;
    if (fix & FIX_LAYOUT) header.layout = ALTSEM_LAYOUT, header.slot_bytes = ALTSEM_SLOT_BYTES;
    if (fix & FIX_SIZE) header.size = size;
    if (fix & FIX_BACKEND) header.backend = fuzz_backend();
    if (fix & FIX_SLOTS && size >= 64) header.slots %= size / 64 + 1;

    int fd = memfd_create("stranger", MFD_CLOEXEC);
    MUST(fd >= 0);
    MUST(write(fd, file, length - HEAD) == (ssize_t)(length - HEAD));
    MUST(pwrite(fd, &header, sizeof header < size ? sizeof header : size, 0) >= 0);
    MUST(ftruncate(fd, (off_t)size) == 0);

    unsigned before = altsem_segment_count();
    altsem_segment *segment;
    int took = 7, error = altsem_segment_attach(fd, NULL, &segment, &took);
    MUST(error <= 0 && took == (error == 0));
    if (error == 0) {
        check(&header, size);
        for (int i = 0; i < CALLS; i += 2) {
            altsem_slot *slot;
            uint32_t number = calls[i];
            uint64_t offset = calls[i] < 200 ? calls[i] * (uint64_t)64
                                             : (uint64_t)header.slots * 64 + calls[i] - 232;
            if (altsem_slot_at(segment, offset, 0, &slot) != 0) continue;
            MUST(offset % 64 == 0 && offset >= 128 && offset / 64 < header.slots);
            int type = altsem_slot_type(slot);
            MUST(type > ALTSEM_FREE && type < ALTSEM_TYPES);
            use(segment, slot, type, calls[i + 1], &number);
            altsem_slot_free(segment, slot);
        }
        altsem_segment_decref(segment);
        MUST(fcntl(fd, F_GETFD) < 0); /* it was taken over */
    } else {
        altsem_header now;
        memset(&now, 0, sizeof now);
        MUST(pread(fd, &now, sizeof now, 0) >= 0); /* refused, so not touched */
        MUST(memcmp(&now, &header, size < sizeof now ? size : sizeof now) == 0);
        MUST(close(fd) == 0);
    }
    MUST(altsem_segment_count() == before);
    return 0;
}
