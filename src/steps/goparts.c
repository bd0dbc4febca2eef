/*
 * steps/goparts.c - what a go command would fetch and unpack into a module cache lies there
 * already.
 *
 * The kernel tells what go opens of it: the .ziphash of each module whose files it wants, the .mod
 * of each version that it looks at, the .info of each that `go mod download` wants. What was wanted
 * is in the layer, as go would have put it there; the rest, which only lay there, is not. The words
 * of a proxy, .info and .mod, lie there when the command has run before; else go asks for them, and
 * what `go mod download` wants is seen by those that it writes.
 */
#include <errno.h>

#include "base/fs.h"
#include "base/map.h"
#include "steps/goparts.h"

/* ---- before the command ---- */

/* Whether the command leaves nothing but what we know how to make. */
static bool is_wanted(StepWork *w, const StepGo *g, const View *v, bool *ret, Err *e)
{
    const PlanRun *r = &w->step->u.run;
    const char *cache = g->root.settings.gomodcache;
    ViewNode node;
    *ret = false;
    if (!w->env->go_parts || !w->env->gomod || !g->mod || w->env->host.mode == MODE_CHROOT ||
        g->root.uid || !cache || *cache != '/' || !cache[1] ||
        strcmp(path_clean(&w->arena, cache), cache) != 0 ||
        strstr(g->root.settings.goflags, "-mod") || go_mounted(r, cache))
        return true;
    if (!go_is_download(r) && !go_may_unpack(&w->arena, w->env, w->step, cache))
        return true;
    if (!view_lookup(v, cache, VIEW_FOLLOW, &node, e))
        return false;
    *ret = !node.exists && !strcmp(node.path, cache + 1); /* nothing is mixed with what is there */
    return true;
}

/* A command that changes what lies there, or takes something away, runs twice; the next time it is
 * lent nothing. */
static void place_of(StepWork *w, Digest *ret)
{
    scoped(key) KeyBuilder k;
    Str stage = plan_stage_place(w->step);
    key_begin(&k, "goparts refused 1");
    key_text(&k, "scope", w->env->go_scope ? w->env->go_scope : "");
    key_text(&k, "stage", arena_strndup(&w->arena, stage.ptr, stage.len));
    key_list(&k, "arg", &w->step->u.run.argv);
    key_end(&k, ret);
}

static Part *part_of(StepWork *w, GoParts *p, const char *base)
{
    uint64_t i;
    if (map_get(&p->part_of, base, &i))
        return &p->v[i];
    (void)map_put(&p->part_of, base, p->n);
    Part *x = ARENA_PUSH(&w->arena, p->v, p->n, p->cap);
    *x = (Part){.base = base};
    return x;
}

static void lend(StepWork *w, GoParts *p, Role role, size_t i, GoTree tree)
{
    *ARENA_PUSH(&w->arena, p->lent, p->nlent, p->lent_cap) = (Lent){tree, role, i};
}

/* A text below the module cache, which has another name when it is another. */
static GoTree text_tree(StepWork *w, const GoParts *p, const char *path, const char *text)
{
    Digest d;
    char hex[DIGEST_HEX_SIZE];
    digest_of(text, strlen(text), &d);
    digest_hex(&d, hex);
    return (GoTree){.kind = GO_TREE_TEXT,
                    .path = arena_printf(&w->arena, "%s/%s", p->cache, path),
                    .h1 = arena_strdup(&w->arena, hex),
                    .text = text};
}

