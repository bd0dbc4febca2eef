/*
 * fuzz_gobuildcache - a text as an entry of a GOCACHE and as a path in one: what is taken is
 * written the same.
 */
#include <assert.h>

#include "go/go.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    GoCacheEntry x;
    Digest id;
    char text[GO_CACHE_ENTRY_SIZE + 1], path[GO_CACHE_PATH_SIZE];
    if (!n || n > 1024)
        return 0;
    Str all = {(const char *)bytes, n};
    if (go_cache_entry_parse(all, &x)) {
        go_cache_entry_text(&x, text);
        assert(n == GO_CACHE_ENTRY_SIZE && !memcmp(text, bytes, n));
    }
    const char *name = arena_strndup(&a, all.ptr, n);
    GoCacheName kind = go_cache_name(name, &id);
    if (kind != GO_CACHE_OTHER) {
        go_cache_path(kind, &id, path);
        assert(!strcmp(path, name));
    }
    assert(!go_cache_is_index(all) || str_starts(name, "go index v"));
    return 0;
}
