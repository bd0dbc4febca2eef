/*
 * fuzz_dockerfile - a whole Dockerfile; every place it reports lies inside it, every line expands
 * or fails.
 */
#include <assert.h>

#include "dockerfile/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Instructions follow one another without overlap, and words lie inside theirs. */
static void check_nodes(Arena *a, const uint8_t *bytes, size_t n)
{
    DfNodes nodes;
    Err e = ERR_INIT;
    scoped(buf) Buf out = BUF_INIT;
    size_t at = 0;
    if (!df_nodes(a, "f", (Str){(const char *)bytes, n}, &nodes, &e))
        return;
    for (size_t i = 0; i < nodes.n; i++) {
        const DfNode *d = &nodes.v[i];
        size_t end = (size_t)d->whole.off + d->whole.len;
        assert(d->whole.off >= at && end <= n);
        for (size_t k = 0; k < d->args.n; k++) {
            const SrcSpan *s = &d->args.v[k].src;
            assert(s->off >= d->whole.off && (size_t)s->off + s->len <= end);
        }
        at = end;
    }
    df_dump(&nodes, &out);
    df_json(&nodes, n, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    StrList env = {0}, words;
    DfFile f;
    char *word;

    check_nodes(&a, bytes, n);
    strlist_add(&a, &env, "A=x y");
    if (!df_parse(&a, "f", (Str){(const char *)bytes, n}, 0, &f, &e)) {
        assert(e.kind == ERR_DOCKERFILE && str_starts(e.msg, "f:"));
        return 0;
    }
    for (size_t i = 0; i < f.ninstr; i++) {
        const SrcSpan *at = &f.instrs[i].src;
        Err once = ERR_INIT, again = ERR_INIT;
        assert(at->line && at->line <= at->end_line && (size_t)at->off + at->len <= n);
        DfScope scope = {.arena = &a, .env = &env, .escape = f.escape};
        (void)!df_expand(&scope, f.instrs[i].text, &word, &once);
        (void)!df_expand_words(&scope, f.instrs[i].text, &words, &again);
    }
    return 0;
}