/* A module; false when go has it from a proxy. */
static bool add_module(StepWork *w, GoParts *p, const GoModule *m, const char *h1)
{
    Arena *a = &w->arena;
    const char *stored, *tree, *base = gotexts_base(a, m);
    GomodMaterial mat;
    Err ignored = ERR_INIT;
    if (!base || !gomod_find(w->env->gomod, a, h1, &stored, &mat) ||
        !gomod_tree(w->env->gomod, a, m, h1, &tree, &ignored))
        return false;
    size_t i = (size_t)(part_of(w, p, base) - p->v);
    /* "cache/download/x/@v/v1.2.3" is of "x@v1.2.3" */
    const char *path = base + strlen("cache/download/"), *at = strstr(path, "/@v/");
    lend(w, p, ROLE_MODULE, i,
         (GoTree){.kind = GO_TREE_DIR,
                  .path = arena_printf(a, "%s/%.*s@%s", p->cache, (int)(at - path), path,
                                       at + strlen("/@v/")),
                  .h1 = h1,
                  .from = tree});
    lend(w, p, ROLE_MODULE, i,
         (GoTree){.kind = GO_TREE_FILE,
                  .path = arena_printf(a, "%s/%s.zip", p->cache, base),
                  .h1 = h1,
                  .from = arena_printf(a, "%s/zip", stored)});
    lend(w, p, ROLE_MODULE, i, text_tree(w, p, arena_printf(a, "%s.ziphash", base), h1));
    lend(w, p, ROLE_MODULE, i, text_tree(w, p, arena_printf(a, "%s.lock", base), ""));
    return true;
}

/* What a proxy would be asked for. */
static void add_texts(StepWork *w, GoParts *p)
{
    Arena *a = &w->arena;
    for (size_t i = 0; i < p->texts.n; i++) {
        const GoText *t = &p->texts.v[i];
        size_t part = (size_t)(part_of(w, p, t->base) - p->v);
        if (t->mod) {
            p->v[part].mod = t;
            lend(w, p, ROLE_MOD, part,
                 (GoTree){.kind = GO_TREE_MOD,
                          .path = arena_printf(a, "%s/%s.mod", p->cache, t->base),
                          .h1 = t->mod});
        }
        if (t->info) {
            p->v[part].info = t;
            lend(w, p, ROLE_INFO, part,
                 text_tree(w, p, arena_printf(a, "%s.info", t->base), t->info));
        }
    }
    for (size_t i = 0; i < p->texts.nlist; i++)
        lend(w, p, ROLE_LIST, i,
             text_tree(w, p, arena_printf(a, "%slist", p->texts.lists[i].dir),
                       p->texts.lists[i].text));
}

static bool find_made(StepWork *w, const View *v, GoParts *p, Err *e)
{
    for (const char *at = p->cache; *at; at++) {
        ViewNode node;
        at += strcspn(at, "/");
        const char *path = arena_strndup(&w->arena, p->cache, (size_t)(at - p->cache));
        if (!view_lookup(v, path, VIEW_NOFOLLOW, &node, e))
            return false;
        if (!node.exists)
            strlist_add(&w->arena, &p->made, path);
        if (!*at)
            break;
    }
    return true;
}

/* What of the wanted modules is here and is not in `added` yet. Two go.mod files may want the same.
 */
static void add_here(StepWork *w, GoParts *p, Map *added)
{
    GoModule m;
    const char *h1;
    for (size_t i = 0; gomod_wanted(w->env->gomod, i, &m, &h1); i++) {
        uint64_t one;
        const char *name = arena_printf(&w->arena, "%s@%s", m.path, m.version);
        if (!map_get(added, name, &one) && add_module(w, p, &m, h1))
            (void)map_put(added, name, 1);
    }
}

/* The others are fetched meanwhile. */
static void add_all(StepWork *w, GoParts *p)
{
    scoped(map) Map added = {0};
    uint64_t at = clock_ns();
    add_here(w, p, &added);
    add_texts(w, p);
    steps_span(w, "lay out what is here", at);
    at = clock_ns();
    gomod_settle(w->env->gomod);
    steps_span(w, "wait for modules", at);
    add_here(w, p, &added);
}

/* What did not get there, go asks for. */
static void drop_missing(GoParts *p)
{
    scoped(map) Map there = {0};
    size_t n = 0;
    for (size_t i = 0; i < p->trees.n; i++)
        (void)map_put(&there, p->trees.v[i].path, i);
    for (size_t i = 0; i < p->nlent; i++) {
        const Lent *l = &p->lent[i];
        uint64_t at;
        if (map_get(&there, l->tree.path, &at) && !strcmp(p->trees.v[at].h1, l->tree.h1))
            p->lent[n++] = *l;
        else if (l->role == ROLE_MOD)
            p->v[l->i].mod = NULL;
        else if (l->role == ROLE_INFO)
            p->v[l->i].info = NULL;
    }
    p->nlent = n;
}

