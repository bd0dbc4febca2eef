/*
 * context/ignore: what an ignore file leaves out.
 */
#include <jansson.h>

#include "context/ignore.h"
#include "plainwalk.h"
#include "testing.h"

static Ignore *parse(Arena *a, const char *text)
{
    Err e = ERR_INIT;
    Ignore *ig = NULL;
    if (!ignore_parse(a, str_c(text), "f", &ig, &e))
        fail_msg("'%s': %s", text, e.msg);
    return ig;
}

static bool excludes(const Ignore *ig, const char *path, uint32_t *ret_line)
{
    bool excluded, found = ignore_match(ig, path, &excluded, ret_line);
    assert_int_equal(found, *ret_line > 0);
    assert_true(found || !excluded);
    return excluded;
}

/* Ask along the path, as a walker does; the answers must be those of the reference's loop. */
static bool hidden_in_walk(Arena *a, const Ignore *ig, const char *path, bool *ret_pruned)
{
    bool hidden = false;
    const char *wrong = plain_compare(a, ig, path, &hidden, ret_pruned);
    if (wrong)
        fail_msg("%s on the way to '%s'", wrong, path);
    return hidden;
}

typedef struct Case {
    const char *ignore, *path;
    bool excluded;
} Case;

static void check(const Case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        scoped(arena) Arena a = {0};
        bool pruned;
        uint32_t line;
        Ignore *ig = parse(&a, cases[i].ignore);
        if (strcmp(cases[i].path, ".") != 0)
            (void)hidden_in_walk(&a, ig, cases[i].path, &pruned);
        if (excludes(ig, cases[i].path, &line) != cases[i].excluded)
            fail_msg("'%s' on '%s': not %d", cases[i].ignore, cases[i].path, cases[i].excluded);
    }
}

/* Expected: the comment of moby's ignorefile.ReadAll; white space is Go's unicode.IsSpace. */
static void lines_are_trimmed_cleaned_and_freed_of_a_leading_slash(void **state)
{
    static const Case CASES[] = {
        {"\xEF\xBB\xBF./a\n", "a", true},
        {"\xEF\xBB\xBF# c\na", "a", true},
        {"# a\n", "# a", false},
        {" # a\n", "# a", true},
        {"a\r\nb\r\n", "a", true},
        {"a\r\nb\r\n", "b", true},
        {"  a\t\n", "a", true},
        {"\xC2\xA0./a\xE3\x80\x80\n", "a", true},
        {"\n \n\ta b \n", "a b", true},
        {"/a\n", "a", true},
        {"./a/../b//c/\n", "b/c", true},
        {"*\n! /a\n", "a", false},
        {"*\n! ./b/..//a\n", "a", false},
        {"!!a\n", "!a", false},
        {"a*\n/!ab\n", "ab", false}, /* the '/' goes first, the '!' behind it counts */
        {"/\n", "a", false},
        {"", "a", false},
        {"..", "a", false},
    };
    (void)state;
    check(CASES, NELEM(CASES));
}

