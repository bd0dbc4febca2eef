/*
 * net/url.c - URLs for servers and URLs for messages.
 */
#include "net/url.h"

#include <ctype.h>
#include <strings.h>

#include "base/str.h"
#include "net/net.h"

/* What stands before the path: scheme and authority. */
static size_t host_end(const char *url)
{
    const char *slashes = strstr(url, "://");
    size_t start = slashes ? (size_t)(slashes - url) + 3 : 0;
    return start + strcspn(url + start, "/?#");
}

bool url_split(const char *url, Url *ret)
{
    Url u = {.https = strncasecmp(url, "https://", 8) == 0};
    if (!u.https && strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *at = url + (u.https ? 8 : 7), *end = url + host_end(url);
    for (const char *p = at; p < end; p++)
        if (*p == '@') /* the last one: a password may hold others */
            u.user = (Str){at, (size_t)(p - at)};
    if (u.user.ptr)
        at = u.user.ptr + u.user.len + 1;
    const char *colon = memrchr(at, ':', (size_t)(end - at));
    if (colon && memchr(colon, ']', (size_t)(end - colon)))
        colon = NULL; /* one of an IPv6 address */
    u.host = (Str){at, (size_t)((colon ? colon : end) - at)};
    u.port = u.https ? 443 : 80;
    u.rest = end;
    if (colon && colon + 1 < end) {
        char text[8] = "";
        uint64_t port;
        size_t n = (size_t)(end - colon - 1);
        if (n >= sizeof text)
            return false;
        memcpy(text, colon + 1, n);
        if (!str_u64(text, 65535, &port))
            return false;
        u.port = (unsigned)port;
    }
    *ret = u;
    return u.host.len > 0;
}

bool net_same_origin(const char *a, const char *b)
{
    Url x, y;
    return url_split(a, &x) && url_split(b, &y) && x.https == y.https && x.port == y.port &&
           x.host.len == y.host.len && !strncasecmp(x.host.ptr, y.host.ptr, x.host.len);
}

bool url_loopback(const char *url)
{
    Url u;
    if (!url_split(url, &u))
        return false;
    return (u.host.len == 9 && !strncasecmp(u.host.ptr, "localhost", 9)) ||
           (u.host.len > 4 && !memcmp(u.host.ptr, "127.", 4)) || str_eq(u.host, "[::1]");
}

const char *url_scheme(Arena *a, const char *url)
{
    size_t n = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return n && url[n] == ':' ? arena_strndup(a, url, n) : "";
}

const char *net_resolve_url(Arena *a, const char *base, const char *ref)
{
    size_t host = host_end(base), path = host + strcspn(base + host, "?#");
    if (!*ref || *ref == '#')
        return arena_strdup(a, base);
    if (*url_scheme(a, ref))
        return arena_strdup(a, ref);
    if (str_starts(ref, "//"))
        return arena_printf(a, "%s:%s", url_scheme(a, base), ref);
    if (*ref == '/')
        return arena_printf(a, "%.*s%s", (int)host, base, ref);
    if (*ref == '?')
        return arena_printf(a, "%.*s%s", (int)path, base, ref);
    while (path > host && base[path - 1] != '/')
        path--;
    return arena_printf(a, "%.*s%s%s", (int)path, base, path > host ? "" : "/", ref);
}

bool url_to_send(Arena *a, const char *url, const char **ret, Err *e)
{
    scoped(buf) Buf out = BUF_INIT;
    bool query = false;
    size_t host = host_end(url);
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return err_set(e, ERR_NETWORK, "'%s' is no http or https URL", net_mask_url(a, url));
    for (size_t i = 0; url[i]; i++) {
        unsigned char c = (unsigned char)url[i];
        if (c < ' ' || c == 0x7f)
            return err_set(e, ERR_NETWORK, "URL '%s' holds a control character",
                           net_mask_url(a, url));
        query = query || (i >= host && c == '?');
        /* As Go's net/url: a query travels as it is, as far as a request line can hold it. */
        if (i >= host && (c == ' ' || c >= 0x80 || (!query && strchr("\"<>\\^`{|}", c))))
            buf_printf(&out, "%%%02X", c);
        else
            buf_putc(&out, (char)c);
    }
    *ret = arena_strndup(a, buf_str(&out), out.len);
    return true;
}

/* ---- masking ---- */

static const char MASK[] = "xxxxx";

/* Whether a query parameter's value is nobody's business: signed links, tokens, passwords. */
static bool is_secret(const char *name, size_t n)
{
    static const char *const PARTS[] = {"sig",  "tok",     "secret", "key",  "pass", "auth",
                                        "cred", "session", "jwt",    "code", "pwd"};
    char low[64];
    if (n >= sizeof low)
        return true;
    for (size_t i = 0; i < n; i++)
        low[i] = (char)tolower((unsigned char)name[i]);
    low[n] = 0;
    for (size_t i = 0; i < NELEM(PARTS); i++)
        if (strstr(low, PARTS[i]))
            return true;
    return strchr(low, '%') != NULL; /* a name in disguise */
}

/* user:password@ becomes user:xxxxx@, and a lone name, which may be a token, xxxxx@. */
static void mask_user(Buf *out, const char *from, size_t n)
{
    const char *colon = memchr(from, ':', n);
    if (colon)
        buf_add(out, from, (size_t)(colon - from) + 1);
    buf_puts(out, MASK);
}

static void mask_query(Buf *out, const char *q)
{
    while (*q) {
        size_t n = strcspn(q, "&;#"), name = strcspn(q, "=&;#");
        if (q[name] == '=' && is_secret(q, name)) {
            buf_add(out, q, name + 1);
            buf_puts(out, MASK);
        } else {
            buf_add(out, q, n);
        }
        q += n;
        if (*q)
            buf_putc(out, *q++);
    }
}

char *net_mask_url(Arena *a, const char *url)
{
    scoped(buf) Buf out = BUF_INIT;
    const char *slashes = strstr(url, "://");
    size_t start = slashes ? (size_t)(slashes - url) + 3 : 0, host = host_end(url), at = start;
    for (size_t i = start; i < host; i++)
        if (url[i] == '@')
            at = i; /* the last one: a password may hold others */
    buf_add(&out, url, start);
    if (at > start)
        mask_user(&out, url + start, at - start);
    size_t query = at + strcspn(url + at, "?#");
    buf_add(&out, url + at, query - at);
    if (url[query])
        buf_putc(&out, url[query++]);
    mask_query(&out, url + query);
    /* Control characters would write over the terminal's lines. */
    for (size_t i = 0; i < out.len; i++)
        if ((unsigned char)out.ptr[i] < ' ' || out.ptr[i] == 0x7f)
            out.ptr[i] = '?';
    return arena_strndup(a, buf_str(&out), out.len);
}