/* What else is in the trees' directories the command does not see. */
static bool add_trees(StepWork *w, GoParts *p, int top, Err *e)
{
    StrList paths = {0};
    uint64_t at = clock_ns();
    GoTree *all = NEW_N(&w->arena, GoTree, p->nlent + 1);
    for (size_t i = 0; i < p->nlent; i++)
        all[i] = p->lent[i].tree;
    if (!go_trees_make(w, p->cache, all, p->nlent, &p->trees, e))
        return false;
    drop_missing(p);
    for (size_t i = 0; i < p->nlent; i++)
        strlist_add(&w->arena, &paths, p->lent[i].tree.path);
    bool ok = go_trees_hide(&w->arena, &p->trees, top, p->cache, &paths, e);
    steps_span(w, "trees of modules", at);
    return ok;
}

static bool was_good(StepWork *w, GoParts *p, bool *ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    bool refused;
    place_of(w, &p->place);
    if (!store_memo_get(w->env->store, &p->place, &b, &refused, e))
        return false;
    *ret = !refused;
    return true;
}

/* The directories of what lies there, each once. */
static void watch(StepWork *w, GoParts *p, StepGo *g)
{
    scoped(map) Map dirs = {0};
    for (size_t i = 0; i < p->n; i++) {
        uint64_t at = g->watched.n;
        const char *dir = path_dir(&w->arena, p->v[i].base);
        if (!map_get(&dirs, dir, &at)) {
            (void)map_put(&dirs, dir, at);
            strlist_add(&w->arena, &g->watched, arena_printf(&w->arena, "/%s/%s", p->cache, dir));
        }
        p->v[i].dir = at;
    }
}

static bool lay_out(StepWork *w, const View *v, const char *dir, StepGo *g, GoParts *p, Err *e)
{
    int raw = -1, store = store_dirfd(w->env->store);
    StrList dirs;
    uint64_t at = clock_ns();
    if (p->watched && go_is_plain(&w->step->u.run) &&
        !gotexts_read(w, g, v, &p->texts_key, &p->texts, e))
        return false;
    steps_span(w, "words of proxies", at);
    add_all(w, p);
    if (!p->nlent)
        return true;
    if (!find_made(w, v, p, e) ||
        !fs_mkdirs(store, arena_printf(&w->arena, "%s/%s", dir, p->cache), e) ||
        !fs_open_dir(store, dir, &raw, e))
        return false;
    scoped(fd) int top = raw;
    if (!add_trees(w, p, top, e) || !stack_lowers(&w->arena, &p->trees.stack, &dirs, e))
        return false;
    strlist_add(&w->arena, &g->lowers, dir);
    for (size_t i = 0; i < dirs.n; i++)
        strlist_add(&w->arena, &g->lowers, dirs.v[i]);
    g->parts = p;
    if (p->watched)
        watch(w, p, g);
    return true;
}

bool stepgo_parts(StepWork *w, const View *v, const char *dir, StepGo *g, Err *e)
{
    bool wanted, good, watched;
    if (!is_wanted(w, g, v, &wanted, e))
        return false;
    if (!wanted)
        return true;
    GoParts *p = NEW(&w->arena, GoParts);
    if (!was_good(w, p, &good, e) || !gowatch_possible(w, &watched, e))
        return false;
    p->cache = g->root.settings.gomodcache + 1;
    p->download = go_is_download(&w->step->u.run);
    p->watched = watched;
    if (!good || (!watched && !p->download))
        return true;
    bool ok = lay_out(w, v, dir, g, p, e);
    map_done(&p->part_of);
    return ok;
}

Stack stepgo_with_parts(Arena *a, const Stack *below, const GoParts *p)
{
    Stack all = *below;
    for (size_t i = 0; p && i < p->trees.stack.n; i++)
        all = stack_push(a, &all, p->trees.stack.ids[i]);
    return all;
}

const Stack *stepgo_below(const GoParts *p)
{
    static const Stack NOTHING = {0};
    return p ? &p->trees.stack : &NOTHING;
}
