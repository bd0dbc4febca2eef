/*
 * fuzz_dockerfile - a whole Dockerfile; every place it reports lies inside it, every line expands
 * or fails.
 */
#include <assert.h>

#include "dockerfile/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    StrList env = {0}, words;
    DfFile f;
    char *word;

    strlist_add(&a, &env, "A=x y");
    if (!df_parse(&a, "f", (Str){(const char *)bytes, n}, &f, &e)) {
        assert(e.kind == ERR_DOCKERFILE && str_starts(e.msg, "f:"));
        return 0;
    }
    for (size_t i = 0; i < f.ninstr; i++) {
        const SrcSpan *at = &f.instrs[i].src;
        Err once = ERR_INIT, again = ERR_INIT;
        assert(at->line && at->line <= at->end_line && (size_t)at->off + at->len <= n);
        (void)!df_expand(&a, f.instrs[i].text, &env, f.escape, &word, NULL, &once);
        (void)!df_expand_words(&a, f.instrs[i].text, &env, f.escape, &words, NULL, &again);
    }
    return 0;
}
