/*
 * net/stream.c - one exchange as a stepper over libcurl's multi interface.
 *
 * libcurl pushes bytes, our readers pull: what comes waits in an inbox, and a full inbox pauses the
 * transfer, so that memory does not follow the body and TCP slows the sender down.
 */
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "net/line.h"
#include "net/url.h"

enum {
    HEADER_MAX = 8 << 10,   /* longer values are as good as not sent */
    HEADERS_MAX = 64 << 10, /* all of them; more is cut off */
    TICK_MS = 200,          /* how long a wait may overlook a cancellation */
    RECEIVE_BYTES = 128 << 10,
    SEND_BYTES = 512 << 10,
    INBOX_BYTES = 512 << 10,
    LEFTOVER_BYTES = 64 << 10, /* read to the end on closing, to keep the connection */
    BUNDLE_MAX = 8 << 20,
    LEFTOVER_STEPS = 8,
    LEFTOVER_MS = 20,
};

struct NetStream {
    const CurlApi *curl;
    Line *line;
    struct curl_slist *headers;
    Arena *arena; /* of the answer's head */
    const NetAsk *ask;
    const char *shown;
    bool with_body; /* the request's body goes along */
    bool no_body;   /* the answer has none, whatever its length says: HEAD */
    uint64_t sent;

    NetAnswer answer;
    size_t header_bytes;
    bool begun;   /* the answer's head is complete */
    bool paused;  /* the inbox is full */
    bool by_name; /* only authorities that lie in a directory, by their hash, are trusted */
    bool over;    /* libcurl is done, with `code` */
    CURLcode code;
    char why[CURL_ERROR_SIZE];
    const char *ours; /* what went wrong on our side, of which libcurl knows nothing */

    char *inbox;
    size_t at, n, cap;
};

/* ---- what curl calls ---- */

/* A header without the white space around it; NULL when it is not fit to be kept. */
static const char *keep_header(Arena *a, const char *v, size_t n)
{
    while (n && strchr("\r\n\t ", v[n - 1]))
        n--;
    if (!n || n > HEADER_MAX)
        return NULL;
    /* Values come back in requests, in messages and in names of files. */
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)v[i] < ' ' && v[i] != '\t') || v[i] == 0x7f)
            return NULL;
    return arena_strndup(a, v, n);
}

/* The number in "HTTP/1.1 200 OK"; 0 when there is none. */
static int status_of(const char *line, size_t n)
{
    size_t at = 0;
    int status = 0;
    while (at < n && line[at] != ' ')
        at++;
    while (at < n && line[at] == ' ')
        at++;
    for (size_t i = at; i < n && i < at + 3; i++) {
        if (line[i] < '0' || line[i] > '9')
            return 0;
        status = status * 10 + (line[i] - '0');
    }
    return status;
}

