/*
 * net/net.c - one request, tried until it is answered.
 */
#include "net/net.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "net/curl.h"
#include "net/url.h"

enum {
    HEADER_MAX = 8 << 10, /* longer values are as good as not sent */
    BACKOFF_MS = 500,     /* before the second attempt; doubled before each further one */
    TICK_MS = 200,        /* how long a wait may overlook a cancellation */
    RECEIVE_BYTES = 128 << 10,
};

typedef struct Transfer {
    const CurlApi *curl;
    CURL *h;
    struct curl_slist *headers;
    Arena *arena;
    const NetRequest *req;
    const char *url;   /* as it is sent */
    const char *shown; /* as messages show it */
    uint64_t start;    /* where the body begins in `fd` or `into` */

    /* one attempt's */
    NetReply reply;
    const char *encoding; /* how the body is packed on its way */
    Hasher hash;
    bool in_body; /* headers that follow are trailers */
    bool stopped; /* by us: the body is not wanted, or *e is set */
    char why[CURL_ERROR_SIZE];
    Err *e;
} Transfer;

static void scoped_transfer_done(Transfer *t)
{
    if (t->headers)
        t->curl->slist_free_all(t->headers);
    if (t->h)
        t->curl->easy_cleanup(t->h);
}

/* ---- what curl calls ---- */

/* A header's value without the white space around it, kept; NULL when it is not fit to be kept. */
static const char *keep_value(Arena *a, const char *v, size_t n)
{
    while (n && (*v == ' ' || *v == '\t'))
        v++, n--;
    while (n && strchr("\r\n\t ", v[n - 1]))
        n--;
    if (!n || n > HEADER_MAX)
        return NULL;
    /* Values come back in requests and in names of files. */
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)v[i] < ' ' || v[i] == 0x7f)
            return NULL;
    return arena_strndup(a, v, n);
}

static size_t on_header(char *line, size_t one, size_t n, void *arg)
{
    Transfer *t = arg;
    NetReply *r = &t->reply;
    const struct {
        const char *name;
        const char **slot;
    } wanted[] = {
        {"etag:", &r->etag},
        {"last-modified:", &r->last_modified},
        {"date:", &r->date},
        {"content-disposition:", &r->disposition},
        {"content-type:", &r->content_type},
        {"content-encoding:", &t->encoding},
    };
    (void)one;
    if (t->in_body)
        return n;
    /* The answer before a redirect or after "100 Continue" is not the answer. */
    if (n > 5 && !memcmp(line, "HTTP/", 5)) {
        *r = (NetReply){0};
        t->encoding = NULL;
    }
    for (size_t i = 0; i < NELEM(wanted); i++) {
        size_t len = strlen(wanted[i].name);
        if (n > len && !*wanted[i].slot && !strncasecmp(line, wanted[i].name, len))
            *wanted[i].slot = keep_value(t->arena, line + len, n - len);
    }
    return n;
}

static bool same_etag(const char *a, const char *b)
{
    /* Weak comparison, as If-None-Match has it: RFC 9110, section 8.8.3.2. */
    return a && b && !strcmp(a + (str_starts(a, "W/") ? 2 : 0), b + (str_starts(b, "W/") ? 2 : 0));
}

static bool is_ok(int status)
{
    return status >= 200 && status < 300;
}

/*
 * Take the status. Some servers know no If-None-Match and send everything with the very ETag that
 * was asked about, which says the same as 304 and may be left unread.
 */
static void take_status(Transfer *t)
{
    long status = 0;
    (void)t->curl->easy_getinfo(t->h, CURLINFO_RESPONSE_CODE, &status);
    t->reply.status = (int)status;
    t->reply.unchanged = (status == 304 && (t->req->have_etag || t->req->have_modified)) ||
                         (is_ok(t->reply.status) && same_etag(t->req->have_etag, t->reply.etag));
}

static bool too_large(Transfer *t)
{
    return err_set(t->e, ERR_NETWORK, "GET '%s': more than the limit of %llu bytes", t->shown,
                   (unsigned long long)t->req->max_size);
}

/* At the first byte: is the body wanted, and can it fit? */
static bool begin_body(Transfer *t)
{
    curl_off_t length = -1;
    t->in_body = true;
    take_status(t);
    if (!is_ok(t->reply.status) || t->reply.unchanged)
        return false;
    (void)t->curl->easy_getinfo(t->h, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    /* The length of a packed body says nothing of the body. */
    bool fits = length < 0 || (uint64_t)length <= t->req->max_size;
    return fits || (t->encoding && t->req->gunzip) || too_large(t);
}

static bool take_body(Transfer *t, const char *bytes, size_t n)
{
    if (!t->in_body && !begin_body(t))
        return false;
    if (n > t->req->max_size - t->reply.size)
        return too_large(t);
    t->reply.size += n;
    hash_add(&t->hash, bytes, n);
    if (t->req->into)
        buf_add(t->req->into, bytes, n);
    else if (!fs_write_all(t->req->fd, bytes, n, t->e))
        return err_wrap(t->e, "GET '%s'", t->shown);
    return true;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    Transfer *t = arg;
    (void)one;
    t->stopped = t->stopped || !take_body(t, bytes, n);
    return t->stopped ? 0 : n;
}

static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                       curl_off_t ulnow)
{
    (void)arg;
    (void)dltotal;
    (void)dlnow;
    (void)ultotal;
    (void)ulnow;
    return cancel_wanted();
}

