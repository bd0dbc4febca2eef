/*
 * go/settings.c, go/proxy.c and go/url.c: the settings of a go command, against the go command, and
 * URLs, against net/url.
 */
#include "govectors.h"

#include "go/go.h"
#include "go/url.h"

/* ---- against net/url and cmd/go ---- */

static const char *op_url(Arena *a, const Str *in)
{
    GoUrl u;
    if (!no_nul(in[0]))
        return NULL;
    if (go_url_parse(a, in[0].ptr, &u))
        return "bad";
    return arena_printf(a, "ok %s|%s|%s|%s%s%s%s%s%s", u.scheme,
                        strchr(in[0].ptr, '%') ? "-" : u.host, u.path, truth(u.has_user),
                        truth(u.has_query), truth(u.has_fragment), truth(u.opaque),
                        truth(u.no_host), truth(u.odd_path));
}

static const char *op_proxy_list(Arena *a, const Str *in)
{
    Err e = ERR_INIT;
    GoProxyList l;
    scoped(buf) Buf b = BUF_INIT;
    if (!no_nul(in[0]))
        return NULL;
    if (!go_proxy_list(a, in[0].ptr, &l, &e))
        return "bad";
    for (size_t i = 0; i < l.n; i++)
        buf_printf(&b, "%s%s%s", i ? "\n" : "ok ", l.v[i].url, l.v[i].any_error ? " any" : "");
    return arena_strdup(a, b.ptr);
}

static const char *op_proxy_url(Arena *a, const Str *in)
{
    GoProxy p = {.kind = GO_PROXY_HTTP, .url = in[0].ptr};
    return no_nul(in[0]) ? go_proxy_url(a, &p, in[1].ptr) : NULL;
}

static const char *op_settings(Arena *a, const Str *in)
{
    GoSettings s, none;
    StrList env = go_env_text(a, GO_ENV_USER, in[0]), user = go_env_text(a, GO_ENV_USER, in[1]),
            goroot = go_env_text(a, GO_ENV_GOROOT, in[2]), nothing = {0};
    go_settings(a, &env, &user, &goroot, &s);
    go_settings(a, &nothing, &nothing, &nothing, &none);
    /* New go commands have these two in GOROOT/go.env only, older ones built in. */
    if (!strcmp(s.goproxy, none.goproxy))
        s.goproxy = "";
    if (!strcmp(s.gosumdb, none.gosumdb))
        s.gosumdb = "";
    return arena_printf(
        a,
        "GOPROXY=%s\nGOSUMDB=%s\nGOPRIVATE=%s\nGONOPROXY=%s\nGONOSUMDB=%s\nGOINSECURE=%s"
        "\nGOFLAGS=%s\nGOCACHE=%s\nGOMODCACHE=%s",
        s.goproxy, s.gosumdb, s.goprivate, s.gonoproxy, s.gonosumdb, s.goinsecure, s.goflags,
        s.gocache ? s.gocache : "off", s.gomodcache ? s.gomodcache : "");
}

static void urls_and_lists_of_proxies_are_what_go_says(void **state)
{
    static const GoOp OPS[] = {
        {"url", op_url}, {"proxy_list", op_proxy_list}, {"proxy_url", op_proxy_url}};
    (void)state;
    vectors(OPS, NELEM(OPS), "settings");
}

static void settings_are_what_the_go_command_says(void **state)
{
    static const GoOp OPS[] = {{"settings", op_settings}};
    (void)state;
    vectors(OPS, NELEM(OPS), "goenv");
}

/* ---- by hand ---- */

static void a_list_is_written_as_it_was_meant(void **state)
{
    scoped(arena) Arena a = {0};
    GoProxyList l;
    Err e = ERR_INIT;
    (void)state;
    OK(go_proxy_list(&a, " goproxy.cn | file:///a%20b ,, https://p/ , direct, off", &l, &e));
    assert_int_equal(l.n, 4);
    assert_string_equal(go_proxy_text(&a, &l),
                        "https://goproxy.cn|file:///a%20b,https://p/,direct");
    assert_string_equal(l.v[1].dir, "/a b");
    OK(go_proxy_list(&a, "https://p|", &l, &e));
    assert_string_equal(go_proxy_text(&a, &l), "https://p|");
}

static void a_bad_list_is_refused_in_gos_words_and_without_its_password(void **state)
{
    scoped(arena) Arena a = {0};
    GoProxyList l;
    Err e = ERR_INIT;
    (void)state;
    FAILS(go_proxy_list(&a, "", &l, &e), ERR_USAGE, "contains no entries");
    FAILS(go_proxy_list(&a, ",", &l, &e), ERR_USAGE, "contains no entries");
    FAILS(go_proxy_list(&a, "foo", &l, &e), ERR_USAGE, "invalid proxy URL missing scheme: 'foo'");
    FAILS(go_proxy_list(&a, "file://h/x", &l, &e), ERR_USAGE, "non-path elements");
    FAILS(go_proxy_list(&a, "ftp://u:geheim@h/x", &l, &e), ERR_USAGE, "must be https, http, file");
    (void)!go_proxy_list(&a, "ftp://u:geheim@h/x?token=geheim", &l, &e);
    assert_null(strstr(e.msg, "geheim"));
}

