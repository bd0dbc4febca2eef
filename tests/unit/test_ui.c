/*
 * ui/: lines of steps, folded logs, JSON, and the live view on a terminal of our own.
 */
#include "screen.h"

#include <fcntl.h>
#include <locale.h>
#include <sys/mman.h>

#include "base/json.h"
#include "ui/cut.h"
#include "ui/region.h"
#include "ui/view.h"

/* A view that writes into a file. */
typedef struct Shown {
    UiOpts opts;
    pthread_mutex_t lock;
    View *view;
    Screen screen;
    off_t seen;
    uint64_t at;
} Shown;

static void shown_init(Shown *s, UiStyle style, unsigned rows, unsigned cols)
{
    *s = (Shown){.opts = {.style = style, .log_lines = 6, .rows = rows, .cols = cols}};
    s->opts.fd = memfd_create("shown", MFD_CLOEXEC);
    pthread_mutex_init(&s->lock, NULL);
    screen_init(&s->screen, rows ? rows : 24, cols ? cols : 80);
    s->view = style == UI_TTY    ? tty_new(&s->opts, &s->lock)
              : style == UI_JSON ? json_new(&s->opts)
                                 : plain_new(&s->opts);
    pthread_mutex_lock(&s->lock); /* so that the view's own thread does nothing */
}

static void scoped_shown_done(Shown *s)
{
    close(s->opts.fd);
    screen_done(&s->screen);
}

static char *written(Arena *a, const Shown *s)
{
    struct stat st;
    assert_int_equal(fstat(s->opts.fd, &st), 0);
    char *text = arena_alloc(a, (size_t)st.st_size + 1);
    assert_int_equal(pread(s->opts.fd, text, (size_t)st.st_size, 0), st.st_size);
    return text;
}

static void look(Shown *s)
{
    char block[65536];
    if (s->opts.style != UI_TTY)
        return;
    for (ssize_t n; (n = pread(s->opts.fd, block, sizeof block, s->seen)) > 0; s->seen += n)
        screen_feed(&s->screen, block, (size_t)n);
}

static void end(Shown *s)
{
    pthread_mutex_unlock(&s->lock);
    s->view->done(s->view);
    look(s);
}

static void draw(Shown *s)
{
    tty_draw(s->view);
    look(s);
}

static void send(Shown *s, Event ev)
{
    s->view->event(s->view, &ev);
}

static void tell(Shown *s, EventKind kind, uint32_t step, const char *title, StepHow how)
{
    char stage[32];
    (void)snprintf(stage, sizeof stage, "s %u/9", (unsigned)step);
    send(s, (Event){.kind = kind,
                    .step = step,
                    .what = "run",
                    .stage = stage,
                    .title = title,
                    .how = how,
                    .ns = 1500000000});
}

static void says(Shown *s, uint32_t step, const char *text, size_t n)
{
    send(
        s,
        (Event){
            .kind = EV_STEP_LOG, .step = step, .stage = "s", .title = "t", .text = text, .len = n});
}

static void line(Shown *s, EventKind kind, const char *text)
{
    send(s, (Event){.kind = kind, .text = text, .n = 9});
}

/* ---- lines ---- */

static void lines_come_out_whole_however_they_are_cut(void **state)
{
    static const char TEXT[] = "one\n\ntwo\r\nthree \xe6\xbc\xa2\nlast";
    (void)state;
    for (size_t step = 1; step < sizeof TEXT; step++) {
        LineCut c = {.nrest = 0};
        scoped(buf) Buf got = BUF_INIT;
        for (size_t i = 0; i < sizeof TEXT - 1; i += step) {
            const char *at = TEXT + i,
                       *stop = TEXT + (i + step < sizeof TEXT ? i + step : sizeof TEXT - 1);
            while (cut_step(&c, &at, stop))
                buf_printf(&got, "<%s>%s", buf_str(&c.line), c.ended ? "" : "+");
        }
        if (cut_rest(&c))
            buf_printf(&got, "<%s>", c.line.ptr);
        assert_string_equal(got.ptr, "<one><><two\r><three \xe6\xbc\xa2><last>");
        buf_done(&c.line);
    }
}