/* ---- setting up ---- */

static bool no_option(Transfer *t, CURLcode code)
{
    return err_set(t->e, ERR_ENV, "libcurl cannot do what '%s' needs: %s", t->shown,
                   t->curl->easy_strerror(code));
}

static bool set_long(Transfer *t, CURLoption option, long value)
{
    CURLcode code = t->curl->easy_setopt(t->h, option, value);
    return code == CURLE_OK || no_option(t, code);
}

static bool set_text(Transfer *t, CURLoption option, const char *value)
{
    CURLcode code = t->curl->easy_setopt(t->h, option, value);
    return code == CURLE_OK || no_option(t, code);
}

static bool set_options(Transfer *t)
{
    static const struct {
        CURLoption option;
        long value;
    } NUMBERS[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_NOPROGRESS, 0},
        {CURLOPT_FOLLOWLOCATION, 1},
        {CURLOPT_MAXREDIRS, NET_REDIRECTS},
        /* Not the newer options that name protocols as text: those are not in libcurl 7.84. */
        {CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS},
        {CURLOPT_REDIR_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS},
        /* libcurl's defaults, written down because everything hangs on them. */
        {CURLOPT_UNRESTRICTED_AUTH, 0},
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_CONNECTTIMEOUT, NET_CONNECT_S},
        {CURLOPT_LOW_SPEED_LIMIT, 1},
        {CURLOPT_LOW_SPEED_TIME, NET_STALL_S},
        {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
        {CURLOPT_BUFFERSIZE, RECEIVE_BYTES},
    };
    for (size_t i = 0; i < NELEM(NUMBERS); i++)
        if (!set_long(t, NUMBERS[i].option, NUMBERS[i].value))
            return false;
    const char *roots = getenv("SSL_CERT_FILE"); /* as Go's and OpenSSL's programs read it */
    return set_text(t, CURLOPT_USERAGENT, "lighter/" LIGHTER_VERSION) &&
           (!t->req->gunzip || set_text(t, CURLOPT_ACCEPT_ENCODING, "gzip")) &&
           (!roots || !*roots || set_text(t, CURLOPT_CAINFO, roots)) &&
           set_text(t, CURLOPT_URL, t->url);
}

static void set_callbacks(Transfer *t)
{
    const CurlApi *c = t->curl;
    c->easy_setopt(t->h, CURLOPT_ERRORBUFFER, t->why);
    c->easy_setopt(t->h, CURLOPT_HEADERFUNCTION, on_header);
    c->easy_setopt(t->h, CURLOPT_HEADERDATA, t);
    c->easy_setopt(t->h, CURLOPT_WRITEFUNCTION, on_body);
    c->easy_setopt(t->h, CURLOPT_WRITEDATA, t);
    c->easy_setopt(t->h, CURLOPT_XFERINFOFUNCTION, on_progress);
    c->easy_setopt(t->h, CURLOPT_HTTPHEADER, t->headers);
}

static void add_header(Transfer *t, const char *line)
{
    struct curl_slist *l = t->curl->slist_append(t->headers, line);
    if (!l)
        die_nomem();
    t->headers = l;
}

static void set_headers(Transfer *t)
{
    const NetRequest *req = t->req;
    for (size_t i = 0; i < req->headers.n; i++)
        add_header(t, req->headers.v[i]);
    if (req->have_etag)
        add_header(t, arena_printf(t->arena, "If-None-Match: %s", req->have_etag));
    if (req->have_modified)
        add_header(t, arena_printf(t->arena, "If-Modified-Since: %s", req->have_modified));
}

static bool prepare(Transfer *t)
{
    if (!url_to_send(t->arena, t->req->url, &t->url, t->e) || !curl_api(&t->curl, t->e))
        return false;
    if (!(t->h = t->curl->easy_init()))
        die_nomem();
    set_headers(t);
    set_callbacks(t);
    off_t at = t->req->into ? (off_t)t->req->into->len : lseek(t->req->fd, 0, SEEK_CUR);
    if (at < 0)
        return err_errno(t->e, ERR_STORE, "GET '%s': file for the body", t->shown);
    t->start = (uint64_t)at;
    return set_options(t);
}

/* ---- one attempt ---- */

/* A body begun by an attempt before is dropped. */
static bool rewind_body(Transfer *t)
{
    const NetRequest *req = t->req;
    t->reply = (NetReply){0};
    t->encoding = NULL;
    t->in_body = t->stopped = false;
    t->why[0] = 0;
    hash_init(&t->hash);
    if (req->into)
        req->into->len = (size_t)t->start;
    else if (ftruncate(req->fd, (off_t)t->start) < 0 ||
             lseek(req->fd, (off_t)t->start, SEEK_SET) < 0)
        return err_errno(t->e, ERR_STORE, "GET '%s': file for the body", t->shown);
    return true;
}