static size_t on_header(char *line, size_t one, size_t n, void *arg)
{
    NetStream *s = arg;
    (void)one;
    if (s->begun) /* a trailer */
        return n;
    if (n > 5 && !memcmp(line, "HTTP/", 5)) {
        s->answer.headers = (StrList){0};
        s->answer.status = status_of(line, n);
        return n;
    }
    if (n <= 2) { /* the empty line ends a head, and that of 1xx is not the answer's */
        s->begun = s->answer.status >= 200;
        return n;
    }
    const char *kept = keep_header(s->arena, line, n);
    s->header_bytes += n;
    if (kept && s->header_bytes <= HEADERS_MAX)
        strlist_add(s->arena, &s->answer.headers, kept);
    return n;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    NetStream *s = arg;
    (void)one;
    if (s->n && s->n + n > INBOX_BYTES) {
        s->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (s->n + n > s->cap) {
        s->cap = s->n + n;
        s->inbox = realloc(s->inbox, s->cap);
        if (!s->inbox)
            die_nomem();
    }
    memcpy(s->inbox + s->n, bytes, n);
    s->n += n;
    return n;
}

static size_t on_send(char *out, size_t one, size_t n, void *arg)
{
    NetStream *s = arg;
    const NetAsk *ask = s->ask;
    uint64_t left = ask->body_size - s->sent;
    size_t want = left < n * one ? (size_t)left : n * one;
    if (cancel_wanted())
        return CURL_READFUNC_ABORT;
    if (ask->body) {
        memcpy(out, (const char *)ask->body + s->sent, want);
    } else if (want) {
        ssize_t got = pread(ask->body_fd, out, want, (off_t)(ask->body_at + s->sent));
        if (got <= 0) { /* shorter than it was said to be: what was announced cannot be sent */
            s->ours = got < 0 ? strerror(errno) : "the file is too short";
            return CURL_READFUNC_ABORT;
        }
        want = (size_t)got;
    }
    s->sent += want;
    return want;
}

/* libcurl found a kept connection dead and begins again on a new one. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    NetStream *s = arg;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > s->ask->body_size)
        return CURL_SEEKFUNC_CANTSEEK;
    s->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* Steps of the build must not inherit connections. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
    (void)arg;
    (void)purpose;
    return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

/* ---- setting up ---- */

static bool no_option(NetStream *s, CURLcode code, Err *e)
{
    return err_set(e, ERR_ENV, "libcurl cannot do what '%s' needs: %s", s->shown,
                   s->curl->easy_strerror(code));
}

static bool set_long(NetStream *s, CURLoption option, long value, Err *e)
{
    CURLcode code = s->curl->easy_setopt(s->line->easy, option, value);
    return code == CURLE_OK || no_option(s, code, e);
}

static bool set_text(NetStream *s, CURLoption option, const char *value, Err *e)
{
    if (!value)
        return true;
    CURLcode code = s->curl->easy_setopt(s->line->easy, option, value);
    return code == CURLE_OK || no_option(s, code, e);
}

static bool set_numbers(NetStream *s, Err *e)
{
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_FOLLOWLOCATION, 0}, /* net.c does, and says which headers go along */
        /* Not the newer options that name protocols as text: those are not in libcurl 7.84. */
        {CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS},
        /* Several connections do what one of HTTP/2 does, and libcurl 7.88 may hang when it pauses
         * one of those. */
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_CONNECTTIMEOUT, NET_CONNECT_S},
        {CURLOPT_LOW_SPEED_LIMIT, NET_STALL_BYTES},
        {CURLOPT_LOW_SPEED_TIME, s->with_body ? NET_STALL_SENDING_S : NET_STALL_S},
        {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
        {CURLOPT_BUFFERSIZE, RECEIVE_BYTES},
        {CURLOPT_UPLOAD_BUFFERSIZE, SEND_BYTES},
    };
    for (size_t i = 0; i < NELEM(numbers); i++)
        if (!set_long(s, numbers[i].option, numbers[i].value, e))
            return false;
    return true;
}

