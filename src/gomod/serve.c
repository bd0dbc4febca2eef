/*
 * gomod/serve.c - a conversation with one client of the gateway.
 */
#include <errno.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "gomod/inside.h"

enum { HEAD_MAX = 16 << 10, BLOCK = 128 << 10 };

static bool send_all(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static bool send_file(int sock, int fd, uint64_t size)
{
    scoped(buf) Buf block = BUF_INIT;
    char *p = buf_reserve(&block, BLOCK);
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pread(fd, p, BLOCK, (off_t)at);
        if (n <= 0 || !send_all(sock, p, (size_t)n))
            return false;
        at += (uint64_t)n;
    }
    return true;
}

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } KNOWN[] = {{200, "OK"},          {403, "Forbidden"}, {404, "Not Found"},
                 {405, "Not Allowed"}, {410, "Gone"},      {502, "Bad Gateway"}};
    for (size_t i = 0; i < NELEM(KNOWN); i++)
        if (KNOWN[i].status == status)
            return KNOWN[i].reason;
    return "Answer";
}

/* Head and text in one piece: two would wait for each other's acknowledgement. */
static bool reply(int fd, const Got *got, bool head_only)
{
    scoped(buf) Buf out = BUF_INIT;
    uint64_t size = got->fd >= 0 ? got->size : got->text.len;
    buf_printf(&out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %llu\r\n\r\n",
               got->status, reason(got->status), got->type, (unsigned long long)size);
    if (!head_only && got->fd < 0)
        buf_add(&out, buf_str(&got->text), got->text.len);
    return send_all(fd, out.ptr, out.len) &&
           (head_only || got->fd < 0 || send_file(fd, got->fd, got->size));
}

static void plain(Got *ret, int status, const char *text)
{
    ret->status = status;
    ret->type = "text/plain; charset=utf-8";
    buf_puts(&ret->text, text);
}

/* "/<word>/<number>/<request>" */
static const GoProxy *which(const GomodStep *s, Str path, Str *ret_rest)
{
    size_t n = strlen(s->word);
    uint64_t i;
    char number[8] = "";
    if (path.len < n + 3 || memcmp(path.ptr + 1, s->word, n) != 0 || path.ptr[n + 1] != '/')
        return NULL;
    Str rest = {path.ptr + n + 2, path.len - n - 2};
    const char *slash = memchr(rest.ptr, '/', rest.len);
    if (!slash || (size_t)(slash - rest.ptr) >= sizeof number)
        return NULL;
    memcpy(number, rest.ptr, (size_t)(slash - rest.ptr));
    if (!str_u64(number, NELEM(s->asked) - 1, &i) || i >= s->proxies.n || !s->asked[i])
        return NULL;
    *ret_rest = (Str){slash, rest.len - (size_t)(slash - rest.ptr)};
    return &s->proxies.v[i];
}

static void note_refusal(GomodStep *s, const Got *got)
{
    pthread_mutex_lock(&s->lock);
    if (got->refused && !s->refused.kind)
        err_set(&s->refused, ERR_CHECK, "%s", buf_str(&got->text));
    pthread_mutex_unlock(&s->lock);
}

static void answer_to(GomodStep *s, const HttpHead *h, Got *ret)
{
    scoped(arena) Arena a = {0};
    GoRequest req;
    Err e = ERR_INIT;
    Str rest;
    const GoProxy *p = which(s, h->path, &rest);
    if (!str_eq(h->method, "GET") && !str_eq(h->method, "HEAD")) {
        plain(ret, 405, "only GET");
    } else if (!p) {
        plain(ret, 404, "no such proxy");
    } else if (!go_request_parse(&a, rest, &req, &e)) {
        plain(ret, 404, e.msg);
    } else {
        Ask ask = {&req, p, s->settings, false};
        fetch(s->g, &a, &ask, ret);
        note_refusal(s, ret);
    }
}

/* One request; false: the conversation is over. */
static bool exchange(GomodStep *s, int fd, Buf *in)
{
    scoped(got) Got got = GOT_INIT;
    HttpHead h;
    size_t size;
    while (http_head((Str){buf_str(in), in->len}, &h, &size) && !size) {
        if (in->len >= HEAD_MAX)
            return false;
        ssize_t n = recv(fd, buf_reserve(in, HEAD_MAX), HEAD_MAX, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        in->len += (size_t)n;
    }
    if (!size) {
        plain(&got, 400, "no request");
        (void)reply(fd, &got, false); /* it hangs up anyway */
        return false;
    }
    answer_to(s, &h, &got);
    bool go_on = reply(fd, &got, str_eq(h.method, "HEAD")) && !h.close;
    memmove(in->ptr, in->ptr + size, in->len - size);
    in->len -= size;
    return go_on;
}

void serve_link(GomodStep *s, int fd)
{
    scoped(buf) Buf in = BUF_INIT;
    while (exchange(s, fd, &in)) {
    }
}