/* Expected: Docker's reference, ".dockerignore file", and patternmatcher's answers. */
static void the_last_match_of_a_path_or_its_parents_wins(void **state)
{
    static const Case CASES[] = {
        {"a", "a/b/c", true},
        {"a", "b/a", false},
        {"*\n!go.mod\n!cmd/**", "cmd/x/main.go", false},
        {"*\n!go.mod\n!cmd/**", "go.sum", true},
        {"*\n!go.mod\n!cmd/**", "cmd", true},
        {"*.md\n!README*.md\nREADME-secret.md", "README.md", false},
        {"*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true},
        {"!a\na", "a", true},
        {"a\n!a", "a/b", false},
        {"d\n!d/c\nd*", "d/c", true},
        {"**/*.md\n!docs", "docs/a.md", false},
        {"**", "a/b", true},
        {"*", ".", false},
    };
    (void)state;
    check(CASES, NELEM(CASES));
}

/* Expected: patternmatcher run on the same cases, as are those of the next two tests. */
static void double_stars_cross_directories_and_single_ones_do_not(void **state)
{
    static const Case CASES[] = {
        {"*/x", "a/x", true},
        {"*/x", "a/b/x", false},
        {"**/x", "x", true},
        {"**/x", "a/b/x", true},
        {"**/x", "a/bx", false},
        {"**x", "a/bx", true},
        {"a/**", "a", false},
        {"a/**", "a/b/c", true},
        {"a**", "ab/c", true},
        {"a/**/z", "a/z", true},
        {"a/**/z", "a/b/c/z", true},
        {"a/**/z", "a/bz", false},
        {"a**b", "axb", false},
        {"a**b", "ax/b", true},
        {"**/*.go", "a/b.go", true},
        {"**/*.go", "b.gox", false},
        {"a?c", "a/c", false},
        {"a?c", "aüc", true},
        {"**/a/*/b", "x/a/y/b", true},
        {"**/a/*/b", "x/a/b", false},
        {"**/.git/**", "x/.git", false},
    };
    (void)state;
    check(CASES, NELEM(CASES));
}

static void classes_and_backslashes_are_those_of_go_regular_expressions(void **state)
{
    static const Case CASES[] = {
        {"[a-c]x", "bx", true},       {"[^a-c]x", "dx", true},    {"a[^b]c", "a/c", true},
        {"\\*", "*", true},           {"\\*", "a", false},        {"\\d\\d", "42", true},
        {"\\d\\d", "4x", false},      {"[\\]a]", "]", true},      {"[[:alpha:]]", "q", true},
        {"[^[:alpha:]]", "q", false}, {"\\x61*", "ab", true},     {"\\141*", "ab", true},
        {"\\x{fc}", "ü", true},       {"a\\tb", "a\tb", true},    {"\\Qa*b", "axb", false},
        {"foo\\b*", "foo-x", true},   {"foo\\b*", "foox", false}, {"[a*b]", "b]", true},
        {"*[\\D]", "x5", false},      {"[\\W]*", "-a", true},
    };
    (void)state;
    check(CASES, NELEM(CASES));
}

static void characters_moby_forgets_to_escape_mean_what_regexps_mean(void **state)
{
    static const Case CASES[] = {
        {"a|b", "a|b", true}, /* no wildcard: compared as it is */
        {"a|b", "a", false},
        {"*.js|*.ts", "a.js", true},
        {"*.js|*.ts", "a.jsx", true}, /* the first alternative has no end, the second no start */
        {"x*|b", "a/ab", true},
        {"a{2}*", "aab", true},
        {"a{2}*", "ab", false},
        {"a{2,3}?", "aaab", true},
        {"a{0,1}b*", "bc", true},
        {"*.{js,ts}", "a.js", false},
        {"*.{js,ts}", "a.{js,ts}", true},
        {"a^b*", "a^bc", false},
        {"a.b+(c)$*", "a.b+(c)$d", true},
        {"a.b*", "axb", false},
        {"*|{x", "{x", true},
    };
    (void)state;
    check(CASES, NELEM(CASES));
}

/* Expected: patternmatcher's errors; some of them it reports only when a path comes that far. */
static void a_malformed_pattern_is_an_error_with_its_line(void **state)
{
    static const char *const BAD[] = {
        "[",      "[a",      "[]a]",     "[x-]",    "\\",       "!",    "! ",
        "a*[",    "[b-a]",   "a{2}{2}*", "*{2}",    "a{1001}*", "\\8",  "\\k",
        "\\p{L}", "[[:x:]]", "*|{2}",    "a{3,2}*", "\\x4g",    "\\1x", "*\\C",
    };
    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++) {
        scoped(arena) Arena a = {0};
        Err e = ERR_INIT;
        Ignore *ig = NULL;
        const char *text = arena_printf(&a, "# one\n\nok\n%s\n", BAD[i]);
        if (ignore_parse(&a, str_c(text), "Dockerfile.dockerignore", &ig, &e))
            fail_msg("'%s' was accepted", BAD[i]);
        assert_int_equal(e.kind, ERR_DOCKERFILE);
        assert_ptr_equal(strstr(e.msg, "Dockerfile.dockerignore:4: "), e.msg);
        assert_null(ig);
    }
}

