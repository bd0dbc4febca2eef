/*
 * ui/tty.c - what runs now, at the bottom of a terminal.
 *
 * A step that is over becomes one line above; hits are counted and become one line at the end, as
 * do warnings. A thread draws, ten times a second at most; it begins with the first step that runs,
 * for until then namespaces may have to be entered, which wants this thread alone.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/fs.h"
#include "ui/region.h"
#include "ui/tail.h"
#include "ui/view.h"

enum { DRAW_NS = 100000000, LABEL_MAX = 512 };

/* Work beside or inside a step. */
typedef struct Task {
    struct Task *next;
    uint32_t step; /* 0: of the build */
    char *text;
    uint64_t done, total;
} Task;

/* A step that runs. */
typedef struct Running {
    struct Running *next; /* in the order of their start */
    uint32_t step;
    char *label; /* "[builder 3/6] RUN make" */
    char *waits; /* for what; NULL: it does not */
    uint64_t at_ns;
    Tail tail;
} Running;

typedef struct Tty {
    View view;
    const UiOpts *opts;
    pthread_mutex_t *lock;
    Region region;
    Frame frame;
    char *name; /* of the Dockerfile; NULL: the build has not started */
    uint64_t began, drawn;
    uint32_t nstep, nwarning, ended[NSTEP_HOW];
    Running *running;
    Task *tasks;
    Buf above;    /* lines that have become permanent */
    Buf warnings; /* lines for the end */
    Buf result;
    bool urgent; /* it must be drawn now, for nobody knows when the next event comes */
    bool paused; /* the terminal is somebody else's */
    bool has_thread, closing;
    pthread_t thread;
    pthread_cond_t close;
} Tty;

static char *copy(const char *s)
{
    char *c = strdup(s ? s : "");
    if (!c)
        die_nomem();
    return c;
}

/* ---- the frame ---- */

/* How long something runs: tenths at first, then it changes once a second. */
static void put_elapsed(char out[static 32], uint64_t since, uint64_t now)
{
    uint64_t ms = now > since ? (now - since) / 1000000 : 0, s = ms / 1000;
    if (s < 10)
        (void)snprintf(out, 32, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
    else if (s < 100)
        (void)snprintf(out, 32, "%" PRIu64 "s", s);
    else
        (void)snprintf(out, 32, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
}

/* Text on the left, a time at the right margin. */
static void put_timed(Tty *t, const char *text, uint64_t since, uint64_t now)
{
    Row *w = frame_add(&t->frame);
    unsigned cols = t->region.cols - 1;
    char took[32];
    put_elapsed(took, since, now);
    unsigned need = (unsigned)strlen(took) + 1;
    row_put_c(w, text, cols > need ? cols - need : 0);
    row_pad(w, cols > need ? cols - need + 1 : 0);
    (void)row_put(w, str_c(took), cols);
}

static void put_indented(Tty *t, const char *color, Str text)
{
    Row *w = frame_add(&t->frame);
    unsigned cols = t->region.cols - 1;
    (void)row_put(w, str_c("  "), cols);
    row_color(w, color);
    (void)row_put(w, text, cols);
    row_color(w, *color ? "\033[0m" : "");
}

static void put_head(Tty *t, size_t nrunning, uint64_t now)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_printf(&b, "building %s: %u steps", t->name, t->nstep);
    for (int how = 0; how < NSTEP_HOW; how++)
        if (t->ended[how])
            buf_printf(&b, ", %u %s", t->ended[how], how_word((StepHow)how));
    if (nrunning)
        buf_printf(&b, ", %zu running", nrunning);
    if (t->nwarning)
        buf_printf(&b, ", %u warning%s", t->nwarning, t->nwarning > 1 ? "s" : "");
    put_timed(t, b.ptr, t->began, now);
}

static void put_task(Tty *t, const Task *k)
{
    scoped(buf) Buf b = BUF_INIT;
    char done[32], total[32];
    str_size(k->done, done, sizeof done);
    str_size(k->total, total, sizeof total);
    buf_puts(&b, k->text);
    if (k->total)
        buf_printf(&b, "  %s of %s", done, total);
    else if (k->done)
        buf_printf(&b, "  %s", done);
    put_indented(t, "", str_c(b.ptr));
}

/* Tasks of a step, or with 0 of the build; at most `room`. How many there are. */
static unsigned put_tasks(Tty *t, uint32_t step, unsigned room)
{
    unsigned n = 0;
    for (const Task *k = t->tasks; k; k = k->next)
        if (k->step == step && n++ < room)
            put_task(t, k);
    return n;
}

/* How many lines a running step would like below its own. */
static unsigned wanted(const Tty *t, const Running *r)
{
    unsigned n = tail_count(&r->tail) + (r->waits != NULL);
    for (const Task *k = t->tasks; k; k = k->next)
        n += k->step == r->step;
    return n;
}

static void put_details(Tty *t, const Running *r, unsigned room)
{
    if (room && r->waits) {
        put_indented(t, t->opts->colors.cancel, str_c(r->waits));
        room--;
    }
    unsigned tasks = put_tasks(t, r->step, room);
    room -= tasks < room ? tasks : room;
    unsigned n = tail_count(&r->tail);
    for (unsigned back = n < room ? n : room; back-- > 0;)
        put_indented(t, "", tail_line(&r->tail, back));
}

/* Every running step gets its line if there is room, and an equal part of what is left. */
static void put_running(Tty *t, size_t n, unsigned room, uint64_t now)
{
    size_t shown = n <= room ? n : room ? room - 1 : 0, i = 0;
    unsigned left = n <= room ? room - (unsigned)n : 0;
    for (const Running *r = t->running; r && i < shown; r = r->next, i++) {
        unsigned fair = left / (unsigned)(shown - i), want = wanted(t, r);
        put_timed(t, r->label, r->at_ns, now);
        put_details(t, r, want < fair ? want : fair);
        left -= want < fair ? want : fair;
    }
    if (shown < n && room) {
        scoped(buf) Buf more = BUF_INIT;
        buf_printf(&more, "and %zu more", n - shown);
        put_indented(t, "", str_c(more.ptr));
    }
}

static void compose(Tty *t)
{
    uint64_t now = clock_ns();
    unsigned room = t->region.rows > 1 ? t->region.rows - 1 : 0;
    size_t nrunning = 0;
    frame_clear(&t->frame);
    for (const Running *r = t->running; r; r = r->next)
        nrunning++;
    if (!room || t->region.cols < 2 || (!t->name && !t->tasks))
        return;
    if (t->name) {
        put_head(t, nrunning, now);
        room--;
    }
    unsigned tasks = put_tasks(t, 0, room / 2);
    room -= tasks < room / 2 ? tasks : room / 2;
    put_running(t, nrunning, room, now);
}

void tty_draw(View *v)
{
    Tty *t = (Tty *)v;
    region_measure(&t->region, t->opts->rows, t->opts->cols);
    compose(t);
    region_draw(&t->region, &t->above, &t->frame);
    t->drawn = clock_ns();
}

/* ---- the thread that draws ---- */

static void *draw_main(void *arg)
{
    Tty *t = arg;
    pthread_mutex_lock(t->lock);
    while (!t->closing) {
        struct timespec when;
        tty_draw(&t->view);
        clock_gettime(CLOCK_MONOTONIC, &when);
        when.tv_nsec += DRAW_NS;
        when.tv_sec += when.tv_nsec / 1000000000;
        when.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&t->close, t->lock, &when);
    }
    pthread_mutex_unlock(t->lock);
    return NULL;
}