/*
 * Some TLS libraries write to their sockets without MSG_NOSIGNAL, and whether SIGPIPE ends this
 * process is not for a room to say: it is held back here, and one that came is taken.
 */
static CURLcode perform(Transfer *t)
{
    static const struct timespec now = {0};
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    CURLcode code = t->curl->easy_perform(t->h);
    (void)sigtimedwait(&pipe, NULL, &now); /* none is the usual case */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

/* Failures that the next attempt may not see: not those of certificates, URLs or our own doing. */
static bool passes_code(CURLcode code)
{
    static const CURLcode PASSING[] = {
        CURLE_COULDNT_RESOLVE_PROXY,
        CURLE_COULDNT_RESOLVE_HOST,
        CURLE_COULDNT_CONNECT,
        CURLE_OPERATION_TIMEDOUT,
        CURLE_SSL_CONNECT_ERROR,
        CURLE_GOT_NOTHING,
        CURLE_SEND_ERROR,
        CURLE_RECV_ERROR,
        CURLE_PARTIAL_FILE,
        CURLE_HTTP2,
        CURLE_HTTP2_STREAM,
    };
    for (size_t i = 0; i < NELEM(PASSING); i++)
        if (code == PASSING[i])
            return true;
    return false;
}

static bool passes_status(int status)
{
    return status == 408 || status == 429 || (status >= 500 && status < 600);
}

/* " (redirected to '...')", or nothing. */
static const char *detour(Transfer *t)
{
    char *final = NULL;
    (void)t->curl->easy_getinfo(t->h, CURLINFO_EFFECTIVE_URL, &final);
    if (!final || !strcmp(final, t->url))
        return "";
    return arena_printf(t->arena, " (redirected to '%s')", net_mask_url(t->arena, final));
}

/* Seconds the server asks for, or -1. */
static int64_t retry_after(Transfer *t)
{
    curl_off_t s = 0;
    CURLcode code = t->curl->easy_getinfo(t->h, CURLINFO_RETRY_AFTER, &s);
    return code == CURLE_OK && s > 0 ? (int64_t)s : -1;
}

typedef enum Verdict { GOT_IT, TRY_AGAIN, GIVE_UP } Verdict;

static Verdict judge_status(Transfer *t)
{
    int status = t->reply.status;
    if (is_ok(status) || t->reply.unchanged)
        return GOT_IT;
    if (!passes_status(status)) {
        err_set(t->e, ERR_NETWORK, "GET '%s'%s: status %d", t->shown, detour(t), status);
        return GIVE_UP;
    }
    if (retry_after(t) > NET_RETRY_AFTER_MAX) {
        err_set(t->e, ERR_NETWORK, "GET '%s'%s: status %d, and to be asked again in %lld seconds",
                t->shown, detour(t), status, (long long)retry_after(t));
        return GIVE_UP;
    }
    err_set(t->e, ERR_NETWORK, "GET '%s'%s: status %d", t->shown, detour(t), status);
    return TRY_AGAIN;
}

static Verdict judge(Transfer *t, CURLcode code)
{
    if (t->e->kind != ERR_NONE) /* set by a callback */
        return GIVE_UP;
    if (code != CURLE_OK && cancel_wanted()) {
        err_set(t->e, ERR_STEP, "GET '%s': cancelled", t->shown);
        return GIVE_UP;
    }
    if (code == CURLE_OK || t->stopped) {
        take_status(t);
        return judge_status(t);
    }
    err_set(t->e, ERR_NETWORK, "GET '%s'%s: %s", t->shown, detour(t),
            t->why[0] ? t->why : t->curl->easy_strerror(code));
    return passes_code(code) ? TRY_AGAIN : GIVE_UP;
}

static void finish(Transfer *t)
{
    char *final = NULL;
    (void)t->curl->easy_getinfo(t->h, CURLINFO_EFFECTIVE_URL, &final);
    t->reply.final_url = arena_strdup(t->arena, final ? final : t->url);
    if (!t->reply.unchanged)
        hash_end(&t->hash, &t->reply.digest);
}

/* ---- all attempts ---- */

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

bool net_get(Arena *a, const NetRequest *req, NetReply *ret, Err *e)
{
    scoped(transfer)
        Transfer t = {.arena = a, .req = req, .shown = net_mask_url(a, req->url), .e = e};
    if (!prepare(&t))
        return false;
    for (int attempt = 1;; attempt++) {
        Err once = ERR_INIT;
        t.e = &once;
        Verdict v = rewind_body(&t) ? judge(&t, perform(&t)) : GIVE_UP;
        if (v == GOT_IT) {
            finish(&t);
            *ret = t.reply;
            return true;
        }
        if (v == GIVE_UP)
            return err_set(e, once.kind, "%s", once.msg);
        if (attempt == NET_ATTEMPTS)
            return err_set(e, once.kind, "%s (tried %d times)", once.msg, attempt);
        int64_t asked = retry_after(&t);
        if (!wait_ms(asked > 0 ? asked * 1000 : (int64_t)BACKOFF_MS << (attempt - 1)))
            return err_set(e, ERR_STEP, "GET '%s': cancelled", t.shown);
    }
}
