/*
 * ui/plain.c - one line at a time, and folded in the logs of CI systems.
 *
 * Where a log folds, the output of a step stands whole between the marks of its group. One running
 * step has the group that is open, and what it prints is written at once; what others print
 * meanwhile waits, and so does every other line, until that group is closed.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/rune.h"
#include "ui/cut.h"
#include "ui/spill.h"
#include "ui/view.h"

/* A step that prints. */
typedef struct Printer {
    struct Printer *next; /* in the order of their first byte */
    uint32_t step;
    char *stage;
    LineCut cut;
    /* Folded: */
    Spill waits;   /* lines that cannot be written yet */
    Buf done_line; /* set when the step is over and waits for its group */
} Printer;

typedef struct Plain {
    View view;
    const UiOpts *opts;
    Printer *printers;
    Printer *open; /* folded: whose group is open */
    Buf held;      /* folded: lines for when no group is open */
} Plain;

/* ---- lines ---- */

/* A line of no step's output. */
static void say(Plain *p, Buf *line)
{
    if (!p->open) {
        view_write(p->opts->fd, line);
        return;
    }
    buf_add(&p->held, line->ptr, line->len);
    line->len = 0;
}

static void group_begin(Plain *p, const Printer *x)
{
    scoped(buf) Buf b = BUF_INIT;
    if (p->opts->fold == UI_FOLD_GITHUB) {
        buf_puts(&b, "::group::[");
        for (const char *s = x->stage; *s; s++) /* its runner reads %25 as % */
            buf_printf(&b, *s == '%' ? "%%25" : "%c", *s);
        buf_puts(&b, "] output\n");
    } else {
        buf_printf(&b, "\033[0Ksection_start:%lld:lighter_%d_%" PRIu32 "\r\033[0K[%s] output\n",
                   (long long)time(NULL), (int)getpid(), x->step, x->stage);
    }
    view_write(p->opts->fd, &b);
}

static void group_end(Plain *p, const Printer *x)
{
    scoped(buf) Buf b = BUF_INIT;
    if (p->opts->fold == UI_FOLD_GITHUB)
        buf_puts(&b, "::endgroup::\n");
    else
        buf_printf(&b, "\033[0Ksection_end:%lld:lighter_%d_%" PRIu32 "\r\033[0K\n",
                   (long long)time(NULL), (int)getpid(), x->step);
    view_write(p->opts->fd, &b);
}

/* ---- output of steps ---- */

static Printer *printer_of(Plain *p, const Event *ev)
{
    Printer **at = &p->printers;
    for (; *at; at = &(*at)->next)
        if ((*at)->step == ev->step)
            return *at;
    Printer *x = calloc(1, sizeof *x);
    if (!x || !(x->stage = strdup(ev->stage ? ev->stage : "")))
        die_nomem();
    x->step = ev->step;
    x->waits = (Spill)SPILL_INIT;
    return *at = x;
}

static void printer_free(Printer *x)
{
    free(x->stage);
    buf_done(&x->cut.line);
    buf_done(&x->done_line);
    spill_done(&x->waits);
    free(x);
}

static void drop(Plain *p, const Printer *x)
{
    for (Printer **at = &p->printers; *at; at = &(*at)->next)
        if (*at == x) {
            *at = x->next;
            break;
        }
    if (p->open == x)
        p->open = NULL;
}

static void open_group(Plain *p, Printer *x)
{
    group_begin(p, x);
    spill_write(&x->waits, p->opts->fd);
    p->open = x;
}

static void log_line(Plain *p, Printer *x)
{
    scoped(buf) Buf b = BUF_INIT;
    Str seen = line_tail(x->cut.line.ptr, x->cut.line.len);
    buf_printf(&b, "[%s] | ", x->stage);
    buf_add_clean(&b, seen.ptr, seen.len);
    buf_putc(&b, '\n');
    if (p->opts->fold != UI_FOLD_NONE && !p->open)
        open_group(p, x);
    if (p->opts->fold == UI_FOLD_NONE || p->open == x || !spill_add(&x->waits, b.ptr, b.len))
        view_write(p->opts->fd, &b);
}