static void start_thread(Tty *t)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->close, &attr);
    pthread_condattr_destroy(&attr);
    t->has_thread = pthread_create(&t->thread, NULL, draw_main, t) == 0;
}

/* Called with the lock held, which the thread needs to end. */
static void stop_thread(Tty *t)
{
    if (!t->has_thread)
        return;
    t->closing = true;
    t->has_thread = false;
    pthread_cond_signal(&t->close);
    pthread_mutex_unlock(t->lock);
    pthread_join(t->thread, NULL);
    pthread_mutex_lock(t->lock);
    pthread_cond_destroy(&t->close);
}

/* ---- what happened ---- */

static Running *running_of(Tty *t, uint32_t step)
{
    Running *r = t->running;
    while (r && r->step != step)
        r = r->next;
    return r;
}

/* The entry of a step that runs, or waits before it does; made if need be. */
static Running *have_running(Tty *t, const Event *ev)
{
    scoped(buf) Buf label = BUF_INIT;
    Running **at = &t->running, *r = running_of(t, ev->step);
    if (r)
        return r;
    r = calloc(1, sizeof *r);
    if (!r)
        die_nomem();
    while (*at)
        at = &(*at)->next;
    *at = r;
    buf_printf(&label, "[%s] %.*s", ev->stage, (int)utf8_head(ev->title, LABEL_MAX), ev->title);
    r->step = ev->step;
    r->label = copy(label.ptr);
    r->at_ns = clock_ns();
    tail_init(&r->tail, t->opts->log_lines);
    if (!t->has_thread && !t->paused)
        start_thread(t);
    return r;
}

static void step_start(Tty *t, const Event *ev)
{
    Running *r = have_running(t, ev);
    if (ev->at_ns)
        r->at_ns = ev->at_ns;
}

static void running_end(Tty *t, uint32_t step)
{
    for (Running **at = &t->running, *r; (r = *at); at = &r->next) {
        if (r->step != step)
            continue;
        *at = r->next;
        free(r->label);
        free(r->waits);
        tail_done(&r->tail);
        free(r);
        return;
    }
}

