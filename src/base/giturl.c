/*
 * base/giturl.c - texts to git references: URLs and user@host:path, with fragment and query.
 */
#include <arpa/inet.h>
#include <ctype.h>

#include "base/fs.h"
#include "base/giturl.h"

/* Characters beside letters and digits that a part of a URL keeps as they are. Source: net/url. */
static const char PATH_KEEPS[] = "-_.~$&+,/:;=@";
static const char PATH_ALLOWS[] = "-_.~$&+,/:;=@!'()*[]%";
static const char USER_KEEPS[] = "-_.~$&+,;=";
static const char USER_ALLOWS[] = "-._:~!$&'()*+,;=%@";
static const char HOST_ALLOWS[] = "-_.~!$&'()*+,;=:[]<>\"%";

static const char *const SCHEMES[] = {"http", "https", "ssh", "git"};

/* A URL or user@host:path taken apart; raw where the name says so. */
typedef struct Parts {
    const char *scheme;
    const char *remote;    /* rebuilt, without query and fragment */
    const char *path;      /* decoded */
    const char *raw_query; /* NULL: none */
    const char *fragment;  /* decoded; "" for none */
} Parts;

static bool plain(char c, const char *others)
{
    return isalnum((unsigned char)c) || (c && strchr(others, c));
}

