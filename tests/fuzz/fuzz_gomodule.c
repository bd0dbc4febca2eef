/*
 * fuzz_gomodule - two texts with a NUL between them, as paths and versions: what is escaped comes
 * back, what is canonical stays so, and comparing is an order.
 */
#include <assert.h>

#include "go/go.h"
#include "go/unicode.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int sign(int c)
{
    return (c > 0) - (c < 0);
}

static void check_path(Arena *a, const char *path)
{
    Err e[4] = {ERR_INIT};
    const char *text, *back, *major = "";
    bool ok = go_path_check(path, &e[0]);
    assert(ok == !e[0].kind);
    assert(!ok || (go_import_path_check(path, &e[1]) && go_file_path_check(str_c(path), &e[2])));
    assert(!ok || go_path_major(path, &major));
    assert(ok == go_path_escape(a, path, &text, &e[3]));
    if (!ok)
        return;
    assert(go_path_unescape(a, str_c(text), &back, &e[1]) && !strcmp(back, path));
    assert(go_path_private(path, path) && str_ends(path, major));
}

static void check_version(Arena *a, const char *v)
{
    Err e = ERR_INIT, again = ERR_INIT;
    const char *text, *back, *canonical = go_version_canonical(a, v);
    assert((canonical != NULL) == go_version_valid(v));
    if (go_version_escape(a, v, &text, &e))
        assert(go_version_unescape(a, str_c(text), &back, &again) && !strcmp(back, v));
    assert(!go_version_is_pseudo(v) || canonical);
    if (!canonical)
        return;
    assert(go_version_is_canonical(canonical) && go_version_compare(v, canonical) == 0);
    assert(go_version_is_canonical(v) == !strcmp(canonical, v));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    const char *one = n ? arena_strndup(&a, (const char *)bytes, n) : "";
    const char *two = strlen(one) < n ? one + strlen(one) + 1 : "";
    Str all = {(const char *)bytes, n};
    Err e[3] = {ERR_INIT};
    const char *text;
    char shown[GO_SHOWN_SIZE];

    check_path(&a, one);
    check_version(&a, one);
    check_version(&a, two);
    assert(sign(go_version_compare(one, two)) == -sign(go_version_compare(two, one)));
    assert(sign(go_release_compare(one, two)) == -sign(go_release_compare(two, one)));
    (void)!go_path_private(one, two);
    (void)!go_version_fits(one, two);
    assert(strlen(go_shown_into(shown, all)) < GO_SHOWN_SIZE && go_utf8_valid(str_c(shown)));
    if (n && go_file_path_check(all, &e[0]))
        assert(!memchr(bytes, 0, n) && go_utf8_valid(all));
    if (n && go_path_unescape(&a, all, &text, &e[1]))
        assert(!memchr(bytes, 0, n) && go_path_check(text, &e[2]));
    return 0;
}
