/*
 * go/modlex.c, go/modfile.c, go/sumfile.c, go/downloads.c and go/h1.c: the files of a module,
 * against golang.org/x/mod and by hand.
 */
#include "govectors.h"

#include "go/base64.h"
#include "go/go.h"

/* ---- against x/mod/modfile and x/mod/sumdb/dirhash ---- */

/* "bad" and the line that the message begins with. */
static const char *bad(Arena *a, const Err *e)
{
    assert_int_equal(e->kind, ERR_DOCKERFILE);
    assert_true(str_starts(e->msg, "m:"));
    return arena_printf(a, "bad %lu", strtoul(e->msg + 2, NULL, 10));
}

static void add_texts(Buf *b, const char *verb, const StrList *l)
{
    for (size_t i = 0; i < l->n; i++)
        buf_printf(b, "%s %s\n", verb, l->v[i]);
}

static void add_replaces(Buf *b, const GoModFile *f)
{
    for (size_t i = 0; i < f->nreplace; i++) {
        const GoReplace *r = &f->replaces[i];
        buf_printf(b, "replace %s %s => %s %s %u\n", r->old.path, r->old.version, r->with.path,
                   r->with.version, r->line);
    }
}

static const char *dump(Arena *a, const Str *in, GoModKind kind)
{
    scoped(buf) Buf b = BUF_INIT;
    GoModFile f;
    Err e = ERR_INIT;
    if (!go_mod_parse(a, "m", in[0], kind, &f, &e))
        return bad(a, &e);
    buf_puts(&b, "ok\n");
    if (*f.module)
        buf_printf(&b, "module %s\n", f.module);
    if (*f.go)
        buf_printf(&b, "go %s\n", f.go);
    if (*f.toolchain)
        buf_printf(&b, "toolchain %s\n", f.toolchain);
    for (size_t i = 0; i < f.nrequire; i++)
        buf_printf(&b, "require %s %s %s %u\n", f.requires[i].mod.path, f.requires[i].mod.version,
                   truth(f.requires[i].indirect), f.requires[i].line);
    add_replaces(&b, &f);
    for (size_t i = 0; i < f.nexclude; i++)
        buf_printf(&b, "exclude %s %s\n", f.excludes[i].path, f.excludes[i].version);
    add_texts(&b, "tool", &f.tools);
    add_texts(&b, "ignore", &f.ignores);
    add_texts(&b, "godebug", &f.godebugs);
    add_texts(&b, "use", &f.uses);
    return arena_strdup(a, b.ptr);
}

static const char *op_mod(Arena *a, const Str *in)
{
    return dump(a, in, GO_MOD_MAIN);
}

static const char *op_dep(Arena *a, const Str *in)
{
    return dump(a, in, GO_MOD_DEPENDENCY);
}

static const char *op_work(Arena *a, const Str *in)
{
    return dump(a, in, GO_MOD_WORK);
}

static const char *op_h1(Arena *a, const Str *in)
{
    char *h1 = arena_alloc(a, GO_H1_SIZE);
    go_h1_of_mod(in[0], h1);
    assert_true(go_h1_valid(h1));
    return h1;
}

static int by_line(const void *a, const void *b)
{
    const GoSumLine *x = a, *y = b;
    return (x->line > y->line) - (x->line < y->line);
}

static const char *op_sum(Arena *a, const Str *in)
{
    scoped(buf) Buf b = BUF_INIT;
    GoSumFile f;
    Err e = ERR_INIT;
    if (!go_sum_parse(a, "m", in[0], &f, &e))
        return bad(a, &e);
    if (f.n)
        qsort(f.v, f.n, sizeof *f.v, by_line);
    buf_puts(&b, "ok\n");
    for (size_t i = 0; i < f.n; i++)
        buf_printf(&b, "%u %s %s%s %s\n", f.v[i].line, f.v[i].mod.path, f.v[i].mod.version,
                   f.v[i].gomod ? "/go.mod" : "", f.v[i].hash);
    return arena_strdup(a, b.ptr);
}

static void files_of_a_module_say_what_the_go_project_reads_in_them(void **state)
{
    static const GoOp OPS[] = {
        {"mod", op_mod}, {"dep", op_dep}, {"work", op_work}, {"h1", op_h1}, {"sum", op_sum}};
    (void)state;
    vectors(OPS, NELEM(OPS), "modfile");
}

/* ---- by hand ---- */

static GoModFile parsed(Arena *a, const char *text)
{
    GoModFile f = {0};
    Err e = ERR_INIT;
    OK(go_mod_parse(a, "go.mod", str_c(text), GO_MOD_MAIN, &f, &e));
    return f;
}

