/*
 * ui/trace.c - spans to a file for trace viewers: chrome://tracing, Perfetto, speedscope.
 *
 * The file appears when the build is over: it may lie in the context, whose files must not change.
 * Source: Trace Event Format, "JSON Object Format"; complete events ("X") nest by their times.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "ui/spill.h"
#include "ui/ui.h"

enum { NAME_MAX_BYTES = 120 };

struct Trace {
    char *path;
    uint64_t began_ns;
    pthread_mutex_t lock;
    pid_t *threads; /* that have a name */
    size_t nthread, cap;
    Buf out; /* of one event */
    Spill text;
    uint64_t size;
    bool lost;
};

static void keep(Trace *t)
{
    t->lost = t->lost || !spill_add(&t->text, t->out.ptr, t->out.len);
    t->size += t->out.len;
    t->out.len = 0;
}

bool trace_open(const char *path, uint64_t began_ns, Trace **ret, Err *e)
{
    struct stat st;
    const char *base = path_base(path);
    scoped(buf) Buf dir = BUF_INIT;
    buf_add(&dir, path, (size_t)(base - path));
    buf_puts(&dir, base == path ? "." : "");
    if (!*path || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) || access(dir.ptr, W_OK) < 0)
        return err_set(e, ERR_USAGE, "--trace '%s': no file can be written there", path);
    Trace *t = calloc(1, sizeof *t);
    if (!t || !(t->path = strdup(path)))
        die_nomem();
    t->began_ns = began_ns;
    t->text = (Spill)SPILL_INIT;
    pthread_mutex_init(&t->lock, NULL);
    buf_puts(&t->out, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    buf_printf(&t->out,
               "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":"
               "\"lighter build\"}}",
               (int)getpid());
    keep(t);
    *ret = t;
    return true;
}

/* The first thread is the builder's own, the others belong to its pools. */
static void name_thread(Trace *t, pid_t tid)
{
    for (size_t i = 0; i < t->nthread; i++)
        if (t->threads[i] == tid)
            return;
    if (t->nthread == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16;
        t->threads = realloc(t->threads, t->cap * sizeof *t->threads);
        if (!t->threads)
            die_nomem();
    }
    t->threads[t->nthread++] = tid;
    buf_printf(&t->out,
               ",\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":"
               "{\"name\":\"%s\"}}",
               (int)getpid(), (int)tid, tid == getpid() ? "builder" : "worker");
}

static void put_time(Buf *b, const char *name, uint64_t ns)
{
    buf_printf(b, ",\"%s\":%" PRIu64 ".%03u", name, ns / 1000, (unsigned)(ns % 1000));
}

static void put_name(Buf *b, const Event *ev)
{
    scoped(buf) Buf name = BUF_INIT;
    if (ev->text)
        buf_puts(&name, ev->text);
    else
        buf_printf(&name, "[%s] %.*s", ev->stage, (int)utf8_head(ev->title, NAME_MAX_BYTES),
                   ev->title);
    json_quote(b, name.ptr, name.len);
}

static void put_span(Trace *t, const Event *ev)
{
    pid_t tid = gettid();
    uint64_t at = ev->at_ns > t->began_ns ? ev->at_ns - t->began_ns : 0;
    name_thread(t, tid);
    buf_printf(&t->out,
               ",\n{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"cat\":\"%s\",\"name\":", (int)getpid(),
               (int)tid, ev->text ? "part" : "step");
    put_name(&t->out, ev);
    put_time(&t->out, "ts", at);
    put_time(&t->out, "dur", ev->ns);
    if (ev->step)
        buf_printf(&t->out, ",\"args\":{\"step\":%" PRIu32, ev->step);
    if (ev->step && !ev->text)
        json_put(&t->out, "how", how_word(ev->how));
    buf_puts(&t->out, ev->step ? "}}" : "}");
    keep(t);
}

static void send_event(void *arg, const Event *ev)
{
    Trace *t = arg;
    if (ev->kind != EV_SPAN)
        return;
    pthread_mutex_lock(&t->lock);
    put_span(t, ev);
    pthread_mutex_unlock(&t->lock);
}

EventSink trace_sink(Trace *t)
{
    return (EventSink){send_event, t};
}

static bool write_file(Trace *t, Err *e)
{
    OutFile f;
    struct stat st;
    if (!out_begin(t->path, &f, e))
        return false;
    spill_write(&t->text, f.fd);
    t->lost = t->lost || fstat(f.fd, &st) < 0 || (f.tmp && (uint64_t)st.st_size != t->size);
    bool ok =
        t->lost ? err_set(e, ERR_USAGE, "'%s' could not be written", t->path) : out_commit(&f, e);
    out_abort(&f);
    return ok;
}

bool trace_done(Trace *t, Err *e)
{
    if (!t)
        return true;
    put_span(t, &(Event){.kind = EV_SPAN,
                         .text = "build",
                         .at_ns = t->began_ns,
                         .ns = clock_ns() - t->began_ns});
    buf_puts(&t->out, "\n]}\n");
    keep(t);
    bool ok = write_file(t, e) || err_wrap(e, "--trace");
    spill_done(&t->text);
    buf_done(&t->out);
    pthread_mutex_destroy(&t->lock);
    free(t->threads);
    free(t->path);
    free(t);
    return ok;
}
