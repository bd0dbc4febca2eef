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
enum { GENERATIONS_MAX = 8, FILES_MAX = 2000000, INDEX_MAX = 256 << 20 };

/* A file that is good. */
typedef struct Good {
    char path[GO_CACHE_PATH_SIZE];
    uint64_t size;
} Good;

/* What becomes one generation. */
typedef struct Batch {
    Gocache *c;
    Good *good;
    size_t ngood, cap;
} Batch;

typedef struct Harvest {
    const GocacheIndexes *x;
    Arena *a;
    int from;
    Map outputs; /* names of good outputs -> size + 1 */
    Map indexes; /* names of outputs that are indexes -> whether it was taken */
    Batch packages, sources;
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

static void take(const Harvest *h, Batch *b, const char *path, uint64_t size)
{
    Good *g = ARENA_PUSH(h->a, b->good, b->ngood, b->cap);
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
    if (!digest_eq(&o.digest, name)) {
        h->refused += !o.index;
        return true;
    }
    digest_hex(name, hex);
    if (o.index) {
        (void)map_put(&h->indexes, arena_strdup(h->a, hex), false);
        return true;
    }
    (void)map_put(&h->outputs, arena_strdup(h->a, hex), o.size + 1);
    take(h, &h->packages, path, o.size);
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
    const Gocache *c = h->packages.c;
    for (size_t i = 0; i < c->ids.n; i++)
        if (fstatat(store_dirfd(c->store),
                    arena_printf(&a, "%s/tree/%s/%s", c->ids.v[i], c->path, path), &st,
                    AT_SYMLINK_NOFOLLOW) == 0)
            return (uint64_t)st.st_size == x->size;
    return false;
}

/* An index and its entry, if it is right. */
static void judge_index(Harvest *h, const char *path, const GoCacheEntry *x, const char *hex,
                        bool taken)
{
    scoped(buf) Buf text = BUF_INIT;
    char output[GO_CACHE_PATH_SIZE];
    struct stat st;
    Err ignored = ERR_INIT;
    go_cache_path(GO_CACHE_OUTPUT, &x->output, output);
    scoped(fd) int fd = open_file(h, output, &st);
    if (!h->x || fd < 0 || !fs_read_all(fd, INDEX_MAX, &text, &ignored) || text.len != x->size ||
        !h->x->right(h->x->arg, &x->action, (Str){buf_str(&text), text.len}))
        return;
    if (!taken)
        take(h, &h->sources, output, text.len);
    (void)map_put(&h->indexes, arena_strdup(h->a, hex), true);
    take(h, &h->sources, path, GO_CACHE_ENTRY_SIZE);
}

static void judge_action(Harvest *h, const char *path, const Digest *name)
{
    char text[GO_CACHE_ENTRY_SIZE + 1], hex[DIGEST_HEX_SIZE];
    GoCacheEntry x;
    struct stat st;
    uint64_t taken;
    scoped(fd) int fd = open_file(h, path, &st);
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text, 0);
    if (n != GO_CACHE_ENTRY_SIZE || !go_cache_entry_parse((Str){text, (size_t)n}, &x) ||
        !digest_eq(&x.action, name)) {
        h->refused++;
        return;
    }
    digest_hex(&x.output, hex);
    if (map_get(&h->indexes, hex, &taken))
        judge_index(h, path, &x, hex, taken);
    else if (has_output(h, &x))
        take(h, &h->packages, path, (uint64_t)n);
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
    for (size_t i = 0; i < names.n && h->packages.ngood + h->sources.ngood < FILES_MAX; i++) {
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
static bool link_generation(const Gocache *c, const char *id, int to, Err *e)
{
    scoped(arena) Arena a = {0};
    int store = store_dirfd(c->store);
    for (unsigned i = 0; i < 256; i++) {
        StrList names;
        const char *dir = arena_printf(&a, "%s/tree/%s/%02x", id, c->path, i);
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

static bool fill(const Harvest *h, const Batch *b, const char *tmp, Err *e)
{
    int raw = -1, store = store_dirfd(b->c->store);
    const char *tree = arena_printf(h->a, "%s/tree/%s", tmp, b->c->path);
    scoped(buf) Buf replaces = BUF_INIT;
    if (!fs_mkdirs(store, tree, e) || !fs_open_dir(store, tree, &raw, e))
        return false;
    scoped(fd) int to = raw;
    for (size_t i = 0; i < b->ngood; i++)
        if (!make_dir_of(to, b->good[i].path, e) || !move_file(h, b->good[i].path, to, e))
            return false;
    for (size_t i = 0; b->c->ids.n >= GENERATIONS_MAX && i < b->c->ids.n; i++) {
        if (!link_generation(b->c, b->c->ids.v[i], to, e))
            return false;
        buf_printf(&replaces, "%s\n", b->c->ids.v[i]);
    }
    return fs_write_file(store, arena_printf(h->a, "%s/replaces", tmp), buf_str(&replaces),
                         replaces.len, e);
}

static bool publish(const Harvest *h, const Batch *b, const char *what, Err *e)
{
    char tmp[STORE_TMP_MAX];
    uint64_t random;
    if (!b->ngood)
        return true;
    Store *s = b->c->store;
    int store = store_dirfd(s);
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_errno(e, ERR_ENV, "getrandom");
    const char *id =
        arena_printf(h->a, "gocache/%s.%016llx", b->c->space, (unsigned long long)random);
    if (!store_tmp(s, "gocache", tmp, e))
        return false;
    bool ok = fill(h, b, tmp, e);
    if (ok && mkdirat(store, "gocache", 0700) < 0 && errno != EEXIST)
        ok = err_errno(e, ERR_STORE, "create '%s/gocache'", store_path(s));
    ok = ok && store_use_made(s, id, what, true, e);
    if (ok && renameat(store, tmp, store, id) < 0)
        ok = err_errno(e, ERR_STORE, "make '%s/%s'", store_path(s), id);
    if (!ok)
        store_discard(s, tmp);
    return ok;
}

static void count(const Batch *b, GocacheHarvest *ret)
{
    ret->kept += b->ngood;
    for (size_t i = 0; i < b->ngood; i++)
        ret->bytes += b->good[i].size;
}

bool gocache_harvest(Gocache *c, const GocacheIndexes *x, Arena *a, int dirfd, const char *what,
                     GocacheHarvest *ret, Err *e)
{
    Harvest h = {.x = x, .a = a, .from = dirfd, .packages.c = c, .sources.c = x ? x->cache : NULL};
    bool ok =
        judge_all(&h, e) && publish(&h, &h.packages, what, e) && publish(&h, &h.sources, what, e);
    map_done(&h.outputs);
    map_done(&h.indexes);
    if (!ok)
        return false;
    *ret = (GocacheHarvest){.refused = h.refused};
    count(&h.packages, ret);
    count(&h.sources, ret);
    return true;
}
