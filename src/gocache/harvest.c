/*
 * gocache/harvest.c - a GOCACHE that a command left, to a generation: only what go itself would
 * have written.
 */
#include <errno.h>
#include <sys/random.h>

#include "base/fs.h"
#include "base/map.h"
#include "go/go.h"
#include "gocache/gocache.h"

/* More are made one: a name that is in none is looked for in all. */
enum { GENERATIONS_MAX = 8, FILES_MAX = 2000000 };

/* A file that is good. */
typedef struct Good {
    char path[GO_CACHE_PATH_SIZE];
    uint64_t size;
} Good;

typedef struct Harvest {
    Gocache *c;
    Arena *a;
    int from;
    Map outputs; /* names of good outputs -> size */
    Good *good;
    size_t ngood, cap;
    size_t refused;
} Harvest;

/* ---- what is good ---- */

static int open_file(const Harvest *h, const char *path, struct stat *st)
{
    scoped(fd) int fd = openat(h->from, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
        return -1;
    return fd_take(&fd);
}

static void take(Harvest *h, const char *path, uint64_t size)
{
    Good *g = ARENA_PUSH(h->a, h->good, h->ngood, h->cap);
    (void)snprintf(g->path, sizeof g->path, "%s", path);
    g->size = size;
}

static bool judge_output(Harvest *h, const char *path, const Digest *name, Err *e)
{
    GoCacheOutput o;
    struct stat st;
    char hex[DIGEST_HEX_SIZE];
    scoped(fd) int fd = open_file(h, path, &st);
    if (fd < 0) {
        h->refused++;
        return true;
    }
    if (!go_cache_output_read(fd, &o, e))
        return false;
    if (o.index || !digest_eq(&o.digest, name)) {
        h->refused += !o.index;
        return true;
    }
    digest_hex(name, hex);
    (void)map_put(&h->outputs, arena_strdup(h->a, hex), o.size + 1);
    take(h, path, o.size);
    return true;
}

/* Is an output in the space already, or in this harvest? */
static bool has_output(const Harvest *h, const GoCacheEntry *x)
{
    scoped(arena) Arena a = {0};
    char hex[DIGEST_HEX_SIZE], path[GO_CACHE_PATH_SIZE];
    uint64_t size;
    struct stat st;
    digest_hex(&x->output, hex);
    if (map_get(&h->outputs, hex, &size))
        return size == x->size + 1;
    go_cache_path(GO_CACHE_OUTPUT, &x->output, path);
    for (size_t i = 0; i < h->c->ids.n; i++)
        if (fstatat(store_dirfd(h->c->store),
                    arena_printf(&a, "%s/tree/%s/%s", h->c->ids.v[i], h->c->path, path), &st,
                    AT_SYMLINK_NOFOLLOW) == 0)
            return (uint64_t)st.st_size == x->size;
    return false;
}

static void judge_action(Harvest *h, const char *path, const Digest *name)
{
    char text[GO_CACHE_ENTRY_SIZE + 1];
    GoCacheEntry x;
    struct stat st;
    scoped(fd) int fd = open_file(h, path, &st);
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text, 0);
    if (n != GO_CACHE_ENTRY_SIZE || !go_cache_entry_parse((Str){text, (size_t)n}, &x) ||
        !digest_eq(&x.action, name)) {
        h->refused++;
        return;
    }
    if (has_output(h, &x))
        take(h, path, (uint64_t)n);
}

