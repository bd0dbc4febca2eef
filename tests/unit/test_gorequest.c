/*
 * go/request.c, go/answer.c: what a go command asks of a proxy, and what it is told. The requests
 * are those that go 1.26 sends.
 */
#include "govectors.h"

#include "go/go.h"

static GoRequest parsed(Arena *a, const char *path)
{
    GoRequest r = {0};
    Err e = ERR_INIT;
    OK(go_request_parse(a, str_c(path), &r, &e));
    return r;
}

static void requests_for_modules_are_read(void **state)
{
    static const struct {
        const char *path;
        GoRequestKind kind;
        const char *mod, *version;
        bool canonical;
    } CASES[] = {
        {"/github.com/%21burnt%21sushi/toml/@v/list", GO_REQUEST_LIST, "github.com/BurntSushi/toml",
         NULL, false},
        {"github.com/!burnt!sushi/toml/@v/v1.3.2.zip", GO_REQUEST_ZIP, "github.com/BurntSushi/toml",
         "v1.3.2", true},
        {"/golang.org/x/mod/@latest", GO_REQUEST_LATEST, "golang.org/x/mod", NULL, false},
        {"/golang.org/x/mod/@v/v0.43.0.info", GO_REQUEST_INFO, "golang.org/x/mod", "v0.43.0", true},
        {"/golang.org/x/mod/@v/master.info", GO_REQUEST_INFO, "golang.org/x/mod", "master", false},
        {"/golang.org/x/mod/@v/v1.info", GO_REQUEST_INFO, "golang.org/x/mod", "v1", false},
        {"/a.b/c/@v/v2.0.0+incompatible.mod", GO_REQUEST_MOD, "a.b/c", "v2.0.0+incompatible", true},
        {"/a.b/c/@v/v1.0.0-!r!c1.mod", GO_REQUEST_MOD, "a.b/c", "v1.0.0-RC1", true},
        {"/a.b/c/@v/v2.0.0.info", GO_REQUEST_INFO, "a.b/c", "v2.0.0", false},
        {"/a.b/c/@v/x.info.info", GO_REQUEST_INFO, "a.b/c", "x.info", false},
        {"/golang.org/toolchain/@v/v0.0.1-go1.22.12.linux-amd64.zip", GO_REQUEST_ZIP,
         "golang.org/toolchain", "v0.0.1-go1.22.12.linux-amd64", true},
    };
    scoped(arena) Arena a = {0};
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        GoRequest r = parsed(&a, CASES[i].path);
        assert_int_equal(r.kind, CASES[i].kind);
        assert_string_equal(r.mod.path, CASES[i].mod);
        assert_int_equal(!r.mod.version, !CASES[i].version);
        if (r.mod.version)
            assert_string_equal(r.mod.version, CASES[i].version);
        assert_int_equal(r.canonical, CASES[i].canonical);
        assert_null(r.sumdb);
    }
    assert_string_equal(parsed(&a, CASES[0].path).path, "github.com/!burnt!sushi/toml/@v/list");
}

static void requests_for_the_checksum_database_are_read(void **state)
{
    scoped(arena) Arena a = {0};
    (void)state;
    GoRequest r = parsed(&a, "/sumdb/sum.golang.org/supported");
    assert_int_equal(r.kind, GO_REQUEST_SUPPORTED);
    assert_string_equal(r.sumdb, "sum.golang.org");
    r = parsed(&a, "/sumdb/host.example/some/path/latest");
    assert_int_equal(r.kind, GO_REQUEST_TREE);
    assert_string_equal(r.sumdb, "host.example/some/path");
    r = parsed(&a, "/sumdb/sum.golang.org/lookup/github.com/%21burnt%21sushi/toml@v1.3.2");
    assert_int_equal(r.kind, GO_REQUEST_LOOKUP);
    assert_string_equal(r.mod.path, "github.com/BurntSushi/toml");
    assert_string_equal(r.mod.version, "v1.3.2");
    assert_true(r.canonical);
    assert_string_equal(r.rest, "lookup/github.com/!burnt!sushi/toml@v1.3.2");
    r = parsed(&a, "/sumdb/sum.golang.org/tile/8/0/x001/234.p/17");
    assert_int_equal(r.kind, GO_REQUEST_TILE);
    assert_true(r.tile.height == 8 && r.tile.level == 0 && r.tile.n == 1234 && r.tile.width == 17);
    assert_string_equal(r.rest, "tile/8/0/x001/234.p/17");
}

