/*
 * go/path.c, go/version.c and go/unicode.c: names of modules, against golang.org/x/mod and by hand.
 */
#include "govectors.h"

#include "base/digest.h"
#include "go/go.h"
#include "go/unicode.h"

/* ---- against x/mod/module, x/mod/semver and go/version ---- */

static const char *verdict(bool ok)
{
    return ok ? "ok" : "bad";
}

static const char *result(Arena *a, bool ok, const char *text)
{
    return ok ? arena_printf(a, "ok %s", text) : "bad";
}

static const char *op_check_path(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    (void)a;
    return no_nul(in[0]) ? verdict(go_path_check(in[0].ptr, &e)) : NULL;
}

static const char *op_check_import(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    (void)a;
    return no_nul(in[0]) ? verdict(go_import_path_check(in[0].ptr, &e)) : NULL;
}

static const char *op_check_file(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    (void)a;
    return verdict(go_file_path_check(in[0], &e));
}

static const char *op_escape_path(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    const char *text = NULL;
    if (!no_nul(in[0]))
        return NULL;
    bool ok = go_path_escape(a, in[0].ptr, &text, &e);
    return result(a, ok, text);
}

static const char *op_unescape_path(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    const char *text = NULL;
    bool ok = go_path_unescape(a, in[0], &text, &e);
    return result(a, ok, text);
}

static const char *op_escape_version(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    const char *text = NULL;
    if (!no_nul(in[0]))
        return NULL;
    bool ok = go_version_escape(a, in[0].ptr, &text, &e);
    return result(a, ok, text);
}

static const char *op_unescape_version(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    const char *text = NULL;
    bool ok = go_version_unescape(a, in[0], &text, &e);
    return result(a, ok, text);
}

static const char *op_major(Arena *a, const Str *in)
{
    const char *major = NULL;
    if (!no_nul(in[0]))
        return NULL;
    bool ok = go_path_major(in[0].ptr, &major);
    return result(a, ok, major);
}

static const char *op_private(Arena *a, const Str *in)
{
    (void)a;
    return no_nul(in[0]) && no_nul(in[1]) ? truth(go_path_private(in[0].ptr, in[1].ptr)) : NULL;
}

static const char *op_canonical(Arena *a, const Str *in)
{
    if (!no_nul(in[0]))
        return NULL;
    const char *v = go_version_canonical(a, in[0].ptr);
    return v ? v : "";
}

static const char *op_is_canonical(Arena *a, const Str *in)
{
    (void)a;
    return no_nul(in[0]) ? truth(go_version_is_canonical(in[0].ptr)) : NULL;
}

static const char *op_compare(Arena *a, const Str *in)
{
    if (!no_nul(in[0]) || !no_nul(in[1]))
        return NULL;
    int c = go_version_compare(in[0].ptr, in[1].ptr);
    assert_int_equal((c > 0) - (c < 0), -((go_version_compare(in[1].ptr, in[0].ptr) > 0) -
                                          (go_version_compare(in[1].ptr, in[0].ptr) < 0)));
    return arena_printf(a, "%d", (c > 0) - (c < 0));
}

static const char *op_pseudo(Arena *a, const Str *in)
{
    (void)a;
    return no_nul(in[0]) ? truth(go_version_is_pseudo(in[0].ptr)) : NULL;
}

static const char *op_fits(Arena *a, const Str *in)
{
    (void)a;
    return no_nul(in[0]) && no_nul(in[1]) ? truth(go_version_fits(in[0].ptr, in[1].ptr)) : NULL;
}

static const char *op_check(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    GoModule m = {in[0].ptr, in[1].ptr};
    (void)a;
    return no_nul(in[0]) && no_nul(in[1]) ? verdict(go_module_check(&m, &e)) : NULL;
}

static const char *op_release(Arena *a, const Str *in)
{
    (void)a;
    return truth(go_release_valid(in[0].ptr));
}

static const char *op_release_compare(Arena *a, const Str *in)
{
    int c = go_release_compare(in[0].ptr, in[1].ptr);
    return arena_printf(a, "%d", (c > 0) - (c < 0));
}

static const char *op_unicode(Arena *a, const Str *in)
{
    Hasher h;
    Digest d;
    char text[16], *hex = arena_alloc(a, DIGEST_HEX_SIZE);
    hash_init(&h);
    for (uint32_t r = 0; r <= 0x10FFFF; r++) {
        if (str_eq(in[0], "fold"))
            hash_add(&h, text, (size_t)snprintf(text, sizeof text, "%x,", go_rune_fold(r)));
        else
            hash_add(&h,
                     (str_eq(in[0], "letter") ? go_rune_is_letter(r) : go_rune_is_print(r)) ? "t"
                                                                                            : "f",
                     1);
    }
    hash_end(&h, &d);
    digest_hex(&d, hex);
    return hex;
}

