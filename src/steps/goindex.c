/*
 * steps/goindex.c - which indexes of source files may be given to the next command.
 *
 * go reads the sources of a module once and keeps what it learned in GOCACHE, under a name that
 * says where the module lies and nothing of what is in it; of a package of GOROOT, under names,
 * sizes and times. Layers never change: an index is right for all commands that stand on the same
 * layers, if it is that of the files in a layer. That is looked at, because a command may have
 * changed them, or have shown go others (`-overlay`). Sources of the project are never among them.
 */
#include <errno.h>

#include "base/fs.h"
#include "base/map.h"
#include "steps/golang.h"

enum { VERSION_MAX = 4096 };

/* ---- modules of a module cache ---- */

/* They lie in directories with a version in their name: "github.com/!burnt!sushi/toml@v1.3.2". */
typedef struct Roots {
    Arena *a;
    StrList v;    /* relative to the module cache */
    bool changed; /* something else is there that is no directory, or hides what is below */
} Roots;

static void find_roots(Roots *r, int dirfd, const char *path, unsigned depth)
{
    StrList names;
    Err ignored = ERR_INIT;
    if (depth > TREE_MAX_DEPTH || !fs_list(r->a, dirfd, &names, &ignored)) {
        r->changed = true;
        return;
    }
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        const char *name = names.v[i];
        const char *at = *path ? arena_printf(r->a, "%s/%s", path, name) : name;
        if (!strcmp(at, "cache"))
            continue;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
            r->changed = true;
            continue;
        }
        if (strchr(name, '@')) {
            strlist_add(r->a, &r->v, at);
            continue;
        }
        r->changed = r->changed || overlay_opaque(dirfd, name);
        scoped(fd) int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            r->changed = true;
        else
            find_roots(r, fd, at, depth + 1);
    }
}