static void nul_bytes_and_endless_lines_are_errors(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    Ignore *ig;
    char *text = arena_alloc(&a, 70000);

    (void)state;
    assert_false(ignore_parse(&a, (Str){"a\n\xFF\0b", 5}, "f", &ig, &e));
    assert_string_equal(e.msg, "f:2: NUL byte; the file must be UTF-8");
    e = (Err)ERR_INIT;
    memset(text, 'a', 69999);
    assert_false(ignore_parse(&a, str_c(text), "f", &ig, &e));
    assert_string_equal(e.msg, "f:1: line of 69999 bytes");
}

static void the_deciding_line_is_reported(void **state)
{
    scoped(arena) Arena a = {0};
    Ignore *ig = parse(&a, "# comment\n*.md\n\n!README.md\nvendor\n");
    uint32_t line = 99;

    (void)state;
    assert_true(excludes(ig, "a.md", &line));
    assert_int_equal(line, 2);
    assert_false(excludes(ig, "README.md", &line));
    assert_int_equal(line, 4);
    assert_true(excludes(ig, "vendor/a.md", &line));
    assert_int_equal(line, 5);
    assert_false(excludes(ig, "main.go", &line));
    assert_int_equal(line, 0);
}

/* Expected: patternmatcher.New, which knows neither comments nor a leading slash. */
static void a_list_of_patterns_counts_its_own_lines(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    StrList l = {0};
    Ignore *ig;
    uint32_t line;

    (void)state;
    strlist_add(&a, &l, " #a ");
    strlist_add(&a, &l, "/b");
    strlist_add(&a, &l, "./c/");
    assert_true(ignore_from_patterns(&a, &l, &ig, &e));
    assert_true(excludes(ig, "#a", &line));
    assert_int_equal(line, 1);
    assert_false(excludes(ig, "b", &line));
    assert_true(excludes(ig, "c/d", &line));
    assert_int_equal(line, 3);
    strlist_add(&a, &l, "[");
    assert_false(ignore_from_patterns(&a, &l, &ig, &e));
    assert_string_equal(e.msg, "malformed pattern '['");
}

/* Is a directory left unread? The ones above it are entered first. */
static bool is_pruned(Arena *a, const Ignore *ig, const char *dir)
{
    bool pruned = false;
    (void)hidden_in_walk(a, ig, arena_printf(a, "%s/any", dir), &pruned);
    return pruned;
}

/* Expected: by reasoning; that pruning never loses a file is what hidden_in_walk looks after. */
static void only_an_exception_that_reaches_below_keeps_an_excluded_directory_open(void **state)
{
    static const struct {
        const char *ignore, *dir;
        bool open;
    } CASES[] = {
        {"*", "node_modules", false},
        {"*\n!docs/a.md", "node_modules", false},
        {"*\n!docs/a.md", "docs", true},
        {"*\n!docs/a.md", "docs/a.md", true}, /* a directory of that name is included */
        {"*\n!docs/a.md", "doc", false},
        {"*\n!docs/api/*.md", "docs/api", true},
        {"*\n!docs/api/*.md", "docs/x", false},
        {"*\n!docs/*/b", "docs/x", true},
        {"*\n!docs/*/b", "docs/x/y", false},
        {"a\n!a/x**", "a", true},
        {"a\n!a/x**", "a/y", false},
        {"*\n!**/a.md", "node_modules", true},
        {"*\n!*/go.mod", "cmd", true},
        {"*\n!*/go.mod", "cmd/x", false},
        {"!docs/a.md\n*", "docs", false}, /* the exception comes too early */
        {"a*\n!x*|b", "ac", true},
        {"a", "b", true}, /* not excluded */
    };
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(arena) Arena a = {0};
        Ignore *ig = parse(&a, CASES[i].ignore);
        if (is_pruned(&a, ig, CASES[i].dir) == CASES[i].open)
            fail_msg("'%s' on '%s': not %d", CASES[i].ignore, CASES[i].dir, CASES[i].open);
    }
}

