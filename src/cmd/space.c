/*
 * cmd/space.c - sizes, ages, filters and rows of `du` and `prune`.
 */
#include "cmd/space.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/fs.h"

#define GB ((uint64_t)1000 * 1000 * 1000)

/* ---- sizes ---- */

static bool disk_size(int fd, uint64_t *ret, Err *e)
{
    struct statvfs vfs;
    if (fstatvfs(fd, &vfs) < 0)
        return err_errno(e, ERR_STORE, "size of the disk");
    *ret = (uint64_t)vfs.f_blocks * vfs.f_frsize;
    return true;
}

bool space_parse(const char *text, int fd, uint64_t *ret, Err *e)
{
    static const char UNITS[] = "bkmgtp";
    char *end;
    double v = isdigit((unsigned char)*text) ? strtod(text, &end) : -1;
    uint64_t disk = 0;
    if (v < 0 || !isfinite(v))
        return err_set(e, ERR_USAGE, "'%s' is no size: expected 10GB, 512MB or 10%%", text);
    if (!strcmp(end, "%")) {
        if (v > 100)
            return err_set(e, ERR_USAGE, "'%s' is more than the disk", text);
        if (!disk_size(fd, &disk, e))
            return false;
        *ret = (uint64_t)((double)disk * v / 100);
        return true;
    }
    const char *unit = *end == ' ' ? end + 1 : end;
    const char *at = *unit ? strchr(UNITS, tolower((unsigned char)*unit)) : UNITS;
    if (*unit && at)
        unit++;
    if (at && at > UNITS && tolower((unsigned char)*unit) == 'i')
        unit++;
    if (at && at > UNITS && tolower((unsigned char)*unit) == 'b')
        unit++;
    v = at ? ldexp(v, (int)(at - UNITS) * 10) : 0;
    if (!at || *unit || v > 9e18)
        return err_set(e, ERR_USAGE, "'%s' is no size: expected 10GB, 512MB or 10%%", text);
    *ret = (uint64_t)v;
    return true;
}

static const char *max_cache(const char *option, const char **ret_from)
{
    const char *env = getenv("LIGHTER_MAX_CACHE");
    *ret_from = option ? "--max-cache" : "LIGHTER_MAX_CACHE";
    return option ? option : env && *env ? env : NULL;
}

bool space_check(const char *option, Err *e)
{
    const char *from, *text = max_cache(option, &from);
    uint64_t ignored;
    scoped(fd) int root = open("/", O_PATH | O_CLOEXEC); /* any disk will do */
    return !text || space_parse(text, root, &ignored, e) || err_wrap(e, "%s", from);
}

bool space_ceiling(const Store *s, const char *option, uint64_t *ret, bool *ret_asked, Err *e)
{
    const char *from, *text = max_cache(option, &from);
    uint64_t disk = 0, size;
    *ret_asked = text != NULL;
    if (text)
        return space_parse(text, store_dirfd(s), ret, e) || err_wrap(e, "%s", from);
    if (!disk_size(store_dirfd(s), &disk, e))
        return false;
    size = disk / 10 > 10 * GB ? disk / 10 : 10 * GB;
    *ret = size > disk / 2 ? disk / 2 : size;
    return true;
}

/* ---- ages ---- */

/* Go's durations, and days and weeks: "1h30m", "24h", "7d". */
static bool parse_age(const char *text, int64_t *ret)
{
    static const struct {
        const char *unit;
        double seconds;
    } UNITS[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1},
                 {"m", 60},    {"h", 3600},  {"d", 86400}, {"w", 604800}};
    double sum = 0;
    if (!strcmp(text, "0")) {
        *ret = 0;
        return true;
    }
    if (!*text)
        return false;
    while (*text) {
        char *end;
        if (!isdigit((unsigned char)*text) && *text != '.')
            return false;
        double v = strtod(text, &end);
        size_t n = strspn(end, "abcdefghijklmnopqrstuvwxyz"), i = 0;
        while (i < NELEM(UNITS) &&
               (strlen(UNITS[i].unit) != n || strncmp(UNITS[i].unit, end, n) != 0))
            i++;
        if (i == NELEM(UNITS) || end == text)
            return false;
        sum += v * UNITS[i].seconds;
        text = end + n;
    }
    if (!isfinite(sum) || sum > 1e15)
        return false;
    *ret = (int64_t)sum;
    return true;
}

/* ---- filters ---- */

static const char *const FLAGS[] = {"inuse", "shared", "private", "mutable", "immutable"};
static const char *const FIELDS[] = {"id", "type", "description"};

static bool is_one_of(const char *key, const char *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(v[i], key))
            return true;
    return false;
}

static bool parse_test(Arena *a, char *text, SpaceTest *t, Err *e)
{
    char *eq = strchr(text, '=');
    const char *whole = arena_strdup(a, text);
    *t = (SpaceTest){.key = text, .how = TEST_EQ};
    if (eq) {
        char *end = eq;
        t->value = eq + 1;
        if (eq > text && (eq[-1] == '!' || eq[-1] == '~')) {
            t->how = eq[-1] == '!' ? TEST_NE : TEST_RE;
            end = eq - 1;
        } else if (eq[1] == '=') {
            t->value = eq + 2;
        }
        *end = 0;
    }
    if (!strcmp(text, "until") || !strcmp(text, "unused-for")) {
        t->key = "until";
        return (t->value && t->how == TEST_EQ && parse_age(t->value, &t->seconds)) ||
               err_set(e, ERR_USAGE, "--filter %s: expected a duration, as until=24h", whole);
    }
    if (is_one_of(text, FLAGS, NELEM(FLAGS)))
        return !t->value || err_set(e, ERR_USAGE, "--filter %s: '%s' takes no value", whole, text);
    if (!is_one_of(text, FIELDS, NELEM(FIELDS)))
        return err_set(e, ERR_USAGE,
                       "--filter %s: expected until, id, type, description, inuse, shared, "
                       "private, mutable or immutable",
                       whole);
    if (!t->value)
        return err_set(e, ERR_USAGE, "--filter %s: needs a value", whole);
    if (t->how == TEST_RE && regcomp(&t->re, t->value, REG_EXTENDED | REG_NOSUB) != 0) {
        t->how = TEST_EQ;
        return err_set(e, ERR_USAGE, "--filter %s: '%s' is no regular expression", whole, t->value);
    }
    return true;
}