/* Where distributions keep the authorities. Source: Go, crypto/x509/root_linux.go. */
static const char *const BUNDLES[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

static pthread_once_t bundle_once = PTHREAD_ONCE_INIT;
static Buf bundle; /* the first of them; kept until the process ends */

static void read_bundle(void)
{
    for (size_t i = 0; i < NELEM(BUNDLES) && !bundle.len; i++) {
        Err ignored = ERR_INIT;
        (void)!fs_read_file(AT_FDCWD, BUNDLES[i], BUNDLE_MAX, &bundle, &ignored);
    }
}

/* A text of authorities replaces libcurl's own, so the system's are put into it. */
static bool set_authorities(NetStream *s, const char *pem, const char *roots, Err *e)
{
    scoped(buf) Buf all = BUF_INIT;
    buf_puts(&all, pem);
    if (roots && *roots) {
        if (!fs_read_file(AT_FDCWD, roots, BUNDLE_MAX, &all, e))
            return err_wrap(e, "SSL_CERT_FILE");
    } else {
        pthread_once(&bundle_once, read_bundle);
        buf_add(&all, buf_str(&bundle), bundle.len);
    }
    struct curl_blob blob = {all.ptr, all.len, CURL_BLOB_COPY};
    CURLcode code = s->curl->easy_setopt(s->line->easy, CURLOPT_CAINFO_BLOB, &blob);
    return code == CURLE_OK || no_option(s, code, e);
}

/* A server whose authority is in no such directory was met: the file is read from then on. */
static atomic_bool needs_file;

/* Where OpenSSL finds an authority by its name. NULL: it is not OpenSSL, or there is none. */
static const char *authorities_dir(const NetStream *s)
{
    const char *dir = getenv("SSL_CERT_DIR");
    const curl_version_info_data *v = s->curl->version_info(CURLVERSION_NOW);
    dir = dir && *dir ? dir : "/etc/ssl/certs";
    return v->ssl_version && str_starts(v->ssl_version, "OpenSSL/") && access(dir, X_OK) == 0
               ? dir
               : NULL;
}

/*
 * To read the file with all authorities of the world takes 25 ms, for each connection. In the
 * directory beside it OpenSSL reads the one that a server names; trusted are both.
 */
static bool set_dir(NetStream *s, Err *e)
{
    const char *dir = atomic_load(&needs_file) ? NULL : authorities_dir(s);
    if (!dir)
        return true;
    s->by_name = true;
    CURLcode code = s->curl->easy_setopt(s->line->easy, CURLOPT_CAINFO, NULL);
    return (code == CURLE_OK || no_option(s, code, e)) && set_text(s, CURLOPT_CAPATH, dir, e);
}

static bool set_trust(NetStream *s, Err *e)
{
    const NetTrust *t = s->ask->trust;
    const char *roots = getenv("SSL_CERT_FILE"); /* as Go's and OpenSSL's programs read it */
    bool insecure = t && t->insecure;
    if (!insecure && !(t && t->ca_pem) && !set_dir(s, e))
        return false;
    roots = s->by_name ? NULL : roots;
    if (!set_long(s, CURLOPT_SSL_VERIFYPEER, !insecure, e) ||
        !set_long(s, CURLOPT_SSL_VERIFYHOST, insecure ? 0 : 2, e) ||
        (roots && *roots && !set_text(s, CURLOPT_CAINFO, roots, e)))
        return false;
    if (!t)
        return true;
    if (t->ca_pem && !insecure && !set_authorities(s, t->ca_pem, roots, e))
        return false;
    return set_text(s, CURLOPT_SSLCERT, t->cert, e) && set_text(s, CURLOPT_SSLKEY, t->key, e);
}

static bool is_set(const char *name)
{
    const char *v = getenv(name);
    return v && *v;
}

/*
 * libcurl heeds all spellings but HTTP_PROXY, which a CGI program's client could set. Everybody
 * else reads it, and no CGI program of ours is there.
 */
static bool set_proxy(NetStream *s, const char *url, Err *e)
{
    Url u;
    if (s->ask->socket || url_loopback(url))
        return set_text(s, CURLOPT_NOPROXY, "*", e);
    if (url_split(url, &u) && !u.https && !is_set("http_proxy") && is_set("HTTP_PROXY"))
        return set_text(s, CURLOPT_PROXY, getenv("HTTP_PROXY"), e);
    return true;
}

static bool set_method(NetStream *s, const char *method, Err *e)
{
    if (s->with_body)
        return set_long(s, CURLOPT_UPLOAD, 1, e) &&
               s->curl->easy_setopt(s->line->easy, CURLOPT_INFILESIZE_LARGE,
                                    (curl_off_t)s->ask->body_size) == CURLE_OK &&
               set_text(s, CURLOPT_CUSTOMREQUEST, method, e);
    if (!strcmp(method, "HEAD"))
        return set_long(s, CURLOPT_NOBODY, 1, e);
    return !strcmp(method, "GET") || set_text(s, CURLOPT_CUSTOMREQUEST, method, e);
}

static void set_callbacks(NetStream *s)
{
    const CurlApi *c = s->curl;
    CURL *h = s->line->easy;
    c->easy_setopt(h, CURLOPT_ERRORBUFFER, s->why);
    c->easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    c->easy_setopt(h, CURLOPT_HEADERDATA, s);
    c->easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    c->easy_setopt(h, CURLOPT_WRITEDATA, s);
    c->easy_setopt(h, CURLOPT_READFUNCTION, on_send);
    c->easy_setopt(h, CURLOPT_READDATA, s);
    c->easy_setopt(h, CURLOPT_SEEKFUNCTION, on_seek);
    c->easy_setopt(h, CURLOPT_SEEKDATA, s);
    c->easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    c->easy_setopt(h, CURLOPT_HTTPHEADER, s->headers);
}

static bool is_private(const char *header)
{
    return !strncasecmp(header, "authorization:", 14) || !strncasecmp(header, "cookie:", 7);
}

static void set_headers(NetStream *s, bool with_private)
{
    for (size_t i = 0; i < s->ask->headers.n; i++) {
        const char *line = s->ask->headers.v[i];
        if (is_private(line) && !with_private)
            continue;
        struct curl_slist *l = s->curl->slist_append(s->headers, line);
        if (!l)
            die_nomem();
        s->headers = l;
    }
}

static bool prepare(NetStream *s, const char *url, const char *method, bool with_private, Err *e)
{
    set_headers(s, with_private);
    set_callbacks(s);
    return set_numbers(s, e) && set_trust(s, e) && set_proxy(s, url, e) &&
           set_text(s, CURLOPT_UNIX_SOCKET_PATH, s->ask->socket, e) && set_method(s, method, e) &&
           set_text(s, CURLOPT_USERAGENT, "lighter/" LIGHTER_VERSION, e) &&
           (!(s->ask->flags & NET_GUNZIP) || set_text(s, CURLOPT_ACCEPT_ENCODING, "gzip", e)) &&
           set_text(s, CURLOPT_URL, url, e);
}

/* ---- stepping ---- */

/*
 * Some TLS libraries write to their sockets without MSG_NOSIGNAL, and whether SIGPIPE ends this
 * process is not for a room to say: it is held back here, and one that came is taken.
 */
static void pipe_hold(sigset_t *ret_before)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, ret_before);
}