/* Expected: fsutil's walk, run on the same trees and patterns. */
static void a_walk_departs_from_single_paths_where_the_reference_does(void **state)
{
    static const struct {
        const char *ignore, *path;
        bool single, walk; /* excluded? */
    } CASES[] = {
        {"**/*.md\n!docs", "docs/a.md", false, true}, /* docs is not excluded when it is met */
        {"docs\n**/*.md\n!docs", "docs/a.md", false, false},
        {"a\n!a/b\na", "a/b", true, false},   /* the second a had nothing to say about a */
        {"*\n!a/*/**", "a/b/c", false, true}, /* compared by its start "a", so a/b is skipped */
        {"*\n!a/*/**\n!x*", "a/b/c", false, false},
    };
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(arena) Arena a = {0};
        Ignore *ig = parse(&a, CASES[i].ignore);
        uint32_t line;
        bool pruned;
        if (excludes(ig, CASES[i].path, &line) != CASES[i].single ||
            hidden_in_walk(&a, ig, CASES[i].path, &pruned) != CASES[i].walk)
            fail_msg("'%s' on '%s'", CASES[i].ignore, CASES[i].path);
    }
}

/* Expected: fsutil's patternWithoutTrailingGlob. */
static void a_pattern_is_compared_with_directories_without_its_last_stars(void **state)
{
    static const struct {
        const char *ignore, *stem;
        bool plain;
    } CASES[] = {
        {"!a/b", "a/b", true},    {"!a/b/**", "a/b", true},   {"!a/*", "a", true},
        {"!a/*/**", "a", true},   {"!a/**/*", "a/**", false}, {"!**", "**", false},
        {"!a/b*", "a/b*", false}, {"!a^b", "a^b", false},     {"!a\\b", "a\\b", false},
        {"!a?", "a?", false},     {"!a|b", "a|b", true},      {"!a{2}/*", "a{2}", true},
    };
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(arena) Arena a = {0};
        const Pattern *pt = ignore_pattern(parse(&a, CASES[i].ignore), 0);
        assert_string_equal(pt->stem, CASES[i].stem);
        assert_int_equal(pt->plain, CASES[i].plain);
        assert_string_equal(pt->written, CASES[i].ignore);
    }
}

/* ---- random ones ---- */

static const char *one_of(uint64_t *seed, const char *const *list, size_t n)
{
    return list[next_random(seed) % n];
}

static char *random_path(Arena *a, uint64_t *seed)
{
    static const char *const PARTS[] = {"a", "b", "ab", "a.md", "docs", "x\ny", "\xC3\xBC", "\xFF"};
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0, n = 1 + next_random(seed) % 4; i < n; i++)
        buf_printf(&b, "%s%s", i ? "/" : "", one_of(seed, PARTS, NELEM(PARTS)));
    return arena_strdup(a, b.ptr);
}

