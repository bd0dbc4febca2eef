/*
 * ui/plain.c - one line at a time.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rune.h"
#include "ui/ui.h"

enum { TITLE_MAX = 100, LINE_MAX_SIZE = 8192 };

/* A step's output that has no newline yet. */
typedef struct Pending {
    struct Pending *next;
    const char *stage; /* borrowed: lives as long as the plan */
    Buf line;
} Pending;

struct Ui {
    UiStyle style;
    pthread_mutex_t lock;
    Pending *pending;
};

Ui *ui_new(UiStyle style)
{
    Ui *ui = calloc(1, sizeof *ui);
    if (!ui)
        die_nomem();
    ui->style = style;
    pthread_mutex_init(&ui->lock, NULL);
    return ui;
}

void ui_seconds(uint64_t ns, char out[static 32])
{
    uint64_t s = ns / 1000000000u;
    if (s >= 100)
        (void)snprintf(out, 32, "%u m %02u s", (unsigned)(s / 60), (unsigned)(s % 60));
    else
        (void)snprintf(out, 32, s >= 10 ? "%.1f s" : "%.2f s", (double)ns / 1e9);
}

/* One write a line, so that lines of two processes on one terminal do not mix. */
static void emit(const Buf *b)
{
    (void)!write(STDERR_FILENO, b->ptr, b->len);
}

static void log_line(const char *stage, const char *p, size_t n)
{
    scoped(buf) Buf b = BUF_INIT;
    const char *cr = n ? memrchr(p, '\r', n - (p[n - 1] == '\r'))
                       : NULL; /* progress bars overwrite: keep the last state */
    if (cr) {
        n -= (size_t)(cr + 1 - p);
        p = cr + 1;
    }
    buf_printf(&b, "[%s] | ", stage);
    buf_shown(&b, p, n, "\t");
    buf_putc(&b, '\n');
    emit(&b);
}

static Pending *pending_for(Ui *ui, const char *stage)
{
    for (Pending *p = ui->pending; p; p = p->next)
        if (!strcmp(p->stage, stage))
            return p;
    Pending *p = calloc(1, sizeof *p);
    if (!p)
        die_nomem();
    p->stage = stage;
    p->next = ui->pending;
    ui->pending = p;
    return p;
}

static void log_bytes(Ui *ui, const Event *ev)
{
    Pending *p = pending_for(ui, ev->stage);
    const char *s = ev->text, *end = ev->text + ev->len;
    while (s < end) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        buf_add(&p->line, s, (size_t)((nl ? nl : end) - s));
        if (nl || p->line.len > LINE_MAX_SIZE) {
            log_line(p->stage, buf_str(&p->line), p->line.len);
            p->line.len = 0;
        }
        s = nl ? nl + 1 : end;
    }
}

static void flush_log(Ui *ui, const char *stage)
{
    for (Pending **at = &ui->pending; *at; at = &(*at)->next) {
        Pending *p = *at;
        if (strcmp(p->stage, stage) != 0)
            continue;
        if (p->line.len)
            log_line(p->stage, p->line.ptr, p->line.len);
        *at = p->next;
        buf_done(&p->line);
        free(p);
        return;
    }
}

static void put_title(Buf *b, const char *title)
{
    size_t n = strlen(title);
    buf_shown(b, title, n > TITLE_MAX ? TITLE_MAX : n, "\t");
    if (n > TITLE_MAX)
        buf_puts(b, "...");
}

static void step_done(Ui *ui, const Event *ev, Buf *b)
{
    static const char *const HOW[] = {[HOW_HIT] = "HIT",
                                      [HOW_RAN] = "RAN",
                                      [HOW_FAILED] = "FAILED",
                                      [HOW_CANCELLED] = "CANCELLED",
                                      [HOW_SKIPPED] = "SKIPPED"};
    char took[32];
    flush_log(ui, ev->stage);
    buf_printf(b, "[%s] ", ev->stage);
    put_title(b, ev->title);
    buf_printf(b, "  %s", HOW[ev->how]);
    if (ev->how == HOW_RAN || ev->how == HOW_FAILED) {
        ui_seconds(ev->ns, took);
        buf_printf(b, " %s", took);
    }
    buf_putc(b, '\n');
}

static void send_event(void *arg, const Event *ev)
{
    Ui *ui = arg;
    scoped(buf) Buf b = BUF_INIT;
    if (ui->style == UI_QUIET)
        return;
    pthread_mutex_lock(&ui->lock);
    switch (ev->kind) {
    case EV_BUILD_START:
        buf_puts(&b, "building ");
        buf_shown(&b, ev->text, strlen(ev->text), "");
        buf_printf(&b, ": %u steps\n", ev->n);
        break;
    case EV_STEP_START:
        buf_printf(&b, "[%s] ", ev->stage);
        put_title(&b, ev->title);
        buf_putc(&b, '\n');
        break;
    case EV_STEP_LOG:
        log_bytes(ui, ev);
        break;
    case EV_STEP_DONE:
        step_done(ui, ev, &b);
        break;
    case EV_NOTE:
        buf_shown(&b, ev->text, strlen(ev->text), "\t\n");
        buf_putc(&b, '\n');
        break;
    case EV_WARNING:
        buf_puts(&b, "warning: ");
        buf_shown(&b, ev->text, strlen(ev->text), "\t\n");
        buf_putc(&b, '\n');
        break;
    }
    if (b.len)
        emit(&b);
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
    while (ui->pending)
        flush_log(ui, ui->pending->stage);
    pthread_mutex_destroy(&ui->lock);
    free(ui);
}
