/*
 * go/sumdbname.c - which checksum database is meant, and through whom it is asked.
 */
#include "go/sumdbname.h"

#include "go/note.h"
#include "go/sumdb.h"
#include "go/unicode.h"
#include "go/url.h"
#include "net/net.h"

/* Published with Go, in cmd/go/internal/modfetch. */
static const struct {
    const char *name, *key;
} KNOWN[] = {
    {"sum.golang.org", "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"},
};

/* The same database, reachable from mainland China. */
static const char ALIAS[] = "sum.golang.google.cn",
                  MEANS[] = "sum.golang.org https://sum.golang.google.cn";

const char *sumdb_name_fault(Arena *a, const char *name)
{
    GoUrl u;
    const char *fault = go_url_parse(a, arena_printf(a, "https://%s", name), &u);
    if (fault)
        return fault;
    if (!*u.host || u.has_user || u.has_query || u.has_fragment || u.odd_path ||
        str_ends(name, "/"))
        return "not of the form host[/path]";
    for (const char *at = name; *at;) {
        size_t n = strcspn(at, "/");
        if (!n || (strspn(at, ".") == n && n <= 2))
            return "a path that is not clean";
        at += n + (at[n] == '/');
    }
    return NULL;
}

/* The words of a text, the first two of them kept; how many there are. */
static size_t words(Arena *a, const char *text, const char *ret[static 2])
{
    size_t n = 0;
    for (Str s = str_trim(str_c(text)); s.len; s = str_trim(s)) {
        size_t len = 0;
        while (len < s.len && !str_space(s.ptr + len, s.len - len))
            len++;
        if (n < 2)
            ret[n] = arena_strndup(a, s.ptr, len);
        n++;
        s = (Str){s.ptr + len, s.len - len};
    }
    return n;
}

bool go_sumdb_name(Arena *a, const char *setting, GoSumdbName *ret, Err *e)
{
    const char *word[2] = {NULL, NULL};
    NoteKey key;
    GoUrl ignored;
    GoSumdbName r = {.off = !strcmp(setting, "off"), .name = "", .key = ""};
    size_t n = words(a, strcmp(setting, ALIAS) ? setting : MEANS, word);
    if (!r.off && (!n || n > 2))
        return err_set(e, ERR_USAGE, n ? "invalid GOSUMDB: too many fields" : "missing GOSUMDB");
    if (r.off) {
        *ret = r;
        return true;
    }
    r.key = word[0];
    for (size_t i = 0; i < NELEM(KNOWN); i++)
        if (!strcmp(r.key, KNOWN[i].name))
            r.key = KNOWN[i].key;
    if (!note_key_parse(a, r.key, &key, e))
        return err_wrap(e, "invalid GOSUMDB");
    r.name = key.name;
    const char *fault = sumdb_name_fault(a, r.name);
    if (fault)
        return err_set(e, ERR_USAGE, "invalid sumdb name (must be host[/path]): '%s': %s",
                       go_shown(a, str_c(r.name)), fault);
    r.url = word[1];
    fault = r.url ? go_url_parse(a, r.url, &ignored) : NULL;
    if (fault)
        return err_set(e, ERR_USAGE, "invalid GOSUMDB URL: '%s': %s",
                       go_shown(a, str_c(net_mask_url(a, r.url))), fault);
    *ret = r;
    return true;
}

bool go_sumdb_route(Arena *a, const GoSumdbName *db, const GoProxyList *proxies,
                    int (*probe)(void *arg, const char *url), void *arg, const char **ret_base,
                    Err *e)
{
    for (size_t i = 0; !db->url && i < proxies->n; i++) {
        const GoProxy *p = &proxies->v[i];
        if (p->kind == GO_PROXY_DIRECT || p->kind == GO_PROXY_OFF)
            break;
        const char *base = go_proxy_url(a, p, arena_printf(a, "sumdb/%s", db->name));
        int status =
            probe(arg, go_proxy_url(a, p, arena_printf(a, "sumdb/%s/supported", db->name)));
        if (status == 200) {
            *ret_base = base;
            return true;
        }
        if (!go_proxy_goes_on(p, status))
            return err_set(e, ERR_NETWORK,
                           status ? "checksum database %s: proxy '%s' answers with %d"
                                  : "checksum database %s: proxy '%s' does not answer",
                           db->name, go_proxy_shown(a, p), status);
    }
    *ret_base = db->url ? db->url : arena_printf(a, "https://%s", db->name);
    return true;
}
