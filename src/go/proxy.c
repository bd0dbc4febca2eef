/*
 * go/proxy.c - the list of proxies that a GOPROXY setting names.
 */
#include "go/settings.h"
#include "go/unicode.h"
#include "go/url.h"
#include "net/net.h"

static bool fails(Arena *a, const char *what, const char *url, Err *e)
{
    return err_set(e, ERR_USAGE, "GOPROXY: %s: '%s'", what,
                   go_shown(a, str_c(net_mask_url(a, url))));
}

/* One word of the list to a proxy. */
static bool element(Arena *a, const char *word, GoProxy *ret, Err *e)
{
    GoUrl u;
    /* A host without a scheme is meant as https; single words are kept for the go command. */
    if (strpbrk(word, ".:/") && !strstr(word, ":/") && *word != '/')
        word = arena_printf(a, "https://%s", word);
    const char *fault = go_url_parse(a, word, &u);
    if (fault)
        return fails(a, fault, word, e);
    if (!*u.scheme)
        return fails(a, "invalid proxy URL missing scheme", word, e);
    bool file = !strcmp(u.scheme, "file");
    if (!file && strcmp(u.scheme, "http") != 0 && strcmp(u.scheme, "https") != 0)
        return fails(a, "invalid proxy URL scheme (must be https, http, file)", word, e);
    if (file && (u.has_user || u.has_query || u.has_fragment || u.opaque || u.no_host || *u.host))
        return fails(a, "invalid file:// proxy URL with non-path elements", word, e);
    *ret = (GoProxy){.kind = file ? GO_PROXY_FILE : GO_PROXY_HTTP,
                     .url = word,
                     .dir = file ? u.path : NULL,
                     .has_user = u.has_user};
    return true;
}

bool go_proxy_list(Arena *a, const char *text, GoProxyList *ret, Err *e)
{
    GoProxyList l = {0};
    size_t cap = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",|");
        Str word = str_trim((Str){at, n});
        bool any_error = at[n] == '|', last = false;
        at += n + (at[n] != 0);
        if (!word.len)
            continue;
        GoProxy p = {.url = arena_strndup(a, word.ptr, word.len)};
        if (str_eq(word, "direct") || str_eq(word, "off")) {
            p.kind = *word.ptr == 'd' ? GO_PROXY_DIRECT : GO_PROXY_OFF;
            any_error = false;
            last = true;
        } else if (!element(a, p.url, &p, e)) {
            return false;
        }
        p.any_error = any_error;
        *ARENA_PUSH(a, l.v, l.n, cap) = p;
        if (last)
            break;
    }
    if (!l.n)
        return err_set(e, ERR_USAGE,
                       "GOPROXY list is not the empty string, but contains no entries");
    *ret = l;
    return true;
}

const char *go_proxy_text(Arena *a, const GoProxyList *l)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++) {
        buf_puts(&b, l->v[i].url);
        if (l->v[i].any_error || i + 1 < l->n)
            buf_putc(&b, l->v[i].any_error ? '|' : ',');
    }
    return arena_strdup(a, buf_str(&b));
}

const char *go_proxy_url(Arena *a, const GoProxy *p, const char *path)
{
    size_t base = strcspn(p->url, "?#"), query = base + strcspn(p->url + base, "#");
    size_t trimmed = base;
    if (trimmed && p->url[trimmed - 1] == '/')
        trimmed--;
    return arena_printf(a, "%.*s/%s%.*s", (int)trimmed, p->url, go_url_escape(a, path),
                        (int)(query - base), p->url + base);
}

bool go_proxy_goes_on(const GoProxy *p, int status)
{
    return p->any_error || status == 404 || status == 410;
}

const char *go_proxy_shown(Arena *a, const GoProxy *p)
{
    return go_shown(a, str_c(net_mask_url(a, p->url)));
}
