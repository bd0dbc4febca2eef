/*
 * dockerfile/mount.c - RUN --mount=type=...,key=value
 */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "base/csv.h"
#include "dockerfile/check.h"

static const char *const TYPES[] = {"bind", "cache", "tmpfs", "secret", "ssh"};
static const char *const SHARING[] = {"shared", "private", "locked"};
static const char *const KEYS[] = {
    "type", "from", "source", "target", "readonly",    "id", "sharing", "required",  "size", "mode",
    "uid",  "gid",  "src",    "dst",    "destination", "ro", "rw",      "readwrite", "env"};

/* ---- values ---- */

typedef struct Reading {
    Arena *arena;
    const DfScope *scope; /* NULL: nothing is expanded yet */
    DfMount *m;
    bool ro_given;
    Err *e;
} Reading;

static bool one_of(Reading *r, const char *what, const char *value, const char *const *words,
                   size_t n, unsigned *ret)
{
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(value, words[i])) {
            *ret = (unsigned)i;
            return true;
        }
    const char *near = df_suggest(value, words, n);
    return err_set(r->e, ERR_DOCKERFILE, "unsupported %s \"%s\"%s%s%s", what, value,
                   near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static bool boolean(Reading *r, const char *key, const char *value, bool *ret)
{
    return str_bool(value, ret) ||
           err_set(r->e, ERR_DOCKERFILE, "invalid value for %s: %s", key, value);
}

static bool number(Reading *r, const char *key, const char *value, unsigned base, uint32_t *ret,
                   bool *ret_has)
{
    uint64_t v = 0;
    bool ok = *value != 0;
    for (const char *c = value; ok && *c; c++) {
        ok = *c >= '0' && (unsigned)(*c - '0') < base;
        v = v * base + (unsigned)(*c - '0');
        ok = ok && v <= UINT32_MAX;
    }
    if (!ok)
        return err_set(r->e, ERR_DOCKERFILE, "invalid value %s for %s", value, key);
    *ret = (uint32_t)v;
    *ret_has = true;
    return true;
}

static bool ram_size(Reading *r, const char *key, const char *value, uint64_t *ret)
{
    return str_ram_size(value, ret) ||
           err_set(r->e, ERR_DOCKERFILE, "invalid value for %s: %s", key, value);
}

static bool key_is(const char *key, const char *a, const char *b, const char *c)
{
    return !strcmp(key, a) || !strcmp(key, b) || !strcmp(key, c);
}

/* `required` and `size` belong to some types only, and the type must be known before them. */
static bool only_for(Reading *r, const char *key, bool ok)
{
    return ok || err_set(r->e, ERR_DOCKERFILE, "unexpected key '%s' for mount type '%s'", key,
                         TYPES[r->m->type]);
}

static bool secretive(const DfMount *m)
{
    return m->type == DF_MOUNT_SECRET || m->type == DF_MOUNT_SSH;
}

/* A key without a value. */
static bool take_bare(Reading *r, const char *key, const char *field)
{
    if (key_is(key, "readonly", "ro", "ro") || key_is(key, "readwrite", "rw", "rw")) {
        r->m->readonly = key[1] == 'o' || key[4] == 'o';
        r->ro_given = true;
        return true;
    }
    if (!strcmp(key, "required")) {
        r->m->required = true;
        return only_for(r, key, secretive(r->m));
    }
    return err_set(r->e, ERR_DOCKERFILE, "invalid field '%s' must be a key=value pair", field);
}

static bool unknown_key(Reading *r, const char *key, const char *field)
{
    const char *near = df_suggest(key, KEYS, NELEM(KEYS));
    return err_set(r->e, ERR_DOCKERFILE, "unexpected key '%s' in '%s'%s%s%s", key, field,
                   near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static bool take_access(Reading *r, const char *key, const char *value)
{
    bool v = false;
    if (!boolean(r, key, value, &v))
        return false;
    r->m->readonly = key_is(key, "readonly", "ro", "ro") ? v : !v;
    r->ro_given = true;
    return true;
}

static bool take_rights(Reading *r, const char *key, const char *value)
{
    DfMount *m = r->m;
    if (!strcmp(key, "mode"))
        return number(r, key, value, 8, &m->mode, &m->has_mode);
    if (!strcmp(key, "uid"))
        return number(r, key, value, 10, &m->uid, &m->has_uid);
    return number(r, key, value, 10, &m->gid, &m->has_gid);
}

static bool take_value(Reading *r, const char *key, const char *value, const char *field)
{
    DfMount *m = r->m;
    unsigned word = 0;
    if (!strcmp(key, "type")) {
        bool ok = one_of(r, "mount type", value, TYPES, NELEM(TYPES), &word);
        m->type = (DfMountType)word;
        return ok;
    }
    if (!strcmp(key, "sharing")) {
        bool ok = one_of(r, "sharing value", value, SHARING, NELEM(SHARING), &word);
        m->sharing = (DfSharing)word;
        m->sharing_set = true;
        return ok;
    }
    if (key_is(key, "readonly", "ro", "ro") || key_is(key, "readwrite", "rw", "rw"))
        return take_access(r, key, value);
    if (!strcmp(key, "required"))
        return only_for(r, key, secretive(m)) && boolean(r, key, value, &m->required);
    if (!strcmp(key, "size"))
        return only_for(r, key, m->type == DF_MOUNT_TMPFS) && ram_size(r, key, value, &m->size);
    if (key_is(key, "mode", "uid", "gid"))
        return take_rights(r, key, value);
    if (!strcmp(key, "from"))
        m->from = *value ? value : NULL;
    else if (key_is(key, "source", "src", "src"))
        m->source = value;
    else if (key_is(key, "target", "dst", "destination"))
        m->target = value;
    else if (!strcmp(key, "id"))
        m->id = *value ? value : NULL;
    else if (!strcmp(key, "env"))
        m->env = value;
    else
        return unknown_key(r, key, field);
    return true;
}

/* BuildKit looks for variables in `from` before it knows any. */
static bool check_from(Reading *r, const char *value)
{
    const char *dollar = strchr(value, '$');
    r->m->from = *value ? value : NULL;
    return !dollar || !dollar[1] ||
           err_set(r->e, ERR_DOCKERFILE,
                   "'from' doesn't support variable expansion, define alias stage instead");
}

static bool take_pair(Reading *r, const char *field)
{
    size_t n = strcspn(field, "=");
    char *key = arena_strndup(r->arena, field, n);
    for (char *c = key; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (!r->scope) {
        const char *value = field[n] ? field + n + 1 : NULL;
        return !value || strcmp(key, "from") != 0 || check_from(r, value);
    }
    if (!field[n])
        return take_bare(r, key, field);
    char *value;
    return df_expand(r->scope, field + n + 1, &value, r->e) && take_value(r, key, value, field);
}

static bool check_rights(Reading *r)
{
    const DfMount *m = r->m;
    const char *key = m->has_mode ? "mode" : m->has_uid ? "uid" : "gid";
    bool allowed = secretive(m) || m->type == DF_MOUNT_CACHE;
    return allowed || !(m->has_mode || m->has_uid || m->has_gid) ||
           err_set(r->e, ERR_DOCKERFILE, "%s not allowed for \"%s\" type mounts", key,
                   TYPES[m->type]);
}

static bool check_secret(Reading *r)
{
    const DfMount *m = r->m;
    if (m->type != DF_MOUNT_SECRET)
        return true;
    if (m->from)
        return err_set(r->e, ERR_DOCKERFILE, "secret mount should not have a from");
    if (m->sharing_set)
        return err_set(r->e, ERR_DOCKERFILE, "secret mount should not define sharing");
    if (!(m->source && *m->source) && !(m->target && *m->target) && !m->id)
        return err_set(r->e, ERR_DOCKERFILE,
                       "invalid secret mount. one of source, target required");
    if (m->source && *m->source && m->id)
        return err_set(r->e, ERR_DOCKERFILE, "both source and id can't be set");
    return true;
}

bool df_mount(Arena *a, const char *text, const DfScope *s, DfMount *ret, Err *e)
{
    DfMount m = {.type = DF_MOUNT_BIND};
    Reading r = {.arena = a, .scope = s, .m = &m, .e = e};
    StrList list = {0};
    if (!*text)
        return err_set(e, ERR_DOCKERFILE, "failed to parse csv mounts: EOF: it is empty");
    if (!csv_fields(a, text, &list, e)) {
        e->kind = ERR_DOCKERFILE;
        return err_wrap(e, "failed to parse csv mounts");
    }
    for (size_t i = 0; i < list.n; i++)
        if (!take_pair(&r, list.v[i]))
            return false;
    if (s && (!check_rights(&r) || !check_secret(&r)))
        return false;
    if (s && m.sharing_set && m.type != DF_MOUNT_CACHE)
        return err_set(e, ERR_DOCKERFILE, "invalid cache sharing set for %s mount", TYPES[m.type]);
    if (!r.ro_given)
        m.readonly = m.type != DF_MOUNT_CACHE && m.type != DF_MOUNT_TMPFS;
    *ret = m;
    return true;
}
