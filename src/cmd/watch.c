/*
 * cmd/watch.c - `lighter build`: who hears what happens, and what is said at the end.
 */
#include "base/cancel.h"
#include "base/fs.h"
#include "cmd/buildrun.h"

static void count(void *arg, const Event *ev)
{
    Watch *w = arg;
    if (ev->kind != EV_STEP_DONE)
        return;
    if (ev->how == HOW_HIT)
        atomic_fetch_add(&w->nhit, 1);
    else if (ev->how == HOW_RAN)
        atomic_fetch_add(&w->nrun, 1);
}

bool watch_begin(Build *b)
{
    Watch *w = &b->watch;
    const BuildOpts *o = b->opts;
    w->t0 = clock_ns();
    if (!ui_choose(o->quiet ? "quiet" : o->progress, &w->opts, b->e))
        return false;
    w->ui = ui_new(&w->opts);
    event_fan_add(&w->fan, (EventSink){count, w});
    event_fan_add(&w->fan, ui_sink(w->ui));
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
                    .size = b->size,
                    .nlayer = b->nlayer,
                    .nstep = b->plan.nstep,
                    .nhit = b->watch.nhit,
                    .nrun = b->watch.nrun,
                    .ns = clock_ns() - b->watch.t0};
    if (ok) {
        digest_text(&b->id, id);
        end.image = id;
    }
    return end;
}

void watch_end(Build *b, bool ok)
{
    Watch *w = &b->watch;
    char id[DIGEST_TEXT_SIZE];
    EventEnd end = end_of(b, ok, id);
    event_send(&b->env.sink, &(Event){.kind = EV_BUILD_DONE, .end = &end});
    ui_done(w->ui);
    w->ui = NULL;
    if (ok && w->opts.quiet)
        printf("%s\n", id);
}

bool watch_told(const Build *b)
{
    return b->watch.opts.style == UI_JSON;
}
