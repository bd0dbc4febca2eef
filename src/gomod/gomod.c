/*
 * gomod/gomod.c - one build's modules, from its begin to its end; trees of modules.
 */
#include "gomod/gomod.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "gomod/inside.h"

Gomod *gomod_new(Store *s, const GomodOpts *o)
{
    Gomod *g = calloc(1, sizeof *g);
    if (!g)
        die_nomem();
    g->store = s;
    g->sink = o->sink;
    g->offline = o->offline;
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->sumdb_lock, NULL);
    pthread_cond_init(&g->landed, NULL);
    return g;
}

/* Nobody waits any more for what is still on its way. */
void gomod_stop(Gomod *g)
{
    bool cancelled = cancel_wanted();
    if (g)
        views_join(g);
    if (!g || !g->pre.nthread)
        return;
    pthread_mutex_lock(&g->lock);
    g->stopping = true;
    bool running = g->pre.running > 0;
    pthread_mutex_unlock(&g->lock);
    if (running && !cancelled)
        cancel_raise();
    prefetch_join(g);
    if (running && !cancelled)
        cancel_clear();
}

void gomod_free(Gomod *g)
{
    if (!g)
        return;
    gomod_stop(g);
    sumdb_done(g);
    map_done(&g->sums);
    pthread_cond_destroy(&g->landed);
    pthread_mutex_destroy(&g->sumdb_lock);
    pthread_mutex_destroy(&g->lock);
    arena_done(&g->arena);
    free(g);
}

/* ---- trees ---- */

const struct timespec GOMOD_TIME[2] = {{946684800, 0}, {946684800, 0}}; /* 2000-01-01 */

bool tree_extract(Gomod *g, GoZip *z, const char *path, char ret_h1[static GO_H1_SIZE], Err *e)
{
    int raw = -1;
    if (mkdirat(store_dirfd(g->store), path, 0755) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(g->store), path);
    if (!fs_open_dir(store_dirfd(g->store), path, &raw, e))
        return false;
    scoped(fd) int dir = raw;
    /* Writable, for its parents are made anew wherever it is linked; the files are read-only. */
    GoZipTree tree = {.dirfd = dir, .writable_dirs = true, .mtime = GOMOD_TIME};
    return go_zip_extract(z, &tree, ret_h1, e);
}

static bool unpack(Gomod *g, const GoModule *m, const char *h1, const char *tmp, Err *e)
{
    scoped(go_zip) GoZip *z = NULL;
    char seen[GO_H1_SIZE];
    scoped(fd) int zip = keep_open_zip(g, h1);
    if (zip < 0)
        return err_errno(e, ERR_STORE, "open the zip of %s@%s", m->path, m->version);
    if (!go_zip_open(zip, m, &z, e) || !tree_extract(g, z, tmp, seen, e))
        return err_wrap(e, "unpack %s@%s", m->path, m->version);
    return !strcmp(seen, h1) ||
           err_set(e, ERR_STORE, "the stored zip of %s@%s is damaged: 'lighter prune' drops it",
                   m->path, m->version);
}

bool gomod_tree(Gomod *g, Arena *a, const GoModule *m, const char *h1, const char **ret, Err *e)
{
    char dir[KEEP_PATH], tmp[STORE_TMP_MAX];
    int store = store_dirfd(g->store);
    keep_dir(h1, dir);
    const char *path = arena_printf(a, "%s/tree", dir);
    if (!store_use_made(g->store, dir, "", false, e))
        return false;
    *ret = path;
    if (faccessat(store, path, F_OK, 0) == 0)
        return true;
    if (!store_tmp(g->store, "tree", tmp, e))
        return false;
    bool ok = unpack(g, m, h1, tmp, e);
    if (ok && renameat(store, tmp, store, path) == 0)
        return store_use_made(g->store, dir, arena_printf(a, "%s@%s", m->path, m->version), true,
                              e);
    if (ok && errno != EEXIST && errno != ENOTEMPTY)
        ok = err_errno(e, ERR_STORE, "make '%s/%s'", store_path(g->store), path);
    store_discard(g->store, tmp);
    return ok;
}