int go_open_only(const View *below, const char *path)
{
    int found = -1;
    for (size_t i = 0; i < below->n; i++) {
        struct stat st;
        bool has = fstatat(below->dirfds[i], path, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (!has && errno == ENOENT)
            continue;
        if (!has || found >= 0)
            return -1;
        found = below->dirfds[i];
    }
    return found < 0 ? -1 : fs_open_beneath(found, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

/* Whether a layer has `path`, or something in its way. */
static bool has_path(int layer, const char *path)
{
    struct stat st;
    return fstatat(layer, path, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/* ---- before the command ---- */

static const char *modules_of(const GoRoot *r)
{
    const char *dir = r->settings.gomodcache;
    return dir && *dir == '/' && dir[1] ? dir + 1 : NULL;
}

const char *go_version_in(Arena *a, const View *v, const GoRoot *r)
{
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    scoped(fd) int goroot = go_open_only(v, r->goroot + 1);
    if (goroot < 0 || !fs_read_file(goroot, "VERSION", VERSION_MAX, &text, &ignored))
        return NULL;
    return arena_strndup(a, buf_str(&text), strcspn(buf_str(&text), "\r\n"));
}

/* All of GOROOT is in the space's name already; which layers have modules is not. */
static void name_modules(StepWork *w, const Stack *below, const StepGo *g, Digest *ret)
{
    scoped(key) KeyBuilder k;
    int store = store_dirfd(w->env->store);
    key_begin(&k, "goindex modules 1");
    key_digest(&k, "space", &g->space);
    for (size_t i = 0; i < below->n; i++) {
        char at[STORE_TMP_MAX];
        store_snapshot_path(below->ids[i], at);
        if (has_path(store, arena_printf(&w->arena, "%s/%s", at, modules_of(&g->root))))
            key_text(&k, "layer", at);
    }
    key_end(&k, ret);
}

bool go_index_open(StepWork *w, const Stack *below, const View *v, const char *path, StepGo *g,
                   Err *e)
{
    scoped(key) KeyBuilder k;
    Digest goroot, modules;
    Gocache *x = g->indexes;
    Store *s = w->env->store;
    g->indexed = modules_of(&g->root) && !go_mounted(&w->step->u.run, g->root.goroot) &&
                 !go_mounted(&w->step->u.run, g->root.settings.gomodcache);
    if (!g->indexed)
        return true;
    key_begin(&k, "goindex goroot 1");
    key_digest(&k, "space", &g->space);
    key_end(&k, &goroot);
    name_modules(w, below, g, &modules);
    return gocache_open(s, &w->arena, &goroot, path, &x[GO_INDEX_GOROOT], e) &&
           gocache_open(s, &w->arena, &modules, path, &x[GO_INDEX_MODULES], e) &&
           (x[GO_INDEX_MODULES].n || go_kept_give(w, below, v, g, e));
}

/* ---- after it ---- */

bool go_index_stale(StepWork *w, const View *below, const GoRoot *r, int upper)
{
    Roots roots = {.a = &w->arena};
    const char *modules = modules_of(r);
    scoped(fd) int dir = fs_open_beneath(upper, modules, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0)
        return errno != ENOENT;
    find_roots(&roots, dir, "", 0);
    for (size_t k = 0; k < roots.v.n && !roots.changed; k++) {
        const char *path = arena_printf(&w->arena, "%s/%s", modules, roots.v.v[k]);
        for (size_t i = 0; i < below->n && !roots.changed; i++)
            roots.changed = has_path(below->dirfds[i], path);
    }
    return roots.changed;
}

typedef struct GoIndexJudge {
    StepWork *w;
    const Stack *stack;
    const View *below;
    const StepGo *go;
    int upper;
    bool looked;
    View goroot;         /* the layers that have a part of it */
    const char *version; /* of Go; NULL: not known */
    Map modules;         /* hex of the action of its index -> number in `roots` */
    Roots roots;         /* relative to the module cache */
    Map known;           /* path of a module -> number in `trees` */
    GoTrees trees;
} GoIndexJudge;

static void find_modules(GoIndexJudge *j)
{
    Arena *a = &j->w->arena;
    const char *modules = modules_of(&j->go->root);
    j->roots.a = a;
    for (size_t i = 0; i < j->below->n; i++) {
        scoped(fd) int dir =
            fs_open_beneath(j->below->dirfds[i], modules, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (dir >= 0)
            find_roots(&j->roots, dir, "", 0);
    }
    for (size_t i = 0; i < j->roots.v.n; i++) {
        Digest id;
        char hex[DIGEST_HEX_SIZE];
        go_index_module_id(j->version, arena_printf(a, "/%s/%s", modules, j->roots.v.v[i]), &id);
        digest_hex(&id, hex);
        (void)map_put(&j->modules, arena_strdup(a, hex), i);
    }
}

static void find_known(GoIndexJudge *j)
{
    Err ignored = ERR_INIT;
    if (!j->w->env->gomod || !go_trees_known(j->w, j->stack, &j->trees, &ignored))
        return; /* then nothing is kept of them */
    for (size_t i = 0; i < j->trees.n; i++)
        if (go_tree_is_module(&j->trees.v[i]))
            (void)map_put(&j->known, j->trees.v[i].path, i);
}

static void find_goroot(GoIndexJudge *j)
{
    int *fds = NEW_N(&j->w->arena, int, j->below->n + 1);
    j->goroot = (View){.dirfds = fds, .overlay = j->below->overlay};
    for (size_t i = 0; i < j->below->n; i++)
        if (has_path(j->below->dirfds[i], j->go->root.goroot + 1))
            fds[j->goroot.n++] = j->below->dirfds[i];
}

static void look(GoIndexJudge *j)
{
    if (j->looked)
        return;
    j->looked = true;
    find_goroot(j);
    j->version = go_version_in(&j->w->arena, j->below, &j->go->root);
    if (j->version)
        find_modules(j);
    if (j->version)
        find_known(j);
}

static bool module_right(const GoIndexJudge *j, const GoIndex *x, const Digest *action, Str index,
                         size_t i)
{
    scoped(arena) Arena a = {0};
    uint64_t known;
    const char *path = arena_printf(&a, "%s/%s", modules_of(&j->go->root), j->roots.v.v[i]);
    scoped(fd) int dir = has_path(j->upper, path) ? -1 : go_open_only(j->below, path);
    if (dir < 0 || !go_index_of_module(x, dir))
        return false;
    if (map_get(&j->known, path, &known))
        go_kept_take(j->w, j->go, j->trees.v[known].h1, action, index);
    return true;
}

/* All that is no directory, as go looks at it. */
static bool list_package(Arena *a, int dir, GoIndexStat **ret, size_t *ret_n)
{
    StrList names;
    Err ignored = ERR_INIT;
    if (!fs_list(a, dir, &names, &ignored))
        return false;
    *ret = NEW_N(a, GoIndexStat, names.n);
    *ret_n = 0;
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        if (fstatat(dir, names.v[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
            return false;
        if (S_ISDIR(st.st_mode))
            continue;
        if (!S_ISREG(st.st_mode))
            return false;
        (*ret)[(*ret_n)++] = (GoIndexStat){names.v[i], st.st_mtim, (uint64_t)st.st_size};
    }
    return true;
}

/* A package of GOROOT, which has the index that its files have in the layer. */
static bool package_right(const GoIndexJudge *j, const GoIndexPackage *p, const Digest *action)
{
    scoped(arena) Arena a = {0};
    GoIndexStat *files;
    size_t n;
    Digest id;
    const char *root = arena_printf(&a, "%s/src", j->go->root.goroot);
    const char *path =
        path_clean(&a, arena_printf(&a, "%s/%.*s", root, (int)p->dir.len, p->dir.ptr));
    if (p->odd || !str_starts(path, root))
        return false;
    scoped(fd) int dir = go_open_only(&j->goroot, path + 1);
    if (dir < 0 || !list_package(&a, dir, &files, &n))
        return false;
    go_index_package_id(j->version, root, path, files, n, &id);
    return digest_eq(&id, action);
}

static int place_of(void *arg, const Digest *action, Str index)
{
    scoped(arena) Arena a = {0};
    GoIndexJudge *j = arg;
    GoIndex x;
    char hex[DIGEST_HEX_SIZE];
    uint64_t i;
    look(j);
    digest_hex(action, hex);
    if (!j->version || !go_index_parse(&a, index, &x))
        return -1;
    if (map_get(&j->modules, hex, &i))
        return module_right(j, &x, action, index, i) ? GO_INDEX_MODULES : -1;
    return x.npackage == 1 && package_right(j, &x.packages[0], action) ? GO_INDEX_GOROOT : -1;
}

bool go_index_harvest(StepWork *w, const Stack *below, const View *v, StepGo *g, int upper,
                      int dirfd, const char *what, GocacheHarvest *ret, Err *e)
{
    GoIndexJudge j = {.w = w, .stack = below, .below = v, .go = g, .upper = upper};
    GocacheIndexes x = {g->indexes, GO_INDEX_KINDS, place_of, &j};
    bool ok =
        gocache_harvest(&g->cache, g->indexed ? &x : NULL, &w->arena, dirfd, g->live, what, ret, e);
    map_done(&j.modules);
    map_done(&j.known);
    return ok;
}
