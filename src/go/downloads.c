/*
 * go/downloads.c - a main module's go.mod to the modules that `go mod download` fetches.
 */
#include <stdlib.h>

#include "go/modfile.h"

static const char PRUNED[] = "1.17"; /* since then go.mod names all that its packages need */

static int by_old(const void *a, const void *b)
{
    const GoReplace *x = a, *y = b;
    int c = strcmp(x->old.path, y->old.path);
    return c ? c : strcmp(x->old.version, y->old.version);
}

static int by_module(const void *a, const void *b)
{
    const GoModule *x = a, *y = b;
    int c = strcmp(x->path, y->path);
    return c ? c : strcmp(x->version, y->version);
}

/* One require line among the others of its path. */
typedef struct Wanted {
    GoModule mod;
    size_t place;
} Wanted;

static int by_path(const void *a, const void *b)
{
    const Wanted *x = a, *y = b;
    int c = strcmp(x->mod.path, y->mod.path);
    if (!c)
        c = -go_version_compare(x->mod.version, y->mod.version);
    return c ? c : (x->place > y->place) - (x->place < y->place);
}

static int by_order(const void *a, const void *b)
{
    const Wanted *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

static void *copy(Arena *a, const void *from, size_t n, size_t size)
{
    void *p = arena_array(a, n + 1, size);
    if (n)
        memcpy(p, from, n * size);
    return p;
}

/* Of lines for one path the newest holds. */
static size_t choose(Wanted *w, size_t n)
{
    size_t kept = 0;
    if (n)
        qsort(w, n, sizeof *w, by_path);
    for (size_t i = 0; i < n; i++)
        if (!kept || strcmp(w[kept - 1].mod.path, w[i].mod.path) != 0)
            w[kept++] = w[i];
    if (kept)
        qsort(w, kept, sizeof *w, by_order);
    return kept;
}

/* What is fetched for a module: itself, or what replaces this version of it, or all of them. */
static GoModule replaced(const GoReplace *r, size_t n, GoModule m)
{
    GoReplace exact = {.old = m}, any = {.old = {m.path, ""}};
    const GoReplace *with = n ? bsearch(&exact, r, n, sizeof *r, by_old) : NULL;
    if (!with && n)
        with = bsearch(&any, r, n, sizeof *r, by_old);
    return with ? with->with : m;
}

void go_mod_downloads(Arena *a, const GoModFile *mod, GoModuleList *ret)
{
    GoModuleList l = {.whole = go_release_compare(mod->go, PRUNED) >= 0};
    GoReplace *r = copy(a, mod->replaces, mod->nreplace, sizeof *r);
    GoModule *x = copy(a, mod->excludes, mod->nexclude, sizeof *x);
    Wanted *w = arena_array(a, mod->nrequire + 1, sizeof *w);
    if (mod->nreplace)
        qsort(r, mod->nreplace, sizeof *r, by_old);
    if (mod->nexclude)
        qsort(x, mod->nexclude, sizeof *x, by_module);
    for (size_t i = 0; i < mod->nrequire; i++)
        w[i] = (Wanted){mod->requires[i].mod, i};
    size_t n = choose(w, mod->nrequire);
    l.v = arena_array(a, n + 1, sizeof *l.v);
    for (size_t i = 0; i < n; i++) {
        Err ignored = ERR_INIT;
        GoModule m = replaced(r, mod->nreplace, w[i].mod);
        if (mod->nexclude && bsearch(&w[i].mod, x, mod->nexclude, sizeof *x, by_module))
            l.whole = false;
        else if (!*m.version)
            continue; /* a directory */
        else if (!go_module_check(&m, &ignored))
            l.whole = false;
        else
            l.v[l.n++] = m;
    }
    *ret = l;
}