static void log_bytes(Plain *p, const Event *ev)
{
    Printer *x = printer_of(p, ev);
    for (const char *s = ev->text, *end = s + ev->len; cut_step(&x->cut, &s, end);)
        log_line(p, x);
}

/* What was printed last may have no end. */
static void log_rest(Plain *p, Printer *x)
{
    if (cut_rest(&x->cut))
        log_line(p, x);
}

/* ---- folded: what waited ---- */

/* The group that was open is closed: groups of steps that are over, then the first that runs. */
static void go_on(Plain *p)
{
    view_write(p->opts->fd, &p->held);
    for (Printer *x = p->printers, *next; x; x = next) {
        next = x->next;
        if (!x->done_line.len)
            continue;
        if (!spill_empty(&x->waits)) {
            open_group(p, x);
            group_end(p, x);
        }
        view_write(p->opts->fd, &x->done_line);
        drop(p, x);
        printer_free(x);
    }
    for (Printer *x = p->printers; x && !p->open; x = x->next)
        if (!spill_empty(&x->waits))
            open_group(p, x);
}

/* ---- events ---- */

static void step_start(Plain *p, const Event *ev)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_printf(&b, "[%s] ", ev->stage);
    view_put_title(&b, ev->title);
    buf_putc(&b, '\n');
    say(p, &b);
}

static void step_wait(const Event *ev, Buf *b)
{
    buf_printf(b, "[%s] ", ev->stage);
    view_put_title(b, ev->title);
    buf_puts(b, ": ");
    view_put_text(b, ev->text);
}

static void step_done(Plain *p, const Event *ev)
{
    scoped(buf) Buf b = BUF_INIT;
    Printer *x = p->printers;
    while (x && x->step != ev->step)
        x = x->next;
    view_put_done(&b, &p->opts->colors, ev);
    if (x)
        log_rest(p, x);
    if (x && p->open && p->open != x) { /* its turn comes */
        buf_add(&x->done_line, b.ptr, b.len);
        return;
    }
    bool folded = x && p->open == x;
    if (folded)
        group_end(p, x);
    if (x) {
        drop(p, x);
        printer_free(x);
    }
    say(p, &b);
    if (folded)
        go_on(p);
}

static void plain_event(View *v, const Event *ev)
{
    Plain *p = (Plain *)v;
    scoped(buf) Buf b = BUF_INIT;
    switch (ev->kind) {
    case EV_BUILD_START:
        buf_puts(&b, "building ");
        buf_add_clean(&b, ev->text, strlen(ev->text));
        buf_printf(&b, ": %u steps\n", ev->n);
        break;
    case EV_STEP_START:
        step_start(p, ev);
        break;
    case EV_STEP_LOG:
        log_bytes(p, ev);
        break;
    case EV_STEP_WAIT:
        if (ev->text)
            step_wait(ev, &b);
        break;
    case EV_STEP_DONE:
        step_done(p, ev);
        break;
    case EV_NOTE:
    case EV_RESULT:
        view_put_text(&b, ev->text);
        break;
    case EV_WARNING:
        view_put_warning(&b, &p->opts->colors, ev->text);
        break;
    case EV_TASK:
    case EV_TASK_DONE:
    case EV_SPAN:
    case EV_PAUSE:
    case EV_BUILD_DONE:
        break;
    }
    if (b.len)
        say(p, &b);
}

/* Steps that did not end, because the build did. */
static void plain_done(View *v)
{
    Plain *p = (Plain *)v;
    for (Printer *x = p->printers; x; x = x->next)
        log_rest(p, x);
    while (p->open) {
        Printer *x = p->open;
        group_end(p, x);
        drop(p, x);
        printer_free(x);
        go_on(p);
    }
    while (p->printers) {
        Printer *x = p->printers;
        drop(p, x);
        printer_free(x);
    }
    buf_done(&p->held);
    free(p);
}

View *plain_new(const UiOpts *o)
{
    Plain *p = calloc(1, sizeof *p);
    if (!p)
        die_nomem();
    p->view = (View){plain_event, plain_done};
    p->opts = o;
    return &p->view;
}
