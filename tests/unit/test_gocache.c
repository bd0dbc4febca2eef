/*
 * gocache/: what is taken of a GOCACHE that a command left, and how it lies below the next one.
 */
#include "testing.h"

#include "go/go.h"
#include "gocache/gocache.h"

enum { PLACE = 96 };

typedef struct Fixture {
    Scratch dir;
    Arena a;
    Store *s;
    int left; /* a GOCACHE that a command left */
    unsigned n;
} Fixture;

static void scoped_fixture_done(Fixture *f)
{
    close(f->left);
    store_done(f->s);
    arena_done(&f->a);
    scoped_scratch_done(&f->dir);
}

static void new_left(Fixture *f)
{
    char path[PLACE];
    if (f->n)
        close(f->left);
    (void)snprintf(path, sizeof path, "left%u", f->n++);
    assert_int_equal(mkdirat(f->dir.fd, path, 0755), 0);
    f->left = openat(f->dir.fd, path, O_RDONLY | O_DIRECTORY);
    assert_true(f->left >= 0);
}

static void fixture_init(Fixture *f)
{
    char path[PLACE];
    Err e = ERR_INIT;
    *f = (Fixture){.dir = scratch_new()};
    (void)snprintf(path, sizeof path, "%s/store", f->dir.path);
    OK(store_open(path, "root", &f->s, &e));
    new_left(f);
}

static Digest space_of(const char *text)
{
    Digest d;
    digest_of(text, strlen(text), &d);
    return d;
}

static Gocache opened(Fixture *f, const char *space)
{
    Gocache c = {0};
    Err e = ERR_INIT;
    Digest d = space_of(space);
    OK(gocache_open(f->s, &f->a, &d, "root/.cache/go-build", &c, &e));
    return c;
}

static void put_file(const Fixture *f, const char *path, const char *bytes)
{
    Err e = ERR_INIT;
    char dir[3] = {path[0], path[1], 0};
    (void)mkdirat(f->left, dir, 0755);
    OK(fs_write_file(f->left, path, bytes, strlen(bytes), &e));
}

/* An output and its entry, as go writes them. */
static void put_pair(const Fixture *f, const char *action, const char *output)
{
    char path[GO_CACHE_PATH_SIZE], text[GO_CACHE_ENTRY_SIZE + 1];
    GoCacheEntry x = {space_of(action), space_of(output), strlen(output), 1700000000};
    go_cache_path(GO_CACHE_OUTPUT, &x.output, path);
    put_file(f, path, output);
    go_cache_path(GO_CACHE_ACTION, &x.action, path);
    go_cache_entry_text(&x, text);
    put_file(f, path, text);
}

static GocacheHarvest harvested(Fixture *f, Gocache *c)
{
    GocacheHarvest h = {0};
    Err e = ERR_INIT;
    OK(gocache_harvest(c, NULL, &f->a, f->left, false, "a test", &h, &e));
    return h;
}

static size_t nlower(Fixture *f, const char *space)
{
    Gocache c = opened(f, space);
    const Gocache *all[] = {&c};
    StrList l = {0};
    gocache_lowers(all, 1, &f->a, &l);
    return l.n;
}

/* Harvest `n` pairs that begin with this word. */
static void harvest_many(Fixture *f, const char *word, unsigned n)
{
    Gocache c = opened(f, "one");
    new_left(f);
    for (unsigned i = 0; i < n; i++) {
        const char *action = arena_printf(&f->a, "%s %u", word, i);
        put_pair(f, action, action);
    }
    assert_int_equal(harvested(f, &c).kept, 2 * n);
}

static bool has_action(Fixture *f, const char *id, const char *action)
{
    char path[GO_CACHE_PATH_SIZE];
    Digest d = space_of(action);
    go_cache_path(GO_CACHE_ACTION, &d, path);
    return faccessat(store_dirfd(f->s),
                     arena_printf(&f->a, "%s/tree/root/.cache/go-build/%s", id, path), F_OK,
                     0) == 0;
}

static void a_harvest_lies_below_the_next_command_of_its_space_alone(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    Gocache c = opened(&f, "one");
    put_pair(&f, "compile", "object");
    assert_int_equal(harvested(&f, &c).kept, 2);
    assert_int_equal(nlower(&f, "one"), 1);
    assert_int_equal(nlower(&f, "two"), 0);
}

static void what_go_would_not_have_written_is_left_out(void **state)
{
    char path[GO_CACHE_PATH_SIZE];
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    Gocache c = opened(&f, "one");
    put_pair(&f, "good", "object");
    Digest poisoned = space_of("what it should be");
    go_cache_path(GO_CACHE_OUTPUT, &poisoned, path);
    put_file(&f, path, "evil");
    go_cache_path(GO_CACHE_ACTION, &poisoned, path);
    put_file(&f, path, "v1 no entry\n");
    put_pair(&f, "indexed", "go index v2\n...");
    put_file(&f, "README", "about");
    assert_int_equal(symlinkat("/etc/passwd", f.left, "aa"), 0);
    GocacheHarvest h = harvested(&f, &c);
    assert_int_equal(h.kept, 2);
    assert_int_equal(h.refused, 2);
}

static void an_entry_without_its_output_is_left_out(void **state)
{
    char path[GO_CACHE_PATH_SIZE];
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    Gocache c = opened(&f, "one");
    put_pair(&f, "compile", "object");
    Digest output = space_of("object");
    go_cache_path(GO_CACHE_OUTPUT, &output, path);
    assert_int_equal(unlinkat(f.left, path, 0), 0);
    assert_int_equal(harvested(&f, &c).kept, 0);
    assert_int_equal(nlower(&f, "one"), 0);
}