static void pipe_release(const sigset_t *before)
{
    static const struct timespec now = {0};
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    (void)sigtimedwait(&pipe, NULL, &now); /* none is the usual case */
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* Let libcurl do what it can now. */
static void step(NetStream *s)
{
    int running, left;
    CURLMcode rc = s->curl->multi_perform(s->line->multi, &running);
    if (rc != CURLM_OK) {
        s->over = true;
        s->code = CURLE_FAILED_INIT;
    }
    for (CURLMsg *m; (m = s->curl->multi_info_read(s->line->multi, &left));)
        if (m->msg == CURLMSG_DONE) {
            s->over = true;
            s->code = m->data.result;
        }
}

/* Wait until something may have happened. False: cancelled. */
static bool wait_step(NetStream *s)
{
    struct curl_waitfd extra = {.fd = cancel_fd(), .events = CURL_WAIT_POLLIN};
    (void)s->curl->multi_poll(s->line->multi, &extra, extra.fd >= 0, TICK_MS, NULL);
    return !cancel_wanted();
}

static bool cancelled(const NetStream *s, Err *e)
{
    return err_set(e, ERR_STEP, "%s: cancelled", s->shown);
}

/* Until the answer's head is there or there will be none. */
static bool run_to_head(NetStream *s, Err *e)
{
    sigset_t before;
    if (s->curl->multi_add_handle(s->line->multi, s->line->easy) != CURLM_OK)
        return err_set(e, ERR_ENV, "%s: libcurl does not begin", s->shown);
    pipe_hold(&before);
    bool goes_on = true;
    while (goes_on && !s->begun && !s->over) {
        step(s);
        goes_on = s->begun || s->over || wait_step(s);
    }
    pipe_release(&before);
    return (goes_on && (s->begun || !cancel_wanted())) || cancelled(s, e);
}

/* Whether the server's authority may be in the file that was not read. */
static bool wants_file(const NetStream *s)
{
    bool wants = s->by_name && s->over && s->code == CURLE_PEER_FAILED_VERIFICATION;
    if (wants)
        atomic_store(&needs_file, true);
    return wants;
}

bool stream_begin(Arena *a, const StreamSpec *spec, NetStream **ret, Err *e)
{
    const CurlApi *curl;
    if (!curl_api(&curl, e))
        return false;
    NetStream *s = calloc(1, sizeof *s);
    if (!s)
        die_nomem();
    s->curl = curl;
    s->arena = a;
    s->ask = spec->ask;
    s->shown = spec->shown;
    s->with_body = spec->with_body;
    s->no_body = !strcmp(spec->method, "HEAD");
    s->line = line_take(curl, spec->url);
    if (!prepare(s, spec->url, spec->method, spec->with_private, e) || !run_to_head(s, e)) {
        net_close(s);
        return false;
    }
    if (wants_file(s)) {
        net_close(s);
        return stream_begin(a, spec, ret, e);
    }
    *ret = s;
    return true;
}

bool stream_answered(NetStream *s, NetAnswer *ret)
{
    curl_off_t length = -1;
    if (!s->begun)
        return false;
    (void)s->curl->easy_getinfo(s->line->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    s->answer.length = length;
    *ret = s->answer;
    return true;
}

const char *stream_why(const NetStream *s)
{
    if (s->ours)
        return s->ours;
    return s->why[0] ? s->why : s->curl->easy_strerror(s->code);
}

int64_t stream_retry_after(const NetStream *s)
{
    curl_off_t seconds = 0;
    CURLcode code = s->curl->easy_getinfo(s->line->easy, CURLINFO_RETRY_AFTER, &seconds);
    return code == CURLE_OK && seconds > 0 ? (int64_t)seconds : -1;
}

NetFault stream_fault(const NetStream *s)
{
    static const struct {
        CURLcode code;
        NetFault fault;
    } FAULTS[] = {
        {CURLE_COULDNT_RESOLVE_PROXY, NET_FAULT_CONNECT},
        {CURLE_COULDNT_RESOLVE_HOST, NET_FAULT_CONNECT},
        {CURLE_COULDNT_CONNECT, NET_FAULT_CONNECT},
        {CURLE_SSL_CONNECT_ERROR, NET_FAULT_TLS},
        {CURLE_PEER_FAILED_VERIFICATION, NET_FAULT_TLS},
        {CURLE_OPERATION_TIMEDOUT, NET_FAULT_CUT},
        {CURLE_GOT_NOTHING, NET_FAULT_CUT},
        {CURLE_SEND_ERROR, NET_FAULT_CUT},
        {CURLE_RECV_ERROR, NET_FAULT_CUT},
        {CURLE_PARTIAL_FILE, NET_FAULT_CUT},
        {CURLE_UNSUPPORTED_PROTOCOL, NET_FAULT_CUT}, /* what is no HTTP: an old answer's rest */
        {CURLE_HTTP2, NET_FAULT_CUT},
        {CURLE_HTTP2_STREAM, NET_FAULT_CUT},
    };
    double connected = 0;
    if (!s->over || s->code == CURLE_OK)
        return NET_FAULT_NONE;
    (void)s->curl->easy_getinfo(s->line->easy, CURLINFO_PRETRANSFER_TIME, &connected);
    if (s->code == CURLE_OPERATION_TIMEDOUT && connected <= 0)
        return NET_FAULT_CONNECT;
    for (size_t i = 0; i < NELEM(FAULTS); i++)
        if (s->code == FAULTS[i].code)
            return FAULTS[i].fault;
    return NET_FAULT_OTHER;
}

bool stream_passes(const NetStream *s)
{
    /* Not those of certificates, URLs or our own doing. */
    NetFault f = stream_fault(s);
    return f == NET_FAULT_CONNECT || f == NET_FAULT_CUT ||
           (f == NET_FAULT_TLS && s->code == CURLE_SSL_CONNECT_ERROR);
}

/* ---- reading ---- */

static void unpause(NetStream *s)
{
    s->paused = false;
    (void)s->curl->easy_pause(s->line->easy, CURLPAUSE_CONT); /* may fill the inbox at once */
}

/* Have bytes in the inbox, or be at the end. */
static bool fill(NetStream *s, Err *e)
{
    while (s->at == s->n) {
        s->at = s->n = 0;
        if (cancel_wanted())
            return cancelled(s, e);
        if (s->over)
            return s->code == CURLE_OK ||
                   err_set(e, ERR_NETWORK, "%s: %s", s->shown, stream_why(s));
        if (s->paused)
            unpause(s);
        if (!s->n)
            step(s);
        if (!s->n && !s->over && !s->paused && !wait_step(s))
            return cancelled(s, e);
    }
    return true;
}

bool net_read(NetStream *s, void *buf, size_t cap, size_t *ret_n, Err *e)
{
    sigset_t before;
    pipe_hold(&before);
    bool ok = fill(s, e);
    pipe_release(&before);
    if (!ok)
        return false;
    size_t n = s->n - s->at < cap ? s->n - s->at : cap;
    if (n)
        memcpy(buf, s->inbox + s->at, n);
    s->at += n;
    *ret_n = n;
    return true;
}

/* What is left of a small body is read, so that the next exchange finds the connection. */
static void read_leftovers(NetStream *s)
{
    for (unsigned i = 0; i < LEFTOVER_STEPS && !s->over; i++) {
        s->at = s->n = 0;
        if (s->paused)
            unpause(s);
        step(s);
        if (!s->over && !s->n)
            (void)s->curl->multi_poll(s->line->multi, NULL, 0, LEFTOVER_MS, NULL);
    }
}

void net_close(NetStream *s)
{
    sigset_t before;
    if (!s)
        return;
    pipe_hold(&before);
    if (s->begun && (s->no_body || (s->answer.length >= 0 && s->answer.length < LEFTOVER_BYTES)))
        read_leftovers(s);
    s->curl->multi_remove_handle(s->line->multi, s->line->easy);
    /* Some servers send a body with 304 all the same, which would begin the next answer. */
    bool clean = s->answer.status != 304 || s->answer.length <= 0;
    line_put(s->curl, s->line, s->over && s->code == CURLE_OK && clean);
    pipe_release(&before);
    if (s->headers)
        s->curl->slist_free_all(s->headers);
    free(s->inbox);
    free(s);
}
