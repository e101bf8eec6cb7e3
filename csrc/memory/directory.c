/* directory.c - the directories where files may be created, in order of preference. */
#include <stdlib.h>

#include "memory/segment.h"

const char *altsem_directory(unsigned i) {
    static const char *const variables[] = {"ALTSEM_DIR", "XDG_RUNTIME_DIR", "TMPDIR"};
    static const char *const fixed[] = {"/tmp", "/var/tmp", "."};
    if (i < 3) {
        const char *value = getenv(variables[i]);
        return value ? value : "";
    }
    return i < 6 ? fixed[i - 3] : NULL;
}