bool filter_parse(Arena *a, const StrList *texts, SpaceFilter *ret, Err *e)
{
    size_t cap = 0;
    for (size_t i = 0; i < texts->n; i++) {
        char *copy = arena_strdup(a, texts->v[i]), *save = NULL;
        for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
            SpaceTest *t = ARENA_PUSH(a, ret->v, ret->n, cap);
            if (!parse_test(a, p, t, e))
                return false;
        }
    }
    return true;
}

void filter_done(SpaceFilter *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].how == TEST_RE)
            regfree(&f->v[i].re);
    f->n = 0;
}

/* An ID is given whole, or by the first digits of a digest; a cache mount also by its own id. */
static bool same_id(const StoreItem *it, const char *value)
{
    size_t n = strlen(value);
    if (!strcmp(it->id, value) || (it->mutable && !strcmp(it->what, value)))
        return true;
    if (str_starts(it->id, "sha256:"))
        return n >= 4 && (str_starts(it->id, value) || str_starts(it->id + 7, value)) &&
               strcmp(value, "sha256:") != 0 && !(n < 11 && str_starts(value, "sha2"));
    return it->id[0] == 'r' && n >= 5 && str_starts(it->id, value);
}

static bool test_flag(const SpaceTest *t, const StoreItem *it)
{
    if (!strcmp(t->key, "inuse"))
        return it->in_use || it->needed;
    if (!strcmp(t->key, "shared"))
        return it->shared;
    if (!strcmp(t->key, "private"))
        return !it->shared;
    return it->mutable == !strcmp(t->key, "mutable");
}

static bool test(const SpaceTest *t, const StoreItem *it, int64_t now)
{
    if (!strcmp(t->key, "until"))
        return it->used <= now - t->seconds;
    if (!t->value)
        return test_flag(t, it);
    const char *have = *t->key == 'i' ? it->id : *t->key == 't' ? it->type : it->what;
    if (t->how == TEST_RE)
        return regexec(&t->re, have, 0, NULL, 0) == 0 ||
               (*t->key == 'i' && it->mutable && regexec(&t->re, it->what, 0, NULL, 0) == 0);
    bool same = *t->key == 'i' ? same_id(it, t->value) : !strcmp(have, t->value);
    return same == (t->how == TEST_EQ);
}

bool filter_match(const SpaceFilter *f, const StoreItem *it, int64_t now)
{
    for (size_t i = 0; i < f->n; i++)
        if (!test(&f->v[i], it, now))
            return false;
    return true;
}

bool filter_names(const SpaceFilter *f, const char *key, const char *value)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].how == TEST_EQ && f->v[i].value && !strcmp(f->v[i].key, key) &&
            !strcmp(f->v[i].value, value))
            return true;
    return false;
}

/* ---- rows ---- */

bool space_items(Arena *a, const char *isolation, Store **ret_store, StoreItem **ret, size_t *ret_n,
                 Err *e)
{
    SandboxHost host;
    if (!cmd_store(a, isolation ? isolation : "auto", &host, ret_store, e))
        return false;
    store_just_looks(*ret_store);
    return sandbox_enter(&host, e) && store_items(*ret_store, a, STORE_MEASURE, ret, ret_n, e);
}

void space_head(Buf *out)
{
    buf_printf(out, "%-22s %-20s %-12s %-10s %-15s %s\n", "ID", "TYPE", "RECLAIMABLE", "SIZE",
               "LAST USED", "DESCRIPTION");
}

static void put_row(const StoreItem *it, Buf *out)
{
    char size[32], age[40];
    str_size(it->size, size, sizeof size);
    cmd_age(it->used, "never", age, sizeof age);
    buf_printf(out, "%.*s%-*s %-20s %-12s %-10s %-15s %.100s\n",
               str_starts(it->id, "sha256:") ? 19 : 22, it->id,
               str_starts(it->id, "sha256:") ? 3
               : strlen(it->id) < 22         ? (int)(22 - strlen(it->id))
                                             : 0,
               it->mutable ? "*" : "", it->type, store_item_idle(it, false) ? "true" : "false",
               size, age, it->what);
}

void space_row(SpaceFold *f, const StoreItem *it, Buf *out)
{
    if (!it->history) {
        put_row(it, out);
        return;
    }
    f->n++;
    f->nbuild += str_starts(it->id, "builds/");
    f->size += it->size;
    f->used = it->used > f->used ? it->used : f->used;
}

void space_rows_end(const SpaceFold *f, Buf *out)
{
    char what[96];
    StoreItem all = {.id = "history",
                     .name = "history",
                     .type = "log",
                     .what = what,
                     .size = f->size,
                     .used = f->used,
                     .history = true};
    if (!f->n)
        return;
    (void)snprintf(what, sizeof what, "%zu files with records of builds, %zu logs of steps",
                   f->nbuild, f->n - f->nbuild);
    put_row(&all, out);
}
