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
