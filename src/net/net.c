/*
 * net/net.c - an exchange with its redirects, tried until it is answered.
 */
#include "net/net.h"

#include <poll.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/random.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "net/stream.h"
#include "net/url.h"

enum {
    BACKOFF_MS =
        200, /* the longest wait before the second attempt; doubled before each further one */
    BACKOFF_MAX_MS = 20000,
    TICK_MS = 200, /* how long a wait may overlook a cancellation */
    BLOCK = 64 << 10,
};

static atomic_bool forbidden;

void net_forbid(void)
{
    atomic_store(&forbidden, true);
}

bool net_forbidden(void)
{
    return atomic_load(&forbidden);
}

/* ---- headers and statuses ---- */

/* The value in a line "Name: value", if it has this name. */
static const char *value_of(const char *line, const char *name)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':')
        return NULL;
    line += n + 1;
    return line + strspn(line, " \t");
}

const char *net_header(const NetAnswer *ans, const char *name)
{
    for (size_t i = 0; i < ans->headers.n; i++) {
        const char *v = value_of(ans->headers.v[i], name);
        if (v)
            return *v ? v : NULL;
    }
    return NULL;
}

bool net_passing(int status)
{
    return status == 408 || status == 429 || (status >= 500 && status < 600);
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* ---- waiting ---- */

/* False when the wait was ended from outside. */
static bool wait_ms(int64_t ms)
{
    uint64_t end = clock_ns() + (uint64_t)ms * 1000000;
    while (!cancel_wanted()) {
        uint64_t now = clock_ns();
        if (now >= end)
            return true;
        uint64_t left = (end - now) / 1000000 + 1;
        struct pollfd p = {.fd = cancel_fd(), .events = POLLIN};
        (void)poll(&p, 1, left > TICK_MS ? TICK_MS : (int)left);
    }
    return false;
}

/* A random part of the wait, so that clients that failed together do not come back together. */
static int64_t backoff_ms(unsigned attempt)
{
    uint32_t random = 0;
    int64_t most = BACKOFF_MS;
    for (unsigned i = 1; i < attempt && most < BACKOFF_MAX_MS; i++)
        most *= 2;
    if (most > BACKOFF_MAX_MS)
        most = BACKOFF_MAX_MS;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return most;
    return random % most + 1;
}

static int64_t asked_pause(const NetAnswer *answer)
{
    uint64_t s;
    const char *v = answer ? net_header(answer, "Retry-After") : NULL;
    return v && str_u64(v, INT32_MAX, &s) ? (int64_t)s : -1;
}

bool net_pause(unsigned attempt, const NetAnswer *answer, const char *shown, Err *e)
{
    int64_t asked = asked_pause(answer);
    if (asked > NET_RETRY_AFTER_MAX)
        return err_set(e, ERR_NETWORK, "%s: status %d, and to be asked again in %lld seconds",
                       shown, answer->status, (long long)asked);
    return wait_ms(asked > 0 ? asked * 1000 : backoff_ms(attempt)) ||
           err_set(e, ERR_STEP, "%s: cancelled", shown);
}

/* ---- redirects ---- */

/* One exchange with what it was redirected to. */
typedef struct Trip {
    Arena *arena;
    const NetAsk *ask;
    const char *first; /* "GET 'https://...'" */
    const char *url, *method, *shown;
    bool with_body, with_private;
} Trip;

static const char *shown_as(Trip *t)
{
    if (!strcmp(t->url, t->ask->url))
        return t->first;
    return arena_printf(t->arena, "%s (redirected to '%s')", t->first,
                        net_mask_url(t->arena, t->url));
}

/* User and password of an URL go along within its origin, as libcurl has it. */
static const char *with_user(Arena *a, const char *from, const char *to)
{
    Url x, y;
    if (!url_split(from, &x) || !url_split(to, &y) || !x.user.ptr || y.user.ptr)
        return to;
    return arena_printf(a, "%s://%.*s@%s", y.https ? "https" : "http", (int)x.user.len, x.user.ptr,
                        y.host.ptr);
}

static bool redirect(Trip *t, const NetAnswer *ans, const char *location, Err *e)
{
    const char *to = net_resolve_url(t->arena, t->url, location), *sent;
    Url from, target;
    if (!url_split(to, &target))
        return err_set(e, ERR_NETWORK, "%s: redirected to an URL of the scheme \"%s\"", t->shown,
                       url_scheme(t->arena, to));
    if (url_split(t->url, &from) && from.https && !target.https &&
        !(t->ask->flags & NET_MAY_DOWNGRADE))
        return err_set(e, ERR_NETWORK, "%s: redirected from https to http, to '%s': refused",
                       t->shown, net_mask_url(t->arena, to));
    if (net_same_origin(t->url, to))
        to = with_user(t->arena, t->url, to);
    else
        t->with_private = false;
    if (!url_to_send(t->arena, to, &sent, e))
        return err_wrap(e, "%s", t->shown);
    /* As browsers and Go do: 301 and 302 turn POST into GET. */
    if (ans->status == 303 || (ans->status <= 302 && t->with_body && !strcmp(t->method, "POST"))) {
        t->method = strcmp(t->method, "HEAD") != 0 ? "GET" : t->method;
        t->with_body = false;
    }
    t->url = sent;
    t->shown = shown_as(t);
    return true;
}

/* ---- opening ---- */

/* What came of one attempt. */
typedef enum Verdict { GOT_IT, TRY_AGAIN, GIVE_UP } Verdict;

static Verdict no_answer(NetStream *s, const Trip *t, NetFault *ret_fault, Err *e)
{
    *ret_fault = stream_fault(s);
    err_set(e, ERR_NETWORK, "%s: %s", t->shown, stream_why(s));
    return stream_passes(s) ? TRY_AGAIN : GIVE_UP;
}

static Verdict travel(Trip *t, NetStream **ret, NetAnswer *ans, NetFault *ret_fault, Err *e)
{
    for (unsigned hop = 0;; hop++) {
        StreamSpec spec = {t->ask, t->url, t->method, t->shown, t->with_body, t->with_private};
        scoped(net_stream) NetStream *s = NULL;
        *ret_fault = NET_FAULT_OTHER;
        if (!stream_begin(t->arena, &spec, &s, e))
            return GIVE_UP;
        if (!stream_answered(s, ans))
            return no_answer(s, t, ret_fault, e);
        const char *location = is_redirect(ans->status) ? net_header(ans, "Location") : NULL;
        ans->url = t->url;
        if (!location) {
            *ret_fault = NET_FAULT_NONE;
            *ret = s;
            s = NULL;
            return GOT_IT;
        }
        if (hop == NET_REDIRECTS) {
            err_set(e, ERR_NETWORK, "%s: more than %d redirects", t->shown, NET_REDIRECTS);
            return GIVE_UP;
        }
        if (!redirect(t, ans, location, e))
            return GIVE_UP;
    }
}

static bool begin_trip(Arena *a, const NetAsk *ask, Trip *ret, Err *e)
{
    Trip t = {.arena = a,
              .ask = ask,
              .method = ask->method ? ask->method : "GET",
              .with_body = ask->has_body,
              .with_private = true};
    t.first = t.shown = arena_printf(a, "%s '%s'", t.method, net_mask_url(a, ask->url));
    if (net_forbidden() && !ask->socket)
        return err_set(e, ERR_NETWORK, "%s: the network is not used (--offline)", t.first);
    *ret = t;
    return url_to_send(a, ask->url, &ret->url, e);
}

static unsigned attempts_of(const NetAsk *ask)
{
    return ask->attempts ? ask->attempts : NET_ATTEMPTS;
}

static bool tried(unsigned n, Err *e, const Err *once)
{
    if (n < 2)
        return err_set(e, once->kind, "%s", once->msg);
    return err_set(e, once->kind, "%s (tried %u times)", once->msg, n);
}

bool net_open(Arena *a, const NetAsk *ask, NetStream **ret, NetAnswer *ret_answer,
              NetFault *ret_fault, Err *e)
{
    NetFault fault = NET_FAULT_OTHER;
    for (unsigned n = 1;; n++) {
        Err once = ERR_INIT;
        Trip t;
        NetStream *s = NULL;
        NetAnswer ans = {0};
        if (ret_fault)
            *ret_fault = fault;
        if (!begin_trip(a, ask, &t, e))
            return false;
        Verdict v = travel(&t, &s, &ans, &fault, &once);
        if (ret_fault)
            *ret_fault = fault;
        bool last = n >= attempts_of(ask);
        if (v == GOT_IT && (last || !net_passing(ans.status))) {
            *ret = s;
            *ret_answer = ans;
            return true;
        }
        if (v != GOT_IT && (last || v == GIVE_UP))
            return tried(n, e, &once);
        net_close(s);
        if (!net_pause(n, v == GOT_IT ? &ans : NULL, t.shown, e))
            return false;
    }
}

/* ---- whole answers ---- */

static bool read_all(NetStream *s, Buf *into, uint64_t max, const char *shown, Err *e)
{
    char block[BLOCK];
    uint64_t size = 0;
    for (size_t n = 1; n;) {
        if (!net_read(s, block, sizeof block, &n, e))
            return false;
        if (n > max - size)
            return err_set(e, ERR_NETWORK, "%s: more than the limit of %llu bytes", shown,
                           (unsigned long long)max);
        size += n;
        buf_add(into, block, n);
    }
    return true;
}

bool net_ask(Arena *a, const NetAsk *ask, Buf *into, uint64_t max, NetAnswer *ret,
             NetFault *ret_fault, Err *e)
{
    const char *shown =
        arena_printf(a, "%s '%s'", ask->method ? ask->method : "GET", net_mask_url(a, ask->url));
    size_t start = into ? into->len : 0;
    for (unsigned n = 1;; n++) {
        scoped(net_stream) NetStream *s = NULL;
        Err once = ERR_INIT;
        if (!net_open(a, ask, &s, ret, ret_fault, e))
            return false;
        bool whole = !into || read_all(s, into, max, shown, &once);
        if (whole)
            return true;
        into->len = start;
        bool cut = stream_fault(s) == NET_FAULT_CUT;
        if (ret_fault)
            *ret_fault = cut ? NET_FAULT_CUT : NET_FAULT_OTHER;
        if (!cut || n >= attempts_of(ask))
            return tried(n, e, &once);
        if (!net_pause(n, NULL, shown, e))
            return false;
    }
}
