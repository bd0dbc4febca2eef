/*
 * cmd/watch.c - `lighter build`: who hears what happens, and what is said at the end.
 */
#include <limits.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "cmd/buildrun.h"
#include "cmd/space.h"
#include "cmd/watch.h"

/* What goes wrong there is no fault of the build's. */
#define NO_RECORD "this build leaves no record: %s"

enum { KEEP_BUILDS = 100, KEEP_LOG_BYTES = 200 << 20 };

static void count(void *arg, const Event *ev)
{
    Watch *w = arg;
    if (ev->kind == EV_STEP_DONE)
        atomic_fetch_add(&w->count[ev->how], 1);
}

/* ---- history ---- */

bool watch_limits(HistoryLimits *ret, Err *e)
{
    const char *builds = getenv("LIGHTER_KEEP_BUILDS"), *logs = getenv("LIGHTER_KEEP_LOGS");
    scoped(fd) int root = open("/", O_PATH | O_CLOEXEC); /* any disk will do */
    uint64_t n = KEEP_BUILDS;
    *ret = (HistoryLimits){.log_bytes = KEEP_LOG_BYTES};
    if (builds && *builds && (!str_u64(builds, 1000000, &n) || !n))
        return err_set(e, ERR_USAGE, "LIGHTER_KEEP_BUILDS=%s: expected a number from 1", builds);
    ret->builds = n;
    return !logs || !*logs || space_parse(logs, root, &ret->log_bytes, e) ||
           err_wrap(e, "LIGHTER_KEEP_LOGS");
}

/* What was built, in words that mean the same from anywhere. */
static const char *context_text(const Build *b)
{
    scoped(buf) Buf here = BUF_INIT;
    if (b->main.kind != INPUT_DIR || b->main.spec[0] == '/' ||
        !getcwd(buf_reserve(&here, PATH_MAX), PATH_MAX))
        return git_masked(b->arena, b->main.spec);
    return path_join(b->arena, here.ptr, b->main.spec);
}

void watch_store(Build *b, int storefd)
{
    Watch *w = &b->watch;
    Err e = ERR_INIT;
    if (b->dry)
        return;
    w->storefd = storefd;
    HistoryMeta m = {.dockerfile = b->file.name ? b->file.name : b->opts->file,
                     .target = b->opts->target,
                     .context = context_text(b),
                     .names = &b->names,
                     .began_ns = w->t0};
    if (!history_begin(storefd, &m, &w->history, &e)) {
        event_warning(&b->env.sink, NO_RECORD, e.msg);
        return;
    }
    event_fan_add(&w->fan, history_sink(w->history));
    if (b->main.kind != INPUT_DIR)
        history_write(w->history);
}

bool watch_begin(Build *b)
{
    Watch *w = &b->watch;
    const BuildOpts *o = b->opts;
    w->t0 = clock_ns();
    if (!ui_choose(o->quiet ? "quiet" : o->progress, &w->opts, b->e) ||
        !watch_limits(&w->limits, b->e))
        return false;
    if (o->trace && !trace_open(o->trace, w->t0, &w->trace, b->e))
        return false;
    w->ui = ui_new(&w->opts);
    event_fan_add(&w->fan, (EventSink){count, w});
    event_fan_add(&w->fan, ui_sink(w->ui));
    if (w->trace)
        event_fan_add(&w->fan, trace_sink(w->trace));
    b->env.sink = event_fan(&w->fan);
    return true;
}

int watch_code(const Build *b, bool ok)
{
    if (ok)
        return 0;
    return cancel_signal() ? 128 + cancel_signal() : (int)b->e->kind;
}

static EventEnd end_of(Build *b, bool ok, char id[static DIGEST_TEXT_SIZE])
{
    EventEnd end = {.exit_code = watch_code(b, ok),
                    .cancelled = !ok && cancel_signal(),
                    .error = ok                ? NULL
                             : cancel_signal() ? "cancelled"
                                               : b->e->msg,
                    .names = (const char *const *)b->names.v,
                    .nname = b->names.n,
                    .size = b->ntarget ? build_target(b)->size : 0,
                    .nlayer = b->ntarget ? build_target(b)->nlayer : 0,
                    .nstep = b->plan.nstep,
                    .ns = clock_ns() - b->watch.t0};
    for (size_t i = 0; i < NSTEP_HOW; i++)
        end.count[i] = b->watch.count[i];
    if (ok) {
        digest_text(&b->id, id);
        end.image = id;
    }
    return end;
}

void watch_result(Build *b, bool ok)
{
    Watch *w = &b->watch;
    char id[DIGEST_TEXT_SIZE];
    Err e = ERR_INIT;
    EventEnd end = end_of(b, ok, id);
    bool ran = end.count[HOW_RAN] || end.count[HOW_FAILED] || end.count[HOW_CANCELLED];
    scoped(fd) int fd = -1;
    if (!b->store && w->began && !b->dry) { /* it failed before it needed one */
        fd = open(store_default_path(b->arena), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            watch_store(b, fd);
    }
    if (!w->history)
        return;
    if (!history_end(w->history, &end, &e))
        event_warning(&b->env.sink, NO_RECORD, e.msg);
    if (ran)
        history_tidy(w->storefd, &w->limits);
}

void watch_end(Build *b, bool ok)
{
    Watch *w = &b->watch;
    char id[DIGEST_TEXT_SIZE];
    EventEnd end = end_of(b, ok, id);
    if (!b->dry || !ok) /* a plan that was told of says all itself */
        event_send(&b->env.sink, &(Event){.kind = EV_BUILD_DONE, .end = &end});
    ui_done(w->ui);
    w->ui = NULL;
    history_done(w->history);
    w->history = NULL;
    w->fan = (EventFan){.n = 0}; /* only the trace hears what follows */
    if (w->trace)
        event_fan_add(&w->fan, trace_sink(w->trace));
    if (ok && w->opts.quiet && !b->dry && !b->stdout_taken)
        printf("%s\n", id);
}

bool watch_close(Build *b)
{
    Trace *t = b->watch.trace;
    b->watch.trace = NULL;
    b->env.sink = (EventSink){NULL, NULL};
    return trace_done(t, b->e);
}

bool watch_told(const Build *b)
{
    return b->watch.opts.style == UI_JSON;
}