static void only_not_found_and_gone_go_past_a_comma(void **state)
{
    scoped(arena) Arena a = {0};
    GoProxyList l;
    Err e = ERR_INIT;
    (void)state;
    OK(go_proxy_list(&a, "https://p,https://q|direct", &l, &e));
    assert_true(go_proxy_goes_on(&l.v[0], 404) && go_proxy_goes_on(&l.v[0], 410));
    assert_false(go_proxy_goes_on(&l.v[0], 403) || go_proxy_goes_on(&l.v[0], 502) ||
                 go_proxy_goes_on(&l.v[0], 0));
    assert_true(go_proxy_goes_on(&l.v[1], 403) && go_proxy_goes_on(&l.v[1], 0));
}

static void a_query_of_a_proxy_stays_behind_the_path(void **state)
{
    scoped(arena) Arena a = {0};
    GoProxy p = {.url = "https://h/base/?key=1#f"};
    (void)state;
    assert_string_equal(go_proxy_url(&a, &p, "a.b/!x/@v/list"),
                        "https://h/base/a.b/%21x/@v/list?key=1");
}

static void a_toolchain_is_always_looked_up_but_from_one_directory(void **state)
{
    GoSettings s = {.goproxy = "https://p", .gosumdb = "off", .gonosumdb = "golang.org"};
    (void)state;
    assert_true(go_uses_sumdb(&s, "golang.org/toolchain"));
    assert_false(go_uses_sumdb(&s, "golang.org/x/mod"));
    s.goproxy = "file:///go,https://p";
    assert_true(go_uses_sumdb(&s, "golang.org/toolchain"));
    s.goproxy = "file:///go";
    assert_false(go_uses_sumdb(&s, "golang.org/toolchain"));
    s.gosumdb = "sum.golang.org";
    assert_true(go_uses_sumdb(&s, "example.com/x"));
    assert_false(go_uses_sumdb(&s, "golang.org/x/mod"));
}

static void a_module_of_any_private_pattern_is_private(void **state)
{
    GoSettings s = {.goprivate = "", .gonoproxy = "a.b/*", .gonosumdb = "c.d"};
    (void)state;
    assert_true(go_is_private(&s, "a.b/x/y") && go_is_private(&s, "c.d"));
    assert_false(go_is_private(&s, "a.b") || go_is_private(&s, "e.f/c.d"));
}

static void the_users_file_is_where_the_environment_says(void **state)
{
    scoped(arena) Arena a = {0};
    StrList env = {0};
    (void)state;
    assert_null(go_env_path(&a, &env));
    env_set(&a, &env, "HOME", "/h");
    assert_string_equal(go_env_path(&a, &env), "/h/.config/go/env");
    env_set(&a, &env, "XDG_CONFIG_HOME", "/c/");
    assert_string_equal(go_env_path(&a, &env), "/c/go/env");
    env_set(&a, &env, "XDG_CONFIG_HOME", "relative");
    assert_null(go_env_path(&a, &env));
    env_set(&a, &env, "GOENV", "/e");
    assert_string_equal(go_env_path(&a, &env), "/e");
    env_set(&a, &env, "GOENV", "off");
    assert_null(go_env_path(&a, &env));
}

static void the_callers_settings_come_from_environment_and_file(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(scratch) Scratch dir = scratch_new();
    (void)state;
    put(dir.fd, "env", "GOPROXY=https://file\nGOSUMDB=off\n");
    setenv("GOENV", arena_printf(&a, "%s/env", dir.path), 1);
    setenv("GOPROXY", "https://environment", 1);
    unsetenv("GOSUMDB");
    StrList l = go_caller_env(&a);
    assert_string_equal(env_get(&l, "GOPROXY"), "https://environment");
    assert_string_equal(env_get(&l, "GOSUMDB"), "off");
    assert_null(env_get(&l, "GOFLAGS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_and_lists_of_proxies_are_what_go_says),
        cmocka_unit_test(settings_are_what_the_go_command_says),
        cmocka_unit_test(a_list_is_written_as_it_was_meant),
        cmocka_unit_test(a_bad_list_is_refused_in_gos_words_and_without_its_password),
        cmocka_unit_test(only_not_found_and_gone_go_past_a_comma),
        cmocka_unit_test(a_query_of_a_proxy_stays_behind_the_path),
        cmocka_unit_test(a_toolchain_is_always_looked_up_but_from_one_directory),
        cmocka_unit_test(a_module_of_any_private_pattern_is_private),
        cmocka_unit_test(the_users_file_is_where_the_environment_says),
        cmocka_unit_test(the_callers_settings_come_from_environment_and_file),
    };
    return cmocka_run_group_tests_name("gosettings", tests, NULL, NULL);
}
