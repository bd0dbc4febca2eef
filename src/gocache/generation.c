/*
 * gocache/generation.c - a directory of files that are good, made known when it is whole.
 */
#include <errno.h>
#include <sys/random.h>

#include "base/fs.h"
#include "base/levels.h"
#include "gocache/inside.h"

/* A name that is in none is looked for in all. */
enum { GENERATIONS_MAX = 8 };

bool generation_begin(Gocache *c, Arena *a, Generation *ret, Err *e)
{
    Generation g = {.c = c, .fd = -1};
    Err ignored = ERR_INIT;
    int store = store_dirfd(c->store);
    if (!store_tmp(c->store, "gocache", g.tmp, e))
        return false;
    const char *tree = arena_printf(a, "%s/tree/%s", g.tmp, c->path);
    if (!fs_mkdirs(store, tree, e) || !fs_open_dir(store, tree, &g.fd, e)) {
        (void)fs_remove_tree(store, g.tmp, &ignored); /* best effort: tmp/ is swept */
        return false;
    }
    *ret = g;
    return true;
}

/* Everybody may write into it: whose command is given it is not known. */
bool generation_dir(int fd, const char *path, Err *e)
{
    char dir[3] = {path[0], path[1], 0};
    if (mkdirat(fd, dir, 0777) < 0)
        return errno == EEXIST || err_errno(e, ERR_STORE, "create '%s'", dir);
    return fchmodat(fd, dir, 0777, 0) == 0 || err_errno(e, ERR_STORE, "chmod '%s'", dir);
}

/*
 * A time to come means that go need not write down that it used it: it does so when the time is an
 * hour old, and each file would be copied up for it.
 */
bool generation_own(int fd, const char *path, Err *e)
{
    static const struct timespec LATER[] = {{4102444800, 0}, {4102444800, 0}}; /* 2100-01-01 */
    (void)fchownat(fd, path, 0, 0, AT_SYMLINK_NOFOLLOW); /* best effort: everybody may read it */
    return (fchmodat(fd, path, GOCACHE_MODE, 0) == 0 && utimensat(fd, path, LATER, 0) == 0) ||
           err_errno(e, ERR_STORE, "change '%s'", path);
}

/* All that an older generation has, under a second name. */
static bool link_generation(Generation *g, const char *id, Err *e)
{
    scoped(arena) Arena a = {0};
    const Gocache *c = g->c;
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
            if (!generation_dir(g->fd, path, e))
                return false;
            bool is_new = linkat(from, names.v[k], g->fd, path, 0) == 0;
            if (!is_new && errno != EEXIST)
                return err_errno(e, ERR_STORE, "link '%s/%s'", dir, names.v[k]);
            g->files += is_new;
        }
    }
    return true;
}

static bool take_over(Generation *g, Arena *a, Err *e)
{
    Gocache *c = g->c;
    scoped(buf) Buf names = BUF_INIT, about = BUF_INIT;
    uint64_t *sizes = NEW_N(a, uint64_t, c->n + 1);
    for (size_t i = 0; i < c->n; i++)
        sizes[i] = c->v[i].files;
    size_t kept = levels_kept(sizes, c->n, GENERATIONS_MAX, g->files);
    for (size_t i = kept; i < c->n; i++) {
        if (!link_generation(g, c->v[i].id, e))
            return false;
        buf_printf(&names, "%s\n", c->v[i].id);
    }
    c->n = kept;
    buf_printf(&about, "%llu files\n%s", (unsigned long long)g->files, buf_str(&names));
    return fs_write_file(store_dirfd(c->store), arena_printf(a, "%s/about", g->tmp),
                         buf_str(&about), about.len, e);
}

static bool publish(Generation *g, Arena *a, const char *what, Err *e)
{
    Store *s = g->c->store;
    int store = store_dirfd(s);
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_errno(e, ERR_ENV, "getrandom");
    const char *id = arena_printf(a, "gocache/%s.%016llx", g->c->space, (unsigned long long)random);
    if (mkdirat(store, "gocache", 0700) < 0 && errno != EEXIST)
        return err_errno(e, ERR_STORE, "create '%s/gocache'", store_path(s));
    if (!store_use_made(s, id, what, true, e))
        return false;
    if (renameat(store, g->tmp, store, id) < 0)
        return err_errno(e, ERR_STORE, "make '%s/%s'", store_path(s), id);
    generation_add(g->c, a, id, g->files);
    return true;
}

bool generation_end(Generation *g, Arena *a, bool ok, const char *what, Err *e)
{
    ok = ok && take_over(g, a, e) && publish(g, a, what, e);
    close(g->fd);
    if (!ok)
        store_discard(g->c->store, g->tmp);
    return ok;
}

/* ---- what the caller vouches for ---- */

static bool put_output(Generation *g, const GocacheNew *n, Err *e)
{
    char path[GO_CACHE_PATH_SIZE];
    go_cache_path(GO_CACHE_OUTPUT, &n->output, path);
    if (!generation_dir(g->fd, path, e))
        return false;
    if (linkat(store_dirfd(g->c->store), n->path, g->fd, path, 0) < 0)
        return errno == EEXIST || /* two actions, one output */
               errno == EMLINK || /* then go makes it again */
               err_errno(e, ERR_STORE, "link '%s'", n->path);
    g->files++;
    return generation_own(g->fd, path, e);
}

static bool put_entry(Generation *g, const GocacheNew *n, Err *e)
{
    char path[GO_CACHE_PATH_SIZE], text[GO_CACHE_ENTRY_SIZE + 1];
    GoCacheEntry x = {.action = n->action, .output = n->output, .size = n->size};
    go_cache_entry_text(&x, text);
    go_cache_path(GO_CACHE_ACTION, &x.action, path);
    g->files++;
    return generation_dir(g->fd, path, e) &&
           fs_write_file(g->fd, path, text, GO_CACHE_ENTRY_SIZE, e) &&
           generation_own(g->fd, path, e);
}

bool gocache_add(Gocache *c, Arena *a, const GocacheNew *v, size_t n, const char *what, Err *e)
{
    Generation g;
    if (!n)
        return true;
    if (!generation_begin(c, a, &g, e))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = put_output(&g, &v[i], e) && put_entry(&g, &v[i], e);
    return generation_end(&g, a, ok, what, e);
}
