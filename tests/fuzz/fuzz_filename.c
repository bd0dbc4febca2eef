/*
 * fuzz_filename - a header and an URL; whatever they are, they name one file of one directory.
 */
#include <assert.h>

#include "base/str.h"
#include "source/filename.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    const char *text = n ? arena_strndup(&a, (const char *)bytes, n) : "";

    for (unsigned i = 0; i < 3; i++) {
        const char *url = i == 0 ? text : "http://h/u";
        const char *name = http_file_name(&a, url, i == 1 ? text : NULL, i == 2 ? text : NULL);
        assert(*name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    }
    return 0;
}