static const char *downloads(Arena *a, const char *text)
{
    scoped(buf) Buf b = BUF_INIT;
    GoModFile f = parsed(a, text);
    GoModuleList l;
    go_mod_downloads(a, &f, &l);
    for (size_t i = 0; i < l.n; i++)
        buf_printf(&b, "%s@%s ", l.v[i].path, l.v[i].version);
    buf_puts(&b, l.whole ? "whole" : "part");
    return arena_strdup(a, b.ptr);
}

static void a_mistake_is_told_with_its_line(void **state)
{
    scoped(arena) Arena a = {0};
    GoModFile f;
    Err e = ERR_INIT;
    (void)state;
    FAILS(go_mod_parse(&a, "go.mod", str_c("module a.b/c\n\nrequire a.b/d master\n"), GO_MOD_MAIN,
                       &f, &e),
          ERR_DOCKERFILE,
          "go.mod:3: require a.b/d: version 'master' invalid: must be of the form v1.2.3");
    FAILS(go_mod_parse(&a, "go.mod", str_c("require (\n\ta.b/d v1.0.0\n"), GO_MOD_MAIN, &f, &e),
          ERR_DOCKERFILE, "go.mod:3: syntax error (unterminated block)");
    FAILS(go_mod_parse(&a, "go.mod", str_c("go 1.22\n/* x */\n"), GO_MOD_MAIN, &f, &e),
          ERR_DOCKERFILE, "go.mod:2: mod files must use // comments");
    FAILS(go_mod_parse(&a, "go.work", str_c("use (\n\t./a b\n)"), GO_MOD_WORK, &f, &e),
          ERR_DOCKERFILE, "go.work:2: use directive expects exactly one argument");
}

static void what_a_newer_go_wrote_stops_only_the_main_module(void **state)
{
    scoped(arena) Arena a = {0};
    const char *text = "module a.b/c\nfuture (\n\tx y z\n)\nfuture x\nrequire a.b/d v1.0.0\n";
    GoModFile f;
    Err e = ERR_INIT;
    (void)state;
    FAILS(go_mod_parse(&a, "m", str_c(text), GO_MOD_MAIN, &f, &e), ERR_DOCKERFILE,
          "m:2: unknown block type: future");
    OK(go_mod_parse(&a, "m", str_c(text), GO_MOD_DEPENDENCY, &f, &e));
    assert_int_equal(f.nrequire, 1);
}

static void a_bomb_of_lines_is_refused(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf lines = BUF_INIT, words = BUF_INIT, sums = BUF_INIT;
    GoModFile f;
    GoSumFile s;
    Err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < 300000; i++)
        buf_puts(&lines, "x\n");
    FAILS(go_mod_parse(&a, "m", (Str){lines.ptr, lines.len}, GO_MOD_DEPENDENCY, &f, &e),
          ERR_DOCKERFILE, "too many lines");
    for (size_t i = 0; i < 1100000; i++)
        buf_puts(&words, "x ");
    FAILS(go_mod_parse(&a, "m", (Str){words.ptr, words.len}, GO_MOD_DEPENDENCY, &f, &e),
          ERR_DOCKERFILE, "too many words");
    FAILS(go_mod_parse(&a, "m", (Str){words.ptr, GO_MOD_MAX + 1u}, GO_MOD_MAIN, &f, &e),
          ERR_DOCKERFILE, "larger than");
    for (size_t i = 0; i < 1100000; i++)
        buf_puts(&sums, "a b c\n");
    FAILS(go_sum_parse(&a, "m", (Str){sums.ptr, sums.len}, &s, &e), ERR_DOCKERFILE,
          "more than 1048576 lines");
}

static void a_download_takes_the_require_lines_after_replace(void **state)
{
    scoped(arena) Arena a = {0};
    (void)state;
    assert_string_equal(
        downloads(
            &a,
            "module m.x/m\ngo 1.17\nrequire (\n\ta.b/c v1.0.0\n\ta.b/d v1.2.0 // indirect\n)\n"),
        "a.b/c@v1.0.0 a.b/d@v1.2.0 whole");
    assert_string_equal(downloads(&a, "module m.x/m\ngo 1.22\nrequire a.b/c v1.0.0\nrequire a.b/d "
                                      "v1.2.0\nrequire a.b/e v1.0.0\n"
                                      "replace a.b/c => ../c\nreplace a.b/d v1.2.0 => f.g/d "
                                      "v1.3.0\nreplace a.b/d => f.g/h v1.0.0\n"
                                      "replace a.b/e v1.9.9 => ../e\n"),
                        "f.g/d@v1.3.0 a.b/e@v1.0.0 whole");
    assert_string_equal(downloads(&a, "module m.x/m\ngo 1.22\nrequire a.b/c v1.0.0\nrequire a.b/d "
                                      "v1.0.0\nrequire a.b/c v1.1.0\n"),
                        "a.b/d@v1.0.0 a.b/c@v1.1.0 whole");
}

