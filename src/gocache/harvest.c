/*
 * gocache/harvest.c - a GOCACHE that a command left, to a generation: only what go itself would
 * have written.
 */
#include <errno.h>

#include "base/fs.h"
#include "base/map.h"
#include "gocache/inside.h"

enum { FILES_MAX = 2000000, INDEX_MAX = 256 << 20 };

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
    bool stays;
    Map outputs; /* names of good outputs -> size + 1 */
    Map indexes; /* names of outputs that are indexes -> 1 + where it was taken to, or 0 */
    Batch packages, sources[GOCACHE_INDEXES_MAX];
    size_t ntaken;
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

static void take(Harvest *h, Batch *b, const char *path, uint64_t size)
{
    Good *g = ARENA_PUSH(h->a, b->good, b->ngood, b->cap);
    h->ntaken++;
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
        (void)map_put(&h->indexes, arena_strdup(h->a, hex), 0);
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
    for (size_t i = 0; i < c->n; i++)
        if (fstatat(store_dirfd(c->store),
                    arena_printf(&a, "%s/tree/%s/%s", c->v[i].id, c->path, path), &st,
                    AT_SYMLINK_NOFOLLOW) == 0)
            return (uint64_t)st.st_size == x->size;
    return false;
}

/* An index and its entry, where it is right. One output goes to one place. */
static void judge_index(Harvest *h, const char *path, const GoCacheEntry *x, const char *hex,
                        uint64_t taken)
{
    scoped(buf) Buf text = BUF_INIT;
    char output[GO_CACHE_PATH_SIZE];
    struct stat st;
    Err ignored = ERR_INIT;
    go_cache_path(GO_CACHE_OUTPUT, &x->output, output);
    scoped(fd) int fd = open_file(h, output, &st);
    if (!h->x || fd < 0 || !fs_read_all(fd, INDEX_MAX, &text, &ignored) || text.len != x->size)
        return;
    int place = h->x->place(h->x->arg, &x->action, (Str){buf_str(&text), text.len});
    if (place < 0 || (taken && taken != (uint64_t)place + 1))
        return;
    if (!taken)
        take(h, &h->sources[place], output, text.len);
    (void)map_put(&h->indexes, arena_strdup(h->a, hex), (uint64_t)place + 1);
    take(h, &h->sources[place], path, GO_CACHE_ENTRY_SIZE);
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
    for (size_t i = 0; i < names.n && h->ntaken < FILES_MAX; i++) {
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

/* A file with another name is somebody's else, too, and is copied. */
static bool move_file(const Harvest *h, const char *path, int to, Err *e)
{
    struct stat st;
    if (fstatat(h->from, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, ERR_STORE, "stat '%s'", path);
    if (h->stays || st.st_nlink != 1 ? !copy_file(h, path, to, e)
                                     : renameat(h->from, path, to, path) < 0)
        return e->kind ? false : err_errno(e, ERR_STORE, "move '%s'", path);
    return generation_own(to, path, e);
}

static bool publish(const Harvest *h, const Batch *b, const char *what, Err *e)
{
    Generation g;
    if (!b->ngood)
        return true;
    if (!generation_begin(b->c, h->a, &g, e))
        return false;
    bool ok = true;
    g.files = b->ngood;
    for (size_t i = 0; ok && i < b->ngood; i++)
        ok = generation_dir(g.fd, b->good[i].path, e) && move_file(h, b->good[i].path, g.fd, e);
    return generation_end(&g, h->a, ok, what, e);
}

static void count(const Batch *b, GocacheHarvest *ret)
{
    ret->kept += b->ngood;
    for (size_t i = 0; i < b->ngood; i++)
        ret->bytes += b->good[i].size;
}

bool gocache_harvest(Gocache *c, const GocacheIndexes *x, Arena *a, int dirfd, bool stays,
                     const char *what, GocacheHarvest *ret, Err *e)
{
    Harvest h = {.x = x, .a = a, .from = dirfd, .stays = stays, .packages.c = c};
    for (size_t i = 0; x && i < x->n; i++)
        h.sources[i].c = &x->caches[i];
    bool ok = judge_all(&h, e) && publish(&h, &h.packages, what, e);
    for (size_t i = 0; ok && i < NELEM(h.sources); i++)
        ok = publish(&h, &h.sources[i], what, e);
    map_done(&h.outputs);
    map_done(&h.indexes);
    if (!ok)
        return false;
    *ret = (GocacheHarvest){.refused = h.refused};
    count(&h.packages, ret);
    for (size_t i = 0; i < NELEM(h.sources); i++)
        count(&h.sources[i], ret);
    return true;
}
