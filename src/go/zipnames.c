/*
 * go/zipnames.c - the names in a module's zip: valid, below its prefix, and each there once,
 * whatever the file system thinks of case.
 */
#include "go/zipnames.h"

#include <stdlib.h>
#include <strings.h>

#include "base/digest.h"
#include "go/path.h"
#include "go/unicode.h"
#include "go/zip.h"

static bool bad(Err *e, Str name, const char *what)
{
    char shown[GO_SHOWN_SIZE];
    return err_set(e, ERR_NETWORK, "zip: '%s': %s", go_shown_into(shown, name), what);
}

static bool is_dir(Str name)
{
    return name.len && name.ptr[name.len - 1] == '/';
}

/* ---- one path once ---- */

/*
 * A file or directory by a hash of its folded path: equal hashes, equal paths but for case. Sorting
 * hashes costs the same whoever chose the names.
 */
typedef struct Seen {
    uint64_t hash[2];
    Str path;
    bool dir;
    bool said; /* an entry of its own, not only in front of another's slash */
} Seen;

typedef struct Collisions {
    Seen *v;
    size_t n;
} Collisions;

static int by_hash(const void *a, const void *b)
{
    return memcmp(((const Seen *)a)->hash, ((const Seen *)b)->hash, sizeof((const Seen *)a)->hash);
}

static void see(Collisions *c, const Hasher *folded, Str path, bool dir, bool said)
{
    Hasher end = *folded;
    Digest d;
    Seen s = {.path = path, .dir = dir, .said = said};
    hash_end(&end, &d);
    memcpy(s.hash, d.b, sizeof s.hash);
    c->v[c->n++] = s;
}

static size_t common_part(Str a, Str b)
{
    size_t n = 0;
    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n])
        n++;
    return n;
}

/* How many directories stand above a name and not above the one before it. */
static size_t new_dirs(Str name, Str before)
{
    size_t n = 0;
    for (size_t at = common_part(name, before); at + 1 < name.len; at++)
        n += name.ptr[at] == '/';
    return n;
}

/* The path, and those directories. Names are sorted, so what is in one of them is together. */
static void see_all(Collisions *c, Str name, Str before)
{
    Hasher h;
    bool dir = is_dir(name);
    size_t len = name.len - dir, common = common_part(name, before);
    hash_init(&h);
    for (size_t at = 0; at < len;) {
        uint32_t rune;
        if (name.ptr[at] == '/' && at >= common)
            see(c, &h, (Str){name.ptr, at}, true, false);
        at += go_rune_at(name.ptr + at, name.ptr + len, &rune);
        rune = go_rune_fold(rune);
        hash_add(&h, &rune, sizeof rune);
    }
    see(c, &h, (Str){name.ptr, len}, dir, true);
}

/* All that are equal but for case must be one directory, with at most one entry of its own. */
static bool check_equal(const Seen *s, size_t n, Err *e)
{
    size_t said = 0;
    for (size_t i = 0; i < n; i++) {
        said += s[i].said;
        if (!str_same(s[i].path, s[0].path))
            return bad(e, s[i].path, "there is another file whose name differs in case only");
        if (s[i].dir != s[0].dir)
            return bad(e, s[i].path, "both a file and a directory");
    }
    return said <= 1 || bad(e, s[0].path, "more than one entry");
}

static bool check_collisions(const ZipDir *d, size_t skip, size_t ndir, Err *e)
{
    scoped(arena) Arena a = {0};
    Collisions c = {.v = arena_array(&a, d->n + ndir + 1, sizeof *c.v)};
    Str before = {"", 0};
    for (size_t i = 0; i < d->n; i++) {
        Str name = {d->v[i].name.ptr + skip, d->v[i].name.len - skip};
        if (name.len)
            see_all(&c, name, before);
        before = name;
    }
    if (c.n)
        qsort(c.v, c.n, sizeof *c.v, by_hash);
    for (size_t i = 0, k; i < c.n; i = k) {
        for (k = i + 1; k < c.n && !by_hash(&c.v[i], &c.v[k]);)
            k++;
        if (k > i + 1 && !check_equal(c.v + i, k - i, e))
            return false;
    }
    return true;
}

/* ---- one name ---- */

static bool check_gomod(const ZipEntry *x, Str name, Err *e)
{
    static const char GOMOD[] = "go.mod";
    size_t n = sizeof GOMOD - 1, base = name.len;
    while (base && name.ptr[base - 1] != '/')
        base--;
    if (name.len - base != n || strncasecmp(name.ptr + base, GOMOD, n) != 0)
        return true;
    if (base)
        return bad(e, x->name, "go.mod file not in module root directory");
    if (!str_eq(name, GOMOD))
        return bad(e, x->name, "go.mod files must have lowercase names");
    return x->size <= GO_MOD_MAX || bad(e, x->name, "go.mod file too large");
}

static bool check_name(const ZipEntry *x, Str name, Err *e)
{
    char why[PATH_WHY_SIZE];
    bool dir = is_dir(name);
    const char *fault = path_fault((Str){name.ptr, name.len - dir}, PATH_FILE, why);
    if (fault)
        return bad(e, x->name, fault);
    if (dir)
        return true;
    if (str_eq(name, "LICENSE") && x->size > GO_LICENSE_MAX)
        return bad(e, x->name, "LICENSE file too large");
    return check_gomod(x, name, e);
}

bool zip_names_check(const ZipDir *d, const char *prefix, uint64_t *ret_size, Err *e)
{
    size_t skip = strlen(prefix), ndir = 0;
    uint64_t size = 0;
    Str before = {"", 0};
    for (size_t i = 0; i < d->n; i++) {
        const ZipEntry *x = &d->v[i];
        if (x->name.len < skip || memcmp(x->name.ptr, prefix, skip) != 0)
            return err_set(e, ERR_NETWORK, "zip: an entry is not below '%s'", prefix);
        Str name = {x->name.ptr + skip, x->name.len - skip};
        if (i + 1 < d->n && str_same(x->name, x[1].name))
            return bad(e, x->name, "more than one entry");
        if (is_dir(x->name) && x->size)
            return bad(e, x->name, "a directory with content");
        if (name.len && !check_name(x, name, e)) /* none: the module's own directory */
            return false;
        if (x->size > GO_ZIP_MAX - size)
            return err_set(e, ERR_NETWORK, "zip: more than %d bytes unpacked", GO_ZIP_MAX);
        size += x->size;
        ndir += new_dirs(name, before);
        if (ndir > ZIP_ENTRIES_MAX)
            return bad(e, x->name, "too many directories");
        before = name;
    }
    *ret_size = size;
    return check_collisions(d, skip, ndir, e);
}
