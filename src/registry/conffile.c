/*
 * registry/conffile.c - registries.conf, daemon.json and buildkitd.toml to rows.
 */
#include "registry/conffile.h"

#include <ctype.h>

#include "registry/toml.h"

ConfRegistry *conf_add(Conf *c, const char *file, const char *prefix)
{
    ConfRegistry *r = ARENA_PUSH(&c->arena, c->v, c->n, c->cap);
    *r = (ConfRegistry){.file = file, .prefix = prefix};
    return r;
}

/* What may stand in a host, a port and a path of a location. */
static bool is_location(const char *s)
{
    size_t host = strcspn(s, "/");
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-:/[]*", *p))
            return false;
    return host > 0 && !strstr(s, "//");
}

bool conf_location(Arena *a, const char *text, const char **ret, bool *ret_plain)
{
    *ret_plain = str_starts(text, "http://");
    const char *at = *ret_plain ? text + 7 : str_starts(text, "https://") ? text + 8 : text;
    char *s = arena_strdup(a, at);
    size_t n = strlen(s);
    while (n && s[n - 1] == '/')
        s[--n] = 0;
    *ret = s;
    return is_location(s);
}

/* ---- typed access ---- */

/* One reader's place: what is being read, for its messages. */
typedef struct Place {
    Conf *c;
    const char *file, *what; /* "[[registry]]" */
    bool own;
    Err *e;
} Place;

static bool wrong(const Place *p, const char *name, const char *expected)
{
    return err_set(p->e, ERR_USAGE, "%s: '%s' is no %s", p->what, name, expected);
}

static bool get_text(const Place *p, const json_t *j, const char *name, const char **ret)
{
    const json_t *v = json_object_get(j, name);
    if (v && !json_is_string(v))
        return wrong(p, name, "string");
    *ret = v && *json_string_value(v) ? arena_strdup(&p->c->arena, json_string_value(v)) : NULL;
    return true;
}

static bool get_bool(const Place *p, const json_t *j, const char *name, bool *ret)
{
    const json_t *v = json_object_get(j, name);
    if (v && !json_is_boolean(v))
        return wrong(p, name, "true or false");
    *ret = json_is_true(v);
    return true;
}

static bool get_list(const Place *p, const json_t *j, const char *name, StrList *ret)
{
    const json_t *v = json_object_get(j, name), *item;
    size_t i;
    if (v && !json_is_array(v))
        return wrong(p, name, "list");
    json_array_foreach(v, i, item) if (!json_is_string(item)) return wrong(p, name,
                                                                           "list of strings");
    *ret = json_strlist(&p->c->arena, j, name);
    return true;
}

/* In a file of lighter's own a misspelt name must not go unnoticed. */
static bool check_names(const Place *p, const json_t *j, const char *const *names, size_t n)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)j, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known = known || !strcmp(key, names[i]);
        if (!known && p->own)
            return err_set(p->e, ERR_USAGE, "%s: '%s' is not known", p->what, key);
    }
    return true;
}

static bool location(const Place *p, const char *text, const char **ret, bool *ret_plain)
{
    return conf_location(&p->c->arena, text, ret, ret_plain) ||
           err_set(p->e, ERR_USAGE, "%s: '%s' is no HOST[:PORT][/PATH]", p->what, text);
}

/* ---- registries.conf ---- */

static bool mirror_use(const Place *p, const char *text, MirrorUse *ret)
{
    static const char *const WORDS[] = {
        [MIRROR_ALL] = "all", [MIRROR_DIGESTS] = "digest-only", [MIRROR_TAGS] = "tag-only"};
    *ret = MIRROR_ALL;
    for (size_t i = 0; text && i < NELEM(WORDS); i++)
        if (!strcmp(text, WORDS[i])) {
            *ret = (MirrorUse)i;
            return true;
        }
    return !text || wrong(p, "pull-from-mirror", "all, digest-only or tag-only");
}

static bool read_mirror(Conf *c, ConfRegistry *r, const Place *outer, const json_t *j)
{
    static const char *const NAMES[] = {"location", "insecure", "pull-from-mirror"};
    Place p = *outer;
    const char *where, *use;
    ConfMirror m = {0};
    p.what = "[[registry.mirror]]";
    if (!json_is_object(j))
        return wrong(&p, "mirror", "table");
    if (!check_names(&p, j, NAMES, NELEM(NAMES)) || !get_text(&p, j, "location", &where) ||
        !get_text(&p, j, "pull-from-mirror", &use) || !mirror_use(&p, use, &m.use) ||
        !get_bool(&p, j, "insecure", &m.insecure))
        return false;
    if (!where)
        return err_set(p.e, ERR_USAGE, "%s: has no location", p.what);
    if (!location(&p, where, &m.location, &m.plain))
        return false;
    *ARENA_PUSH(&c->arena, r->mirrors, r->nmirror, r->mirror_cap) = m;
    return true;
}

