/*
 * fuzz_gomodfile - a go.mod in each of its kinds, and a go.sum: mistakes are told with their line,
 * what is listed for download can be asked for, and each line of a sum is found again.
 */
#include <assert.h>

#include "go/base64.h"
#include "go/go.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_mod(Arena *a, Str text, GoModKind kind)
{
    GoModFile f;
    GoModuleList l;
    Err e = ERR_INIT;
    if (!go_mod_parse(a, "f", text, kind, &f, &e)) {
        assert(e.kind == ERR_DOCKERFILE && str_starts(e.msg, "f:"));
        return;
    }
    assert(f.module && f.go && f.toolchain);
    for (size_t i = 0; i < f.nrequire; i++)
        assert(f.requires[i].line && go_version_is_canonical(f.requires[i].mod.version));
    for (size_t i = 0; i < f.nreplace; i++)
        assert(f.replaces[i].old.version && f.replaces[i].with.version);
    go_mod_downloads(a, &f, &l);
    assert(l.n <= f.nrequire);
    for (size_t i = 0; i < l.n; i++)
        assert(go_module_check(&l.v[i], &e));
}

static void check_sum(Arena *a, Str text)
{
    GoSumFile f;
    Err e = ERR_INIT;
    if (!go_sum_parse(a, "f", text, &f, &e)) {
        assert(e.kind == ERR_DOCKERFILE && str_starts(e.msg, "f:"));
        return;
    }
    for (size_t i = 0; i < f.n; i++) {
        const GoSumLine *l = &f.v[i];
        const char *first = go_sum_find(&f, &l->mod, l->gomod);
        assert(first || !str_starts(l->hash, "h1:"));
        assert(!first || go_sum_check(&f, &l->mod, l->gomod, first) == GO_SUM_MATCH);
        assert(go_sum_check(&f, &l->mod, l->gomod, "h1:") !=
               (first && strcmp(first, "h1:") != 0 ? GO_SUM_MATCH : GO_SUM_MISMATCH));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    char h1[GO_H1_SIZE], back[4096];
    size_t nback;
    Str text = {(const char *)bytes, n};
    if (!n || n > sizeof back)
        return 0;
    check_mod(&a, text, GO_MOD_MAIN);
    check_mod(&a, text, GO_MOD_DEPENDENCY);
    check_mod(&a, text, GO_MOD_WORK);
    check_sum(&a, text);
    go_h1_of_mod(text, h1);
    assert(go_h1_valid(h1));
    base64_add(&b, bytes, n);
    assert(base64_read((Str){b.ptr, b.len}, back, n, &nback) && nback == n &&
           !memcmp(back, bytes, n));
    (void)!base64_read(text, back, sizeof back, &nback);
    return 0;
}
