/*
 * gomod/prefetch.c - what go.sum names is fetched before go asks for it.
 *
 * go asks for one go.mod after the other, as each names the next, and for as many zips at a time as
 * it has processors. go.sum knows all of them beforehand: behind a proxy that is far away the
 * difference is a factor of ten.
 */
#include "base/cancel.h"
#include "base/fs.h"
#include "gomod/inside.h"

/* More is left to go, which asks only for what it needs. */
enum { PREFETCH_MAX = 2047 << 20 };
/* A connection with TLS reads all certificates of the machine, a megabyte and 25 ms of a processor:
 * it has to be worth so many files. */
enum { WORTH = 3 };

/* ---- what there is to fetch ---- */

static void want(Gomod *g, const GoModule *m, GoRequestKind kind)
{
    *ARENA_PUSH(&g->arena, g->wanted, g->nwanted, g->wanted_cap) =
        (Wanted){{arena_strdup(&g->arena, m->path), arena_strdup(&g->arena, m->version)}, kind};
}

static void want_zip(Gomod *g, const GoModule *m)
{
    if (!sums_get(g, m, false))
        return;
    want(g, m, GO_REQUEST_INFO);
    want(g, m, GO_REQUEST_ZIP);
}

/* Two go.sum files may say the same: a line counts once. */
static void know(Gomod *g, const GoSumLine *l)
{
    Digest d;
    Hasher h;
    if (!go_h1_valid(l->hash) || !sums_add(g, &l->mod, l->gomod, l->hash))
        return;
    Known k = {{arena_strdup(&g->arena, l->mod.path), arena_strdup(&g->arena, l->mod.version)},
               l->gomod,
               arena_strdup(&g->arena, l->hash)};
    if (k.gomod)
        *ARENA_PUSH(&g->arena, g->mods, g->nmod, g->mod_cap) = g->nknown;
    *ARENA_PUSH(&g->arena, g->known, g->nknown, g->known_cap) = k;
    hash_init(&h);
    hash_add(&h, k.mod.path, strlen(k.mod.path) + 1);
    hash_add(&h, k.mod.version, strlen(k.mod.version) + 1);
    hash_add(&h, k.gomod ? "m" : "z", 1);
    hash_add(&h, k.h1, strlen(k.h1));
    hash_end(&h, &d);
    for (size_t i = 0; i < sizeof d.b; i++)
        g->learned.b[i] ^= d.b[i];
}

void gomod_learn(Gomod *g, const char *name, Str gosum, Str gomod)
{
    scoped(arena) Arena a = {0};
    GoSumFile sum;
    GoModFile mod;
    GoModuleList list = {0};
    Err ignored = ERR_INIT;
    if (!go_sum_parse(&a, name, gosum, &sum, &ignored))
        return;
    for (size_t i = 0; i < sum.n; i++)
        know(g, &sum.v[i]);
    if (!gomod.len || !go_mod_parse(&a, "go.mod", gomod, GO_MOD_MAIN, &mod, &ignored))
        return;
    for (size_t i = 0; i < sum.n; i++)
        if (sum.v[i].gomod)
            want(g, &sum.v[i].mod, GO_REQUEST_MOD);
    go_mod_downloads(&a, &mod, &list);
    for (size_t i = 0; i < list.n; i++)
        want_zip(g, &list.v[i]);
    for (size_t i = 0; i < sum.n && !list.whole; i++)
        if (!sum.v[i].gomod)
            want_zip(g, &sum.v[i].mod);
}

static const char *request_path(Arena *a, const Wanted *w)
{
    static const char *const EXT[] = {
        [GO_REQUEST_INFO] = "info", [GO_REQUEST_MOD] = "mod", [GO_REQUEST_ZIP] = "zip"};
    const char *path, *version;
    Err ignored = ERR_INIT;
    if (!go_path_escape(a, w->mod.path, &path, &ignored) ||
        !go_version_escape(a, w->mod.version, &version, &ignored))
        return NULL;
    return arena_printf(a, "%s/@v/%s.%s", path, version, EXT[w->kind]);
}

/* ---- fetching ---- */

static bool has_tree(Gomod *g, const char *h1)
{
    char dir[KEEP_PATH], path[KEEP_PATH + 8];
    keep_dir(h1, dir);
    (void)snprintf(path, sizeof path, "%s/tree", dir);
    return faccessat(store_dirfd(g->store), path, F_OK, 0) == 0;
}

static bool is_here(Gomod *g, const Wanted *w, const GoProxyList *l, const char *path)
{
    scoped(arena) Arena a = {0};
    const char *h1 = sums_get(g, &w->mod, w->kind == GO_REQUEST_MOD);
    if (w->kind == GO_REQUEST_INFO)
        return l->n && faccessat(store_dirfd(g->store), keep_info_path(&a, l->v[0].url, path), F_OK,
                                 0) == 0;
    return h1 && (w->kind == GO_REQUEST_ZIP ? keep_has_zip(g, h1) && (!g->trees || has_tree(g, h1))
                                            : gomod_has_mod(g, h1));
}

/* As go goes through the list; what only go itself can ask is left to it. */
static bool fetch_wanted(Gomod *g, const Wanted *w)
{
    scoped(arena) Arena a = {0};
    const GoProxyList *l = &g->pre.proxies;
    GoRequest req;
    Err ignored = ERR_INIT;
    const char *path = request_path(&a, w);
    if (!path || !go_request_parse(&a, str_c(path), &req, &ignored))
        return false;
    if (is_here(g, w, l, path))
        return true;
    if (go_is_private(g->pre.settings, w->mod.path) || g->offline)
        return false;
    for (size_t i = 0; i < l->n && l->v[i].kind == GO_PROXY_HTTP && !l->v[i].has_user; i++) {
        scoped(got) Got got = GOT_INIT;
        Ask ask = {&req, &l->v[i], g->pre.settings, true};
        fetch(g, &a, &ask, &got);
        if (got.status == 200) {
            pthread_mutex_lock(&g->lock);
            g->pre.bytes += got.size;
            pthread_mutex_unlock(&g->lock);
            return i == 0;
        }
        if (got.refused || !go_proxy_goes_on(&l->v[i], got.status))
            return false;
    }
    return false;
}

