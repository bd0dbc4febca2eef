/*
 * gomod/view.c - a directory that go reads as a proxy: links to what the store has of the modules
 * that the build's go.sum files name.
 *
 * Only those: a module that another project proved is no part of this one, even under the same
 * name. The directory stays for the next build with the same go.sum files; what comes in while a
 * step looks at it is seen at once.
 */
#include <errno.h>

#include "base/fs.h"
#include "gomod/inside.h"

/* Where a module's file is for go: "<esc path>/@v/<esc version>.zip". NULL: it has no place. */
static const char *place(Arena *a, const GoModule *m, const char *ext)
{
    const char *path, *version;
    Err ignored = ERR_INIT;
    if (!go_path_escape(a, m->path, &path, &ignored) ||
        !go_version_escape(a, m->version, &version, &ignored))
        return NULL;
    return arena_printf(a, "%s/@v/%s.%s", path, version, ext);
}

static void show(Gomod *g, const GoView *v, const GoModule *m, bool gomod, const char *h1)
{
    scoped(arena) Arena a = {0};
    char dir[KEEP_PATH];
    const char *at = place(&a, m, gomod ? "mod" : "zip");
    if (!at)
        return;
    keep_dir(h1, dir);
    (void)keep_link(g, gomod ? keep_mod_path(&a, h1) : arena_printf(&a, "%s/zip", dir),
                    arena_printf(&a, "%s/p/%s", v->path, at)); /* else the gateway has it */
}

static void show_info(Gomod *g, const GoView *v, const char *path)
{
    scoped(arena) Arena a = {0};
    if (*v->proxy)
        (void)keep_link(g, keep_info_path(&a, v->proxy, path),
                        arena_printf(&a, "%s/p/%s", v->path, path)); /* the same */
}

static bool is_known(const Gomod *g, const GoModule *m, bool gomod, const char *h1)
{
    for (size_t i = 0; i < g->nknown; i++)
        if (g->known[i].gomod == gomod && !strcmp(g->known[i].h1, h1) &&
            !strcmp(g->known[i].mod.path, m->path) && !strcmp(g->known[i].mod.version, m->version))
            return true;
    return false;
}

void view_add(Gomod *g, const GoModule *m, bool gomod, const char *h1)
{
    pthread_mutex_lock(&g->lock);
    if (g->views && is_known(g, m, gomod, h1))
        for (const GoView *v = g->views; v; v = v->next)
            show(g, v, m, gomod, h1);
    pthread_mutex_unlock(&g->lock);
}

void view_add_info(Gomod *g, const char *proxy, const char *path)
{
    pthread_mutex_lock(&g->lock);
    for (const GoView *v = g->views; v; v = v->next)
        if (!strcmp(v->proxy, proxy))
            show_info(g, v, path);
    pthread_mutex_unlock(&g->lock);
}

/* All that the store has already. */
static void fill(Gomod *g, const GoView *v)
{
    for (size_t i = 0; i < g->nknown; i++) {
        scoped(arena) Arena a = {0};
        const Known *k = &g->known[i];
        const char *info = k->gomod ? NULL : place(&a, &k->mod, "info");
        show(g, v, &k->mod, k->gomod, k->h1);
        if (info)
            show_info(g, v, info);
    }
}

static const char *mark(Arena *a, const GoView *v)
{
    return arena_printf(a, "%s/complete", v->path);
}

static void mark_complete(Gomod *g, const GoView *v)
{
    scoped(arena) Arena a = {0};
    if (faccessat(store_dirfd(g->store), mark(&a, v), F_OK, 0) < 0)
        (void)keep_write(g, mark(&a, v), (Str){"", 0}); /* else the next build looks again */
}

/* What was learned does not change any more. */
static void *fill_main(void *arg)
{
    GoView *v = arg;
    Gomod *g = v->g;
    fill(g, v);
    pthread_mutex_lock(&g->lock);
    v->filling = false;
    if (g->complete)
        mark_complete(g, v);
    pthread_cond_broadcast(&g->landed);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* The links take some milliseconds, in which a step has other things to do; the lock is held. */
static bool make(Gomod *g, GoView *v, Err *e)
{
    scoped(arena) Arena a = {0};
    if (!store_use_made(g->store, v->path, "links for go.sum", true, e))
        return false;
    if (!keep_dirs(g, arena_printf(&a, "%s/p", v->path)))
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(g->store), v->path);
    v->filling = true;
    v->apart = pthread_create(&v->thread, NULL, fill_main, v) == 0;
    if (!v->apart) {
        fill(g, v);
        v->filling = false;
    }
    return true;
}

void views_join(Gomod *g)
{
    for (GoView *v = g->views; v; v = v->next) {
        if (v->apart)
            (void)pthread_join(v->thread, NULL);
        v->apart = false;
    }
}

/* What a view is called: go.sum files and a proxy. */
static const char *view_name(Gomod *g, Arena *a, const char *proxy)
{
    char hex[DIGEST_HEX_SIZE];
    Digest id;
    Hasher h;
    hash_init(&h);
    hash_add(&h, g->learned.b, sizeof g->learned.b);
    hash_add(&h, proxy, strlen(proxy));
    hash_end(&h, &id);
    digest_hex(&id, hex);
    return arena_printf(a, "gomod/view-%.40s", hex);
}

bool view_was_complete(Gomod *g, const char *proxy)
{
    scoped(arena) Arena a = {0};
    const GoView v = {.path = view_name(g, &a, proxy)};
    return faccessat(store_dirfd(g->store), mark(&a, &v), F_OK, 0) == 0;
}

bool view_path(Gomod *g, const char *proxy, const char **ret, Err *e)
{
    scoped(arena) Arena a = {0};
    pthread_mutex_lock(&g->lock);
    GoView *v = g->views;
    while (v && strcmp(v->proxy, proxy) != 0)
        v = v->next;
    bool ok = true;
    if (!v) {
        v = NEW(&g->arena, GoView);
        *v = (GoView){.path = view_name(g, &g->arena, proxy),
                      .proxy = arena_strdup(&g->arena, proxy),
                      .g = g,
                      .next = g->views};
        ok = store_use_made(g->store, v->path, "", false, e) &&
             (faccessat(store_dirfd(g->store), mark(&a, v), F_OK, 0) == 0 || make(g, v, e));
        if (ok)
            g->views = v;
        if (ok && g->complete && !v->filling)
            mark_complete(g, v);
    }
    if (ok)
        *ret = arena_printf(&g->arena, "%s/p", v->path);
    pthread_mutex_unlock(&g->lock);
    return ok;
}

void view_complete(Gomod *g)
{
    pthread_mutex_lock(&g->lock);
    g->complete = true;
    for (const GoView *v = g->views; v; v = v->next)
        if (!v->filling)
            mark_complete(g, v);
    pthread_mutex_unlock(&g->lock);
}

void view_ready(Gomod *g, const char *proxy)
{
    pthread_mutex_lock(&g->lock);
    for (const GoView *v = g->views; v; v = v->next)
        while (v->filling && !strcmp(v->proxy, proxy))
            pthread_cond_wait(&g->landed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}