static bool all_plain(const char *s, const char *others)
{
    for (; *s; s++)
        if (!plain(*s, others))
            return false;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Replace %XX (and '+' in queries) in a copy. NULL: a broken escape, or one that hides a NUL. */
static char *decode(Arena *a, const char *s, bool query)
{
    char *out = arena_strdup(a, s), *w = out;
    for (; *s; s++) {
        if (*s == '%') {
            int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
            if (lo < 0 || hi + lo == 0)
                return NULL;
            *w++ = (char)(hi << 4 | lo);
            s += 2;
        } else {
            *w++ = query && *s == '+' ? ' ' : *s;
        }
    }
    *w = 0;
    return out;
}

static const char *encode(Arena *a, const char *s, const char *keeps)
{
    static const char HEX[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, strlen(s) * 3 + 1), *w = out;
    for (; *s; s++) {
        if (plain(*s, keeps)) {
            *w++ = *s;
            continue;
        }
        *w++ = '%';
        *w++ = HEX[(unsigned char)*s >> 4];
        *w++ = HEX[(unsigned char)*s & 15];
    }
    return out;
}

static char *cut(Arena *a, char *s, char c)
{
    char *at = strchr(s, c);
    if (!at)
        return NULL;
    *at = 0;
    return arena_strdup(a, at + 1);
}

/* ---- URLs ---- */

static bool port_ok(const char *s)
{
    return !*s || (*s == ':' && strspn(s + 1, "0123456789") == strlen(s + 1));
}

/* "[v6]" or "[v6%25zone]", then maybe a port. */
static bool literal_ok(Arena *a, const char *host)
{
    const char *close = strrchr(host, ']');
    struct in6_addr ignored;
    if (!close || !port_ok(close + 1))
        return false;
    char *name = arena_strndup(a, host + 1, (size_t)(close - host - 1));
    char *zone = strstr(name, "%25");
    if (zone) {
        *zone = 0;
        return zone[3] && all_plain(zone + 3, "-_.~") && inet_pton(AF_INET6, name, &ignored) == 1;
    }
    return inet_pton(AF_INET6, name, &ignored) == 1;
}

static bool host_ok(Arena *a, const char *scheme, const char *host)
{
    if (*host == '[')
        return literal_ok(a, host);
    const char *colon = str_starts(scheme, "http") ? strchr(host, ':') : strrchr(host, ':');
    if (strchr(host, '[') || (colon && !port_ok(colon)))
        return false;
    for (const char *c = host; *c; c++) {
        /* An escape in a host may only stand for a byte that is not ASCII. */
        if (*c == '%' && (hex_digit(c[1]) < 8 || hex_digit(c[2]) < 0))
            return false;
        if (!((unsigned char)*c >= 0x80 || plain(*c, HOST_ALLOWS)))
            return false;
    }
    return true;
}

/* user[:password]@host; NULL when it is none. */
static const char *authority(Arena *a, const char *scheme, char *text)
{
    char *at = strrchr(text, '@');
    const char *host = at ? at + 1 : text;
    if (!host_ok(a, scheme, host))
        return NULL;
    if (*host != '[')
        host = encode(a, host, HOST_ALLOWS);
    if (!at)
        return host;
    *at = 0;
    if (!all_plain(text, USER_ALLOWS))
        return NULL;
    const char *raw_password = cut(a, text, ':'), *password = NULL;
    const char *user = decode(a, text, false);
    if (raw_password)
        password = decode(a, raw_password, false);
    if (!user || (raw_password && !password))
        return NULL;
    user = encode(a, user, USER_KEEPS);
    if (!password)
        return arena_printf(a, "%s@%s", user, host);
    return arena_printf(a, "%s:%s@%s", user, encode(a, password, USER_KEEPS), host);
}

/* What follows "scheme://" (or stands without one, when `host` is false). */
static bool split_url(Arena *a, const char *scheme, const char *rest, Parts *ret)
{
    char *text = arena_strdup(a, rest);
    const char *fragment = cut(a, text, '#');
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    ret->raw_query = cut(a, text, '?');
    ret->fragment = fragment ? decode(a, fragment, false) : "";
    char *slash = strchr(text, '/');
    const char *raw = slash ? arena_strdup(a, slash) : "";
    if (slash)
        *slash = 0;
    const char *host = authority(a, scheme, text);
    ret->path = decode(a, raw, false);
    if (!ret->fragment || !host || !ret->path)
        return false;
    ret->scheme = scheme;
    ret->remote =
        arena_printf(a, "%s://%s%s", scheme, host,
                     all_plain(raw, PATH_ALLOWS) ? raw : encode(a, ret->path, PATH_KEEPS));
    return true;
}

/* The known scheme in front of "://", and what follows. */
static const char *known_scheme(const char *text, const char **ret_rest)
{
    size_t n = 0;
    while (isalnum((unsigned char)text[n]))
        n++;
    if (!n || strncmp(text + n, "://", 3) != 0)
        return NULL;
    *ret_rest = text + n + 3;
    for (size_t i = 0; i < NELEM(SCHEMES); i++)
        if (strlen(SCHEMES[i]) == n && !strncasecmp(SCHEMES[i], text, n))
            return SCHEMES[i];
    return "";
}

/* user@host:path[?query][#fragment]: neither path nor fragment is encoded. */
static bool split_scp(Arena *a, const char *text, Parts *ret)
{
    size_t user = 0, host;
    while (plain(text[user], "-_"))
        user++;
    if (!user || text[user] != '@')
        return false;
    for (host = user + 1; plain(text[host], "-."); host++)
        ;
    if (host == user + 1 || text[host] != ':' || strchr(text, '\n'))
        return false;
    char *copy = arena_strdup(a, text);
    const char *fragment = cut(a, copy, '#');
    ret->scheme = "ssh";
    ret->fragment = fragment ? fragment : "";
    ret->raw_query = cut(a, copy, '?');
    ret->path = copy + host + 1;
    ret->remote = copy;
    return true;
}

/* ---- fragment and query ---- */

/* A directory below the root: ".." stops there, as BuildKit has it. */
static const char *clean_subdir(Arena *a, const char *s)
{
    return path_clean(a, arena_printf(a, "/%s", s)) + 1;
}

static bool parse_bool(const char *s, GitChoice *ret)
{
    bool yes;
    if (!str_bool(s, &yes))
        return false;
    *ret = yes ? GIT_YES : GIT_NO;
    return true;
}

typedef enum QueryKey {
    Q_REF,
    Q_TAG,
    Q_BRANCH,
    Q_SUBDIR,
    Q_CHECKSUM,
    Q_COMMIT,
    Q_MTIME,
    Q_KEEP,
    Q_SUBMODULES,
    Q_BY_COMMIT,
} QueryKey;
enum { NQUERY_KEY = Q_BY_COMMIT + 1 };

static const char *const KEYS[NQUERY_KEY] = {
    [Q_REF] = "ref",
    [Q_TAG] = "tag",
    [Q_BRANCH] = "branch",
    [Q_SUBDIR] = "subdir",
    [Q_CHECKSUM] = "checksum",
    [Q_COMMIT] = "commit",
    [Q_MTIME] = "mtime",
    [Q_KEEP] = "keep-git-dir",
    [Q_SUBMODULES] = "submodules",
    [Q_BY_COMMIT] = "fetch-by-commit",
};

/* The values of a query, NULL for keys that are not there. */
typedef struct Query {
    const char *v[NQUERY_KEY];
} Query;

static bool add_pair(const char *key, const char *value, Query *q, Err *e)
{
    size_t i = 0;
    while (i < NQUERY_KEY && strcmp(key, KEYS[i]) != 0)
        i++;
    if (!*value && i < Q_KEEP)
        return err_set(e, ERR_DOCKERFILE, "query '%s' has no value", key);
    if (i == NQUERY_KEY)
        return err_set(e, ERR_DOCKERFILE, "unexpected query '%s'", key);
    if (q->v[i])
        return err_set(e, ERR_DOCKERFILE, "query '%s' has multiple values", key);
    q->v[i] = value;
    return true;
}

/* Pairs that are not well formed are passed over, as Go does; for user@host:path they make the text
 * something else, which *ret_broken tells. */
static bool read_query(Arena *a, const char *raw, Query *q, bool *ret_broken, Err *e)
{
    char *rest = arena_strdup(a, raw);
    while (rest) {
        char *pair = rest;
        rest = strchr(pair, '&');
        if (rest)
            *rest++ = 0;
        if (!*pair)
            continue;
        bool semicolon = strchr(pair, ';') != NULL;
        const char *raw_value = cut(a, pair, '=');
        const char *key = decode(a, pair, true);
        const char *value = decode(a, raw_value ? raw_value : "", true);
        if (semicolon || !key || !value)
            *ret_broken = true;
        else if (!add_pair(key, value, q, e))
            return false;
    }
    return true;
}

/* Set the ref, unless another one was named already. */
static bool set_ref(GitRef *r, const char *ref, Err *e)
{
    if (*r->ref && strcmp(r->ref, ref) != 0)
        return err_set(e, ERR_DOCKERFILE, "ref conflicts: '%s' vs '%s'", r->ref, ref);
    r->ref = ref;
    return true;
}

static const char *with_prefix(Arena *a, const char *prefix, const char *s)
{
    return str_starts(s, prefix) ? s : arena_printf(a, "%s%s", prefix, s);
}

static bool apply_refs(Arena *a, const Query *q, GitRef *r, Err *e)
{
    if (q->v[Q_REF] && !set_ref(r, q->v[Q_REF], e))
        return false;
    if (q->v[Q_TAG] && !set_ref(r, with_prefix(a, "refs/tags/", q->v[Q_TAG]), e))
        return false;
    if (q->v[Q_TAG] && q->v[Q_BRANCH])
        return err_set(e, ERR_DOCKERFILE, "branch conflicts with tag");
    return !q->v[Q_BRANCH] || set_ref(r, with_prefix(a, "refs/heads/", q->v[Q_BRANCH]), e);
}

static bool apply_choice(const Query *q, QueryKey key, GitChoice *ret, Err *e)
{
    const char *v = q->v[key];
    if (!v)
        return true;
    if (!*v)
        *ret = GIT_YES;
    else if (!parse_bool(v, ret))
        return err_set(e, ERR_DOCKERFILE, "invalid %s value: '%s'", KEYS[key], v);
    return true;
}

static bool apply_rest(Arena *a, const Query *q, GitRef *r, Err *e)
{
    const char *sum = q->v[Q_CHECKSUM], *commit = q->v[Q_COMMIT], *subdir = q->v[Q_SUBDIR];
    const char *mtime = q->v[Q_MTIME];
    GitChoice by_commit = GIT_UNSAID;
    if (sum && commit && strcmp(sum, commit) != 0)
        return err_set(e, ERR_DOCKERFILE, "checksum conflicts: '%s' vs '%s'", sum, commit);
    if (sum || commit)
        r->checksum = sum ? sum : commit;
    if (subdir && *r->subdir && strcmp(r->subdir, clean_subdir(a, subdir)) != 0)
        return err_set(e, ERR_DOCKERFILE, "subdir conflicts: '%s' vs '%s'", r->subdir, subdir);
    if (subdir)
        r->subdir = clean_subdir(a, subdir);
    if (mtime && strcmp(mtime, "checkout") != 0 && strcmp(mtime, "commit") != 0)
        return err_set(e, ERR_DOCKERFILE,
                       "invalid mtime value: '%s' (must be 'checkout' or 'commit')", mtime);
    r->commit_times = mtime && !strcmp(mtime, "commit");
    if (!apply_choice(q, Q_KEEP, &r->keep_git_dir, e) ||
        !apply_choice(q, Q_SUBMODULES, &r->submodules, e) ||
        !apply_choice(q, Q_BY_COMMIT, &by_commit, e))
        return false;
    r->fetch_by_commit = by_commit == GIT_YES;
    return true;
}

static const char *short_name(Arena *a, const char *remote)
{
    const char *base = path_base(remote);
    size_t n = strlen(base);
    return arena_strndup(a, base, str_ends(base, ".git") ? n - 4 : n);
}

/* The parts of a git reference; false for every other text. */
static bool split(Arena *a, const char *text, Parts *p, bool *ret_like_path)
{
    const char *rest;
    *ret_like_path = str_starts(text, "github.com/");
    if (str_starts(text, "./") || str_starts(text, "../"))
        return false;
    if (*ret_like_path)
        return split_url(a, "https", text, p);
    const char *scheme = known_scheme(text, &rest);
    if (!scheme)
        return split_scp(a, text, p);
    if (!*scheme || !split_url(a, scheme, rest, p))
        return false;
    return !str_starts(scheme, "http") || str_ends(p->path, ".git");
}

bool git_ref_parse(Arena *a, const char *text, bool *ret_is_git, GitRef *ret, Err *e)
{
    GitRef r = {.ref = "", .subdir = "", .checksum = ""};
    Parts p = {0};
    Query q = {{0}};
    bool broken = false;
    Err why = ERR_INIT;
    *ret_is_git = false;
    if (!split(a, text, &p, &r.like_path))
        return true;
    bool query_ok = !p.raw_query || read_query(a, p.raw_query, &q, &broken, &why);
    if (broken && !known_scheme(text, &(const char *){NULL}) && !r.like_path)
        return true;
    r.remote = p.remote;
    r.short_name = short_name(a, p.remote);
    r.unencrypted = !strcmp(p.scheme, "http") || !strcmp(p.scheme, "git");
    const char *colon = strchr(p.fragment, ':');
    r.ref = colon ? arena_strndup(a, p.fragment, (size_t)(colon - p.fragment)) : p.fragment;
    r.subdir = clean_subdir(a, colon ? colon + 1 : "");
    if (!query_ok || !apply_refs(a, &q, &r, &why) || !apply_rest(a, &q, &r, &why))
        return err_set(e, ERR_DOCKERFILE, "git reference '%s': %s", git_masked(a, p.remote),
                       why.msg);
    *ret_is_git = true;
    *ret = r;
    return true;
}

/* ---- remotes ---- */

bool git_is_id(const char *s)
{
    size_t n = strlen(s);
    return (n == 40 || n == 64) && strspn(s, "0123456789abcdef") == n;
}

const char *git_scheme(const char *remote)
{
    const char *rest, *scheme = known_scheme(remote, &rest);
    return scheme ? scheme : "ssh";
}

const char *git_masked(Arena *a, const char *remote)
{
    const char *rest, *scheme = known_scheme(remote, &rest);
    if (!scheme)
        return remote;
    size_t n = strcspn(rest, "/");
    const char *at = memrchr(rest, '@', n), *colon = memchr(rest, ':', n);
    if (!at)
        return remote;
    if (str_starts(scheme, "http"))
        return arena_printf(a, "%s://xxxxx%s%s", scheme, colon && colon < at ? ":xxxxx" : "", at);
    if (!colon || colon > at)
        return remote;
    return arena_printf(a, "%s://%.*s:xxxxx%s", scheme, (int)(colon - rest), rest, at);
}

bool http_url_is(const char *text)
{
    return str_starts(text, "http://") || str_starts(text, "https://");
}
