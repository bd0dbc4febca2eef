/*
 * steps/goparts.c - the modules that a go command would unpack lie under its root already.
 *
 * What lies there is all but the words of a proxy, the .info and .mod files: those go has to ask
 * for. `go mod download` asks for the .info of each module that it wants; other commands open the
 * .ziphash of each whose files they want, and the kernel tells of it. The modules that were wanted
 * are in the layer, as it would have put them there; the others, which only lay there, are not.
 */
#include <errno.h>

#include "base/fs.h"
#include "base/map.h"
#include "steps/golang.h"

/* A module that lies under the root: "go/pkg/mod/github.com/!burnt!sushi/toml@v1.3.2" below that,
 * and "cache/download/github.com/!burnt!sushi/toml/@v/v1.3.2" below the module cache. */
typedef struct Part {
    const char *tree, *base;
    size_t dir; /* where its directory is among those that are watched */
} Part;

struct GoParts {
    const char *cache; /* the module cache, relative to the root */
    const char *farm;  /* it, with all but trees, relative to store_dirfd() */
    bool download;     /* by `go mod download` */
    Digest place; /* what it is to be remembered of the command by, if that does something else */
    StrList made; /* directories on the way to it that are not below, relative to the root */
    Part *v;
    size_t n, cap;
    GoTree *wanted; /* by part: what is to lie under the root */
    size_t nwanted, wanted_cap;
    GoTrees trees;
};

static const char *const ENDINGS[] = {".zip", ".ziphash", ".lock"};

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
    return go_is_download(r) || !*ret || gowatch_possible(w, ret, e);
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

static bool put_small(int dirfd, const char *path, const char *text, Err *e)
{
    if (!fs_write_file(dirfd, path, text, strlen(text), e))
        return false;
    return (fchmodat(dirfd, path, 0644, 0) == 0 && utimensat(dirfd, path, GOMOD_TIME, 0) == 0) ||
           err_errno(e, ERR_STORE, "change '%s'", path);
}

