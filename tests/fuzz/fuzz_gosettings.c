/*
 * fuzz_gosettings - a text as a file of settings, as a list of proxies and as the path of a
 * request; a list that is read reads the same when it is written.
 */
#include <assert.h>

#include "go/go.h"
#include "go/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_list(Arena *a, const char *text)
{
    GoProxyList l, again;
    Err e = ERR_INIT, e2 = ERR_INIT;
    if (!go_proxy_list(a, text, &l, &e)) {
        assert(e.kind == ERR_USAGE);
        return;
    }
    const char *once = go_proxy_text(a, &l);
    assert(l.n && go_proxy_list(a, once, &again, &e2) && again.n == l.n);
    assert(!strcmp(go_proxy_text(a, &again), once));
    for (size_t i = 0; i < l.n; i++) {
        assert(l.v[i].kind == again.v[i].kind && !strcmp(l.v[i].url, again.v[i].url));
        assert((l.v[i].kind == GO_PROXY_FILE) == (l.v[i].dir != NULL));
        (void)go_proxy_shown(a, &l.v[i]);
        (void)go_proxy_url(a, &l.v[i], text);
    }
}

static void check_file(Arena *a, Str text)
{
    GoSettings s;
    StrList user = go_env_text(a, GO_ENV_USER, text), goroot = go_env_text(a, GO_ENV_GOROOT, text);
    assert(user.n == goroot.n);
    for (size_t i = 0; i < user.n; i++)
        assert(strchr(user.v[i], '=') && user.v[i][0] >= 'A' && user.v[i][0] <= 'Z');
    go_settings(a, &user, &goroot, &goroot, &s);
    assert(s.goproxy && s.gosumdb && s.goprivate && s.gonoproxy && s.gonosumdb && s.goinsecure);
    assert(!s.gocache || *s.gocache == '/' || !strcmp(s.gocache, "off"));
    (void)go_env_path(a, &user);
    (void)go_uses_sumdb(&s, "golang.org/x/mod");
    (void)go_is_private(&s, "golang.org/x/mod");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Str all = {(const char *)bytes, n};
    GoUrl u;
    if (!n || n > 4096)
        return 0;
    const char *text = arena_strndup(&a, all.ptr, n);
    check_list(&a, text);
    check_file(&a, all);
    if (!go_url_parse(&a, text, &u))
        assert(u.scheme && u.host && u.path && !(u.opaque && *u.path));
    const char *path = go_url_unescape(&a, all);
    if (path && !memchr(bytes, 0, n)) {
        const char *back = go_url_escape(&a, path);
        assert(!strcmp(go_url_unescape(&a, str_c(back)), path));
    }
    return 0;
}
