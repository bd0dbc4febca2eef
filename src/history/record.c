/*
 * history/record.c - events to the lines of a record.
 *
 * Lines are gathered and written when something begins or has ended that takes time; a build of
 * hits writes once. The first line has the build, then come steps as they begin and end, the one
 * that says more counts, and the last line says how it ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>

#include "base/fs.h"
#include "base/json.h"
#include "history/names.h"

/* TITLE_MAX: of an instruction; a here-document may be a program. */
enum { FORMAT = 1, TITLE_MAX = 1000, GATHERED_MAX = 256 << 10, SHORT_MAX = 1 << 20 };

struct HistoryBuild {
    int storefd, fd; /* fd: of a file of its own; -1 until something takes time */
    char name[HISTORY_NAME_MAX];
    uint64_t began_ns;
    pthread_mutex_t lock;
    Buf out; /* not written yet */
    bool lost, ended;
};

/* Write what there is, into a file of its own. */
static void flush(HistoryBuild *b)
{
    Err ignored = ERR_INIT;
    if (b->fd < 0) {
        b->fd = history_open(b->storefd, "builds", b->name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND);
        b->lost = b->fd < 0;
        if (b->fd >= 0)
            (void)flock(b->fd, LOCK_EX | LOCK_NB);
    }
    if (b->out.len && !b->lost)
        b->lost = !fs_write_all(b->fd, b->out.ptr, b->out.len, &ignored);
    b->out.len = 0;
}