static void a_list_that_needs_the_graph_is_a_part(void **state)
{
    scoped(arena) Arena a = {0};
    (void)state;
    assert_string_equal(downloads(&a, "module m.x/m\ngo 1.16\nrequire a.b/c v1.0.0\n"),
                        "a.b/c@v1.0.0 part");
    assert_string_equal(downloads(&a, "module m.x/m\nrequire a.b/c v1.0.0\n"), "a.b/c@v1.0.0 part");
    assert_string_equal(
        downloads(&a, "module m.x/m\ngo 1.22\nrequire a.b/c v1.0.0\nexclude a.b/c v1.0.0\n"),
        "part");
    assert_string_equal(downloads(&a, "module m.x/m\ngo 1.22\nrequire nodot/c v1.0.0\n"), "part");
    assert_string_equal(downloads(&a, "module m.x/m\ngo 1.22\n"), "whole");
}

static void a_sum_that_differs_is_no_unknown_one(void **state)
{
    scoped(arena) Arena a = {0};
    GoSumFile f;
    Err e = ERR_INIT;
    GoModule c = {"a.b/c", "v1.0.0"}, d = {"a.b/d", "v1.0.0"};
    (void)state;
    OK(go_sum_parse(&a, "go.sum",
                    str_c("a.b/d v1.0.0 h2:x\na.b/d v1.0.0 h1:2=\na.b/d v1.0.0 h1:3=\na.b/c "
                          "v1.0.0/go.mod h1:1=\n"),
                    &f, &e));
    assert_int_equal(go_sum_check(&f, &c, true, "h1:1="), GO_SUM_MATCH);
    assert_int_equal(go_sum_check(&f, &c, true, "h1:2="), GO_SUM_MISMATCH);
    assert_int_equal(go_sum_check(&f, &c, false, "h1:1="), GO_SUM_UNKNOWN);
    assert_int_equal(go_sum_check(&f, &d, false, "h1:2="), GO_SUM_MATCH);
    /* as the go command: the first h1 that differs decides */
    assert_int_equal(go_sum_check(&f, &d, false, "h1:3="), GO_SUM_MISMATCH);
    assert_string_equal(go_sum_find(&f, &d, false), "h1:2=");
    assert_null(go_sum_find(&f, &d, true));
}

static void an_h1_is_exactly_one(void **state)
{
    (void)state;
    assert_true(go_h1_valid("h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="));
    assert_false(go_h1_valid("h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY"));
    assert_false(go_h1_valid("h2:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="));
    assert_false(go_h1_valid("h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykryd=="));
    assert_false(go_h1_valid("h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykryd!="));
}

/* Source: RFC 4648, section 10. */
static void base64_is_that_of_its_standard(void **state)
{
    static const char *const CASES[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    char out[8];
    size_t n;
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(buf) Buf b = BUF_INIT;
        base64_add(&b, CASES[i][0], strlen(CASES[i][0]));
        assert_string_equal(buf_str(&b), CASES[i][1]);
        assert_true(base64_read(str_c(CASES[i][1]), out, 6, &n));
        assert_int_equal(n, strlen(CASES[i][0]));
        assert_memory_equal(out, CASES[i][0], n);
    }
    assert_false(base64_read(str_c("Zm9vYmFy"), out, 5, &n));
    assert_false(base64_read(str_c("Zg="), out, 6, &n) || base64_read(str_c("===="), out, 6, &n) ||
                 base64_read(str_c("Z==="), out, 6, &n) || base64_read(str_c("Zg=a"), out, 6, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_a_module_say_what_the_go_project_reads_in_them),
        cmocka_unit_test(a_mistake_is_told_with_its_line),
        cmocka_unit_test(what_a_newer_go_wrote_stops_only_the_main_module),
        cmocka_unit_test(a_bomb_of_lines_is_refused),
        cmocka_unit_test(a_download_takes_the_require_lines_after_replace),
        cmocka_unit_test(a_list_that_needs_the_graph_is_a_part),
        cmocka_unit_test(a_sum_that_differs_is_no_unknown_one),
        cmocka_unit_test(an_h1_is_exactly_one),
        cmocka_unit_test(base64_is_that_of_its_standard),
    };
    return cmocka_run_group_tests_name("gomodfile", tests, NULL, NULL);
}
