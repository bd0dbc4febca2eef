/*
 * base/: failures, strings, paths, maps, arenas, digests, options, keys, threads, JSON, files.
 */
#include "testing.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/key.h"
#include "base/late.h"
#include "base/levels.h"
#include "base/map.h"
#include "base/opt.h"
#include "base/pool.h"
#include "base/rune.h"

/* ---- err ---- */

static void the_first_failure_wins(void **state)
{
    Err e = ERR_INIT;

    (void)state;
    assert_false(err_set(&e, ERR_DOCKERFILE, "first %d", 1));
    assert_false(err_set(&e, ERR_STORE, "second"));
    errno = ENOENT;
    assert_false(err_errno(&e, ERR_ENV, "third"));
    assert_int_equal(e.kind, ERR_DOCKERFILE);
    assert_string_equal(e.msg, "first 1");
}

static void each_caller_adds_one_clause_in_front(void **state)
{
    Err e = ERR_INIT;

    (void)state;
    errno = ENOENT;
    assert_false(err_errno(&e, ERR_STORE, "open '%s'", "go.mod"));
    assert_false(err_wrap(&e, "step %d", 3));
    assert_false(err_wrap(&e, "build"));
    assert_int_equal(e.kind, ERR_STORE);
    assert_string_equal(e.msg, "build: step 3: open 'go.mod': No such file or directory");
}

static void a_message_over_the_limit_is_cut_and_ends_in_a_nul(void **state)
{
    Err e = ERR_INIT;
    char big[2 * ERR_MSG_MAX];

    (void)state;
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = 0;
    errno = ENOENT;
    (void)err_errno(&e, ERR_STORE, "%s", big);
    assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
    (void)err_wrap(&e, "clause");
    assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
    assert_memory_equal(e.msg, "clause: xxx", 11);
    (void)err_wrap(&e, "%s", big);
    assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
}

/* ---- str ---- */

static void a_buffer_keeps_every_byte_while_it_grows(void **state)
{
    scoped(buf) Buf b = BUF_INIT;

    (void)state;
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 100000; i++)
        buf_putc(&b, (char)i);
    assert_int_equal(b.len, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.ptr[i], (char)i);
    assert_int_equal(b.ptr[b.len], 0);
    buf_printf(&b, "%s-%d", "end", 7);
    assert_string_equal(b.ptr + 100000, "end-7");
    buf_add(&b, "", 0);
    assert_int_equal(b.len, 100005);
}

static void sizes_read_as_people_write_them(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } CASES[] = {
        {0, "0 B"},
        {999, "999 B"},
        {1000, "1.00 kB"},
        {9990, "9.99 kB"},
        {9996, "10.0 kB"},
        {14200000, "14.2 MB"},
        {999949, "999.9 kB"},
        {999950, "1.00 MB"},
        {999999999, "1.00 GB"},
        {1500000000000, "1.50 TB"},
        {UINT64_MAX, "18446744.1 TB"},
    };
    char out[32];

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        str_size(CASES[i].bytes, out, sizeof out);
        assert_string_equal(out, CASES[i].text);
    }
}

