/*
 * fuzz_gohttp - the bytes of one client of the gateway: heads, and the path of each as a request
 * for modules.
 */
#include <assert.h>

#include "gomod/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Str rest = {n ? (const char *)bytes : "", n};
    HttpHead h;
    size_t size;

    while (http_head(rest, &h, &size) && size) {
        GoRequest r;
        Err e = ERR_INIT;
        assert(size <= rest.len && h.method.len && h.path.len && *h.path.ptr == '/');
        assert(h.path.ptr >= rest.ptr && h.path.ptr + h.path.len < rest.ptr + size);
        if (go_request_parse(&a, h.path, &r, &e))
            assert(r.path && *r.path != '/');
        rest = (Str){rest.ptr + size, rest.len - size};
    }
    return 0;
}
