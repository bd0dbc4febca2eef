/*
 * context/context, context/walk, context/why: real directories behind an ignore file.
 */
#include "testing.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/map.h"
#include "context/context.h"

static Context *open_with(Arena *a, const Scratch *s, const char *ignore)
{
    Err e = ERR_INIT;
    Context *c = NULL;
    put(s->fd, "ignore", ignore);
    OK(context_open_with(a, arena_printf(a, "%s/top", s->path),
                         arena_printf(a, "%s/ignore", s->path), &c, &e));
    return c;
}

/* All entries of a walk, one on a line. */
static char *listing(Arena *a, const Context *c, const char *below, ContextSizes sizes)
{
    scoped(walk) ContextWalk *w = context_walk_new(c, below, sizes);
    scoped(buf) Buf out = BUF_INIT;
    Err e = ERR_INIT;
    ContextEntry entry;
    for (bool any = true; any;) {
        OK(context_walk_step(w, &entry, &any, &e));
        if (!any)
            break;
        if (sizes == CONTEXT_SIZES)
            buf_printf(&out, "%llu ", (unsigned long long)entry.size);
        buf_printf(&out, "%.*s\n", (int)entry.path.len, entry.path.ptr);
    }
    return arena_strdup(a, buf_str(&out));
}

static char *list_with(const Scratch *s, Arena *a, const char *ignore)
{
    scoped(context) Context *c = open_with(a, s, ignore);
    return listing(a, c, NULL, CONTEXT_NAMES);
}

static Scratch sample(void)
{
    Scratch s = scratch_new();
    make_dir(s.fd, "top");
    make_dir(s.fd, "top/docs");
    make_dir(s.fd, "top/docs/api");
    make_dir(s.fd, "top/empty");
    put(s.fd, "top/docs/a.md", "12345");
    put(s.fd, "top/docs/api/b.md", "1");
    put(s.fd, "top/docs.txt", "22");
    put(s.fd, "top/docs0", "");
    put(s.fd, "top/README.md", "333");
    make_link(s.fd, "top/loop", ".");
    return s;
}

static void entries_come_in_the_order_of_their_bytes(void **state)
{
    scoped(scratch) Scratch s = sample();
    scoped(arena) Arena a = {0};
    (void)state;
    assert_string_equal(list_with(&s, &a, ""),
                        "README.md\ndocs.txt\ndocs/\ndocs/a.md\ndocs/api/\ndocs/api/b.md\ndocs0\n"
                        "empty/\nloop\n");
}

static void an_excluded_directory_comes_only_with_what_is_brought_back(void **state)
{
    scoped(scratch) Scratch s = sample();
    scoped(arena) Arena a = {0};
    (void)state;
    assert_string_equal(list_with(&s, &a, "*\n!docs/api/*.md\n"),
                        "docs/\ndocs/api/\ndocs/api/b.md\n");
    assert_string_equal(list_with(&s, &a, "*\n!docs/api/*.txt\n"), "");
    assert_string_equal(list_with(&s, &a, "*\n!docs/api\n"), "docs/\ndocs/api/\ndocs/api/b.md\n");
    assert_string_equal(list_with(&s, &a, "*\n!docs/*\n!empty\n"),
                        "docs/\ndocs/a.md\ndocs/api/\ndocs/api/b.md\nempty/\n");
}

static void sizes_are_those_of_files(void **state)
{
    scoped(scratch) Scratch s = sample();
    scoped(arena) Arena a = {0};
    scoped(context) Context *c = open_with(&a, &s, "docs0\nempty");
    (void)state;
    assert_string_equal(listing(&a, c, NULL, CONTEXT_SIZES),
                        "3 README.md\n2 docs.txt\n0 docs/\n5 docs/a.md\n0 docs/api/\n"
                        "1 docs/api/b.md\n0 loop\n");
}

static void a_walk_below_a_path_sees_that_and_the_way_to_it(void **state)
{
    scoped(scratch) Scratch s = sample();
    scoped(arena) Arena a = {0};
    scoped(context) Context *c = open_with(&a, &s, "");
    (void)state;
    assert_string_equal(listing(&a, c, "docs/api", CONTEXT_NAMES),
                        "docs/\ndocs/api/\ndocs/api/b.md\n");
    assert_string_equal(listing(&a, c, "docs/a.md", CONTEXT_NAMES), "docs/\ndocs/a.md\n");
    assert_string_equal(listing(&a, c, "doc", CONTEXT_NAMES), "");
}

