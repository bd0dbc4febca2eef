/*
 * steps/gowatch.c - what a command opens of what it was lent: so much of it belongs to its result.
 *
 * The kernel tells of each file that is opened in some directories. What is told is read while the
 * command runs, for the kernel keeps only so much of it in mind.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/late.h"
#include "base/map.h"
#include "steps/golang.h"

enum { ENTRY_NAME = 64 + 2, FILES_MAX = 1000000 };

struct GoWatch {
    pthread_t thread;
    bool apart; /* the thread is there */
    bool over;
    bool lost; /* not all was told */
    int fd;    /* of inotify; -1: it did not come */
    int stop;
    Arena arena; /* the thread's */
    Map opened;  /* "number of the directory/name" */
    size_t n;
    StrList entries;
};

static void take_event(GoWatch *x, const struct inotify_event *ev)
{
    scoped(arena) Arena a = {0};
    uint64_t one;
    x->lost = x->lost || ev->mask & IN_Q_OVERFLOW || x->n > FILES_MAX;
    const char *key = arena_printf(&a, "%d/%s", ev->wd, ev->name);
    if (!ev->len || x->lost || map_get(&x->opened, key, &one))
        return;
    key = arena_strdup(&x->arena, key);
    (void)map_put(&x->opened, key, 1);
    x->n++;
    if (strlen(ev->name) == ENTRY_NAME && str_ends(ev->name, "-a"))
        strlist_add(&x->arena, &x->entries, path_base(key));
}

/* All that is there to be read. */
static void take_events(GoWatch *x)
{
    _Alignas(struct inotify_event) char block[64 << 10];
    ssize_t n;
    while ((n = read(x->fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR))
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *ev = (const struct inotify_event *)(const void *)&block[at];
            take_event(x, ev);
            at += (ssize_t)(sizeof *ev + ev->len);
        }
    x->lost = x->lost || (n < 0 && errno != EAGAIN);
}

static void *watch_main(void *arg)
{
    GoWatch *x = arg;
    struct pollfd p[] = {{x->fd, POLLIN, 0}, {x->stop, POLLIN, 0}};
    while (!p[1].revents) {
        if (poll(p, NELEM(p), -1) < 0 && errno != EINTR) {
            x->lost = true;
            break;
        }
        take_events(x);
    }
    take_events(x); /* what was told before it was to stop */
    return NULL;
}

bool gowatch_begin(StepWork *w, StepGo *g, Err *e)
{
    if (!g->watched.n)
        return true;
    GoWatch *x = NEW(&w->arena, GoWatch);
    *x = (GoWatch){.fd = -1, .stop = eventfd(0, EFD_CLOEXEC)};
    if (x->stop < 0)
        return err_errno(e, ERR_ENV, "eventfd");
    g->watch = x;
    return true;
}

void stepgo_watching(void *arg, int fd)
{
    StepGo *g = arg;
    GoWatch *x = g->watch;
    x->fd = fd;
    x->apart = pthread_create(&x->thread, NULL, watch_main, x) == 0;
}

void gowatch_stop(GoWatch *x)
{
    uint64_t one = 1;
    if (!x || x->over)
        return;
    x->over = true;
    if (!x->apart) {
        x->lost = true;
        return;
    }
    (void)!write(x->stop, &one, sizeof one);
    (void)pthread_join(x->thread, NULL);
}

void gowatch_end(GoWatch *x)
{
    if (!x)
        return;
    gowatch_stop(x);
    if (x->fd >= 0)
        late_close(x->fd); /* the kernel waits for all who might still tell of something */
    close(x->stop);
    map_done(&x->opened);
    arena_done(&x->arena);
}

/* A limit on watches may be reached now and not tomorrow. */
static void failed_key(const StepWork *w, Digest *ret)
{
    scoped(key) KeyBuilder k;
    char day[32];
    (void)snprintf(day, sizeof day, "%lld", (long long)time(NULL) / 86400);
    key_begin(&k, "gowatch failed 1");
    key_text(&k, "scope", w->env->go_scope ? w->env->go_scope : "");
    key_text(&k, "day", day);
    key_end(&k, ret);
}

bool gowatch_possible(StepWork *w, bool *ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    Digest key;
    bool found;
    failed_key(w, &key);
    if (!store_memo_get(w->env->store, &key, &b, &found, e))
        return false;
    *ret = !found;
    return true;
}

bool gowatch_lost(const GoWatch *x)
{
    return x && x->lost;
}

void gowatch_give_up(StepWork *w, const GoWatch *x)
{
    Digest key;
    Err ignored = ERR_INIT;
    if (x->fd >= 0)
        return;
    failed_key(w, &key);
    (void)!store_memo_put(w->env->store, &key, "", 0, &ignored); /* else it runs twice again */
}

bool gowatch_opened(const GoWatch *x, size_t dir, const char *name)
{
    scoped(arena) Arena a = {0};
    uint64_t one;
    return map_get(&x->opened, arena_printf(&a, "%zu/%s", dir + 1, name), &one);
}

const StrList *gowatch_entries(const GoWatch *x)
{
    return &x->entries;
}
