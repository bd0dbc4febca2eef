/*
 * history/: records and logs, whole and damaged.
 */
#include "testing.h"

#include <fcntl.h>
#include <time.h>

#include "history/history.h"

static const Digest KEY = {{1, 2, 3}};

static HistoryBuild *begin(int fd, const char *name)
{
    HistoryBuild *b = NULL;
    Err e = ERR_INIT;
    char *names[] = {(char *)name};
    StrList l = {.v = names, .n = 1};
    HistoryMeta m = {
        .dockerfile = "Dockerfile", .context = "/here", .names = &l, .began_ns = clock_ns()};
    OK(history_begin(fd, &m, &b, &e));
    return b;
}

static void step(HistoryBuild *b, EventKind kind, uint32_t number, StepHow how, int64_t created)
{
    EventSink s = history_sink(b);
    event_send(&s, &(Event){.kind = kind,
                            .step = number,
                            .what = "run",
                            .stage = "s 1/2",
                            .title = "RUN \"x\"\n\xff",
                            .how = how,
                            .at_ns = clock_ns(),
                            .ns = how == HOW_HIT ? 0 : 2000000000,
                            .key = &KEY,
                            .created = created});
}

static void finish(HistoryBuild *b, int code)
{
    Err e = ERR_INIT;
    EventEnd end = {.exit_code = code,
                    .error = code ? "it failed" : NULL,
                    .image = code ? NULL : "sha256:x",
                    .nstep = 2};
    end.count[HOW_HIT] = 1;
    OK(history_end(b, &end, &e));
    history_done(b);
}

static size_t list(int fd, Arena *a, HistoryRecord **v)
{
    size_t n = 0;
    Err e = ERR_INIT;
    OK(history_list(fd, a, SIZE_MAX, v, &n, &e));
    return n;
}

static void a_record_says_what_it_was_told(void **state)
{
    scoped(scratch) Scratch dir = scratch_new();
    scoped(arena) Arena a = {0};
    HistoryRecord r;
    Err e = ERR_INIT;
    (void)state;
    HistoryBuild *b = begin(dir.fd, "app:\xff v1");
    step(b, EV_STEP_DONE, 1, HOW_HIT, 77);
    step(b, EV_STEP_START, 2, HOW_RAN, 0);
    OK(history_find(dir.fd, &a, "^0", &r, &e));
    assert_int_equal(r.state, HISTORY_RUNNING);
    assert_false(r.steps[1].over);
    step(b, EV_STEP_DONE, 2, HOW_FAILED, 78);
    finish(b, 3);
    OK(history_find(dir.fd, &a, "^0", &r, &e));
    assert_int_equal(r.state, HISTORY_FAILED);
    assert_int_equal(r.exit_code, 3);
    assert_string_equal(r.names.v[0], "app:\xef\xbf\xbd v1");
    assert_string_equal(r.context, "/here");
    assert_string_equal(r.error, "it failed");
    assert_int_equal(r.nstep, 2);
    assert_string_equal(r.steps[0].run, "77-010203000000000000000000");
    assert_string_equal(r.steps[1].title, "RUN \"x\"\n\xef\xbf\xbd");
    assert_true(r.steps[1].over && r.steps[1].how == HOW_FAILED && r.steps[1].seconds > 1.9);
}

