/*
 * fuzz_manifest - one JSON text read as an index, a manifest and a config; what is read can be
 * written, and is then read to the same text again.
 */
#include <assert.h>

#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf text = BUF_INIT, again = BUF_INIT;
    Err e[5] = {ERR_INIT};
    ImageIndex x;
    ImageManifest m;
    ImageConfig c;

    if (image_index_parse(&a, (const char *)bytes, n, &x, &e[0])) {
        Platform host = image_platform_host();
        size_t i = 0;
        if (image_platform_pick(&x, &host, &i))
            assert(i < x.nmanifest && !x.manifests[i].attestation);
        image_index_text(&x, &text);
    }
    text.len = 0;
    if (image_manifest_parse(&a, (const char *)bytes, n, &m, &e[1]))
        image_manifest_text(&m, &text);
    text.len = 0;
    if (!image_config_parse(&a, (const char *)bytes, n, &c, &e[2]))
        return 0;
    image_config_text(&c, &text);
    assert(image_config_parse(&a, text.ptr, text.len, &c, &e[3]));
    image_config_text(&c, &again);
    assert(!strcmp(text.ptr, again.ptr));
    return 0;
}