static const Wanted *next_wanted(Gomod *g)
{
    const Wanted *w = NULL;
    pthread_mutex_lock(&g->lock);
    if (!g->stopping && !cancel_wanted() && g->pre.next < g->nwanted && g->pre.bytes < PREFETCH_MAX)
        w = &g->wanted[g->pre.next++];
    pthread_mutex_unlock(&g->lock);
    return w;
}

/* What cannot be unpacked is left to go, which says why. */
static void unpack_wanted(Gomod *g, const Wanted *w)
{
    scoped(arena) Arena a = {0};
    const char *h1 = sums_get(g, &w->mod, false), *tree;
    Err ignored = ERR_INIT;
    if (h1 && keep_has_zip(g, h1))
        (void)!gomod_tree(g, &a, &w->mod, h1, &tree, &ignored);
}

static void *prefetch_main(void *arg)
{
    Gomod *g = arg;
    bool missed = false;
    for (const Wanted *w; (w = next_wanted(g));) {
        missed = !fetch_wanted(g, w) || missed;
        if (g->trees && w->kind == GO_REQUEST_ZIP)
            unpack_wanted(g, w);
    }
    pthread_mutex_lock(&g->lock);
    g->pre.incomplete = g->pre.incomplete || missed;
    bool complete = --g->pre.running == 0 && !g->pre.incomplete && g->pre.next == g->nwanted;
    pthread_cond_broadcast(&g->landed);
    pthread_mutex_unlock(&g->lock);
    if (complete)
        view_complete(g);
    return NULL;
}

/*
 * How many files are not here. Where an earlier build had all of them, nothing is looked for: what
 * was thrown away since is fetched when go asks.
 */
static size_t count_missing(Gomod *g)
{
    const GoProxyList *l = &g->pre.proxies;
    size_t n = 0;
    if (l->n && l->v[0].kind == GO_PROXY_HTTP && view_was_complete(g, l->v[0].url))
        return 0;
    for (size_t i = 0; i < g->nwanted; i++) {
        scoped(arena) Arena a = {0};
        const char *path = request_path(&a, &g->wanted[i]);
        n += !path || !is_here(g, &g->wanted[i], l, path);
    }
    return n;
}

void gomod_prefetch(Gomod *g, const GoSettings *settings)
{
    Err ignored = ERR_INIT;
    if (!g->nwanted || !go_proxy_list(&g->arena, settings->goproxy, &g->pre.proxies, &ignored))
        return;
    g->pre.settings = settings;
    size_t missing = count_missing(g);
    if (!missing) {
        view_complete(g);
        return;
    }
    size_t n = g->offline ? 0 : (missing + WORTH - 1) / WORTH;
    n = n < GOMOD_WIDTH ? n : GOMOD_WIDTH;
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&g->pre.threads[g->pre.nthread], NULL, prefetch_main, g) == 0) {
            g->pre.nthread++;
            g->pre.running++;
        }
    pthread_mutex_unlock(&g->lock);
}

void gomod_want_trees(Gomod *g)
{
    g->trees = true;
}

void gomod_settle(Gomod *g)
{
    pthread_mutex_lock(&g->lock);
    while (g->pre.running)
        pthread_cond_wait(&g->landed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

bool gomod_wanted(Gomod *g, size_t i, GoModule *ret, const char **ret_h1)
{
    for (size_t k = 0; k < g->nwanted; k++) {
        const Wanted *w = &g->wanted[k];
        const char *h1 = w->kind == GO_REQUEST_ZIP ? sums_get(g, &w->mod, false) : NULL;
        if (!h1 || i--)
            continue;
        *ret = w->mod;
        *ret_h1 = h1;
        return true;
    }
    return false;
}

bool gomod_known_mod(Gomod *g, size_t i, GoModule *ret, const char **ret_h1)
{
    if (i >= g->nmod)
        return false;
    const Known *k = &g->known[g->mods[i]];
    *ret = k->mod;
    *ret_h1 = k->h1;
    return true;
}

void prefetch_join(Gomod *g)
{
    for (size_t i = 0; i < g->pre.nthread; i++)
        pthread_join(g->pre.threads[i], NULL);
    g->pre.nthread = 0;
}

/* ---- offline ---- */

bool gomod_check_offline(Gomod *g, Err *e)
{
    scoped(buf) Buf missing = BUF_INIT;
    size_t n = 0;
    enum { SHOWN = 20 };
    for (size_t i = 0; g->offline && i < g->nwanted; i++) {
        const Wanted *w = &g->wanted[i];
        if (w->kind == GO_REQUEST_INFO || is_here(g, w, &g->pre.proxies, ""))
            continue;
        if (n++ < SHOWN)
            buf_printf(&missing, "\n    %s@%s (%s)", w->mod.path, w->mod.version,
                       w->kind == GO_REQUEST_MOD ? "go.mod" : "zip");
    }
    if (!n)
        return true;
    if (n > SHOWN)
        buf_printf(&missing, "\n    and %zu more", n - SHOWN);
    return err_set(e, ERR_NETWORK,
                   "--go-offline: %zu files that go.sum names are not in the module store; build "
                   "once without --go-offline:%s",
                   n, buf_str(&missing));
}