static void names_of_modules_are_what_the_go_project_says(void **state)
{
    static const GoOp OPS[] = {
        {"check_path", op_check_path},
        {"check_import", op_check_import},
        {"check_file", op_check_file},
        {"escape_path", op_escape_path},
        {"unescape_path", op_unescape_path},
        {"escape_version", op_escape_version},
        {"unescape_version", op_unescape_version},
        {"major", op_major},
        {"private", op_private},
        {"canonical", op_canonical},
        {"is_canonical", op_is_canonical},
        {"compare", op_compare},
        {"pseudo", op_pseudo},
        {"fits", op_fits},
        {"check", op_check},
        {"release", op_release},
        {"release_compare", op_release_compare},
        {"unicode", op_unicode},
    };
    (void)state;
    vectors(OPS, NELEM(OPS), "module");
}

/* ---- by hand ---- */

static void a_refused_path_is_named_with_the_reason(void **state)
{
    Err e = ERR_INIT;
    (void)state;
    FAILS(go_path_check("github.com/a b", &e), ERR_DOCKERFILE,
          "'github.com/a b': invalid char U+0020");
    FAILS(go_path_check("localhost/x", &e), ERR_DOCKERFILE, "missing dot in first path element");
    FAILS(go_path_check("GitHub.com/x", &e), ERR_DOCKERFILE, "invalid char 'G'");
    FAILS(go_path_check("a.b/v1", &e), ERR_DOCKERFILE, "invalid version");
    FAILS(go_path_check("a.b/aux.x", &e), ERR_DOCKERFILE,
          "'aux' cannot be a file's name on Windows");
}

static void bytes_of_an_attacker_do_not_reach_a_terminal(void **state)
{
    char shown[GO_SHOWN_SIZE], big[4096];
    Err e = ERR_INIT;
    (void)state;
    FAILS(go_path_check("a.b/\x1b[2Jx\n", &e), ERR_DOCKERFILE, "'a.b/?[2Jx?'");
    memset(big, 'x', sizeof big);
    go_shown_into(shown, (Str){big, sizeof big});
    assert_int_equal(strlen(shown), GO_SHOWN_SIZE - 1);
    assert_string_equal(shown + GO_SHOWN_SIZE - 5, "x...");
    assert_string_equal(go_shown_into(shown, (Str){"a\0b\xc3", 4}), "a?b?");
}

static void a_capital_that_is_not_escaped_is_another_module(void **state)
{
    scoped(arena) Arena a = {0};
    const char *text;
    Err e = ERR_INIT;
    (void)state;
    OK(go_path_unescape(&a, str_c("github.com/!burnt!sushi/toml"), &text, &e));
    assert_string_equal(text, "github.com/BurntSushi/toml");
    FAILS(go_path_unescape(&a, str_c("github.com/BurntSushi/toml"), &text, &e), ERR_DOCKERFILE,
          "invalid escaped");
    FAILS(go_path_unescape(&a, str_c("github.com/!Burnt"), &text, &e), ERR_DOCKERFILE,
          "invalid escaped");
    FAILS(go_version_unescape(&a, str_c("v1.0.0-RC1"), &text, &e), ERR_DOCKERFILE,
          "invalid escaped");
}

static void a_byte_at_the_very_end_of_a_text_is_not_read_past(void **state)
{
    (void)state;
    /* as many bytes as said, and no NUL behind them: the sanitizer watches */
    for (size_t n = 1; n <= 3; n++) {
        char *cut = malloc(n);
        assert_non_null(cut);
        memcpy(cut, "\xf0\x9d\x92", n);
        assert_false(go_utf8_valid((Str){cut, n}));
        free(cut);
    }
    assert_true(go_utf8_valid((Str){"", 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_modules_are_what_the_go_project_says),
        cmocka_unit_test(a_refused_path_is_named_with_the_reason),
        cmocka_unit_test(bytes_of_an_attacker_do_not_reach_a_terminal),
        cmocka_unit_test(a_capital_that_is_not_escaped_is_another_module),
        cmocka_unit_test(a_byte_at_the_very_end_of_a_text_is_not_read_past),
    };
    return cmocka_run_group_tests_name("gomodule", tests, NULL, NULL);
}