static void a_very_long_line_comes_in_pieces_that_end_between_characters(void **state)
{
    LineCut c = {.nrest = 0};
    size_t total = 0, pieces = 0;
    (void)state;
    for (int i = 0; i < 30000; i++) {
        const char *at = "\xe6\xbc\xa2", *stop = at + 3;
        while (cut_step(&c, &at, stop)) {
            assert_false(c.ended);
            assert_int_equal(c.line.len % 3, 0);
            assert_true(c.line.len > CUT_MAX - 3);
            total += c.line.len;
            pieces++;
        }
    }
    assert_true(cut_rest(&c));
    assert_int_equal(total + c.line.len, 90000);
    assert_true(pieces > 9);
    buf_done(&c.line);
}

/* ---- colours ---- */

/* Expected: BuildKit's colors.go and aec's sequences. */
static void colours_are_read_as_buildkit_reads_them(void **state)
{
    static const struct {
        const char *text, *run, *error;
    } CASES[] = {
        {"run=green", "\033[32m", ""},
        {"RUN=Light-Cyan:error=255,0,0", "\033[96m", "\033[38;5;196m"},
        {"run=default:error=0,0,0", "\033[39m", "\033[38;5;16m"},
        {"run=nosuch:error=300,0,0", "", ""},
        {"nosuch=red:error=1,2", "", ""},
        {"run:error=red:", "", "\033[31m"},
        {"run=red=blue:error=1,2,3,4", "", ""},
        {"", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        UiColors c = {.any = false};
        ui_colors_parse(CASES[i].text, &c);
        assert_string_equal(c.run, CASES[i].run);
        assert_string_equal(c.error, CASES[i].error);
    }
}

/* ---- plain ---- */

static void plain_shows_each_line_behind_its_steps_name(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    (void)state;
    shown_init(&s, UI_PLAIN, 0, 0);
    line(&s, EV_BUILD_START, "Dockerfile");
    tell(&s, EV_STEP_DONE, 1, "FROM x", HOW_HIT);
    tell(&s, EV_STEP_START, 2, "RUN a", HOW_RAN);
    says(&s, 2, "one\ntw", 6);
    says(&s, 2, "o\n10%\r20%\r\nrest", 15);
    line(&s, EV_WARNING, "careful");
    tell(&s, EV_STEP_DONE, 2, "RUN a", HOW_RAN);
    end(&s);
    assert_string_equal(
        written(&a, &s),
        "building Dockerfile: 9 steps\n[s 1/9] FROM x  HIT\n[s 2/9] RUN a\n[s] | one\n[s] | two\n"
        "[s] | 20%\nwarning: careful\n[s] | rest\n[s 2/9] RUN a  RAN 1.50 s\n");
}

/* Expected: every line of a step between its group's marks, groups never inside each other. */
static void a_folded_log_keeps_a_steps_output_whole(void **state)
{
    uint64_t seed = 11;
    (void)state;
    for (int round = 0; round < 200; round++) {
        scoped(arena) Arena a = {0};
        scoped(shown) Shown s;
        unsigned said[9] = {0}, seen[9] = {0}, open = 0, groups[9] = {0}, ended = 0;
        bool over[9] = {false}, begun[9] = {false};
        shown_init(&s, UI_PLAIN, 0, 0);
        s.opts.fold = UI_FOLD_GITHUB;
        for (int i = 0; i < 200; i++) {
            uint32_t step = 1 + next_random(&seed) % 8;
            char text[64], stage[16];
            (void)snprintf(stage, sizeof stage, "s %u/9", (unsigned)step);
            if (over[step])
                continue;
            if (!begun[step]) {
                tell(&s, EV_STEP_START, step, "RUN", HOW_RAN);
                begun[step] = true;
            } else if (next_random(&seed) % 12 == 0) {
                tell(&s, EV_STEP_DONE, step, "RUN", HOW_RAN);
                over[step] = true;
            } else {
                (void)snprintf(text, sizeof text, "step%u line%u\n", (unsigned)step, said[step]++);
                send(&s, (Event){.kind = EV_STEP_LOG,
                                 .step = step,
                                 .stage = stage,
                                 .text = text,
                                 .len = strlen(text)});
            }
        }
        end(&s);
        char *save = NULL;
        for (char *l = strtok_r(written(&a, &s), "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
            unsigned step, n;
            if (sscanf(l, "::group::[s %u/9] output", &step) == 1) {
                assert_int_equal(open, 0);
                open = step;
                groups[step]++;
            } else if (!strcmp(l, "::endgroup::")) {
                assert_int_not_equal(open, 0);
                open = 0;
            } else if (sscanf(l, "[s %*u/9] | step%u line%u", &step, &n) == 2) {
                assert_int_equal(step, open);
                assert_int_equal(n, seen[step]++);
            } else {
                assert_int_equal(open, 0);
                ended += strstr(l, "  RAN") != NULL;
            }
        }
        assert_int_equal(open, 0);
        for (unsigned i = 1; i < 9; i++) {
            assert_int_equal(seen[i], said[i]);
            assert_int_equal(groups[i], said[i] > 0);
            ended -= over[i];
        }
        assert_int_equal(ended, 0);
    }
}

static void megabytes_that_wait_for_their_group_are_kept_in_a_file(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    char text[128];
    unsigned n = 0;
    (void)state;
    shown_init(&s, UI_PLAIN, 0, 0);
    s.opts.fold = UI_FOLD_GITLAB;
    tell(&s, EV_STEP_START, 1, "RUN a", HOW_RAN);
    tell(&s, EV_STEP_START, 2, "RUN b", HOW_RAN);
    says(&s, 1, "first\n", 6);
    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(text, sizeof text, "line %06u of what waits\n", i);
        says(&s, 2, text, strlen(text));
    }
    tell(&s, EV_STEP_DONE, 2, "RUN b", HOW_RAN);
    says(&s, 1, "second\n", 7);
    tell(&s, EV_STEP_DONE, 1, "RUN a", HOW_RAN);
    end(&s);
    char *save = NULL, *all = written(&a, &s);
    assert_non_null(strstr(all, "section_start:"));
    assert_non_null(strstr(all, "[s] | first\n[s] | second\n\033[0Ksection_end:"));
    for (char *l = strtok_r(all, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        unsigned i;
        if (sscanf(l, "[s] | line %u", &i) == 1)
            assert_int_equal(i, n++);
    }
    assert_int_equal(n, 100000);
}

/* ---- json ---- */

static void every_line_of_json_is_an_object_with_its_event(void **state)
{
    static const char *const WANT[] = {"build", "step",   "start", "log",     "log",
                                       "wait",  "resume", "task",  "warning", "log",
                                       "step",  "note",   "done"};
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    size_t n = 0;
    (void)state;
    shown_init(&s, UI_JSON, 0, 0);
    line(&s, EV_BUILD_START, "Dockerfile");
    tell(&s, EV_STEP_DONE, 1, "FROM \xff x", HOW_HIT);
    tell(&s, EV_STEP_START, 2, "RUN \"a\"\n", HOW_RAN);
    says(&s, 2, "one\n\033[31mtwo\n\xe6", 14);
    send(&s,
         (Event){.kind = EV_STEP_WAIT, .step = 2, .stage = "s", .title = "t", .text = "waiting"});
    send(&s, (Event){.kind = EV_STEP_WAIT, .step = 2, .stage = "s", .title = "t"});
    send(&s, (Event){.kind = EV_TASK, .text = "unpacking", .done = 5, .total = 10});
    line(&s, EV_WARNING, "careful");
    says(&s, 2, "\xbc\xa2", 2);
    tell(&s, EV_STEP_DONE, 2, "RUN \"a\"\n", HOW_FAILED);
    line(&s, EV_NOTE, "by the way");
    send(&s, (Event){.kind = EV_BUILD_DONE,
                     .end = &(EventEnd){.exit_code = 1, .error = "it failed", .nstep = 9}});
    end(&s);
    char *save = NULL;
    for (char *l = strtok_r(written(&a, &s), "\n", &save); l;
         l = strtok_r(NULL, "\n", &save), n++) {
        Err e = ERR_INIT;
        json_t *raw = NULL;
        OK(json_parse(l, strlen(l), &raw, &e));
        scoped(json) json_t *j = raw;
        assert_true(n < NELEM(WANT));
        assert_string_equal(json_str(j, "event"), WANT[n]);
        assert_true(json_is_real(json_object_get(j, "time")));
        if (n == 4)
            assert_string_equal(json_str(j, "line"), "\033[31mtwo");
        if (n == 9)
            assert_string_equal(json_str(j, "line"), "\xe6\xbc\xa2");
        if (n == 10)
            assert_string_equal(json_str(j, "how"), "FAILED");
    }
    assert_int_equal(n, NELEM(WANT));
}

/* ---- the live view ---- */

static void what_ended_is_above_and_what_runs_is_below(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    (void)state;
    shown_init(&s, UI_TTY, 24, 60);
    line(&s, EV_BUILD_START, "Dockerfile");
    tell(&s, EV_STEP_DONE, 1, "FROM x", HOW_HIT);
    tell(&s, EV_STEP_DONE, 2, "COPY . .", HOW_HIT);
    tell(&s, EV_STEP_START, 3, "RUN a", HOW_RAN);
    tell(&s, EV_STEP_START, 4, "RUN b", HOW_RAN);
    says(&s, 4, "1\n2\n3\n4\n5\n6\n7\n10%\r25%", 22);
    send(&s, (Event){.kind = EV_STEP_WAIT,
                     .step = 3,
                     .stage = "s",
                     .title = "t",
                     .text = "waiting for a cache"});
    draw(&s);
    char *text = screen_text(&a, &s.screen, 0);
    assert_non_null(strstr(text, "building Dockerfile: 9 steps, 2 HIT, 2 running"));
    assert_non_null(strstr(text, "[s 3/9] RUN a"));
    assert_non_null(strstr(text, "\n  waiting for a cache\n"));
    assert_non_null(strstr(text, "\n  3\n  4\n  5\n  6\n  7\n  25%\n"));
    line(&s, EV_WARNING, "careful");
    tell(&s, EV_STEP_DONE, 4, "RUN b", HOW_RAN);
    send(&s, (Event){.kind = EV_STEP_WAIT, .step = 3});
    draw(&s);
    text = screen_text(&a, &s.screen, 0);
    assert_int_equal(strncmp(text, "[s 4/9] RUN b  RAN 1.50 s\nbuilding", 33), 0);
    assert_null(strstr(text, "waiting"));
    tell(&s, EV_STEP_DONE, 3, "RUN a", HOW_RAN);
    line(&s, EV_RESULT, "built it");
    end(&s);
    assert_string_equal(screen_text(&a, &s.screen, 0),
                        "[s 4/9] RUN b  RAN 1.50 s\n[s 3/9] RUN a  RAN 1.50 s\n2 of 9 steps  HIT\n"
                        "warning: careful\nbuilt it\n");
    assert_true(s.screen.wrap);
    assert_int_equal(s.screen.x, 0);
}

static void a_build_of_hits_draws_nothing_but_its_last_lines(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    (void)state;
    shown_init(&s, UI_TTY, 24, 60);
    line(&s, EV_BUILD_START, "Dockerfile");
    tell(&s, EV_STEP_DONE, 1, "FROM x", HOW_HIT);
    line(&s, EV_RESULT, "built it");
    end(&s);
    assert_string_equal(written(&a, &s), "\r\033[J1 of 9 steps  HIT\nbuilt it\n");
}

static void nothing_is_written_when_nothing_differs(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    Region r = {.rows = 0};
    Frame f = {0};
    scoped(buf) Buf none = BUF_INIT;
    (void)state;
    shown_init(&s, UI_PLAIN, 0, 0);
    r.fd = s.opts.fd;
    region_measure(&r, 24, 40);
    for (int i = 0; i < 3; i++)
        row_put_c(frame_add(&f), i == 1 ? "this one changes" : "this one stays", 39);
    region_draw(&r, &none, &f);
    size_t once = strlen(written(&a, &s));
    region_draw(&r, &none, &f);
    region_measure(&r, 24, 40);
    region_draw(&r, &none, &f);
    assert_int_equal(strlen(written(&a, &s)), once);
    f.v[1].text.len = f.v[1].width = 0;
    row_put_c(&f.v[1], "and now", 39);
    region_draw(&r, &none, &f);
    assert_string_equal(written(&a, &s) + once, "\r\033[2A\033[?7land now\033[K\n\n\033[?7h");
    frame_done(&f);
    region_done(&r);
    end(&s);
}

/* Random steps with output of every kind; `expect` gets the lines that must be left in the end. */
static void act(Shown *s, uint64_t *seed, bool *running, unsigned nstep, Buf *expect)
{
    static const char *const SAYS[] = {
        "short\n",
        "a line that is longer than many a terminal is wide, and goes on and on and on, up to its "
        "end\n",
        "wide "
        "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5"
        "\xad\x97 chars\n",
        "e\xcc\x81\xcc\x82\xcc\x83 marks \xe2\x80\x8d\xef\xb8\x8f "
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\n",
        "\xff\xfe\x80 bad \xe6\xbc",
        "\033[2J\033[31mred\033[0m \033]0;x\007\t\ttabs\n",
        "50%\r60%\r70%",
        "\n\n\n",
        "\xe2\x80\xae rtl \xc2\x9b 1m\n",
    };
    uint32_t step = 1 + next_random(seed) % nstep;
    const char *text = SAYS[next_random(seed) % NELEM(SAYS)];
    char title[64];
    (void)snprintf(title, sizeof title, "RUN command number %u", (unsigned)step);
    switch (next_random(seed) % 8) {
    case 0:
        if (!running[step])
            tell(s, EV_STEP_START, step, title, HOW_RAN);
        running[step] = true;
        break;
    case 1:
        if (!running[step])
            break;
        running[step] = false;
        tell(s, EV_STEP_DONE, step, title, HOW_RAN);
        buf_printf(expect, "[s %u/9] %s  RAN 1.50 s\n", (unsigned)step, title);
        break;
    case 2:
        if (next_random(seed) % 4)
            break;
        (void)snprintf(title, sizeof title, "note %u is a line", (unsigned)next_random(seed));
        line(s, EV_NOTE, title);
        buf_printf(expect, "%s\n", title);
        break;
    case 3:
        send(s, (Event){.kind = next_random(seed) % 2 ? EV_TASK : EV_TASK_DONE,
                        .step = step % 3 ? step : 0,
                        .text = "unpacking something big",
                        .done = next_random(seed),
                        .total = step % 2 ? UINT32_MAX : 0});
        break;
    case 4:
        send(s, (Event){.kind = EV_STEP_WAIT,
                        .step = step,
                        .stage = "s",
                        .title = title,
                        .text = step % 2 ? "waiting for another build" : NULL});
        break;
    default:
        says(s, step, text, 1 + next_random(seed) % strlen(text));
        break;
    }
}

/* The region fits the screen and the cursor is below it. */
static void check_fit(Shown *s)
{
    assert_true(s->screen.y < s->screen.top + s->screen.rows);
    assert_int_equal(s->screen.x, 0);
    assert_true(s->screen.wrap);
}

static void finish(Shown *s, bool *running, unsigned nstep, Buf *expect)
{
    for (unsigned i = 1; i <= nstep; i++)
        if (running[i]) {
            tell(s, EV_STEP_DONE, i, "RUN last", HOW_CANCELLED);
            buf_printf(expect, "[s %u/9] RUN last  CANCELLED\n", i);
        }
    line(s, EV_WARNING, "careful");
    buf_puts(expect, "warning: careful\n");
    line(s, EV_RESULT, "built it");
    buf_puts(expect, "built it\n");
    end(s);
}

static void on_any_terminal_just_the_lasting_lines_are_left(void **state)
{
    static const unsigned COLS[] = {2, 5, 20, 21, 33, 40, 79, 80, 81, 132, 200, 300},
                          ROWS[] = {2, 3, 5, 10, 24, 60};
    uint64_t seed = 3;
    (void)state;
    for (size_t c = 0; c < NELEM(COLS); c++)
        for (size_t r = 0; r < NELEM(ROWS); r++) {
            scoped(arena) Arena a = {0};
            scoped(shown) Shown s;
            scoped(buf) Buf expect = BUF_INIT;
            bool running[41] = {false};
            shown_init(&s, UI_TTY, ROWS[r], COLS[c]);
            line(&s, EV_BUILD_START, "Dockerfile");
            for (int i = 0; i < 400; i++) {
                act(&s, &seed, running, 40, &expect);
                if (next_random(&seed) % 4)
                    continue;
                draw(&s);
                check_fit(&s);
            }
            finish(&s, running, 40, &expect);
            assert_string_equal(screen_text(&a, &s.screen, 0), buf_str(&expect));
        }
}

static void a_terminal_may_change_its_size_at_any_time(void **state)
{
    uint64_t seed = 5;
    (void)state;
    for (int round = 0; round < 60; round++) {
        scoped(arena) Arena a = {0};
        scoped(shown) Shown s;
        scoped(buf) Buf expect = BUF_INIT;
        bool running[6] = {false};
        shown_init(&s, UI_TTY, 300, 100);
        s.opts.log_lines = 1;
        line(&s, EV_BUILD_START, "Dockerfile");
        for (int i = 0; i < 300; i++) {
            act(&s, &seed, running, 5, &expect);
            if (next_random(&seed) % 3 == 0)
                draw(&s);
            if (next_random(&seed) % 20)
                continue;
            look(&s);
            s.opts.cols = 20 + next_random(&seed) % 281;
            s.opts.rows = 250 + next_random(&seed) % 40; /* what is wrapped does not scroll away */
            screen_resize(&s.screen, s.opts.rows, s.opts.cols);
        }
        finish(&s, running, 5, &expect);
        assert_string_equal(screen_text(&a, &s.screen, 0), buf_str(&expect));
    }
}

/* xterm cuts lines off where others wrap them. Lines above may be lost with it, but none is left.
 */
static void a_terminal_that_cuts_lines_off_keeps_nothing_of_the_live_view(void **state)
{
    uint64_t seed = 6;
    (void)state;
    for (int round = 0; round < 60; round++) {
        scoped(arena) Arena a = {0};
        scoped(shown) Shown s;
        scoped(buf) Buf expect = BUF_INIT;
        bool running[6] = {false};
        shown_init(&s, UI_TTY, 60, 100);
        s.screen.crops = true;
        line(&s, EV_BUILD_START, "Dockerfile");
        for (int i = 0; i < 300; i++) {
            act(&s, &seed, running, 5, &expect);
            if (next_random(&seed) % 3 == 0)
                draw(&s);
            if (next_random(&seed) % 20)
                continue;
            look(&s);
            s.opts.cols = 60 + next_random(&seed) % 200;
            s.opts.rows = 50 + next_random(&seed) % 40;
            screen_resize(&s.screen, s.opts.rows, s.opts.cols);
        }
        finish(&s, running, 5, &expect);
        char *text = screen_text(&a, &s.screen, 0);
        assert_null(strstr(text, "running"));
        assert_null(strstr(text, "unpacking"));
        assert_true(str_ends(text, "warning: careful\nbuilt it\n"));
    }
}

static void hundreds_of_steps_at_once_leave_room_for_what_matters(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    (void)state;
    shown_init(&s, UI_TTY, 24, 80);
    line(&s, EV_BUILD_START, "Dockerfile");
    for (uint32_t i = 1; i <= 500; i++)
        tell(&s, EV_STEP_START, i, "RUN x", HOW_RAN);
    for (uint32_t i = 1; i <= 500; i++)
        says(&s, i, "said\n", 5);
    draw(&s);
    char *text = screen_text(&a, &s.screen, 0);
    assert_non_null(strstr(text, "500 running"));
    assert_non_null(strstr(text, "[s 1/9] RUN x"));
    assert_non_null(strstr(text, "\n  and 479 more\n"));
    for (uint32_t i = 1; i <= 480; i++)
        tell(&s, EV_STEP_DONE, i, "RUN x", HOW_HIT);
    draw(&s);
    text = screen_text(&a, &s.screen, 0);
    assert_null(strstr(text, "more"));
    assert_non_null(strstr(text, "[s 500/9] RUN x"));
    assert_non_null(strstr(text, "\n  said\n")); /* what room is left shows output */
    end(&s);
}

static void a_flood_of_output_is_drawn_ten_times_a_second_at_most(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    char text[64];
    size_t draws = 0;
    (void)state;
    shown_init(&s, UI_TTY, 24, 80);
    line(&s, EV_BUILD_START, "Dockerfile");
    tell(&s, EV_STEP_START, 1, "RUN yes", HOW_RAN);
    uint64_t began = clock_ns();
    for (int i = 0; clock_ns() - began < 450000000; i++) {
        (void)snprintf(text, sizeof text, "line %d\n", i);
        says(&s, 1, text, strlen(text));
        pthread_mutex_unlock(&s.lock);
        pthread_mutex_lock(&s.lock);
        if (i % 1000 == 0)
            usleep(1000);
    }
    uint64_t took = clock_ns() - began;
    for (const char *p = written(&a, &s); (p = strstr(p, "\033[?7l")); p++)
        draws++;
    assert_in_range(draws, 1, took / 100000000 + 1);
    end(&s);
}

static void after_a_pause_the_terminal_is_left_alone(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(shown) Shown s;
    (void)state;
    shown_init(&s, UI_TTY, 24, 80);
    line(&s, EV_BUILD_START, "Dockerfile");
    tell(&s, EV_STEP_DONE, 1, "FROM x", HOW_HIT);
    tell(&s, EV_STEP_START, 2, "RUN x", HOW_RAN);
    draw(&s);
    tell(&s, EV_STEP_DONE, 2, "RUN x", HOW_FAILED);
    send(&s, (Event){.kind = EV_PAUSE});
    line(&s, EV_NOTE, "a shell");
    look(&s);
    char *before = written(&a, &s);
    assert_string_equal(screen_text(&a, &s.screen, 0),
                        "[s 2/9] RUN x  FAILED 1.50 s\n1 of 9 steps  HIT\na shell\n");
    usleep(250000);
    end(&s);
    assert_string_equal(written(&a, &s), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_out_whole_however_they_are_cut),
        cmocka_unit_test(a_very_long_line_comes_in_pieces_that_end_between_characters),
        cmocka_unit_test(colours_are_read_as_buildkit_reads_them),
        cmocka_unit_test(plain_shows_each_line_behind_its_steps_name),
        cmocka_unit_test(a_folded_log_keeps_a_steps_output_whole),
        cmocka_unit_test(megabytes_that_wait_for_their_group_are_kept_in_a_file),
        cmocka_unit_test(every_line_of_json_is_an_object_with_its_event),
        cmocka_unit_test(what_ended_is_above_and_what_runs_is_below),
        cmocka_unit_test(a_build_of_hits_draws_nothing_but_its_last_lines),
        cmocka_unit_test(nothing_is_written_when_nothing_differs),
        cmocka_unit_test(on_any_terminal_just_the_lasting_lines_are_left),
        cmocka_unit_test(a_terminal_may_change_its_size_at_any_time),
        cmocka_unit_test(a_terminal_that_cuts_lines_off_keeps_nothing_of_the_live_view),
        cmocka_unit_test(hundreds_of_steps_at_once_leave_room_for_what_matters),
        cmocka_unit_test(a_flood_of_output_is_drawn_ten_times_a_second_at_most),
        cmocka_unit_test(after_a_pause_the_terminal_is_left_alone),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
