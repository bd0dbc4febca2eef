/*
 * ui/ui.c - the sink, and what all views write alike.
 */
#include "ui/ui.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/rune.h"
#include "ui/view.h"

struct Ui {
    UiOpts opts;
    pthread_mutex_t lock;
    View *view; /* NULL: nothing is shown */
};

static View *view_of(Ui *ui)
{
    switch (ui->opts.style) {
    case UI_NONE:
        return NULL;
    case UI_PLAIN:
        return plain_new(&ui->opts);
    case UI_TTY:
        return tty_new(&ui->opts, &ui->lock);
    case UI_JSON:
        return json_new(&ui->opts);
    case UI_RAWJSON:
        return rawjson_new(&ui->opts);
    }
    return NULL;
}

Ui *ui_new(const UiOpts *o)
{
    Ui *ui = calloc(1, sizeof *ui);
    if (!ui)
        die_nomem();
    ui->opts = *o;
    pthread_mutex_init(&ui->lock, NULL);
    ui->view = view_of(ui);
    return ui;
}

Ui *ui_lines(bool quiet)
{
    return ui_new(&(UiOpts){.style = quiet ? UI_NONE : UI_PLAIN, .fd = STDERR_FILENO});
}

static void send_event(void *arg, const Event *ev)
{
    Ui *ui = arg;
    if (!ui->view || ev->kind == EV_SPAN)
        return;
    pthread_mutex_lock(&ui->lock);
    ui->view->event(ui->view, ev);
    pthread_mutex_unlock(&ui->lock);
}

EventSink ui_sink(Ui *ui)
{
    return (EventSink){send_event, ui};
}

void ui_done(Ui *ui)
{
    if (!ui)
        return;
    if (ui->view)
        ui->view->done(ui->view);
    pthread_mutex_destroy(&ui->lock);
    free(ui);
}

/* ---- text ---- */

void ui_seconds(uint64_t ns, char out[static 32])
{
    uint64_t s = ns / 1000000000u;
    if (s >= 100)
        (void)snprintf(out, 32, "%u m %02u s", (unsigned)(s / 60), (unsigned)(s % 60));
    else
        (void)snprintf(out, 32, s >= 10 ? "%.1f s" : "%.2f s", (double)ns / 1e9);
}

void view_write(int fd, Buf *b)
{
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(fd, b->ptr + at, b->len - at);
        if (n < 0 && errno == EAGAIN) /* somebody made it so; the caller's terminal is shared */
            (void)poll(&(struct pollfd){fd, POLLOUT, 0}, 1, -1);
        else if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    b->len = 0;
}

void view_put_title(Buf *b, const char *title)
{
    size_t n = utf8_head(title, TITLE_MAX);
    buf_add_clean(b, title, n);
    if (title[n])
        buf_puts(b, "...");
}

void view_put_text(Buf *b, const char *text)
{
    buf_add_clean_lines(b, text, strlen(text));
    buf_putc(b, '\n');
}

/* Text in a colour, which may be "". */
static void put_in(Buf *b, const char *color, const char *text)
{
    buf_printf(b, "%s%s%s", color, text, *color ? "\033[0m" : "");
}

void view_put_how(Buf *b, const UiColors *c, StepHow how)
{
    const char *const COLORS[NSTEP_HOW] = {[HOW_HIT] = c->run,
                                           [HOW_RAN] = c->run,
                                           [HOW_FAILED] = c->error,
                                           [HOW_CANCELLED] = c->cancel,
                                           [HOW_SKIPPED] = c->cancel};
    put_in(b, COLORS[how], how_word(how));
}

void view_put_done(Buf *b, const UiColors *c, const Event *ev)
{
    char took[32];
    buf_printf(b, "[%s] ", ev->stage);
    view_put_title(b, ev->title);
    buf_puts(b, "  ");
    view_put_how(b, c, ev->how);
    if (ev->how == HOW_RAN || ev->how == HOW_FAILED) {
        ui_seconds(ev->ns, took);
        buf_printf(b, " %s", took);
    }
    buf_putc(b, '\n');
}

void view_put_warning(Buf *b, const UiColors *c, const char *text)
{
    put_in(b, c->warning, "warning:");
    buf_putc(b, ' ');
    view_put_text(b, text);
}

Str line_tail(const char *p, size_t n)
{
    const char *cr = n ? memrchr(p, '\r', n - (p[n - 1] == '\r')) : NULL;
    return cr ? (Str){cr + 1, n - (size_t)(cr + 1 - p)} : (Str){p, n};
}