static void a_build_of_hits_makes_no_file_of_its_own(void **state)
{
    scoped(scratch) Scratch dir = scratch_new();
    scoped(arena) Arena a = {0};
    HistoryRecord *v;
    (void)state;
    for (int i = 0; i < 20; i++) {
        HistoryBuild *b = begin(dir.fd, "x");
        step(b, EV_STEP_DONE, 1, HOW_HIT, 77);
        finish(b, 0);
    }
    StrList names;
    Err e = ERR_INIT;
    scoped(fd) int builds = openat(dir.fd, "builds", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(fs_list(&a, builds, &names, &e));
    assert_int_equal(names.n, 1);
    assert_int_equal(list(dir.fd, &a, &v), 20);
    StrList some = {0};
    strlist_add(&a, &some, v[3].name);
    strlist_add(&a, &some, v[19].name);
    assert_int_equal(history_drop(dir.fd, &some), 2);
    assert_int_equal(list(dir.fd, &a, &v), 18);
}

/* A killed build leaves its record cut anywhere. */
static void a_record_that_is_cut_anywhere_is_one_that_was_interrupted(void **state)
{
    scoped(scratch) Scratch dir = scratch_new();
    scoped(arena) Arena a = {0};
    HistoryRecord r;
    Err e = ERR_INIT;
    (void)state;
    HistoryBuild *b = begin(dir.fd, "x");
    step(b, EV_STEP_DONE, 1, HOW_HIT, 77);
    step(b, EV_STEP_DONE, 2, HOW_RAN, 78);
    finish(b, 0);
    OK(history_find(dir.fd, &a, "^0", &r, &e));
    const char *path = arena_printf(&a, "builds/%s", r.name), *whole = slurp(&a, dir.fd, path);
    for (size_t n = strlen(whole) - 2; n > 0; n--) {
        OK(fs_write_file(dir.fd, path, whole, n, &e));
        OK(history_find(dir.fd, &a, "^0", &r, &e));
        assert_int_equal(r.state, HISTORY_INTERRUPTED);
        assert_true(r.nstep <= 2);
    }
}

static void damaged_records_are_read_without_harm(void **state)
{
    scoped(scratch) Scratch dir = scratch_new();
    scoped(arena) Arena a = {0};
    HistoryRecord r, *v;
    Err e = ERR_INIT;
    uint64_t seed = 9;
    (void)state;
    HistoryBuild *b = begin(dir.fd, "x");
    step(b, EV_STEP_DONE, 1, HOW_RAN, 77);
    finish(b, 0);
    usleep(2000); /* records sort by the millisecond */
    b = begin(dir.fd, "y");
    step(b, EV_STEP_DONE, 1, HOW_HIT, 77);
    finish(b, 0);
    OK(history_find(dir.fd, &a, "^1", &r, &e));
    const char *paths[] = {arena_printf(&a, "builds/%s", r.name), "builds/short"};
    const char *texts[] = {slurp(&a, dir.fd, paths[0]), slurp(&a, dir.fd, paths[1])};
    for (int round = 0; round < 3000; round++) {
        scoped(arena) Arena once = {0};
        for (size_t i = 0; i < 2; i++) {
            size_t n = strlen(texts[i]);
            char *copy = arena_strdup(&once, texts[i]);
            for (int k = 0; k < 4; k++)
                copy[next_random(&seed) % n] = (char)next_random(&seed);
            OK(fs_write_file(dir.fd, paths[i], copy, n, &e));
        }
        size_t n = list(dir.fd, &once, &v);
        assert_true(n >= 1 && n <= 4);
        OK(history_find(dir.fd, &once, "^0", &r, &e));
        for (size_t i = 0; r.steps && i < r.nstep; i++) {
            int fd = -1;
            Err ignored = ERR_INIT;
            if (r.steps[i].step && history_open_log(dir.fd, &once, &r.steps[i], &fd, &ignored) &&
                fd >= 0)
                close(fd);
        }
    }
}

static void a_log_begins_with_its_first_byte_and_is_found_by_its_run(void **state)
{
    scoped(scratch) Scratch dir = scratch_new();
    scoped(arena) Arena a = {0};
    HistoryLog l, m, f;
    int fd;
    Err e = ERR_INIT;
    char got[16] = {0};
    (void)state;
    history_log_begin(&f, dir.fd, &KEY, 55);
    history_log_add(&f, "bad", 3);
    assert_string_equal(history_log_end(&f, &a, true), "55-010203000000000000000000.failed.log");
    history_log_begin(&l, dir.fd, &KEY, 55);
    history_log_add(&l, "", 0);
    assert_null(history_log_end(&l, &a, false));
    HistoryStep hit = {
        .step = 1, .over = true, .how = HOW_HIT, .run = "55-010203000000000000000000"};
    OK(history_open_log(dir.fd, &a, &hit, &fd, &e));
    assert_int_equal(fd, -1);
    history_log_begin(&l, dir.fd, &KEY, 55);
    history_log_begin(&m, dir.fd, &KEY, 55);
    history_log_add(&l, "one", 3);
    history_log_add(&m, "two", 3);
    assert_string_equal(history_log_end(&l, &a, false), "55-010203000000000000000000.log");
    assert_string_equal(history_log_end(&m, &a, false), "55-010203000000000000000000-2.log");
    OK(history_open_log(dir.fd, &a, &hit, &fd, &e));
    assert_int_equal(read(fd, got, sizeof got), 3);
    close(fd);
}

/* Logs that no record names go, unless they have just been written. */
static void old_records_go_and_take_logs_with_them_that_nobody_names(void **state)
{
    scoped(scratch) Scratch dir = scratch_new();
    scoped(arena) Arena a = {0};
    HistoryLimits limits = {.builds = 2, .log_bytes = 1 << 20};
    HistoryRecord *v;
    (void)state;
    for (int64_t i = 1; i <= 5; i++) {
        HistoryLog l;
        struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
        history_log_begin(&l, dir.fd, &KEY, i);
        history_log_add(&l, "x", 1);
        const char *name = history_log_end(&l, &a, false);
        if (i != 2)
            assert_int_equal(utimensat(dir.fd, arena_printf(&a, "logs/%s", name), old, 0), 0);
        HistoryBuild *b = begin(dir.fd, "x");
        step(b, EV_STEP_DONE, 1, HOW_RAN, i);
        step(b, EV_STEP_DONE, 2, HOW_HIT, 1); /* all found what the first one made */
        finish(b, 0);
        usleep(2000);
    }
    history_tidy(dir.fd, &limits);
    assert_int_equal(list(dir.fd, &a, &v), 2);
    assert_true(exists(dir.fd, "logs/1-010203000000000000000000.log"));
    assert_true(exists(dir.fd, "logs/2-010203000000000000000000.log"));
    assert_false(exists(dir.fd, "logs/3-010203000000000000000000.log"));
    assert_true(exists(dir.fd, "logs/4-010203000000000000000000.log"));
    limits.log_bytes = 4096;
    history_tidy(dir.fd, &limits);
    assert_false(exists(dir.fd, "logs/4-010203000000000000000000.log"));
    assert_true(exists(dir.fd, "logs/5-010203000000000000000000.log"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_says_what_it_was_told),
        cmocka_unit_test(a_build_of_hits_makes_no_file_of_its_own),
        cmocka_unit_test(a_record_that_is_cut_anywhere_is_one_that_was_interrupted),
        cmocka_unit_test(damaged_records_are_read_without_harm),
        cmocka_unit_test(a_log_begins_with_its_first_byte_and_is_found_by_its_run),
        cmocka_unit_test(old_records_go_and_take_logs_with_them_that_nobody_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