/* One of the 256 directories; outputs first, for entries are good only with theirs. */
static bool look_into(Harvest *h, const char *dir, GoCacheName kind, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    scoped(fd) int fd =
        openat(h->from, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return true;
    if (!fs_list(&a, fd, &names, e))
        return false;
    for (size_t i = 0; i < names.n && h->ngood < FILES_MAX; i++) {
        Digest id;
        const char *path = arena_printf(&a, "%s/%s", dir, names.v[i]);
        if (go_cache_name(path, &id) != kind)
            continue;
        if (kind == GO_CACHE_ACTION)
            judge_action(h, path, &id);
        else if (!judge_output(h, path, &id, e))
            return false;
    }
    return true;
}

static bool judge_all(Harvest *h, Err *e)
{
    static const GoCacheName KINDS[] = {GO_CACHE_OUTPUT, GO_CACHE_ACTION};
    for (size_t k = 0; k < NELEM(KINDS); k++)
        for (unsigned i = 0; i < 256; i++) {
            char dir[3];
            (void)snprintf(dir, sizeof dir, "%02x", i);
            if (!look_into(h, dir, KINDS[k], e))
                return false;
        }
    return true;
}

/* ---- a generation ---- */

static bool copy_file(const Harvest *h, const char *path, int to, Err *e)
{
    struct stat st;
    uint64_t size;
    scoped(fd) int in = open_file(h, path, &st);
    scoped(fd) int out = openat(to, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (in < 0 || out < 0)
        return err_errno(e, ERR_STORE, "copy '%s'", path);
    return fs_copy_data(in, out, &size, e);
}

/*
 * A file with another name is somebody's else, too, and is copied. A time to come means that go
 * need not write down that it used it: it does so when the time is an hour old, and each file would
 * be copied up for it.
 */
static bool move_file(const Harvest *h, const char *path, int to, Err *e)
{
    static const struct timespec LATER[] = {{4102444800, 0}, {4102444800, 0}}; /* 2100-01-01 */
    struct stat st;
    if (fstatat(h->from, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, ERR_STORE, "stat '%s'", path);
    if (st.st_nlink != 1 ? !copy_file(h, path, to, e) : renameat(h->from, path, to, path) < 0)
        return e->kind ? false : err_errno(e, ERR_STORE, "move '%s'", path);
    (void)fchownat(to, path, 0, 0, AT_SYMLINK_NOFOLLOW); /* best effort: everybody may read it */
    return (fchmodat(to, path, 0666, 0) == 0 && utimensat(to, path, LATER, 0) == 0) ||
           err_errno(e, ERR_STORE, "change '%s'", path);
}

/* Everybody may write into it: whose command is given it is not known. */
static bool make_dir_of(int to, const char *path, Err *e)
{
    char dir[3] = {path[0], path[1], 0};
    if (mkdirat(to, dir, 0777) < 0)
        return errno == EEXIST || err_errno(e, ERR_STORE, "create '%s'", dir);
    return fchmodat(to, dir, 0777, 0) == 0 || err_errno(e, ERR_STORE, "chmod '%s'", dir);
}

/* All that an older generation has, under a second name. */
static bool link_generation(const Harvest *h, const char *id, int to, Err *e)
{
    scoped(arena) Arena a = {0};
    int store = store_dirfd(h->c->store);
    for (unsigned i = 0; i < 256; i++) {
        StrList names;
        const char *dir = arena_printf(&a, "%s/tree/%s/%02x", id, h->c->path, i);
        scoped(fd) int from = openat(store, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (from < 0)
            continue;
        if (!fs_list(&a, from, &names, e))
            return false;
        for (size_t k = 0; k < names.n; k++) {
            const char *path = arena_printf(&a, "%02x/%s", i, names.v[k]);
            if (!make_dir_of(to, path, e))
                return false;
            if (linkat(from, names.v[k], to, path, 0) < 0 && errno != EEXIST)
                return err_errno(e, ERR_STORE, "link '%s/%s'", dir, names.v[k]);
        }
    }
    return true;
}

static bool fill(const Harvest *h, const char *tmp, Err *e)
{
    int raw = -1, store = store_dirfd(h->c->store);
    const char *tree = arena_printf(h->a, "%s/tree/%s", tmp, h->c->path);
    scoped(buf) Buf replaces = BUF_INIT;
    if (!fs_mkdirs(store, tree, e) || !fs_open_dir(store, tree, &raw, e))
        return false;
    scoped(fd) int to = raw;
    for (size_t i = 0; i < h->ngood; i++)
        if (!make_dir_of(to, h->good[i].path, e) || !move_file(h, h->good[i].path, to, e))
            return false;
    for (size_t i = 0; h->c->ids.n >= GENERATIONS_MAX && i < h->c->ids.n; i++) {
        if (!link_generation(h, h->c->ids.v[i], to, e))
            return false;
        buf_printf(&replaces, "%s\n", h->c->ids.v[i]);
    }
    return fs_write_file(store, arena_printf(h->a, "%s/replaces", tmp), buf_str(&replaces),
                         replaces.len, e);
}

static bool publish(Harvest *h, const char *what, Err *e)
{
    char tmp[STORE_TMP_MAX];
    uint64_t random;
    int store = store_dirfd(h->c->store);
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_errno(e, ERR_ENV, "getrandom");
    const char *id =
        arena_printf(h->a, "gocache/%s.%016llx", h->c->space, (unsigned long long)random);
    if (!store_tmp(h->c->store, "gocache", tmp, e))
        return false;
    bool ok = fill(h, tmp, e);
    if (ok && mkdirat(store, "gocache", 0700) < 0 && errno != EEXIST)
        ok = err_errno(e, ERR_STORE, "create '%s/gocache'", store_path(h->c->store));
    ok = ok && store_use_made(h->c->store, id, what, true, e);
    if (ok && renameat(store, tmp, store, id) < 0)
        ok = err_errno(e, ERR_STORE, "make '%s/%s'", store_path(h->c->store), id);
    if (!ok)
        store_discard(h->c->store, tmp);
    return ok;
}

bool gocache_harvest(Gocache *c, Arena *a, int dirfd, const char *what, GocacheHarvest *ret, Err *e)
{
    Harvest h = {.c = c, .a = a, .from = dirfd};
    bool ok = judge_all(&h, e) && (!h.ngood || publish(&h, what, e));
    map_done(&h.outputs);
    if (!ok)
        return false;
    *ret = (GocacheHarvest){.kept = h.ngood, .refused = h.refused};
    for (size_t i = 0; i < h.ngood; i++)
        ret->bytes += h.good[i].size;
    return true;
}