static void an_entry_may_have_its_output_in_an_older_generation(void **state)
{
    scoped(fixture) Fixture f;
    char path[GO_CACHE_PATH_SIZE];
    (void)state;
    fixture_init(&f);
    Gocache c = opened(&f, "one");
    put_pair(&f, "compile", "object");
    (void)harvested(&f, &c);
    new_left(&f);
    c = opened(&f, "one");
    put_pair(&f, "vet", "object");
    Digest output = space_of("object");
    go_cache_path(GO_CACHE_OUTPUT, &output, path);
    assert_int_equal(unlinkat(f.left, path, 0), 0);
    assert_int_equal(harvested(&f, &c).kept, 1);
    assert_int_equal(nlower(&f, "one"), 2);
}

static void a_file_with_another_name_is_copied(void **state)
{
    struct stat st;
    char path[GO_CACHE_PATH_SIZE];
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    Gocache c = opened(&f, "one");
    put_pair(&f, "compile", "object");
    Digest output = space_of("object");
    go_cache_path(GO_CACHE_OUTPUT, &output, path);
    assert_int_equal(linkat(f.left, path, f.dir.fd, "mine", 0), 0);
    assert_int_equal(harvested(&f, &c).kept, 2);
    assert_int_equal(fstatat(f.dir.fd, "mine", &st, 0), 0);
    assert_int_equal(st.st_nlink, 2);
    assert_int_not_equal(st.st_mode & 0777, 0666);
}

static void many_generations_become_one(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    for (unsigned i = 0; i < 20; i++) {
        char action[16];
        Gocache c = opened(&f, "one");
        (void)snprintf(action, sizeof action, "compile %u", i);
        put_pair(&f, action, action);
        assert_int_equal(harvested(&f, &c).kept, 2);
        new_left(&f);
        assert_in_range(nlower(&f, "one"), 1, 8);
    }
    Gocache c = opened(&f, "one");
    for (unsigned i = 0; i < 20; i++) {
        bool found = false;
        for (size_t k = 0; k < c.n; k++)
            found = found || has_action(&f, c.v[k].id, arena_printf(&f.a, "compile %u", i));
        assert_true(found);
    }
}

static void the_biggest_generation_lies_on_top(void **state)
{
    scoped(fixture) Fixture f;
    StrList l = {0};
    (void)state;
    fixture_init(&f);
    harvest_many(&f, "few", 2);
    harvest_many(&f, "many", 30);
    harvest_many(&f, "some", 7);
    Gocache c = opened(&f, "one"), none = opened(&f, "two");
    const Gocache *all[] = {&none, &c};
    gocache_lowers(all, 2, &f.a, &l);
    assert_int_equal(l.n, 3);
    static const char *const ORDER[] = {"many 0", "some 0", "few 0"};
    for (size_t i = 0; i < NELEM(ORDER); i++) {
        assert_true(has_action(&f, c.v[i].id, ORDER[i]));
        assert_string_equal(l.v[i], arena_printf(&f.a, "%s/tree", c.v[i].id));
    }
}

static void small_generations_become_one_beside_a_big_one(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    harvest_many(&f, "big", 400);
    Gocache c = opened(&f, "one");
    const char *big = c.v[0].id;
    for (unsigned i = 0; i < 20; i++) {
        harvest_many(&f, arena_printf(&f.a, "small %u", i), 1);
        c = opened(&f, "one");
        assert_in_range(c.n, 2, 8);
        assert_string_equal(c.v[0].id, big);
        assert_int_equal(c.v[0].files, 800);
    }
    harvest_many(&f, "half", 200);
    for (unsigned i = 0; i < 8; i++)
        harvest_many(&f, arena_printf(&f.a, "late %u", i), 60);
    c = opened(&f, "one");
    assert_string_not_equal(c.v[0].id, big);
    assert_true(has_action(&f, c.v[0].id, "big 399") && has_action(&f, c.v[0].id, "half 0"));
}

static void the_directory_over_them_lets_results_of_tests_expire(void **state)
{
    scoped(buf) Buf text = BUF_INIT;
    Err e = ERR_INIT;
    uint64_t ns;
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    OK(gocache_bottom(f.s, &f.a, "root/.cache/go-build", "tmp/bottom", &e));
    OK(fs_read_file(store_dirfd(f.s), "tmp/bottom/root/.cache/go-build/testexpire.txt", 64, &text,
                    &e));
    assert_int_equal(buf_str(&text)[text.len - 1], '\n');
    const char *digits = arena_strndup(&f.a, buf_str(&text), text.len - 1);
    assert_true(str_u64(digits, UINT64_MAX, &ns));
    assert_in_range(ns / 1000000000, (uint64_t)time(NULL) - 60, (uint64_t)time(NULL));
    struct stat st;
    assert_int_equal(fstatat(store_dirfd(f.s), "tmp/bottom/root/.cache/go-build", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0777);
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(a_harvest_lies_below_the_next_command_of_its_space_alone),
        cmocka_unit_test(what_go_would_not_have_written_is_left_out),
        cmocka_unit_test(an_entry_without_its_output_is_left_out),
        cmocka_unit_test(an_entry_may_have_its_output_in_an_older_generation),
        cmocka_unit_test(a_file_with_another_name_is_copied),
        cmocka_unit_test(many_generations_become_one),
        cmocka_unit_test(the_biggest_generation_lies_on_top),
        cmocka_unit_test(small_generations_become_one_beside_a_big_one),
        cmocka_unit_test(the_directory_over_them_lets_results_of_tests_expire),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
