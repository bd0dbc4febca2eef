/*
 * steps/goshadow.c - what was compiled before lies under a step's root, in its GOCACHE.
 *
 * It lies at the very bottom of the overlay, so that the command may remove it, move it or look at
 * it like any directory, and what it adds is in the upper, where it can be told from what was
 * there.
 */
#include <errno.h>

#include "base/fs.h"
#include "steps/golang.h"

/* ---- before the command ---- */

/* Would go, as this user, have made the directory itself? */
static bool may_make(const View *v, const GoRoot *r, const char *path, bool *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    ViewNode node = {0};
    const char *at = path;
    do {
        at = path_clean(&a, arena_printf(&a, "%s/..", at));
        if (!view_lookup(v, at, VIEW_FOLLOW, &node, e))
            return false;
    } while (!node.exists && strcmp(at, "/") != 0);
    uint32_t bits = node.st.st_uid == r->uid ? 0200 : node.st.st_gid == r->gid ? 0020 : 0002;
    *ret = node.exists && S_ISDIR(node.st.st_mode) && (!r->uid || node.st.st_mode & bits);
    return true;
}

/* Whether no link leads elsewhere. */
static bool lies_at(const View *v, const char *path, bool *ret, Err *e)
{
    ViewNode node;
    if (!view_lookup(v, path, VIEW_FOLLOW, &node, e))
        return false;
    *ret = !strcmp(node.path, path + 1);
    return true;
}

void stepgo_spaces(const StepGo *g, const Gocache *ret[static GO_SPACES])
{
    ret[0] = &g->cache;
    for (size_t i = 0; i < GO_INDEX_KINDS; i++)
        ret[1 + i] = &g->indexes[i];
}

static bool lends(const StepGo *g)
{
    const Gocache *all[GO_SPACES];
    size_t n = 0;
    stepgo_spaces(g, all);
    for (size_t i = 0; i < NELEM(all); i++)
        n += all[i]->n;
    return n > 0;
}

/* All 256 directories of entries, so that each of them is there. */
static bool watch_entries(StepWork *w, const char *dir, const char *path, StepGo *g, Err *e)
{
    int raw = -1;
    if (!fs_open_dir(store_dirfd(w->env->store), arena_printf(&w->arena, "%s%s", dir, path), &raw,
                     e))
        return false;
    scoped(fd) int fd = raw;
    for (unsigned i = 0; i < 256; i++) {
        char name[3];
        (void)snprintf(name, sizeof name, "%02x", i);
        if (mkdirat(fd, name, 0777) < 0 || fchmodat(fd, name, 0777, 0) < 0)
            return err_errno(e, ERR_STORE, "create '%s'", name);
        strlist_add(&w->arena, &g->watched, arena_printf(&w->arena, "%s/%s", path, name));
    }
    return true;
}

bool stepgo_shadow(StepWork *w, const Stack *below, const View *v, const char *dir, StepGo *g,
                   Err *e)
{
    Arena *a = &w->arena;
    scoped(stack_view) StackView sv = {0};
    Digest space;
    bool ok = false;
    const char *path = go_lent_path(a, w->env, w->step, &g->live);
    g->shadow = path;
    if (!path || !g->root.goroot || !g->root.settings.gocache ||
        strcmp(path, g->root.settings.gocache) != 0)
        return true;
    if (!may_make(v, &g->root, path, &ok, e) ||
        (ok && !go_space(w, below, &g->root, path, &space, &ok, e)))
        return false;
    if (ok && g->live && !lies_at(v, path, &ok, e))
        return false;
    if (!ok)
        return true;
    g->space = space;
    Stack with = stepgo_with_parts(a, below, g->parts);
    if (!gocache_open(w->env->store, a, &space, path + 1, &g->cache, e) ||
        !stack_view(w->env->store, &with, -1, &sv, e) ||
        !go_index_open(w, &with, &sv.view, path + 1, g, e))
        return false;
    g->shared = true;
    g->lent = !w->env->go_fresh && lends(g);
    if (g->live && g->lent && !gowatch_possible(w, &g->lent, e))
        return false;
    if (g->live && !g->lent)
        return true;
    if (!gocache_bottom(w->env->store, a, path + 1, dir, e) ||
        (g->live && !watch_entries(w, dir, path, g, e)))
        return false;
    strlist_add(a, &g->lowers, dir);
    if (!w->env->go_fresh) {
        const Gocache *all[GO_SPACES];
        stepgo_spaces(g, all);
        gocache_lowers(all, NELEM(all), a, &g->lowers);
    }
    return true;
}

