/*
 * ui/rawjson.c - events in BuildKit's words: a SolveStatus a line, as `docker build
 * --progress=rawjson` writes it. Source: BuildKit, client/graph.go; Go's encoding/json.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/fs.h"
#include "base/json.h"
#include "ui/view.h"

typedef struct RawJson {
    View view;
    const UiOpts *opts;
    uint64_t clock; /* clock_ns() and the time that it was at one moment */
    int64_t time_ns;
    char (*vertexes)[DIGEST_TEXT_SIZE]; /* by step; "" is not known yet */
    size_t cap;
    Buf out;
} RawJson;

/* ---- values ---- */

static void put_time(RawJson *r, const char *name, uint64_t at_ns)
{
    int64_t t = r->time_ns + (int64_t)((at_ns ? at_ns : clock_ns()) - r->clock);
    time_t s = (time_t)(t / 1000000000);
    struct tm tm;
    char text[32];
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
    buf_printf(&r->out, ",\"%s\":\"%s.%09" PRId64 "Z\"", name, text, t % 1000000000);
}

/* Bytes are base64 in Go's JSON. */
static void put_bytes(Buf *b, const char *text, size_t n)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buf_putc(b, '"');
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = 0;
        size_t have = n - i < 3 ? n - i : 3;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < have ? (unsigned char)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_putc(b, k > have ? '=' : DIGITS[v >> (18 - 6 * k) & 63]);
    }
    buf_putc(b, '"');
}

/* A vertex is named by a digest; it stays the same from a step's first event to its last. */
static const char *vertex(RawJson *r, const Event *ev)
{
    if (ev->step >= r->cap) {
        size_t cap = (ev->step + 1) * 2;
        r->vertexes = realloc(r->vertexes, cap * sizeof *r->vertexes);
        if (!r->vertexes)
            die_nomem();
        memset(r->vertexes + r->cap, 0, (cap - r->cap) * sizeof *r->vertexes);
        r->cap = cap;
    }
    char *text = r->vertexes[ev->step];
    if (!*text) {
        scoped(buf) Buf b = BUF_INIT;
        Digest d;
        buf_printf(&b, "%" PRId64 " %" PRIu32 " %s", r->time_ns, ev->step, ev->title);
        digest_of(b.ptr, b.len, &d);
        digest_text(&d, text);
    }
    return text;
}

/* ---- events ---- */

static void put_vertex(RawJson *r, const Event *ev, bool over)
{
    scoped(buf) Buf name = BUF_INIT;
    buf_printf(&name, "[%s] %s", ev->stage, ev->title);
    buf_printf(&r->out, "{\"vertexes\":[{\"digest\":\"%s\",\"name\":", vertex(r, ev));
    json_quote(&r->out, name.ptr, name.len);
    if (ev->how != HOW_SKIPPED) {
        put_time(r, "started", ev->at_ns);
        if (over)
            put_time(r, "completed", ev->at_ns ? ev->at_ns + ev->ns : 0);
    }
    if (over && ev->how == HOW_HIT)
        buf_puts(&r->out, ",\"cached\":true");
    if (over && ev->how == HOW_FAILED)
        buf_puts(&r->out, ",\"error\":\"failed\"");
    if (over && (ev->how == HOW_CANCELLED || ev->how == HOW_SKIPPED))
        buf_puts(&r->out, ",\"error\":\"context canceled\"");
    buf_puts(&r->out, "}]}\n");
}

static void put_log(RawJson *r, const Event *ev)
{
    buf_printf(&r->out, "{\"logs\":[{\"vertex\":\"%s\",\"stream\":1,\"data\":", vertex(r, ev));
    put_bytes(&r->out, ev->text, ev->len);
    put_time(r, "timestamp", 0);
    buf_puts(&r->out, "}]}\n");
}

/* What a step does or waits for. */
static void put_status(RawJson *r, const Event *ev, bool over)
{
    buf_puts(&r->out, "{\"statuses\":[{\"id\":");
    json_quote(&r->out, ev->text, strlen(ev->text));
    if (ev->step)
        buf_printf(&r->out, ",\"vertex\":\"%s\"", vertex(r, ev));
    if (ev->total)
        buf_printf(&r->out, ",\"total\":%" PRIu64, ev->total);
    buf_printf(&r->out, ",\"current\":%" PRIu64, ev->done);
    put_time(r, "timestamp", 0);
    if (over)
        put_time(r, "completed", 0);
    buf_puts(&r->out, "}]}\n");
}

static void put_warning(RawJson *r, const Event *ev)
{
    buf_puts(&r->out, "{\"warnings\":[{\"level\":1,\"short\":");
    put_bytes(&r->out, ev->text, strlen(ev->text));
    buf_puts(&r->out, "}]}\n");
}

static void rawjson_event(View *v, const Event *ev)
{
    RawJson *r = (RawJson *)v;
    switch (ev->kind) {
    case EV_STEP_START:
        put_vertex(r, ev, false);
        break;
    case EV_STEP_DONE:
        put_vertex(r, ev, true);
        break;
    case EV_STEP_LOG:
        put_log(r, ev);
        break;
    case EV_STEP_WAIT:
        if (ev->text)
            put_status(r, ev, false);
        break;
    case EV_TASK:
        put_status(r, ev, false);
        break;
    case EV_TASK_DONE:
        put_status(r, ev, true);
        break;
    case EV_WARNING:
        put_warning(r, ev);
        break;
    case EV_BUILD_START:
    case EV_NOTE: /* BuildKit has no words for these */
    case EV_RESULT:
    case EV_SPAN:
    case EV_PAUSE:
    case EV_BUILD_DONE:
        break;
    }
    view_write(r->opts->fd, &r->out);
}

static void rawjson_done(View *v)
{
    RawJson *r = (RawJson *)v;
    free(r->vertexes);
    buf_done(&r->out);
    free(r);
}

View *rawjson_new(const UiOpts *o)
{
    struct timespec now;
    RawJson *r = calloc(1, sizeof *r);
    if (!r)
        die_nomem();
    r->view = (View){rawjson_event, rawjson_done};
    r->opts = o;
    clock_gettime(CLOCK_REALTIME, &now);
    r->clock = clock_ns();
    r->time_ns = now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
    return &r->view;
}