static char *random_ignore(Arena *a, uint64_t *seed)
{
    static const char *const PARTS[] = {"a",    "b",         "ab",   "a*", "*",   "**",
                                        "*.md", "docs",      "[ab]", "*b", "b**", "?",
                                        "a|b",  "*\xC3\xBC", "**b",  "x*"};
    static const char *const ENDS[] = {"", "", "", "", "/**", "/*"};
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0, n = 1 + next_random(seed) % 7; i < n; i++) {
        buf_puts(&b, next_random(seed) % 5 < 2 ? "!" : "");
        for (size_t j = 0, m = 1 + next_random(seed) % 3; j < m; j++)
            buf_printf(&b, "%s%s", j ? "/" : "", one_of(seed, PARTS, NELEM(PARTS)));
        buf_printf(&b, "%s\n", one_of(seed, ENDS, NELEM(ENDS)));
    }
    return arena_strdup(a, b.ptr);
}

static void a_walk_answers_as_the_references_loop(void **state)
{
    uint64_t seed = 20240607;
    size_t nhidden = 0, npruned = 0, ndeparts = 0;

    (void)state;
    for (size_t i = 0; i < 30000; i++) {
        scoped(arena) Arena a = {0};
        const char *text = random_ignore(&a, &seed), *path = random_path(&a, &seed);
        Ignore *ig = parse(&a, text);
        bool hidden = false, pruned = false;
        uint32_t line;
        const char *wrong = plain_compare(&a, ig, path, &hidden, &pruned);
        if (wrong)
            fail_msg("'%s' on '%s': %s", text, path, wrong);
        nhidden += hidden;
        npruned += pruned;
        ndeparts += hidden != excludes(ig, path, &line);
    }
    print_message("%zu hidden, %zu below pruned directories, %zu not as single paths\n", nhidden,
                  npruned, ndeparts);
    assert_true(nhidden > 1000 && npruned > 1000 && ndeparts > 50);
}

/* The short way of patterns with one star must be no more than that. */
static void a_pattern_with_one_star_matches_what_its_expression_matches(void **state)
{
    uint64_t seed = 77;
    size_t nhit = 0, nglob = 0;

    (void)state;
    for (size_t i = 0; i < 30000; i++) {
        scoped(arena) Arena a = {0};
        const Ignore *ig = parse(&a, random_ignore(&a, &seed));
        const char *path = random_path(&a, &seed);
        for (size_t k = 0; k < ignore_count(ig); k++) {
            const Pattern *pt = ignore_pattern(ig, k);
            if (pt->kind != PATTERN_GLOB)
                continue;
            bool has = pattern_has(pt, path, strlen(path));
            if (has != regex_matches(&pt->re, path, strlen(path)))
                fail_msg("'%s' on '%s': not %d", pt->written, path, has);
            nglob++;
            nhit += has;
        }
    }
    assert_true(nglob > 10000 && nhit > 1000);
}

/* A backtracking matcher would not come back from either. */
static void a_hostile_pattern_costs_no_more_than_the_product_of_the_lengths(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf text = BUF_INIT;
    char path[4000];
    Err e = ERR_INIT;
    Ignore *ig;
    uint32_t line;

    (void)state;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = 0;
    for (int i = 0; i < 1000; i++)
        buf_puts(&text, i % 2 ? "*a" : "**/a");
    buf_puts(&text, "b?\n");
    assert_false(excludes(parse(&a, text.ptr), path, &line));
    text.len = 0;
    for (int i = 0; i < 40; i++)
        buf_puts(&text, "a{1000}");
    buf_putc(&text, '*');
    assert_false(ignore_parse(&a, str_c(text.ptr), "f", &ig, &e));
}

/* ---- open vectors; their results come from patternmatcher and BuildKit, see their README ---- */

static FILE *open_vectors(Arena *a, const char *name)
{
    const char *dir = getenv("LIGHTER_VECTORS");
    FILE *f = dir ? fopen(arena_printf(a, "%s/%s", dir, name), "re") : NULL;
    if (!f)
        SKIP("LIGHTER_VECTORS names no directory with %s", name);
    return f;
}