static bool read_registry(const Place *p, const json_t *j)
{
    static const char *const NAMES[] = {"prefix",  "location", "insecure",
                                        "blocked", "mirror",   "mirror-by-digest-only"};
    Conf *c = p->c;
    ConfRegistry *r = conf_add(c, p->file, NULL);
    const char *where, *prefix;
    const json_t *mirrors = json_object_get(j, "mirror"), *m;
    size_t i;
    if (!json_is_object(j))
        return wrong(p, "registry", "table");
    if (!check_names(p, j, NAMES, NELEM(NAMES)) || !get_text(p, j, "prefix", &prefix) ||
        !get_text(p, j, "location", &where) || !get_bool(p, j, "insecure", &r->insecure) ||
        !get_bool(p, j, "blocked", &r->blocked) ||
        !get_bool(p, j, "mirror-by-digest-only", &r->digests_only))
        return false;
    if (where && !location(p, where, &r->location, &r->plain))
        return false;
    if (!prefix && !where)
        return err_set(p->e, ERR_USAGE, "%s: has neither prefix nor location", p->what);
    r->prefix = prefix ? prefix : r->location;
    if (!is_location(r->prefix))
        return err_set(p->e, ERR_USAGE, "%s: '%s' is no prefix", p->what, r->prefix);
    if (str_starts(r->prefix, "*.") && !where)
        r->location = NULL;
    if (r->location && !strcmp(r->location, r->prefix))
        r->location = NULL;
    if (mirrors && !json_is_array(mirrors))
        return wrong(p, "mirror", "list");
    json_array_foreach(mirrors, i, m) if (!read_mirror(c, r, p, m)) return false;
    return true;
}

bool conf_read(Conf *c, const char *file, const char *text, size_t len, bool own, Err *e)
{
    static const char *const NAMES[] = {"unqualified-search-registries", "registry"};
    scoped(json) json_t *j = NULL;
    Place p = {c, file, "the file", own, e};
    StrList search;
    size_t i;
    const json_t *r;
    if (!toml_parse(text, len, &j, e))
        return false;
    const json_t *registries = json_object_get(j, "registry");
    if (!check_names(&p, j, NAMES, NELEM(NAMES)) ||
        !get_list(&p, j, "unqualified-search-registries", &search))
        return false;
    if (registries && !json_is_array(registries))
        return wrong(&p, "registry", "list of tables: write [[registry]]");
    p.what = "[[registry]]";
    json_array_foreach(registries, i, r) if (!read_registry(&p, r)) return false;
    if (!c->search.n)
        c->search = search;
    return true;
}

/* ---- daemon.json ---- */

bool conf_read_daemon(Conf *c, const char *file, const char *text, size_t len, Err *e)
{
    scoped(json) json_t *j = NULL;
    Place p = {c, file, "the file", false, e};
    StrList mirrors, insecure;
    if (!len)
        return true;
    if (!json_parse(text, len, &j, e) || !get_list(&p, j, "registry-mirrors", &mirrors) ||
        !get_list(&p, j, "insecure-registries", &insecure))
        return false;
    for (size_t i = 0; i < insecure.n; i++) {
        bool plain;
        const char *where;
        if (strchr(insecure.v[i], '/') && !strstr(insecure.v[i], "://"))
            strlist_add(&c->arena, &c->insecure_nets, insecure.v[i]);
        else if (location(&p, insecure.v[i], &where, &plain))
            conf_add(c, file, where)->insecure = true;
        else
            return false;
    }
    ConfRegistry *hub = mirrors.n ? conf_add(c, file, "docker.io") : NULL;
    for (size_t i = 0; i < mirrors.n; i++) {
        ConfMirror m = {0};
        if (!location(&p, mirrors.v[i], &m.location, &m.plain))
            return false;
        *ARENA_PUSH(&c->arena, hub->mirrors, hub->nmirror, hub->mirror_cap) = m;
    }
    return true;
}

/* ---- buildkitd.toml ---- */

static bool read_keypair(const Place *p, const json_t *list, ConfRegistry *r)
{
    const json_t *first = json_is_array(list) ? json_array_get(list, 0) : list;
    if (!first)
        return true;
    if (!json_is_object(first))
        return wrong(p, "keypair", "table");
    if (!get_text(p, first, "cert", &r->cert) || !get_text(p, first, "key", &r->key))
        return false;
    if (!r->cert == !r->key)
        return true;
    return err_set(p->e, ERR_USAGE, "%s: a keypair needs key and cert", p->what);
}

static bool read_host(const Place *p, const char *host, const json_t *j)
{
    Conf *c = p->c;
    StrList mirrors;
    ConfRegistry *r = conf_add(c, p->file, arena_strdup(&c->arena, host));
    if (!json_is_object(j) || !is_location(host))
        return wrong(p, host, "table of a host");
    if (!get_list(p, j, "mirrors", &mirrors) || !get_bool(p, j, "http", &r->plain) ||
        !get_bool(p, j, "insecure", &r->insecure) || !get_list(p, j, "ca", &r->ca) ||
        !read_keypair(p, json_object_get(j, "keypair"), r))
        return false;
    for (size_t i = 0; i < mirrors.n; i++) {
        ConfMirror m = {0};
        if (!location(p, mirrors.v[i], &m.location, &m.plain))
            return false;
        *ARENA_PUSH(&c->arena, r->mirrors, r->nmirror, r->mirror_cap) = m;
    }
    return true;
}

bool conf_read_buildkitd(Conf *c, const char *file, const char *text, size_t len, Err *e)
{
    scoped(json) json_t *j = NULL;
    Place p = {c, file, "[registry]", false, e};
    const char *host;
    const json_t *value;
    if (!toml_parse(text, len, &j, e))
        return false;
    const json_t *hosts = json_object_get(j, "registry");
    if (hosts && !json_is_object(hosts))
        return wrong(&p, "registry", "table: write [registry.\"host\"]");
    json_object_foreach((json_t *)hosts, host, value)
    {
        if (!read_host(&p, host, value))
            return false;
    }
    return true;
}