static void a_number_is_digits_only_and_within_its_limit(void **state)
{
    static const char *const BAD[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-1",
                                      "0x1",
                                      "1a",
                                      "1.0",
                                      "256",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    uint64_t v = 77;

    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++)
        if (str_u64(BAD[i], 255, &v))
            fail_msg("'%s' was accepted", BAD[i]);
    assert_int_equal(v, 77);
    assert_true(str_u64("255", 255, &v));
    assert_int_equal(v, 255);
    assert_true(str_u64("000", 0, &v));
    assert_int_equal(v, 0);
    assert_true(str_u64("18446744073709551615", UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
}

static void prefixes_and_suffixes_may_be_longer_than_the_text(void **state)
{
    (void)state;
    assert_true(str_starts("abc", "ab"));
    assert_true(str_starts("abc", ""));
    assert_false(str_starts("ab", "abc"));
    assert_true(str_ends("abc", "bc"));
    assert_false(str_ends("bc", "abc"));
    assert_true(str_eq((Str){"abcd", 3}, "abc"));
    assert_false(str_eq((Str){"abcd", 3}, "abcd"));
}

static void setting_a_variable_keeps_its_place_and_its_neighbours(void **state)
{
    scoped(arena) Arena a = {0};
    StrList env = {0};

    (void)state;
    env_set(&a, &env, "AB", "1");
    env_set(&a, &env, "A", "2");
    env_set(&a, &env, "B", "x=y");
    env_set(&a, &env, "AB", "3");
    assert_int_equal(env.n, 3);
    assert_string_equal(env.v[0], "AB=3");
    assert_string_equal(env_get(&env, "A"), "2");
    assert_string_equal(env_get(&env, "B"), "x=y");
    assert_null(env_get(&env, ""));
    assert_null(env_get(&env, "ABC"));
    env_set(&a, &env, "E", "");
    assert_string_equal(env_get(&env, "E"), "");
}

static void a_copied_list_grows_on_its_own(void **state)
{
    scoped(arena) Arena a = {0};
    StrList l = {0};

    (void)state;
    strlist_add(&a, &l, "one");
    StrList c = strlist_copy(&a, &l);
    strlist_add(&a, &c, "two");
    strlist_add(&a, &l, "three");
    assert_int_equal(c.n, 2);
    assert_string_equal(c.v[1], "two");
    assert_string_equal(l.v[1], "three");
    char **argv = strlist_argv(&a, &c);
    assert_string_equal(argv[1], "two");
    assert_null(argv[2]);
}

/* Expected: Unicode, table 3-7 "Well-Formed UTF-8 Byte Sequences"; Go counts stray bytes singly. */
static void code_points_end_where_unicode_says(void **state)
{
    static const struct {
        const char *text;
        uint32_t rune;
        size_t size;
    } CASES[] = {
        {"", 0, 0},
        {"a", 'a', 1},
        {"\xC2\x80", 0x80, 2},
        {"\xEF\xBF\xBD", 0xFFFD, 3},
        {"\xF4\x8F\xBF\xBF", 0x10FFFF, 4},
        {"\xC1\xBF", RUNE_BAD, 1},
        {"\xE0\x9F\xBF", RUNE_BAD, 1},
        {"\xED\xA0\x80", RUNE_BAD, 1},
        {"\xF4\x90\x80\x80", RUNE_BAD, 1},
        {"\xE2\x98", RUNE_BAD, 1},
        {"\x80", RUNE_BAD, 1},
    };

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        uint32_t rune;
        assert_int_equal(utf8_rune(CASES[i].text, &rune), CASES[i].size);
        assert_int_equal(rune, CASES[i].rune);
    }
}

/* Expected: wcwidth(3) in C.UTF-8. */
static void code_points_take_no_one_or_two_columns(void **state)
{
    (void)state;
    assert_int_equal(rune_width('a'), 1);
    assert_int_equal(rune_width(0xE9), 1);
    assert_int_equal(rune_width(0x301), 0);
    assert_int_equal(rune_width(0x6F22), 2);
    assert_int_equal(rune_width(0x1F600), 2);
    assert_int_equal(rune_width(0x2026), 1);
}

static void a_cut_is_not_inside_a_code_point(void **state)
{
    static const char TEXT[] = "a\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80z";
    static const size_t WANT[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    (void)state;
    for (size_t n = 0; n < NELEM(WANT); n++)
        assert_int_equal(utf8_cut(TEXT, n), WANT[n]);
    assert_int_equal(utf8_cut("\xa0\xa0\xa0\xa0\xa0", 5), 5);
}

/* What may come from a step, and what a terminal may get of it. */
static void text_of_strangers_has_no_way_to_steer_a_terminal(void **state)
{
    static const struct {
        const char *text, *clean;
    } CASES[] = {
        {"plain\ttext", "plain\ttext"},
        {"\033[1;31mred\033[0m", "red"},
        {"\033]0;title\007after", "after"},
        {"\033]8;;http://x\033\\link\033]8;;\033\\", "link"},
        {"\033P1$r0m\033\\x", "x"},
        {"a\033(Bb\033=c\033Md", "abcd"},
        {"cut \033[12", "cut "},
        {"cut \033", "cut "},
        {"bell\007 back\b\b del\177", "bell back del"},
        {"\xc2\x9b"
         "31mC1",
         "31mC1"},
        {"\x9b"
         "1m8bit",
         "1m8bit"},
        {"latin \xe9 1", "latin \xe9 1"},
        {"\xe6\xbc\xa2\xe5\xad\x97", "\xe6\xbc\xa2\xe5\xad\x97"},
        {"\033[\033[31mtwice", "twice"},
    };
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(buf) Buf b = BUF_INIT;
        buf_add_clean(&b, CASES[i].text, strlen(CASES[i].text));
        assert_string_equal(buf_str(&b), CASES[i].clean);
    }
}

static void a_string_of_any_bytes_is_valid_json(void **state)
{
    uint64_t seed = 7;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[24];
        scoped(buf) Buf b = BUF_INIT;
        json_error_t why;
        size_t n = next_random(&seed) % sizeof text;
        for (size_t i = 0; i < n; i++)
            text[i] =
                (char)(next_random(&seed) % 3 ? next_random(&seed) : next_random(&seed) % 128);
        json_quote(&b, text, n);
        for (size_t i = 0; i < b.len; i++)
            assert_false((unsigned char)b.ptr[i] < 0x20 || b.ptr[i] == 0x7f);
        scoped(json) json_t *j = json_loadb(b.ptr, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
        if (!j)
            fail_msg("%s: %s", b.ptr, why.text);
    }
}

/* ---- paths ---- */

/* Expected: the four rules in the comment of Go's path.Clean, applied until none applies. */
static void path_clean_is_gos_path_clean(void **state)
{
    static const struct {
        const char *path, *clean;
    } CASES[] = {
        /* clean already */
        {"", "."},
        {"abc", "abc"},
        {"abc/def", "abc/def"},
        {"a/b/c", "a/b/c"},
        {".", "."},
        {"..", ".."},
        {"../..", "../.."},
        {"../../abc", "../../abc"},
        {"/abc", "/abc"},
        {"/", "/"},
        /* a trailing slash goes */
        {"abc/", "abc"},
        {"abc/def/", "abc/def"},
        {"./", "."},
        {"../", ".."},
        {"../../", "../.."},
        {"/abc/", "/abc"},
        /* several slashes are one */
        {"abc//def//ghi", "abc/def/ghi"},
        {"//abc", "/abc"},
        {"///abc", "/abc"},
        {"//abc//", "/abc"},
        {"abc//", "abc"},
        {"//", "/"},
        /* "." goes */
        {"abc/./def", "abc/def"},
        {"/./abc/def", "/abc/def"},
        {"abc/.", "abc"},
        {"./a", "a"},
        {"././.", "."},
        {"/.", "/"},
        /* ".." takes the name before it */
        {"abc/def/ghi/../jkl", "abc/def/jkl"},
        {"abc/def/../ghi/../jkl", "abc/jkl"},
        {"abc/def/..", "abc"},
        {"abc/def/../..", "."},
        {"/abc/def/../..", "/"},
        {"abc/def/../../..", ".."},
        {"/abc/def/../../..", "/"},
        {"abc/def/../../../ghi/jkl/../../../mno", "../../mno"},
        {"/../abc", "/abc"},
        {"/..", "/"},
        {"a/..", "."},
        {"../a/..", ".."},
        {"../a/../b", "../b"},
        /* all together */
        {"abc/./../def", "def"},
        {"abc//./../def", "def"},
        {"abc/../../././../def", "../../def"},
        /* names that only look like dots */
        {"...", "..."},
        {"a/...", "a/..."},
        {"..a/b", "..a/b"},
        {".../..", "."},
        {"a../..", "."},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        const char *got = path_clean(&a, CASES[i].path);
        if (strcmp(got, CASES[i].clean) != 0)
            fail_msg("'%s': '%s', not '%s'", CASES[i].path, got, CASES[i].clean);
        assert_string_equal(path_clean(&a, got), got);
    }
}

static void an_absolute_path_replaces_what_it_is_joined_to(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    assert_string_equal(path_join(&a, "/a", "b/../c"), "/a/c");
    assert_string_equal(path_join(&a, "/a", "/b/"), "/b");
    assert_string_equal(path_join(&a, "/", ".."), "/");
    assert_string_equal(path_join(&a, "a", ""), "a");
    assert_string_equal(path_base("/a/b"), "b");
    assert_string_equal(path_base("b"), "b");
    assert_string_equal(path_base("a/"), "");
}

/* ---- map, arena, digest, key ---- */

static void ten_thousand_keys_are_found_and_no_others(void **state)
{
    enum { N = 10000 };
    scoped(arena) Arena a = {0};
    scoped(map) Map m = {0};
    uint64_t v = 0;

    (void)state;
    assert_false(map_get(&m, "0", &v));
    for (size_t i = 0; i < N; i++)
        assert_true(map_put(&m, arena_printf(&a, "key %zu", i), i));
    for (size_t i = 0; i < N; i += 2)
        assert_false(map_put(&m, arena_printf(&a, "key %zu", i), i + N));
    assert_int_equal(m.n, N);
    for (size_t i = 0; i < N; i++) {
        assert_true(map_get(&m, arena_printf(&a, "key %zu", i), &v));
        assert_int_equal(v, i % 2 ? i : i + N);
    }
    assert_false(map_get(&m, "key 10000", &v));
    assert_false(map_get(&m, "", &v));
    assert_true(map_put(&m, "", 5));
    assert_true(map_get(&m, "", &v));
    assert_int_equal(v, 5);
}

static void arena_memory_is_zeroed_aligned_and_never_given_twice(void **state)
{
    enum { N = 3000 };
    scoped(arena) Arena a = {0};
    unsigned char *p[N];
    size_t size[N];
    uint64_t seed = 42;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        size[i] = i % 100 == 99 ? 300000 : next_random(&seed) % 200;
        p[i] = arena_alloc(&a, size[i]);
        assert_int_equal((uintptr_t)p[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(p[i][k], 0);
        memset(p[i], (int)i & 0xFF, size[i]);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < size[i]; k += 64)
            assert_int_equal(p[i][k], i & 0xFF);
    arena_done(&a);
    assert_string_equal(arena_printf(&a, "%s%d", "again", 1), "again1");
}

static void a_pushed_array_keeps_its_elements_when_it_moves(void **state)
{
    scoped(arena) Arena a = {0};
    int *v = NULL;
    size_t n = 0, cap = 0;

    (void)state;
    for (int i = 0; i < 5000; i++)
        *ARENA_PUSH(&a, v, n, cap) = i;
    assert_int_equal(n, 5000);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(v[i], i);
}

static void a_product_that_overflows_ends_the_process(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        scoped(arena) Arena a = {0};
        close(2);
        (void)arena_array(&a, SIZE_MAX / 2, 3);
        _exit(0);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Expected: FIPS 180-2, appendix B.1. */
static void a_digest_is_sha256_and_its_text_reads_back(void **state)
{
    static const char ABC[] =
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char text[DIGEST_TEXT_SIZE];
    Digest d, back;
    Hasher h;

    (void)state;
    hash_init(&h);
    hash_add(&h, "a", 1);
    hash_add(&h, "", 0);
    hash_add(&h, "bc", 2);
    hash_end(&h, &d);
    digest_text(&d, text);
    assert_string_equal(text, ABC);
    assert_true(digest_parse(text, &back));
    assert_true(digest_eq(&d, &back));
    assert_false(digest_is_zero(&d));
    digest_of("abd", 3, &back);
    assert_false(digest_eq(&d, &back));
}

static void a_digest_that_is_not_exactly_one_is_refused(void **state)
{
    static const char *const BAD[] = {
        "",
        "sha256:",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n",
        "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag",
        "sha256:../../../../../../../../../../../../../../../../../../../../../etc/",
        "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };
    Digest d = {{7}};

    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++)
        if (digest_parse(BAD[i], &d))
            fail_msg("'%s' was accepted", BAD[i]);
    assert_int_equal(d.b[0], 7);
}

static void digest_fd_hashes_what_is_left_of_a_file(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    Err e = ERR_INIT;
    Digest got, want;
    uint64_t size;

    (void)state;
    put(s.fd, "f", "12345");
    scoped(fd) int fd = openat(s.fd, "f", O_RDONLY);
    assert_int_equal(lseek(fd, 2, SEEK_SET), 2);
    OK(digest_fd(fd, &got, &size, &e));
    digest_of("345", 3, &want);
    assert_int_equal(size, 3);
    assert_true(digest_eq(&got, &want));
    FAILS(digest_fd(s.fd, &got, NULL, &e), ERR_STORE, "directory");
}

static void key_of(const char *const *fields, size_t n, Digest *ret)
{
    scoped(key) KeyBuilder k;
    key_begin(&k, "test 1");
    for (size_t i = 0; i + 1 < n; i += 2)
        key_text(&k, fields[i], fields[i + 1]);
    key_end(&k, ret);
}

static void fields_of_a_key_cannot_flow_into_each_other(void **state)
{
    static const char *const KEYS[][4] = {
        {"a-b", "c", NULL, NULL}, {"a", "b-c", NULL, NULL},    {"a", "b", "c", "d"},
        {"a", "bcd", NULL, NULL}, {"a", "b\nc=d", NULL, NULL}, {"", "a", NULL, NULL},
        {"a", "", NULL, NULL},    {"c", "d", "a", "b"},
    };
    Digest d[NELEM(KEYS)];

    (void)state;
    for (size_t i = 0; i < NELEM(KEYS); i++) {
        key_of(KEYS[i], KEYS[i][2] ? 4 : 2, &d[i]);
        for (size_t k = 0; k < i; k++)
            if (digest_eq(&d[i], &d[k]))
                fail_msg("keys %zu and %zu are equal", k, i);
    }
}

/* Expected: the encoding that base/key.h describes, written out by hand. */
static void a_key_is_the_hash_of_the_documented_bytes(void **state)
{
    static const char BYTES[] = "\3\0\0\0key\6\0\0\0\0\0\0\0test 1"
                                "\1\0\0\0a\2\0\0\0\0\0\0\0bc";
    static const char *const FIELDS[] = {"a", "bc"};
    Digest got, want;

    (void)state;
    key_of(FIELDS, 2, &got);
    digest_of(BYTES, sizeof BYTES - 1, &want);
    assert_true(digest_eq(&got, &want));
}

static void a_list_in_a_key_counts_its_strings(void **state)
{
    scoped(arena) Arena a = {0};
    static const char *const LISTS[][3] = {
        {NULL, NULL, NULL}, {"", NULL, NULL}, {"ab", NULL, NULL},
        {"a", "b", NULL},   {"b", "a", NULL},
    };
    Digest d[NELEM(LISTS)];

    (void)state;
    for (size_t i = 0; i < NELEM(LISTS); i++) {
        scoped(key) KeyBuilder k;
        StrList l = {0};
        for (size_t n = 0; LISTS[i][n]; n++)
            strlist_add(&a, &l, LISTS[i][n]);
        key_begin(&k, "test 1");
        key_list(&k, "l", &l);
        key_end(&k, &d[i]);
        for (size_t n = 0; n < i; n++)
            assert_false(digest_eq(&d[i], &d[n]));
    }
}

static void the_text_of_a_key_has_one_line_a_field(void **state)
{
    scoped(key) KeyBuilder k;
    Digest d, zero = {{0}};

    (void)state;
    key_begin(&k, "run 1");
    key_text(&k, "cwd", NULL);
    key_digest(&k, "base", &zero);
    key_end(&k, &d);
    assert_string_equal(buf_str(&k.text),
                        "key=run 1\ncwd=\nbase=sha256:"
                        "0000000000000000000000000000000000000000000000000000000000000000\n");
}

/* ---- options ---- */

typedef struct Options {
    bool verbose, quiet, unsafe;
    const char *file;
    StrList args;
} Options;

static const OptRow ROWS[] = {
    {"verbose", 'v', OPT_BOOL, offsetof(Options, verbose), NULL, "say more"},
    {"quiet", 'q', OPT_BOOL, offsetof(Options, quiet), NULL, "say less"},
    {"file", 'f', OPT_STRING, offsetof(Options, file), "PATH", "Dockerfile"},
    {"build-arg", 0, OPT_LIST, offsetof(Options, args), "K=V", "variable"},
    {"verify", 0, OPT_OFF, offsetof(Options, unsafe), NULL, "look twice"},
    {"squash", 0, OPT_REFUSED, 0, NULL, "layers stay as they are"},
};
static const OptTable TABLE = {"lighter build", "Build.", ROWS, NELEM(ROWS), false};
static const OptTable RUN_TABLE = {"lighter run", "Run.", ROWS, NELEM(ROWS), true};

enum { MAX_ARGS = 12 };

static bool parse_with(Arena *a, const OptTable *t, const char *const *args, Options *o,
                       StrList *rest, bool *help, Err *e)
{
    char *argv[MAX_ARGS];
    int argc = 0;
    for (; args[argc]; argc++)
        argv[argc] = arena_strdup(a, args[argc]);
    *o = (Options){0};
    return opt_parse(a, t, argc, argv, o, rest, help, e);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void a_value_may_follow_in_four_ways(void **state)
{
    static const char *const WAYS[][3] = {
        {"--file", "a=b", NULL}, {"--file=a=b", NULL, NULL}, {"-f", "a=b", NULL},
        {"-fa=b", NULL, NULL},   {"-f=a=b", NULL, NULL},     {"-vfa=b", NULL, NULL},
    };
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(WAYS); i++) {
        Options o;
        StrList rest;
        bool help;
        OK(parse_with(&a, &TABLE, WAYS[i], &o, &rest, &help, &e));
        assert_string_equal(o.file, "a=b");
        assert_int_equal(rest.n, 0);
        assert_int_equal(o.verbose, i == 5);
    }
}

static void lists_gather_strings_replace_and_booleans_take_words(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    Options o;
    StrList rest;
    bool help;

    (void)state;
    OK(parse_with(&a, &TABLE,
                  ARGS("--build-arg", "A=1", "x", "-vq", "--build-arg=B=", "-f", "1", "-f", "2",
                       "--quiet=false", "-"),
                  &o, &rest, &help, &e));
    assert_int_equal(o.args.n, 2);
    assert_string_equal(o.args.v[1], "B=");
    assert_string_equal(o.file, "2");
    assert_true(o.verbose);
    assert_false(o.quiet);
    assert_int_equal(rest.n, 2);
    assert_string_equal(rest.v[1], "-");
    OK(parse_with(&a, &TABLE, ARGS("--file=", "--file", "--quiet"), &o, &rest, &help, &e));
    assert_string_equal(o.file, "--quiet");
    FAILS(parse_with(&a, &TABLE, ARGS("--quiet=maybe"), &o, &rest, &help, &e), ERR_USAGE,
          "--quiet: 'maybe'");
    /* What is on by itself is noticed when it is turned off. */
    OK(parse_with(&a, &TABLE, ARGS("--verify", "x"), &o, &rest, &help, &e));
    assert_false(o.unsafe);
    assert_int_equal(rest.n, 1);
    OK(parse_with(&a, &TABLE, ARGS("--verify=false"), &o, &rest, &help, &e));
    assert_true(o.unsafe);
}

static void what_the_table_does_not_have_is_refused_by_name(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    Options o;
    StrList rest;
    bool help;

    (void)state;
    FAILS(parse_with(&a, &TABLE, ARGS("--fil=x"), &o, &rest, &help, &e), ERR_USAGE, "'--fil'");
    FAILS(parse_with(&a, &TABLE, ARGS("--=x"), &o, &rest, &help, &e), ERR_USAGE, "'--'");
    FAILS(parse_with(&a, &TABLE, ARGS("-vx"), &o, &rest, &help, &e), ERR_USAGE, "'-x'");
    FAILS(parse_with(&a, &TABLE, ARGS("-v", "--file"), &o, &rest, &help, &e), ERR_USAGE, "--file");
    FAILS(parse_with(&a, &TABLE, ARGS("-f"), &o, &rest, &help, &e), ERR_USAGE, "PATH");
    FAILS(parse_with(&a, &TABLE, ARGS("--squash"), &o, &rest, &help, &e), ERR_USAGE,
          "--squash is not supported: layers stay");
    FAILS(parse_with(&a, &TABLE, ARGS("--squash=false"), &o, &rest, &help, &e), ERR_USAGE,
          "--squash");
}

static void two_dashes_and_a_first_operand_end_the_options(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    Options o;
    StrList rest;
    bool help;

    (void)state;
    OK(parse_with(&a, &TABLE, ARGS("a", "-v", "--", "-q", "--help", "--"), &o, &rest, &help, &e));
    assert_true(o.verbose);
    assert_false(o.quiet);
    assert_false(help);
    assert_int_equal(rest.n, 4);
    assert_string_equal(rest.v[3], "--");
    OK(parse_with(&a, &RUN_TABLE, ARGS("-v", "image", "-q", "--unknown"), &o, &rest, &help, &e));
    assert_true(o.verbose);
    assert_false(o.quiet);
    assert_int_equal(rest.n, 3);
    OK(parse_with(&a, &TABLE, ARGS("x", "-h", "--unknown"), &o, &rest, &help, &e));
    assert_true(help);
}

static void the_help_page_names_every_option(void **state)
{
    scoped(buf) Buf b = BUF_INIT;

    (void)state;
    opt_help(&TABLE, &b);
    for (size_t i = 0; i < NELEM(ROWS); i++)
        assert_non_null(strstr(b.ptr, ROWS[i].name));
    assert_non_null(strstr(b.ptr, "-f, --file PATH"));
}

/* ---- pool ---- */

typedef struct Square {
    Job job;
    unsigned in, out, back;
} Square;

static void square(Job *job)
{
    Square *s = (Square *)job;
    s->out = s->in * s->in;
}

static void every_job_comes_back_once_and_done(void **state)
{
    enum { N = 2000 };
    static Square jobs[N];
    Err e = ERR_INIT;

    (void)state;
    for (unsigned nthread = 0; nthread < 6; nthread += 5) {
        scoped(pool) Pool *p = NULL;
        OK(pool_new(nthread, &p, &e));
        assert_null(pool_next(p));
        for (unsigned i = 0; i < N; i++) {
            jobs[i] = (Square){.job.run = square, .in = i};
            pool_add(p, &jobs[i].job);
        }
        for (unsigned i = 0; i < N; i++) {
            Square *s = (Square *)pool_next(p);
            assert_non_null(s);
            assert_int_equal(s->out, s->in * s->in);
            assert_int_equal(s->back++, 0);
        }
        assert_null(pool_next(p));
    }
}

static sem_t slow_began;

static void slow(Job *job)
{
    ((Square *)job)->out = 1;
    sem_post(&slow_began);
    usleep(100 * 1000);
    ((Square *)job)->out = 2;
}

static void pool_done_waits_for_the_running_job_and_drops_the_queued(void **state)
{
    enum { N = 50 };
    Square jobs[N];
    Pool *p = NULL;
    Err e = ERR_INIT;

    (void)state;
    sem_init(&slow_began, 0, 0);
    OK(pool_new(1, &p, &e));
    for (unsigned i = 0; i < N; i++) {
        jobs[i] = (Square){.job.run = slow};
        pool_add(p, &jobs[i].job);
    }
    sem_wait(&slow_began);
    pool_done(p);
    assert_int_equal(jobs[0].out, 2);
    for (unsigned i = 1; i < N; i++)
        assert_int_equal(jobs[i].out, 0);
    pool_done(NULL);
    assert_true(cpu_count() >= 1);
}

/* ---- JSON ---- */

static void hostile_json_is_refused(void **state)
{
    static const char *const BAD[] = {
        "",
        "{",
        "{\"a\":1,\"a\":2}",
        "{\"x\":{\"a\":1,\"a\":1}}",
        "{} x",
        "nul",
        "1",
        "[1,]",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\xFF\"}",
        "{\"a\":\"\xED\xA0\x80\"}",
        "{\"a\":\"\\ud800\"}",
        "\xEF\xBB\xBF{}",
    };
    scoped(json) json_t *j = NULL;
    scoped(buf) Buf deep = BUF_INIT;
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++)
        FAILS(json_parse(BAD[i], strlen(BAD[i]), &j, &e), ERR_STORE, "JSON");
    FAILS(json_parse("{}\0{}", 5, &j, &e), ERR_STORE, "JSON");
    for (int i = 0; i < 100000; i++)
        buf_putc(&deep, '[');
    FAILS(json_parse(deep.ptr, deep.len, &j, &e), ERR_STORE, "JSON");
    deep.len = 0;
    buf_puts(&deep, "{}");
    while (deep.len <= 4 << 20)
        buf_putc(&deep, ' ');
    FAILS(json_parse(deep.ptr, deep.len, &j, &e), ERR_STORE, "limit");
    assert_null(j);
    OK(json_parse(deep.ptr, 4 << 20, &j, &e));
}

static void json_text_sorts_keys_at_every_level_and_leaves_utf8_alone(void **state)
{
    static const char IN[] =
        "{ \"b\": [ 2 , {\"z\":null,\"y\":\"\\u00e9/<\\u0001\"} ], \"B\": true,"
        " \"a\": 9007199254740993 }";
    scoped(json) json_t *j = NULL;
    scoped(buf) Buf out = BUF_INIT;
    Err e = ERR_INIT;

    (void)state;
    OK(json_parse(IN, sizeof IN - 1, &j, &e));
    json_text(j, &out);
    assert_string_equal(out.ptr,
                        "{\"B\":true,\"a\":9007199254740993,\"b\":[2,{\"y\":\"é/<\\u0001\","
                        "\"z\":null}]}");
}

static void members_of_another_type_read_as_absent(void **state)
{
    static const char IN[] = "{\"n\":1,\"l\":[\"a\",2,null,\"b\"],\"s\":\"x\"}";
    scoped(arena) Arena a = {0};
    scoped(json) json_t *j = NULL;
    Err e = ERR_INIT;

    (void)state;
    OK(json_parse(IN, sizeof IN - 1, &j, &e));
    assert_null(json_str(j, "n"));
    assert_null(json_str(j, "none"));
    assert_null(json_str(NULL, "s"));
    assert_string_equal(json_str(j, "s"), "x");
    StrList l = json_strlist(&a, j, "l");
    assert_int_equal(l.n, 2);
    assert_string_equal(l.v[1], "b");
    assert_int_equal(json_strlist(&a, j, "s").n, 0);
    assert_int_equal(json_strlist(&a, NULL, "l").n, 0);
}

/* Expected: Go's encoding/json, which writes one U+FFFD for each byte that is not UTF-8. */
static void bytes_that_are_not_utf8_become_replacement_characters(void **state)
{
    static const struct {
        const char *in, *out;
    } CASES[] = {
        {"a\xFF"
         "b",
         "a\uFFFDb"},
        {"\xE2\x98", "\uFFFD\uFFFD"},
        {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
        {"\xC0\x80", "\uFFFD\uFFFD"},
        {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
        {"\xF0\x9F\x98\x80\x80", "😀\uFFFD"},
        {"é", "é"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(json) json_t *j = json_object();
        json_set_str(j, "k", CASES[i].in);
        json_set_str(j, "absent", NULL);
        assert_string_equal(json_str(j, "k"), CASES[i].out);
        assert_int_equal(json_object_size(j), 1);
    }
}

/* ---- files ---- */

static void a_file_over_the_limit_is_not_read(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    scoped(buf) Buf b = BUF_INIT;
    Err e = ERR_INIT;

    (void)state;
    put(s.fd, "f", "0123456789");
    FAILS(fs_read_file(s.fd, "f", 9, &b, &e), ERR_STORE, "'f'");
    b.len = 0;
    OK(fs_read_file(s.fd, "f", 10, &b, &e));
    assert_string_equal(b.ptr, "0123456789");
    FAILS(fs_read_file(s.fd, "none", 10, &b, &e), ERR_STORE, "'none'");
}

static void a_replaced_file_leaves_no_trace_of_the_old(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    StrList names;
    Err e = ERR_INIT;

    (void)state;
    put(s.fd, "f", "a longer text");
    OK(fs_replace_file(s.fd, "f", "new", 3, &e));
    assert_string_equal(slurp(&a, s.fd, "f"), "new");
    make_dir(s.fd, "d");
    put(s.fd, "d/x", "");
    FAILS(fs_replace_file(s.fd, "d", "new", 3, &e), ERR_STORE, "'d'");
    OK(fs_list(&a, s.fd, &names, &e));
    assert_int_equal(names.n, 2);
}

static void directories_are_made_with_their_parents(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    Err e = ERR_INIT;

    (void)state;
    OK(fs_mkdirs(s.fd, "a/b//c/", &e));
    OK(fs_mkdirs(s.fd, "a/b/c", &e));
    assert_true(exists(s.fd, "a/b/c/."));
    put(s.fd, "f", "");
    FAILS(fs_mkdirs(s.fd, "f/g", &e), ERR_STORE, "'f/g'");
    FAILS(fs_mkdirs(s.fd, "f", &e), ERR_STORE, "'f'");
}

static void names_are_listed_in_byte_order(void **state)
{
    static const char *const NAMES[] = {"-", ".h", "B", "a", "a.b", "ab", "\xC3\xA4"};
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    StrList l;
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = NELEM(NAMES); i-- > 0;)
        put(s.fd, NAMES[i], "");
    OK(fs_list(&a, s.fd, &l, &e));
    assert_int_equal(l.n, NELEM(NAMES));
    for (size_t i = 0; i < l.n; i++)
        assert_string_equal(l.v[i], NAMES[i]);
    OK(fs_list(&a, s.fd, &l, &e)); /* the descriptor's own offset plays no part */
    assert_int_equal(l.n, NELEM(NAMES));
}

static void data_is_copied_whole_from_files_pipes_and_proc(void **state)
{
    enum { BIG = 300000 };
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    char *big = arena_alloc(&a, BIG + 1);
    int pipes[2];
    uint64_t size = 0;
    Err e = ERR_INIT;

    (void)state;
    memset(big, 'x', BIG);
    put(s.fd, "in", big);
    scoped(fd) int in = openat(s.fd, "in", O_RDONLY),
                   out = openat(s.fd, "out", O_RDWR | O_CREAT, 0600);
    OK(fs_copy_data(in, out, &size, &e));
    assert_int_equal(size, BIG);
    assert_string_equal(slurp(&a, s.fd, "out"), big);

    assert_int_equal(pipe(pipes), 0);
    scoped(fd) int from = pipes[0], piped = openat(s.fd, "piped", O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(pipes[1], "hello", 5), 5);
    close(pipes[1]);
    OK(fs_copy_data(from, piped, &size, &e));
    assert_int_equal(size, 5);
    assert_string_equal(slurp(&a, s.fd, "piped"), "hello");

    /* Files of /proc have the size 0 and yet content. */
    scoped(fd) int proc = open("/proc/self/status", O_RDONLY),
                   copy = openat(s.fd, "p", O_RDWR | O_CREAT, 0600);
    OK(fs_copy_data(proc, copy, &size, &e));
    assert_true(size > 100);
}

static void removing_a_tree_does_not_follow_links_out_of_it(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    make_dir(s.fd, "keep");
    put(s.fd, "keep/f", "precious");
    make_dir(s.fd, "t");
    make_dir(s.fd, "t/d");
    make_link(s.fd, "t/abs", arena_printf(&a, "%s/keep", s.path));
    make_link(s.fd, "t/d/rel", "../../keep");
    make_link(s.fd, "t/file", "../keep/f");
    make_link(s.fd, "t/loop", "loop");
    assert_int_equal(linkat(s.fd, "keep/f", s.fd, "t/hard", 0), 0);
    assert_int_equal(mkfifoat(s.fd, "t/fifo", 0600), 0);
    make_link(s.fd, "top", "keep");
    OK(fs_remove_tree(s.fd, "t", &e));
    OK(fs_remove_tree(s.fd, "top", &e));
    OK(fs_remove_tree(s.fd, "was/never", &e));
    assert_false(exists(s.fd, "t"));
    assert_false(exists(s.fd, "top"));
    assert_string_equal(slurp(&a, s.fd, "keep/f"), "precious");
}

/* Run `body` in a child that is no root; its exit code 0 is success. */
static int as_nobody(int dirfd, int (*body)(int dirfd))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(99);
        _exit(body(dirfd));
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int remove_readonly(int dirfd)
{
    Err e = ERR_INIT;
    umask(0);
    if (mkdirat(dirfd, "m", 0755) < 0 || mkdirat(dirfd, "m/d", 0755) < 0 ||
        mkdirat(dirfd, "m/d/empty", 0500) < 0 || mkdirat(dirfd, "m/shut", 0755) < 0 ||
        !fs_write_file(dirfd, "m/d/f", "x", 1, &e) || !fs_write_file(dirfd, "m/shut/f", "x", 1, &e))
        return 1;
    if (fchmodat(dirfd, "m/d", 0555, 0) < 0 || fchmodat(dirfd, "m/shut", 0, 0) < 0 ||
        fchmodat(dirfd, "m", 0555, 0) < 0)
        return 2;
    if (!fs_remove_tree(dirfd, "m", &e)) {
        print_message("%s\n", e.msg);
        return 3;
    }
    return exists(dirfd, "m") ? 4 : 0;
}

/* Go's module cache is made of such directories. */
static void read_only_directories_are_removed_by_their_owner(void **state)
{
    scoped(scratch) Scratch s = scratch_new();

    (void)state;
    assert_int_equal(fchmod(s.fd, 0777), 0);
    assert_int_equal(as_nobody(s.fd, remove_readonly), 0);
}

static int remove_deep(int dirfd)
{
    enum { DEPTH = 400 };
    const struct rlimit few = {200, 200};
    Err e = ERR_INIT;
    int at = dup(dirfd);
    for (int i = 0; i < DEPTH; i++) {
        if (mkdirat(at, "d", 0755) < 0)
            return 1;
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        close(at);
        at = next;
    }
    close(at);
    if (setrlimit(RLIMIT_NOFILE, &few) < 0)
        return 2;
    if (!fs_remove_tree(dirfd, "d", &e)) {
        print_message("%s\n", e.msg);
        return 3;
    }
    return exists(dirfd, "d") ? 4 : 0;
}

/* A step may nest directories deeper than this process may open files. */
static void a_tree_deeper_than_the_limit_of_descriptors_is_removed(void **state)
{
    scoped(scratch) Scratch s = scratch_new();

    (void)state;
    assert_int_equal(fchmod(s.fd, 0777), 0);
    int code = as_nobody(s.fd, remove_deep);
    if (code) { /* so that the scratch directory can go in spite of it */
        (void)!system("rm -rf /tmp/lighter-unit-*/d");
    }
    assert_int_equal(code, 0);
}

static void links_are_resolved_inside_the_root(void **state)
{
    static const char *const NAMES[] = {
        "abs", "up", "chain", "dir/f", "../../etc/f", "/etc/f", "dir/../../../etc/f"};
    scoped(scratch) Scratch s = scratch_new();

    (void)state;
    make_dir(s.fd, "root");
    make_dir(s.fd, "root/etc");
    put(s.fd, "root/etc/f", "inside");
    put(s.fd, "f", "outside");
    scoped(fd) int root = openat(s.fd, "root", O_RDONLY | O_DIRECTORY);
    make_link(root, "abs", "/etc/f");
    make_link(root, "up", "../../../../../etc/f");
    make_link(root, "chain", "abs");
    make_link(root, "dir", "/etc");
    make_link(root, "out", "../f");
    make_link(root, "magic", "/proc/self/root");
    for (size_t i = 0; i < NELEM(NAMES); i++) {
        char text[10] = {0};
        scoped(fd) int fd = fs_open_in_root(root, NAMES[i], O_RDONLY, 0);
        if (fd < 0 || read(fd, text, 9) != 6 || strcmp(text, "inside") != 0)
            fail_msg("'%s': %s '%s'", NAMES[i], fd < 0 ? strerror(errno) : "read", text);
    }
    assert_int_equal(fs_open_in_root(root, "out", O_RDONLY, 0), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(fs_open_in_root(root, "magic", O_RDONLY, 0), -1);
    assert_int_equal(errno, ENOENT);
    scoped(fd) int fresh = fs_open_in_root(root, "/../new", O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fresh >= 0);
    assert_true(exists(s.fd, "root/new"));
    assert_int_equal(fcntl(fresh, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void beneath_a_directory_links_and_escapes_are_errors(void **state)
{
    static const struct {
        const char *path;
        int error;
    } CASES[] = {{"link", ELOOP}, {"dirlink/f", ELOOP}, {"../f", EXDEV},   {"d/../../f", EXDEV},
                 {"/f", EXDEV},   {"abs", ELOOP},       {"d/none", ENOENT}};
    scoped(scratch) Scratch s = scratch_new();

    (void)state;
    put(s.fd, "f", "outside");
    make_dir(s.fd, "root");
    make_dir(s.fd, "root/d");
    put(s.fd, "root/d/f", "inside");
    scoped(fd) int root = openat(s.fd, "root", O_RDONLY | O_DIRECTORY);
    make_link(root, "link", "d/f");
    make_link(root, "dirlink", "d");
    make_link(root, "abs", "/f");
    for (size_t i = 0; i < NELEM(CASES); i++) {
        int fd = fs_open_beneath(root, CASES[i].path, O_RDONLY, 0);
        if (fd >= 0 || errno != CASES[i].error)
            fail_msg("'%s': %d %s", CASES[i].path, fd, strerror(errno));
    }
    scoped(fd) int fd = fs_open_beneath(root, "d/../d/./f", O_RDONLY, 0);
    assert_true(fd >= 0);
}

/* ---- levels ---- */

static void the_small_ones_are_joined_and_what_is_big_beside_them_stays(void **state)
{
    static const uint64_t BIG[] = {100, 3, 2, 1}, EVEN[] = {5, 5, 5, 5},
                          TOO_MANY[] = {90, 80, 70, 60};
    (void)state;
    assert_int_equal(levels_kept(BIG, 4, 5, 1), 4);
    assert_int_equal(levels_kept(BIG, 4, 4, 1), 1);
    assert_int_equal(levels_kept(BIG, 4, 4, 50), 0);
    assert_int_equal(levels_kept(EVEN, 4, 4, 1), 0);
    assert_int_equal(levels_kept(TOO_MANY, 4, 2, 1), 0);
    assert_int_equal(levels_kept((uint64_t[]){800, 80, 2}, 3, 3, 1), 2);
    assert_int_equal(levels_kept(NULL, 0, 6, 7), 0);
}

/* ---- descriptors ---- */

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* The process that stays behind has nothing open but what takes long to close, until it ends. */
static void all_but_what_is_closed_late_is_closed(void **state)
{
    int first[2], second[2], status;
    (void)state;
    assert_int_equal(pipe(first), 0);
    assert_int_equal(pipe(second), 0);
    late_close(second[0]);
    late_close(first[1]);
    pid_t pid = fork();
    if (pid == 0) {
        late_close_others(3);
        _exit(is_open(first[1]) && is_open(second[0]) && !is_open(first[0]) && !is_open(second[1])
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(is_open(first[1]) && is_open(second[0]));
    late_close_now();
    assert_false(is_open(first[1]) || is_open(second[0]));
    assert_true(is_open(first[0]) && is_open(second[1]));
    close(first[0]);
    close(second[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_failure_wins),
        cmocka_unit_test(each_caller_adds_one_clause_in_front),
        cmocka_unit_test(a_message_over_the_limit_is_cut_and_ends_in_a_nul),
        cmocka_unit_test(a_buffer_keeps_every_byte_while_it_grows),
        cmocka_unit_test(sizes_read_as_people_write_them),
        cmocka_unit_test(a_number_is_digits_only_and_within_its_limit),
        cmocka_unit_test(prefixes_and_suffixes_may_be_longer_than_the_text),
        cmocka_unit_test(setting_a_variable_keeps_its_place_and_its_neighbours),
        cmocka_unit_test(a_copied_list_grows_on_its_own),
        cmocka_unit_test(code_points_end_where_unicode_says),
        cmocka_unit_test(code_points_take_no_one_or_two_columns),
        cmocka_unit_test(a_cut_is_not_inside_a_code_point),
        cmocka_unit_test(text_of_strangers_has_no_way_to_steer_a_terminal),
        cmocka_unit_test(a_string_of_any_bytes_is_valid_json),
        cmocka_unit_test(path_clean_is_gos_path_clean),
        cmocka_unit_test(an_absolute_path_replaces_what_it_is_joined_to),
        cmocka_unit_test(all_but_what_is_closed_late_is_closed),
        cmocka_unit_test(the_small_ones_are_joined_and_what_is_big_beside_them_stays),
        cmocka_unit_test(ten_thousand_keys_are_found_and_no_others),
        cmocka_unit_test(arena_memory_is_zeroed_aligned_and_never_given_twice),
        cmocka_unit_test(a_pushed_array_keeps_its_elements_when_it_moves),
        cmocka_unit_test(a_product_that_overflows_ends_the_process),
        cmocka_unit_test(a_digest_is_sha256_and_its_text_reads_back),
        cmocka_unit_test(a_digest_that_is_not_exactly_one_is_refused),
        cmocka_unit_test(digest_fd_hashes_what_is_left_of_a_file),
        cmocka_unit_test(fields_of_a_key_cannot_flow_into_each_other),
        cmocka_unit_test(a_key_is_the_hash_of_the_documented_bytes),
        cmocka_unit_test(a_list_in_a_key_counts_its_strings),
        cmocka_unit_test(the_text_of_a_key_has_one_line_a_field),
        cmocka_unit_test(a_value_may_follow_in_four_ways),
        cmocka_unit_test(lists_gather_strings_replace_and_booleans_take_words),
        cmocka_unit_test(what_the_table_does_not_have_is_refused_by_name),
        cmocka_unit_test(two_dashes_and_a_first_operand_end_the_options),
        cmocka_unit_test(the_help_page_names_every_option),
        cmocka_unit_test(every_job_comes_back_once_and_done),
        cmocka_unit_test(pool_done_waits_for_the_running_job_and_drops_the_queued),
        cmocka_unit_test(hostile_json_is_refused),
        cmocka_unit_test(json_text_sorts_keys_at_every_level_and_leaves_utf8_alone),
        cmocka_unit_test(members_of_another_type_read_as_absent),
        cmocka_unit_test(bytes_that_are_not_utf8_become_replacement_characters),
        cmocka_unit_test(a_file_over_the_limit_is_not_read),
        cmocka_unit_test(a_replaced_file_leaves_no_trace_of_the_old),
        cmocka_unit_test(directories_are_made_with_their_parents),
        cmocka_unit_test(names_are_listed_in_byte_order),
        cmocka_unit_test(data_is_copied_whole_from_files_pipes_and_proc),
        cmocka_unit_test(removing_a_tree_does_not_follow_links_out_of_it),
        cmocka_unit_test(read_only_directories_are_removed_by_their_owner),
        cmocka_unit_test(a_tree_deeper_than_the_limit_of_descriptors_is_removed),
        cmocka_unit_test(links_are_resolved_inside_the_root),
        cmocka_unit_test(beneath_a_directory_links_and_escapes_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
