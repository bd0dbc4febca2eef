/*
 * fuzz_challenge - WWW-Authenticate as one header and as two; then the same bytes as the answer of
 * a token server.
 */
#include <assert.h>

#include "registry/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Challenge c = {.kind = AUTH_UNKNOWN};
    Err e = ERR_INIT;
    const char *token;
    uint64_t seconds;
    const char *text = arena_strndup(&a, n ? (const char *)bytes : "", n);

    challenge_parse(&a, text, &c);
    assert(c.kind != AUTH_UNKNOWN && c.realm && c.service && c.scope && c.error);
    assert(c.kind != AUTH_BEARER || *c.realm);
    AuthKind before = c.kind;
    challenge_parse(&a, text, &c);
    assert(c.kind == before);
    if (token_read(&a, n ? (const char *)bytes : "", n, &token, &seconds, &e))
        assert(*token && !strpbrk(token, "\r\n ") && seconds > 0);
    return 0;
}