static void task_end(Tty *t, uint32_t step, const char *text)
{
    for (Task **at = &t->tasks, *k; (k = *at);) {
        if (k->step != step || (text && strcmp(k->text, text) != 0)) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        free(k->text);
        free(k);
    }
}

static void step_done(Tty *t, const Event *ev)
{
    t->ended[ev->how]++;
    running_end(t, ev->step);
    task_end(t, ev->step, NULL);
    if (ev->how != HOW_HIT && ev->how != HOW_SKIPPED)
        view_put_done(&t->above, &t->opts->colors, ev);
}

static void step_wait(Tty *t, const Event *ev)
{
    Running *r = ev->text ? have_running(t, ev) : running_of(t, ev->step);
    if (!r)
        return;
    free(r->waits);
    r->waits = ev->text ? copy(ev->text) : NULL;
}

/* True: it is a new one. */
static bool task(Tty *t, const Event *ev)
{
    Task **at = &t->tasks;
    while (*at && ((*at)->step != ev->step || strcmp((*at)->text, ev->text) != 0))
        at = &(*at)->next;
    bool fresh = !*at;
    if (fresh) {
        *at = calloc(1, sizeof **at);
        if (!*at)
            die_nomem();
        (*at)->step = ev->step;
        (*at)->text = copy(ev->text);
    }
    (*at)->done = ev->done;
    (*at)->total = ev->total;
    return fresh;
}

static void log_bytes(Tty *t, const Event *ev)
{
    Running *r = running_of(t, ev->step);
    if (r)
        tail_add(&r->tail, ev->text, ev->len);
}

/* ---- the end ---- */

static void put_count(Tty *t, StepHow how)
{
    if (!t->ended[how])
        return;
    buf_printf(&t->above, "%u of %u steps  ", t->ended[how], t->nstep);
    view_put_how(&t->above, &t->opts->colors, how);
    buf_putc(&t->above, '\n');
    t->ended[how] = 0;
}

/* Nothing moves from here on: what was kept for the end is written. */
static void settle(Tty *t)
{
    static const Frame NOTHING = {0};
    stop_thread(t);
    put_count(t, HOW_HIT);
    put_count(t, HOW_SKIPPED);
    buf_add(&t->above, buf_str(&t->warnings), t->warnings.len);
    buf_add(&t->above, buf_str(&t->result), t->result.len);
    t->warnings.len = t->result.len = 0;
    region_measure(&t->region, t->opts->rows, t->opts->cols);
    region_draw(&t->region, &t->above, &NOTHING);
}

static void take(Tty *t, const Event *ev)
{
    switch (ev->kind) {
    case EV_BUILD_START:
        free(t->name);
        t->name = copy(ev->text);
        t->nstep = ev->n;
        break;
    case EV_STEP_START:
        step_start(t, ev);
        break;
    case EV_STEP_LOG:
        log_bytes(t, ev);
        break;
    case EV_STEP_WAIT:
        step_wait(t, ev);
        break;
    case EV_STEP_DONE:
        step_done(t, ev);
        break;
    case EV_TASK:
        t->urgent = task(t, ev);
        break;
    case EV_TASK_DONE:
        task_end(t, ev->step, ev->text);
        break;
    case EV_NOTE:
        view_put_text(&t->above, ev->text);
        break;
    case EV_WARNING:
        t->nwarning++;
        view_put_warning(&t->warnings, &t->opts->colors, ev->text);
        break;
    case EV_RESULT:
        view_put_text(&t->result, ev->text);
        break;
    case EV_PAUSE:
        t->paused = true;
        break;
    case EV_SPAN:
    case EV_BUILD_DONE:
        break;
    }
}

static void tty_event(View *v, const Event *ev)
{
    Tty *t = (Tty *)v;
    t->urgent = false;
    take(t, ev);
    if (t->paused)
        settle(t);
    else if (!t->has_thread && (t->urgent || t->above.len || clock_ns() - t->drawn >= DRAW_NS))
        tty_draw(&t->view);
}

static void tty_done(View *v)
{
    Tty *t = (Tty *)v;
    pthread_mutex_lock(t->lock);
    settle(t);
    pthread_mutex_unlock(t->lock);
    while (t->running)
        running_end(t, t->running->step);
    while (t->tasks)
        task_end(t, t->tasks->step, NULL);
    frame_done(&t->frame);
    region_done(&t->region);
    buf_done(&t->above);
    buf_done(&t->warnings);
    buf_done(&t->result);
    free(t->name);
    free(t);
}

View *tty_new(const UiOpts *o, pthread_mutex_t *lock)
{
    Tty *t = calloc(1, sizeof *t);
    if (!t)
        die_nomem();
    t->view = (View){tty_event, tty_done};
    t->opts = o;
    t->lock = lock;
    t->region.fd = o->fd;
    t->began = t->drawn = clock_ns(); /* a build of hits is over before it would be drawn */
    return &t->view;
}
