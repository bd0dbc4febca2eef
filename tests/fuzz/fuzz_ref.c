/*
 * fuzz_ref - an image name; what parses, parses to the same again from its full form.
 */
#include <assert.h>

#include "base/str.h"
#include "image/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    ImageRef ref, again;

    if (!image_ref_parse(&a, n ? arena_strndup(&a, (const char *)bytes, n) : "", &ref, &e))
        return 0;
    const char *full = image_ref_full(&a, &ref);
    assert(image_ref_parse(&a, full, &again, &e) && !strcmp(image_ref_full(&a, &again), full));
    assert(image_ref_familiar(&a, &ref)[0] && image_ref_tagged(&a, &ref)[0]);
    return 0;
}
