/*
 * fuzz_glob - a pattern, a NUL and a name; whatever is valid as a whole is valid for each name.
 */
#include <assert.h>

#include "base/glob.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    const char *pattern = n ? arena_strndup(&a, (const char *)bytes, n) : "";
    const char *name = strlen(pattern) < n ? pattern + strlen(pattern) + 1 : pattern;
    bool match;

    assert(glob_match(pattern, name, &match) || !glob_valid(pattern));
    assert(glob_has_meta(pattern) || (glob_match(pattern, pattern, &match) && match));
    return 0;
}