/* ---- the first line ---- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Names begin with the time, so that they sort by it. */
static bool make_name(int64_t ms, char out[static HISTORY_NAME_MAX], Err *e)
{
    uint8_t random[ID_HEX / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_errno(e, ERR_ENV, "getrandom");
    size_t n = (size_t)snprintf(out, HISTORY_NAME_MAX, "%013" PRId64 "-", ms);
    for (size_t i = 0; i < sizeof random; i++)
        (void)snprintf(out + n + 2 * i, 3, "%02x", random[i]);
    return true;
}

static void put_list(Buf *b, const char *name, const StrList *l)
{
    buf_printf(b, ",\"%s\":[", name);
    for (size_t i = 0; i < l->n; i++) {
        buf_puts(b, i ? "," : "");
        json_quote(b, l->v[i], strlen(l->v[i]));
    }
    buf_putc(b, ']');
}

bool history_begin(int storefd, const HistoryMeta *m, HistoryBuild **ret, Err *e)
{
    int64_t ms = now_ms() - (int64_t)((clock_ns() - m->began_ns) / 1000000);
    char name[HISTORY_NAME_MAX] = "";
    if (!make_name(ms, name, e))
        return false;
    HistoryBuild *b = calloc(1, sizeof *b);
    if (!b)
        die_nomem();
    b->storefd = storefd;
    b->fd = -1;
    memcpy(b->name, name, sizeof name);
    b->began_ns = m->began_ns;
    pthread_mutex_init(&b->lock, NULL);
    buf_printf(&b->out, RECORD_START "%d", FORMAT);
    json_put(&b->out, "lighter", LIGHTER_VERSION);
    json_put(&b->out, "id", id_of(b->name));
    json_put_number(&b->out, "began_ms", (uint64_t)ms);
    json_put(&b->out, "dockerfile", m->dockerfile);
    json_put(&b->out, "target", m->target);
    json_put(&b->out, "context", m->context);
    put_list(&b->out, "names", m->names);
    buf_puts(&b->out, "}\n");
    *ret = b;
    return true;
}

void history_write(HistoryBuild *b)
{
    pthread_mutex_lock(&b->lock);
    flush(b);
    pthread_mutex_unlock(&b->lock);
}

/* ---- events ---- */

static void put_step(HistoryBuild *b, const Event *ev)
{
    Buf *out = &b->out;
    buf_printf(out, "{\"step\":%" PRIu32, ev->step);
    json_put(out, "stage", ev->stage);
    buf_puts(out, ",\"title\":");
    json_quote(out, ev->title, utf8_head(ev->title, TITLE_MAX));
    json_put(out, "kind", ev->what);
    if (ev->at_ns >= b->began_ns)
        json_put_seconds(out, "at", ev->at_ns - b->began_ns);
    if (ev->key) {
        char hex[DIGEST_HEX_SIZE];
        digest_hex(ev->key, hex);
        json_put(out, "key", hex);
    }
}

static void put_over(HistoryBuild *b, const Event *ev)
{
    Buf *out = &b->out;
    put_step(b, ev);
    json_put(out, "how", how_word(ev->how));
    if (ev->ns)
        json_put_seconds(out, "seconds", ev->ns);
    if (ev->key && ev->created) {
        char run[RUN_MAX];
        run_of(ev->key, ev->created, run);
        json_put(out, "run", run);
    }
    json_put(out, "log", ev->log);
    buf_puts(out, "}\n");
}

static void take(HistoryBuild *b, const Event *ev)
{
    switch (ev->kind) {
    case EV_BUILD_START:
        buf_printf(&b->out, "{\"steps\":%" PRIu32, ev->n);
        json_put(&b->out, "dockerfile", ev->text);
        buf_puts(&b->out, "}\n");
        break;
    case EV_STEP_START:
        put_step(b, ev);
        buf_puts(&b->out, "}\n");
        flush(b);
        break;
    case EV_STEP_DONE:
        put_over(b, ev);
        if (ev->ns || b->out.len > GATHERED_MAX)
            flush(b);
        break;
    case EV_WARNING:
        buf_puts(&b->out, "{\"warning\":");
        json_quote(&b->out, ev->text, strlen(ev->text));
        buf_puts(&b->out, "}\n");
        break;
    case EV_STEP_WAIT:
    case EV_TASK:
    case EV_NOTE: /* of something that takes time */
        if (b->fd < 0)
            flush(b);
        break;
    case EV_STEP_LOG:
    case EV_TASK_DONE:
    case EV_SPAN:
    case EV_RESULT:
    case EV_PAUSE:
    case EV_BUILD_DONE:
        break;
    }
}

static void send_event(void *arg, const Event *ev)
{
    HistoryBuild *b = arg;
    if (ev->kind == EV_STEP_LOG || ev->kind == EV_SPAN)
        return;
    pthread_mutex_lock(&b->lock);
    if (!b->ended)
        take(b, ev);
    pthread_mutex_unlock(&b->lock);
}

EventSink history_sink(HistoryBuild *b)
{
    return (EventSink){send_event, b};
}

/* ---- the last line ---- */

static void put_end(Buf *out, const EventEnd *end)
{
    buf_printf(out, "{\"exit_code\":%d,\"cancelled\":%s", end->exit_code,
               end->cancelled ? "true" : "false");
    json_put(out, "error", end->error);
    json_put(out, "image", end->image);
    json_put_number(out, "size", end->size);
    json_put_number(out, "layers", end->nlayer);
    buf_printf(out, ",\"count\":{\"steps\":%zu", end->nstep);
    for (int how = 0; how < NSTEP_HOW; how++)
        json_put_number(out, how_word((StepHow)how), end->count[how]);
    buf_putc(out, '}');
    json_put_seconds(out, "seconds", end->ns);
    buf_puts(out, "}\n");
}

/*
 * Nothing took time: the record is put behind others, in one write. Who takes records out of that
 * file makes a new one, so the one that was opened may be gone by now.
 */
static bool append_short(HistoryBuild *b, Err *e)
{
    for (int tries = 0; tries < 10; tries++) {
        struct stat st;
        scoped(fd) int fd =
            history_open(b->storefd, "builds", SHORT_FILES[0], O_WRONLY | O_CREAT | O_APPEND);
        if (fd < 0 || flock(fd, LOCK_SH) < 0 || fstat(fd, &st) < 0)
            break;
        if (!st.st_nlink)
            continue;
        if (!fs_write_all(fd, b->out.ptr, b->out.len, e))
            return err_wrap(e, "builds/%s", SHORT_FILES[0]);
        b->out.len = 0;
        if (st.st_size > SHORT_MAX)
            (void)renameat(b->storefd, "builds/short", b->storefd, "builds/short.old");
        return true;
    }
    return err_errno(e, ERR_STORE, "builds/%s", SHORT_FILES[0]);
}

bool history_end(HistoryBuild *b, const EventEnd *end, Err *e)
{
    bool ok = true;
    pthread_mutex_lock(&b->lock);
    put_end(&b->out, end);
    b->ended = true;
    if (b->fd < 0 && !b->lost)
        ok = append_short(b, e);
    else
        flush(b);
    pthread_mutex_unlock(&b->lock);
    return ok && (!b->lost || err_set(e, ERR_STORE, "builds/%s: it could not be written", b->name));
}

void history_done(HistoryBuild *b)
{
    if (!b)
        return;
    if (b->fd >= 0)
        close(b->fd);
    buf_done(&b->out);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