static const char *text_of(json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static bool vector_ignore(Arena *a, json_t *o, Ignore **ret)
{
    const char *text = text_of(o, "ignore");
    Err e = ERR_INIT;
    StrList l = {0};
    size_t i;
    json_t *v;

    if (text)
        return ignore_parse(a, str_c(text), "f", ret, &e);
    json_array_foreach(json_object_get(o, "patterns"), i, v)
        strlist_add(a, &l, json_string_value(v));
    return ignore_from_patterns(a, &l, ret, &e);
}

static size_t check_vectors(Arena *a, FILE *f)
{
    size_t ncase = 0;

    for (json_t *o; (o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(o), ncase++) {
        Ignore *ig;
        uint32_t line;
        bool ok = vector_ignore(a, o, &ig);
        if (ok == json_is_true(json_object_get(o, "error")) ||
            (ok &&
             excludes(ig, text_of(o, "path"), &line) != json_is_true(json_object_get(o, "match"))))
            fail_msg("%s", text_of(o, "id"));
    }
    fclose(f);
    print_message("%zu vectors\n", ncase);
    return ncase;
}

static void the_open_vectors_of_patterns_all_pass(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    assert_true(check_vectors(&a, open_vectors(&a, "ignore.jsonl")) > 0);
    assert_true(check_vectors(&a, open_vectors(&a, "ignore-more.jsonl")) > 0);
}

static bool is_listed(json_t *paths, const char *path)
{
    size_t i;
    json_t *v;

    json_array_foreach(paths, i, v) if (!strcmp(json_string_value(v), path)) return true;
    return false;
}

static void the_open_vectors_of_listings_all_pass(void **state)
{
    scoped(arena) Arena a = {0};
    FILE *f = open_vectors(&a, "context-ls.jsonl");
    size_t ncase = 0, ipath, npruned = 0;
    json_t *v;

    (void)state;
    for (json_t *o; (o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(o), ncase++) {
        Ignore *ig = parse(&a, text_of(o, "ignore"));
        json_array_foreach(json_object_get(o, "paths"), ipath, v)
        {
            const char *path = json_string_value(v);
            bool pruned;
            if (str_ends(path, "/")) /* a directory is sent for what is in it */
                continue;
            bool sent = !hidden_in_walk(&a, ig, path, &pruned);
            npruned += pruned;
            if (sent != is_listed(json_object_get(o, "sent"), path))
                fail_msg("%s: %s", text_of(o, "id"), path);
        }
    }
    fclose(f);
    print_message("%zu vectors, %zu paths in pruned directories\n", ncase, npruned);
    assert_true(ncase > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_trimmed_cleaned_and_freed_of_a_leading_slash),
        cmocka_unit_test(the_last_match_of_a_path_or_its_parents_wins),
        cmocka_unit_test(double_stars_cross_directories_and_single_ones_do_not),
        cmocka_unit_test(classes_and_backslashes_are_those_of_go_regular_expressions),
        cmocka_unit_test(characters_moby_forgets_to_escape_mean_what_regexps_mean),
        cmocka_unit_test(a_malformed_pattern_is_an_error_with_its_line),
        cmocka_unit_test(nul_bytes_and_endless_lines_are_errors),
        cmocka_unit_test(the_deciding_line_is_reported),
        cmocka_unit_test(a_list_of_patterns_counts_its_own_lines),
        cmocka_unit_test(only_an_exception_that_reaches_below_keeps_an_excluded_directory_open),
        cmocka_unit_test(a_walk_departs_from_single_paths_where_the_reference_does),
        cmocka_unit_test(a_pattern_is_compared_with_directories_without_its_last_stars),
        cmocka_unit_test(a_walk_answers_as_the_references_loop),
        cmocka_unit_test(a_pattern_with_one_star_matches_what_its_expression_matches),
        cmocka_unit_test(a_hostile_pattern_costs_no_more_than_the_product_of_the_lengths),
        cmocka_unit_test(the_open_vectors_of_patterns_all_pass),
        cmocka_unit_test(the_open_vectors_of_listings_all_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