/* ---- after it ---- */

/* Directories on the way that the command, or overlayfs for it, made: where nothing else is there,
 * they go, too. */
static bool clear_parents(const View *v, int upper, Arena *a, const char *path, Err *e)
{
    ViewNode node;
    for (const char *at = path; strcmp(at, "/") != 0;
         at = path_clean(a, arena_printf(a, "%s/..", at))) {
        struct stat st;
        if (!view_lookup(v, at, VIEW_NOFOLLOW, &node, e))
            return false;
        if (node.exists)
            return true;
        if (fstatat(upper, at + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (!S_ISDIR(st.st_mode) && !overlay_whiteout(&st))
            return true;
        if (unlinkat(upper, at + 1, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
            return errno == ENOTEMPTY || errno == EEXIST ||
                   err_errno(e, ERR_STORE, "remove '%s'", at);
    }
    return true;
}

bool stepgo_clear(StepWork *w, const char *shadow, const Stack *below, const char *upper, Err *e)
{
    scoped(stack_view) StackView sv = {0};
    int raw = -1;
    if (!shadow)
        return true;
    if (!fs_open_dir(store_dirfd(w->env->store), upper, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    const char *parent = path_clean(&w->arena, arena_printf(&w->arena, "%s/..", shadow));
    scoped(fd) int dir = fs_open_beneath(fd, parent + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    /* Renamed, it is removed with the step's other directories, which nobody waits for. */
    const char *old = arena_printf(&w->arena, "%s.old", upper);
    if (dir >= 0 && renameat(dir, path_base(shadow), store_dirfd(w->env->store), old) < 0 &&
        !fs_remove_tree(dir, path_base(shadow), e))
        return false;
    return stack_view(w->env->store, below, -1, &sv, e) &&
           clear_parents(&sv.view, fd, &w->arena, parent, e);
}

static bool harvest(StepWork *w, const Stack *below, const View *v, StepGo *g, int upper, Err *e)
{
    GocacheHarvest h;
    scoped(fd) int fd =
        fs_open_beneath(upper, g->shadow + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return true; /* it compiled nothing */
    const char *what = arena_printf(&w->arena, "packages compiled in %s", w->env->go_scope);
    if (!go_index_harvest(w, below, v, g, upper, fd, what, &h, e))
        return false;
    if (h.refused)
        event_warning(&w->env->sink,
                      "%s:%u: %s: %zu files of its GOCACHE are not what their names say, and are "
                      "not kept",
                      w->env->file->name, w->step->src.line, w->step->title, h.refused);
    return true;
}

bool stepgo_collect(StepWork *w, const Stack *below, StepGo *g, const char *upper, bool *ret_stale,
                    Err *e)
{
    scoped(stack_view) StackView sv = {0};
    int raw = -1;
    uint64_t at = clock_ns();
    *ret_stale = false;
    if (!g->shared)
        return true;
    if (!fs_open_dir(store_dirfd(w->env->store), upper, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    Stack with = stepgo_with_parts(&w->arena, below, g->parts);
    if (!stack_view(w->env->store, &with, -1, &sv, e))
        return false;
    bool changed = go_c_changed(w, &g->root, g->shadow, fd) ||
                   (g->indexes[GO_INDEX_MODULES].n && go_index_stale(w, &sv.view, &g->root, fd));
    *ret_stale = changed && g->lent;
    bool ok = changed || w->env->go_fresh || harvest(w, &with, &sv.view, g, fd, e);
    steps_span(w, "build cache", at);
    return ok;
}