static void a_socket_is_left_out(void **state)
{
    scoped(scratch) Scratch s = sample();
    scoped(arena) Arena a = {0};
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)state;
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/top/empty/socket", s.path);
    scoped(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_null(strstr(list_with(&s, &a, ""), "socket"));
}

static void endless_directories_are_an_error_not_a_crash(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    ContextEntry entry;
    bool any = true, ok = true;
    int fd = dup(s.fd);
    (void)state;
    make_dir(s.fd, "top");
    for (int i = 0; i < TREE_MAX_DEPTH + 3; i++) {
        int next = openat(fd, i ? "d" : "top", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        make_dir(next, "d");
        close(fd);
        fd = next;
    }
    close(fd);
    scoped(context) Context *c = open_with(&a, &s, "");
    scoped(walk) ContextWalk *w = context_walk_new(c, NULL, CONTEXT_NAMES);
    while (ok && any)
        ok = context_walk_step(w, &entry, &any, &e);
    assert_false(ok);
    assert_non_null(strstr(e.msg, "deeper than 512"));
}

/* ---- why ---- */

static const char *why(Arena *a, const Context *c, const char *path)
{
    Err e = ERR_INIT;
    char *said = NULL;
    OK(context_why(c, a, path, &said, &e));
    return said;
}

static void the_line_that_decides_is_told(void **state)
{
    static const char IGNORE[] =
        "# c\n*.md\n\n docs \n!docs/api/\nempty\n!empty/x\nloop\n!loop\nREADME*\n";
    static const struct {
        const char *path, *said;
    } CASES[] = {
        {"README.md", "excluded by ignore line 2: `*.md`"},
        {"/./README.md", "excluded by ignore line 2: `*.md`"},
        {"docs.txt", "sent: no pattern matches"},
        {"docs/a.md", "excluded by ignore line 4: `docs`, which matches its directory 'docs'"},
        {"docs/api", "sent: ignore line 5: `!docs/api/` brings it back"},
        {"docs/api/b.md", "sent: ignore line 5: `!docs/api/` brings its directory 'docs/api' back"},
        {"docs", "sent for what is sent below it; itself excluded by ignore line 4: `docs`"},
        {"empty", "excluded by ignore line 6: `empty`; nothing below it is sent"},
        {"loop", "sent: ignore line 9: `!loop` brings it back"},
        {"loop/docs.txt", "not there: a symbolic link is on the way"},
        {"nowhere", "not there"},
        {"docs.txt/x", "not there"},
        {".", "sent: it is the context itself"},
        {"../../..", "sent: it is the context itself"},
    };
    scoped(scratch) Scratch s = sample();
    scoped(arena) Arena a = {0};
    scoped(context) Context *c = open_with(&a, &s, IGNORE);
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++)
        assert_string_equal(why(&a, c, CASES[i].path), CASES[i].said);
    assert_string_equal(context_why_missing(c, &a, "docs/a.md"), "excluded by ignore line 4");
    assert_non_null(strstr(context_why_missing(c, &a, "x"), "no such file"));
}

/* ---- the view and the walk ---- */

static const char NAMES[][8] = {"a", "b", "ab", "x.md", "docs"};