static void what_a_proxy_must_not_serve_is_refused(void **state)
{
    static const char *const CASES[][2] = {
        {"", "no request of the GOPROXY protocol"},
        {"/", "no request of the GOPROXY protocol"},
        {"/github.com/BurntSushi/toml/@v/list", "invalid escaped module path"},
        {"/github.com/!Burnt/x/@v/list", "invalid escaped module path"},
        {"/nodot/x/@v/list", "missing dot"},
        {"/a.b/c/@v/V1.0.0.zip", "invalid escaped version"},
        {"/a.b/c/@v/v1.0.0.tar", "neither list nor"},
        {"/a.b/c/@v/master.zip", "not canonical"},
        {"/a.b/c/@v/v1.mod", "not canonical"},
        {"/a.b/c/@v/v2.0.0.zip", "not canonical"},
        {"/a.b/c/v3/@v/v2.0.0.mod", "not canonical"},
        {"/a.b/c/@v/feature/x.info", "invalid escaped version"},
        {"/a.b/c/@v/.info", "invalid escaped version"},
        {"/a.b/c/@v/", "neither list nor"},
        {"/a.b/c/@w/list", "neither @v nor @latest"},
        {"/a.b/c/@latest/x", "neither @v nor @latest"},
        {"/a.b/../c/@v/list", "path element of dots only"},
        {"/a.b/%2e%2e/c/@v/list", "path element of dots only"},
        {"/a.b%2fc/@v/list", "broken escape"},
        {"/a.b/c%00/@v/list", "broken escape"},
        {"/a.b/c/@v/%zz.info", "broken escape"},
        {"/a.b/c/@v/list?x=1", "a query"},
        {"//a.b/c/@v/list", "empty path element"},
        {"/sumdb/sum.golang.org", "no request to a checksum database"},
        {"/sumdb/sum.golang.org/other", "nothing that a checksum database serves"},
        {"/sumdb/../supported", "no name of a checksum database"},
        {"/sumdb/h/../x/supported", "no name of a checksum database"},
        {"/sumdb/u@h/supported", "no name of a checksum database"},
        {"/sumdb/h/lookup/a.b/c", "a lookup without a version"},
        {"/sumdb/h/lookup/a.b/C@v1.0.0", "invalid escaped module path"},
        {"/sumdb/h/lookup/a.b/c@master", "not canonical"},
        {"/sumdb/h/tile/8/0/1", "no name of a tile"},
        {"/sumdb/h/tile/8/0/../../latest", "no name of a tile"},
    };
    scoped(arena) Arena a = {0};
    GoRequest r;
    Err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++)
        FAILS(go_request_parse(&a, str_c(CASES[i][0]), &r, &e), ERR_NETWORK, CASES[i][1]);
}

/* ---- answers, against encoding/json and cmd/go ---- */

static const char *op_info(Arena *a, const Str *in)
{
    GoRequest any = {.kind = GO_REQUEST_INFO};
    GoInfo i;
    Err e = ERR_INIT;
    if (!go_info_parse(a, &any, in[0], &i, &e)) {
        assert_int_equal(e.kind, ERR_NETWORK);
        return strstr(e.msg, "duplicate object key") ? NULL : "bad";
    }
    bool zero = !i.has_time || i.time == -62135596800; /* the year 1 is Go's "no time" */
    return zero ? arena_printf(a, "ok %s -", i.version)
                : arena_printf(a, "ok %s %lld", i.version, (long long)i.time);
}

static const char *op_list(Arena *a, const Str *in)
{
    scoped(buf) Buf b = BUF_INIT;
    StrList l = go_list_parse(a, in[0]);
    for (size_t i = 0; i < l.n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", l.v[i]);
    return arena_strdup(a, buf_str(&b));
}

static void answers_say_what_go_reads_in_them(void **state)
{
    static const GoOp OPS[] = {{"info", op_info}, {"list", op_list}};
    (void)state;
    vectors(OPS, NELEM(OPS), "answer");
}

static void an_answer_for_another_version_is_refused(void **state)
{
    scoped(arena) Arena a = {0};
    GoRequest exact = parsed(&a, "/a.b/c/@v/v1.0.0.info"),
              branch = parsed(&a, "/a.b/c/@v/main.info");
    Str other = str_c("{\"Version\":\"v1.0.1\",\"Time\":\"2024-01-15T10:20:30Z\"}");
    GoInfo i;
    Err e = ERR_INIT;
    (void)state;
    FAILS(go_info_parse(&a, &exact, other, &i, &e), ERR_NETWORK,
          "version v1.0.1 instead of requested version v1.0.0");
    OK(go_info_parse(&a, &branch, other, &i, &e));
    assert_string_equal(i.version, "v1.0.1");
    assert_true(i.has_time && i.time == 1705314030);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_for_modules_are_read),
        cmocka_unit_test(requests_for_the_checksum_database_are_read),
        cmocka_unit_test(what_a_proxy_must_not_serve_is_refused),
        cmocka_unit_test(answers_say_what_go_reads_in_them),
        cmocka_unit_test(an_answer_for_another_version_is_refused),
    };
    return cmocka_run_group_tests_name("gorequest", tests, NULL, NULL);
}
