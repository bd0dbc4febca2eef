/*
 * ui/json.c - events as JSON, one object a line. docs/progress.md promises the fields.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/json.h"
#include "ui/cut.h"
#include "ui/view.h"

/* Raised when a field changes its meaning or goes; new ones may come at any time. */
enum { FORMAT = 1 };

/* What a step printed of a line that is not whole. */
typedef struct Pending {
    struct Pending *next;
    uint32_t step;
    LineCut cut;
} Pending;

typedef struct Json {
    View view;
    const UiOpts *opts;
    Pending *pending;
    Buf out;
} Json;

/* ---- fields ---- */

static void begin(Json *j, const char *event)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    buf_printf(&j->out, "{\"event\":\"%s\",\"time\":%lld.%06ld", event, (long long)now.tv_sec,
               now.tv_nsec / 1000);
}

static void end(Json *j)
{
    buf_puts(&j->out, "}\n");
}

/* ---- events ---- */

static void put_step(Json *j, const Event *ev)
{
    if (ev->step)
        json_put_number(&j->out, "step", ev->step);
    json_put(&j->out, "stage", ev->stage);
    json_put(&j->out, "title", ev->title);
    json_put(&j->out, "kind", ev->what);
}

static void put_line(Json *j, const Pending *p)
{
    begin(j, "log");
    json_put_number(&j->out, "step", p->step);
    buf_puts(&j->out, ",\"line\":");
    json_quote(&j->out, p->cut.line.ptr, p->cut.line.len);
    if (!p->cut.ended)
        buf_puts(&j->out, ",\"cut\":true");
    end(j);
}

static void log_bytes(Json *j, const Event *ev)
{
    Pending *p = j->pending;
    while (p && p->step != ev->step)
        p = p->next;
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p)
            die_nomem();
        p->step = ev->step;
        p->next = j->pending;
        j->pending = p;
    }
    for (const char *s = ev->text, *stop = s + ev->len; cut_step(&p->cut, &s, stop);)
        put_line(j, p);
}

static void end_log(Json *j, uint32_t step)
{
    for (Pending **at = &j->pending, *p; (p = *at); at = &p->next) {
        if (p->step != step)
            continue;
        if (cut_rest(&p->cut))
            put_line(j, p);
        *at = p->next;
        buf_done(&p->cut.line);
        free(p);
        return;
    }
}

static void step_done(Json *j, const Event *ev)
{
    end_log(j, ev->step);
    begin(j, "step");
    put_step(j, ev);
    json_put(&j->out, "how", how_word(ev->how));
    json_put_seconds(&j->out, "seconds", ev->ns);
    if (ev->key) {
        char key[DIGEST_TEXT_SIZE];
        digest_text(ev->key, key);
        json_put(&j->out, "key", key);
    }
    end(j);
}

static void put_end(Json *j, const EventEnd *x)
{
    begin(j, "done");
    buf_printf(&j->out, ",\"ok\":%s", x->exit_code ? "false" : "true");
    json_put_number(&j->out, "exit_code", (uint64_t)x->exit_code);
    buf_printf(&j->out, ",\"cancelled\":%s", x->cancelled ? "true" : "false");
    json_put(&j->out, "error", x->error);
    json_put(&j->out, "image", x->image);
    buf_puts(&j->out, ",\"names\":[");
    for (size_t i = 0; i < x->nname; i++) {
        buf_puts(&j->out, i ? "," : "");
        json_quote(&j->out, x->names[i], strlen(x->names[i]));
    }
    buf_puts(&j->out, "]");
    json_put_number(&j->out, "size", x->size);
    json_put_number(&j->out, "layers", x->nlayer);
    json_put_number(&j->out, "steps", x->nstep);
    json_put_number(&j->out, "hit", x->count[HOW_HIT]);
    json_put_number(&j->out, "ran", x->count[HOW_RAN]);
    json_put_seconds(&j->out, "seconds", x->ns);
    end(j);
}

static void put_line_event(Json *j, const char *event, const Event *ev)
{
    begin(j, event);
    json_put(&j->out, "text", ev->text);
    end(j);
}

static void put_task(Json *j, const Event *ev)
{
    begin(j, ev->kind == EV_TASK ? "task" : "task-done");
    if (ev->step)
        json_put_number(&j->out, "step", ev->step);
    json_put(&j->out, "text", ev->text);
    if (ev->kind == EV_TASK) {
        json_put_number(&j->out, "done", ev->done);
        if (ev->total)
            json_put_number(&j->out, "total", ev->total);
    }
    end(j);
}

static void json_event(View *v, const Event *ev)
{
    Json *j = (Json *)v;
    switch (ev->kind) {
    case EV_BUILD_START:
        begin(j, "build");
        json_put_number(&j->out, "format", FORMAT);
        json_put(&j->out, "dockerfile", ev->text);
        json_put_number(&j->out, "steps", ev->n);
        end(j);
        break;
    case EV_STEP_START:
        begin(j, "start");
        put_step(j, ev);
        end(j);
        break;
    case EV_STEP_LOG:
        log_bytes(j, ev);
        break;
    case EV_STEP_WAIT:
        begin(j, ev->text ? "wait" : "resume");
        put_step(j, ev);
        json_put(&j->out, "text", ev->text);
        end(j);
        break;
    case EV_STEP_DONE:
        step_done(j, ev);
        break;
    case EV_TASK:
    case EV_TASK_DONE:
        put_task(j, ev);
        break;
    case EV_NOTE:
    case EV_RESULT:
        put_line_event(j, "note", ev);
        break;
    case EV_WARNING:
        put_line_event(j, "warning", ev);
        break;
    case EV_BUILD_DONE:
        put_end(j, ev->end);
        break;
    case EV_SPAN:
    case EV_PAUSE:
        break;
    }
    view_write(j->opts->fd, &j->out);
}

static void json_done(View *v)
{
    Json *j = (Json *)v;
    while (j->pending)
        end_log(j, j->pending->step);
    view_write(j->opts->fd, &j->out);
    buf_done(&j->out);
    free(j);
}

View *json_new(const UiOpts *o)
{
    Json *j = calloc(1, sizeof *j);
    if (!j)
        die_nomem();
    j->view = (View){json_event, json_done};
    j->opts = o;
    return &j->view;
}
