/*
 * steps/gokept.c - indexes of modules that outlive the layers that they were made in.
 *
 * An index follows from a module's files and from where the module lies. Where a layer's module is
 * known to be what its zip says, its index is kept beside the zip, and another layer with the same
 * module begins with it: a dependency more costs one index and not those of all.
 */
#include "base/fs.h"
#include "steps/golang.h"

static const char *note_name(Arena *a, const StepGo *g, const Digest *action)
{
    scoped(key) KeyBuilder k;
    Digest d;
    char hex[DIGEST_HEX_SIZE];
    key_begin(&k, "goindex kept 2");
    key_digest(&k, "space", &g->space); /* what one project's commands wrote is for no other's */
    key_digest(&k, "action", action);
    key_end(&k, &d);
    digest_hex(&d, hex);
    return arena_printf(a, "index-%.40s", hex);
}

void go_kept_take(StepWork *w, const StepGo *g, const char *h1, const Digest *action, Str index)
{
    scoped(arena) Arena a = {0};
    gomod_note_put(w->env->gomod, h1, note_name(&a, g, action), index);
}

bool go_kept_give(StepWork *w, const Stack *below, const View *v, StepGo *g, Err *e)
{
    Arena *a = &w->arena;
    Gocache *c = &g->indexes[GO_INDEX_MODULES];
    GoTrees known;
    size_t n = 0;
    const char *version = go_version_in(a, v, &g->root);
    if (!version || !w->env->gomod || w->env->go_fresh)
        return true;
    if (!go_trees_known(w, below, &known, e))
        return false;
    GocacheNew *all = NEW_N(a, GocacheNew, known.n + 1);
    for (size_t i = 0; i < known.n; i++) {
        if (!go_tree_is_module(&known.v[i]))
            continue;
        GocacheNew *x = &all[n];
        go_index_module_id(version, arena_printf(a, "/%s", known.v[i].path), &x->action);
        scoped(fd) int dir = go_open_only(v, known.v[i].path);
        n += dir >= 0 &&
             gomod_note_find(w->env->gomod, a, known.v[i].h1, note_name(a, g, &x->action), &x->path,
                             &x->output, &x->size);
    }
    return gocache_add(c, a, all, n, "indexes of Go modules", e);
}
