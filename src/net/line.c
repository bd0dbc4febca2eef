/*
 * net/line.c - a list of idle lines.
 */
#include "net/line.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/arena.h"
#include "net/url.h"

enum { IDLE_MAX = 16 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Line *idle;
static size_t nidle;
static pid_t owner; /* of the idle ones: a forked child must not talk on its parent's connections */

/* What stands before the path, without user and password. */
static char *origin_of(const char *url)
{
    scoped(arena) Arena a = {0};
    Url u;
    char *text = url_split(url, &u)
                     ? strdup(arena_printf(&a, "%s://%.*s:%u", u.https ? "https" : "http",
                                           (int)u.host.len, u.host.ptr, u.port))
                     : strdup("");
    if (!text)
        die_nomem();
    return text;
}

static void line_free(const CurlApi *curl, Line *l)
{
    curl->easy_cleanup(l->easy);
    curl->multi_cleanup(l->multi);
    free(l->origin);
    free(l);
}

static Line *line_new(const CurlApi *curl)
{
    Line *l = calloc(1, sizeof *l);
    if (!l || !(l->easy = curl->easy_init()) || !(l->multi = curl->multi_init()))
        die_nomem();
    curl->multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, 2L);
    return l;
}

/* The idle line that has talked to `origin`; the lock is held. */
static Line *find(const char *origin)
{
    if (owner != getpid()) {
        owner = getpid();
        idle = NULL;
        nidle = 0;
    }
    for (Line **at = &idle; *at; at = &(*at)->next) {
        Line *l = *at;
        if (strcasecmp(l->origin, origin) != 0)
            continue;
        *at = l->next;
        nidle--;
        return l;
    }
    return NULL;
}

Line *line_take(const CurlApi *curl, const char *url)
{
    char *origin = origin_of(url);
    pthread_mutex_lock(&lock);
    Line *l = find(origin);
    pthread_mutex_unlock(&lock);
    if (!l)
        l = line_new(curl);
    free(l->origin);
    l->origin = origin;
    curl->easy_reset(l->easy);
    return l;
}

void line_put(const CurlApi *curl, Line *l, bool good)
{
    Line *drop = NULL;
    if (!good) {
        line_free(curl, l);
        return;
    }
    pthread_mutex_lock(&lock);
    l->next = idle;
    idle = l;
    if (++nidle > IDLE_MAX) { /* the longest idle one goes */
        Line **at = &idle;
        while ((*at)->next)
            at = &(*at)->next;
        drop = *at;
        *at = NULL;
        nidle--;
    }
    pthread_mutex_unlock(&lock);
    if (drop)
        line_free(curl, drop);
}