static void random_tree(int dirfd, uint64_t *seed, int depth)
{
    for (size_t i = 0; i < NELEM(NAMES); i++) {
        uint32_t kind = next_random(seed) % 4;
        if (kind == 0 || (depth == 3 && kind == 1))
            continue;
        if (kind > 1) {
            put(dirfd, NAMES[i], "");
            continue;
        }
        make_dir(dirfd, NAMES[i]);
        scoped(fd) int fd = openat(dirfd, NAMES[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        random_tree(fd, seed, depth + 1);
    }
}

static char *random_ignore(Arena *a, uint64_t *seed)
{
    static const char *const PARTS[] = {"a", "b", "a*", "*", "**", "*.md", "docs", "?", "ab"};
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0, n = 1 + next_random(seed) % 5; i < n; i++) {
        buf_puts(&b, next_random(seed) % 5 < 2 ? "!" : "");
        for (size_t j = 0, m = 1 + next_random(seed) % 3; j < m; j++)
            buf_printf(&b, "%s%s", j ? "/" : "", PARTS[next_random(seed) % NELEM(PARTS)]);
        buf_putc(&b, '\n');
    }
    return arena_strdup(a, b.ptr);
}

/* What COPY . takes, as a walk lists it but for the order. */
static void check_view(Arena *a, const Context *c, const char *ignore)
{
    Err e = ERR_INIT;
    Selection sel = {0};
    scoped(map) Map copied = {0};
    bool any;
    size_t nline = 0;
    OK(tree_select(context_view(c), a, ".", NULL, &sel, &any, &e));
    for (size_t i = 0; i < sel.tree.n; i++)
        map_put(
            &copied,
            arena_printf(a, "%s%s", sel.tree.v[i].path, sel.tree.v[i].type == TREE_DIR ? "/" : ""),
            1);
    for (char *line = listing(a, c, NULL, CONTEXT_NAMES), *end; *line; line = end + 1, nline++) {
        uint64_t one;
        end = strchr(line, '\n');
        *end = 0;
        if (!map_get(&copied, line, &one))
            fail_msg("'%s': COPY does not see '%s'", ignore, line);
    }
    if (nline != copied.n)
        fail_msg("'%s': COPY sees %zu, the list has %zu", ignore, copied.n, nline);
}

static void copy_sees_what_the_list_shows(void **state)
{
    uint64_t seed = 4711;
    (void)state;
    for (int tree = 0; tree < 8; tree++) {
        scoped(scratch) Scratch s = scratch_new();
        make_dir(s.fd, "top");
        scoped(fd) int top = openat(s.fd, "top", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        random_tree(top, &seed, 0);
        for (int i = 0; i < 60; i++) {
            scoped(arena) Arena a = {0};
            const char *ignore = random_ignore(&a, &seed);
            scoped(context) Context *c = open_with(&a, &s, ignore);
            check_view(&a, c, ignore);
        }
    }
}

/* ---- threads ---- */

typedef struct Asker {
    pthread_t thread;
    const Context *context;
    uint64_t seed;
    size_t nwrong;
} Asker;

/* docs/ is hidden, but for what is called api; nothing else is. */
static void *ask(void *arg)
{
    Asker *k = arg;
    const View *v = context_view(k->context);
    for (int i = 0; i < 40000; i++) {
        char path[64];
        bool docs = next_random(&k->seed) % 2, api = next_random(&k->seed) % 2;
        (void)snprintf(path, sizeof path, "%s/d%u/%s", docs ? "docs" : "src",
                       next_random(&k->seed) % 20000, api ? "api" : "f");
        k->nwrong += (v->sight(v->arg, path, false) == SIGHT_HIDDEN) != (docs && !api);
    }
    return NULL;
}

static void several_threads_may_look(void **state)
{
    scoped(scratch) Scratch s = sample();
    scoped(arena) Arena a = {0};
    scoped(context) Context *c = open_with(&a, &s, "docs\n!docs/*/api\n");
    Asker askers[4];
    (void)state;
    for (size_t i = 0; i < NELEM(askers); i++) {
        askers[i] = (Asker){.context = c, .seed = i + 1};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (size_t i = 0; i < NELEM(askers); i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].nwrong, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_in_the_order_of_their_bytes),
        cmocka_unit_test(an_excluded_directory_comes_only_with_what_is_brought_back),
        cmocka_unit_test(sizes_are_those_of_files),
        cmocka_unit_test(a_walk_below_a_path_sees_that_and_the_way_to_it),
        cmocka_unit_test(a_socket_is_left_out),
        cmocka_unit_test(endless_directories_are_an_error_not_a_crash),
        cmocka_unit_test(the_line_that_decides_is_told),
        cmocka_unit_test(copy_sees_what_the_list_shows),
        cmocka_unit_test(several_threads_may_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