/* All but the tree; and what the tree is to be. */
static bool add_part(StepWork *w, GoParts *p, int farm, const GoModule *m, const char *h1,
                     GoTree *ret_tree, bool *ret_ok, Err *e)
{
    Arena *a = &w->arena;
    const char *path, *version, *stored, *tree;
    GomodMaterial mat;
    Err ignored = ERR_INIT;
    int store = store_dirfd(w->env->store);
    *ret_ok = gomod_find(w->env->gomod, a, h1, &stored, &mat) &&
              gomod_tree(w->env->gomod, a, m, h1, &tree, &ignored) &&
              go_path_escape(a, m->path, &path, &ignored) &&
              go_version_escape(a, m->version, &version, &ignored);
    if (!*ret_ok)
        return true; /* go has it from a proxy */
    Part part = {arena_printf(a, "%s/%s@%s", p->cache, path, version),
                 arena_printf(a, "cache/download/%s/@v/%s", path, version)};
    const char *zip = arena_printf(a, "%s.zip", part.base);
    if (!fs_mkdirs(farm, path_dir(a, part.base), e))
        return false;
    if (linkat(store, arena_printf(a, "%s/zip", stored), farm, zip, 0) < 0) {
        *ret_ok = false; /* two go.mod files want it */
        return errno == EEXIST || err_errno(e, ERR_STORE, "link '%s'", zip);
    }
    if (!put_small(farm, arena_printf(a, "%s.ziphash", part.base), h1, e) ||
        !put_small(farm, arena_printf(a, "%s.lock", part.base), "", e))
        return false;
    *ret_tree = (GoTree){part.tree, h1, tree};
    *ARENA_PUSH(a, p->v, p->n, p->cap) = part;
    return true;
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

/* What of the wanted modules is here and was not yet added; `added` is by their number. */
static bool add_here(StepWork *w, GoParts *p, int farm, bool *added, Err *e)
{
    GoModule m;
    const char *h1;
    for (size_t i = 0; gomod_wanted(w->env->gomod, i, &m, &h1); i++) {
        GoTree t;
        if (added[i])
            continue;
        if (!add_part(w, p, farm, &m, h1, &t, &added[i], e))
            return false;
        if (added[i])
            *ARENA_PUSH(&w->arena, p->wanted, p->nwanted, p->wanted_cap) = t;
    }
    return true;
}

/* The others are fetched meanwhile. */
static bool add_all(StepWork *w, GoParts *p, int farm, Err *e)
{
    GoModule m;
    const char *h1;
    size_t n = 0;
    uint64_t at = clock_ns();
    while (gomod_wanted(w->env->gomod, n, &m, &h1))
        n++;
    bool *added = NEW_N(&w->arena, bool, n + 1);
    if (!add_here(w, p, farm, added, e))
        return false;
    steps_span(w, "lay out what is here", at);
    at = clock_ns();
    gomod_settle(w->env->gomod);
    steps_span(w, "wait for modules", at);
    return add_here(w, p, farm, added, e);
}

/* What else is in the trees' directories, for other modules, the command does not see. */
static bool add_trees(StepWork *w, GoParts *p, int top, Err *e)
{
    StrList paths = {0};
    uint64_t at = clock_ns();
    for (size_t i = 0; i < p->nwanted; i++)
        strlist_add(&w->arena, &paths, p->wanted[i].path);
    bool ok = go_trees_make(w, p->cache, p->wanted, p->nwanted, &p->trees, e) &&
              go_trees_hide(&w->arena, &p->trees, top, p->cache, &paths, e);
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

/* The directories of zips, each once. */
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

bool stepgo_parts(StepWork *w, const View *v, const char *dir, StepGo *g, Err *e)
{
    bool wanted;
    int raw = -1, raw_top = -1, store = store_dirfd(w->env->store);
    StrList dirs;
    if (!is_wanted(w, g, v, &wanted, e))
        return false;
    if (!wanted)
        return true;
    GoParts *p = NEW(&w->arena, GoParts);
    *p = (GoParts){.cache = g->root.settings.gomodcache + 1,
                   .download = go_is_download(&w->step->u.run)};
    if (!was_good(w, p, &wanted, e))
        return false;
    if (!wanted)
        return true;
    p->farm = arena_printf(&w->arena, "%s/%s", dir, p->cache);
    if (!find_made(w, v, p, e) || !fs_mkdirs(store, p->farm, e) ||
        !fs_open_dir(store, dir, &raw_top, e))
        return false;
    scoped(fd) int top = raw_top;
    if (!fs_open_dir(store, p->farm, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    if (!add_all(w, p, fd, e))
        return false;
    if (!p->n)
        return true;
    if (!add_trees(w, p, top, e))
        return false;
    if (!stack_lowers(&w->arena, &p->trees.stack, &dirs, e))
        return false;
    strlist_add(&w->arena, &g->lowers, dir);
    for (size_t i = 0; i < dirs.n; i++)
        strlist_add(&w->arena, &g->lowers, dirs.v[i]);
    g->parts = p;
    if (!p->download)
        watch(w, p, g);
    return true;
}

/* ---- after it ---- */

/* What go took away, or made anew, of what lay there: then it is not as it was thought. */
static bool is_changed(int top, int cache, const GoParts *p)
{
    scoped(arena) Arena a = {0};
    struct stat st;
    for (size_t i = 0; i < p->trees.n; i++)
        if (fstatat(top, p->trees.v[i].path, &st, AT_SYMLINK_NOFOLLOW) == 0)
            return true;
    for (size_t i = 0; i < p->n; i++) {
        for (size_t k = 0; k < NELEM(ENDINGS); k++)
            if (fstatat(cache, arena_printf(&a, "%s%s", p->v[i].base, ENDINGS[k]), &st,
                        AT_SYMLINK_NOFOLLOW) == 0)
                return true;
    }
    return false;
}

static bool was_wanted(const GoParts *p, const Part *part, int cache, const GoWatch *x)
{
    scoped(arena) Arena a = {0};
    struct stat st;
    return p->download ? fstatat(cache, arena_printf(&a, "%s.info", part->base), &st,
                                 AT_SYMLINK_NOFOLLOW) == 0
                       : gowatch_opened(x, part->dir,
                                        arena_printf(&a, "%s.ziphash", path_base(part->base)));
}

static bool wanted_any(const GoParts *p, const GoWatch *x)
{
    for (size_t i = 0; i < p->n; i++)
        if (was_wanted(p, &p->v[i], -1, x))
            return true;
    return false;
}

/* The zips of modules that it wanted go to the words of the proxy. */
static bool take_parts(StepWork *w, int farm, int cache, GoParts *p, const GoWatch *x,
                       StrList *wanted, Err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        scoped(arena) Arena a = {0};
        const Part *part = &p->v[i];
        if (!was_wanted(p, part, cache, x))
            continue;
        if (!fs_mkdirs(cache, path_dir(&a, part->base), e))
            return false;
        for (size_t k = 0; k < NELEM(ENDINGS); k++) {
            const char *path = arena_printf(&a, "%s%s", part->base, ENDINGS[k]);
            if (renameat(farm, path, cache, path) < 0)
                return err_errno(e, ERR_STORE, "move '%s'", path);
        }
        strlist_add(&w->arena, wanted, part->tree);
    }
    return true;
}

static bool set_all(int top, int cache, const GoParts *p, Err *e)
{
    if (!go_trees_dress(cache, e))
        return false;
    for (size_t i = 0; i < p->made.n; i++)
        if (fchmodat(top, p->made.v[i], 0755, 0) < 0 ||
            utimensat(top, p->made.v[i], GOMOD_TIME, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(e, ERR_STORE, "touch '%s'", p->made.v[i]);
    return true;
}

/*
 * The layer will be several directories, and what it hides of the layers below cannot be said in
 * the uppermost alone: has the command taken anything away that is there?
 */
static bool hides(const View *below, int upper, const char *dir, unsigned depth)
{
    scoped(arena) Arena a = {0};
    StrList names;
    Err ignored = ERR_INIT;
    scoped(fd) int fd =
        fs_open_beneath(upper, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 || depth > TREE_MAX_DEPTH || !fs_list(&a, fd, &names, &ignored))
        return true;
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        ViewNode node;
        const char *path = *dir ? arena_printf(&a, "%s/%s", dir, names.v[i]) : names.v[i];
        if (fstatat(fd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
            return true;
        bool gone =
            overlay_whiteout(&st) || (S_ISDIR(st.st_mode) && overlay_opaque(fd, names.v[i]));
        if (gone && (!view_lookup(below, path, VIEW_NOFOLLOW, &node, &ignored) || node.exists))
            return true;
        if (S_ISDIR(st.st_mode) && hides(below, upper, path, depth + 1))
            return true;
    }
    return false;
}

bool stepgo_take_parts(StepWork *w, const Stack *below, StepGo *g, const char *upper,
                       bool *ret_stale, Err *e)
{
    int raw = -1, farm = -1, store = store_dirfd(w->env->store);
    GoParts *p = g->parts;
    StrList wanted = {0};
    scoped(stack_view) StackView sv = {0};
    *ret_stale = false;
    g->parts = NULL;
    if (!p)
        return true;
    if (!fs_open_dir(store, upper, &raw, e))
        return false;
    scoped(fd) int top = raw;
    scoped(fd) int cache = fs_open_beneath(top, p->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (cache < 0) { /* without a module cache it wanted none, or had all of ours */
        *ret_stale = !p->download && wanted_any(p, g->watch);
        return !*ret_stale || store_memo_put(w->env->store, &p->place, "", 0, e);
    }
    if (!stack_view(w->env->store, below, -1, &sv, e))
        return false;
    *ret_stale = is_changed(top, cache, p) || hides(&sv.view, top, "", 0);
    if (*ret_stale)
        return store_memo_put(w->env->store, &p->place, "", 0, e);
    if (!fs_open_dir(store, p->farm, &farm, e))
        return false;
    scoped(fd) int from = farm;
    g->parts = p;
    return take_parts(w, from, cache, p, g->watch, &wanted, e) &&
           go_trees_hide(&w->arena, &p->trees, top, p->cache, &wanted, e) &&
           set_all(top, cache, p, e);
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
