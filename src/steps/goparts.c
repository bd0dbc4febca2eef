/*
 * steps/goparts.c - `go mod download`: the modules that it would unpack lie under its root already.
 *
 * What lies there is all but the words of a proxy, the .info and .mod files: those go has to ask
 * for, so that the .info files in its upper tell which modules it wanted. Those modules are put
 * into the layer, as it would have put them; the others, which only lay there, are not in it.
 */
#include <errno.h>

#include "base/fs.h"
#include "steps/golang.h"

/* All files of a module cache that come from here have one time. */
static const struct timespec AT[] = {{946684800, 0}, {946684800, 0}};

/* A module that lies under the root. */
typedef struct Part {
    const char *tree; /* "github.com/!burnt!sushi/toml@v1.3.2", relative to the module cache */
    const char *base; /* "cache/download/github.com/!burnt!sushi/toml/@v/v1.3.2" */
    const char *h1;   /* of its zip */
    bool taken;       /* it is in the layer */
} Part;

struct GoParts {
    const char *dir;   /* the farm, relative to store_dirfd() */
    const char *cache; /* of the module cache, relative to the root */
    StrList made;      /* directories on the way to it that are not below, relative to the root */
    Part *v;
    size_t n, cap;
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
        !go_is_download(r) || g->root.uid || !cache || *cache != '/' || !cache[1] ||
        strcmp(path_clean(&w->arena, cache), cache) != 0 ||
        strstr(g->root.settings.goflags, "-mod") || go_mounted(r, cache))
        return true;
    if (!view_lookup(v, cache, VIEW_FOLLOW, &node, e))
        return false;
    *ret = !node.exists && !strcmp(node.path, cache + 1); /* nothing is mixed with what is there */
    return true;
}

/* A directory with links to the files of another; its own mode is set when it is full. */
static bool link_tree(int from, int to, const char *name, const char *as, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    scoped(fd) int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0 || mkdirat(to, as, 0755) < 0)
        return err_errno(e, ERR_STORE, "link '%s'", as);
    scoped(fd) int out = openat(to, as, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out < 0)
        return err_errno(e, ERR_STORE, "open '%s'", as);
    if (!fs_list(&a, in, &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        if (linkat(in, names.v[i], out, names.v[i], 0) == 0)
            continue;
        if (errno != EPERM || !link_tree(in, out, names.v[i], names.v[i], e)) /* a directory */
            return e->kind ? false : err_errno(e, ERR_STORE, "link '%s'", names.v[i]);
    }
    return (fchmod(out, 0555) == 0 && futimens(out, AT) == 0) ||
           err_errno(e, ERR_STORE, "change '%s'", as);
}

static bool put_small(int dirfd, const char *path, const char *text, Err *e)
{
    if (!fs_write_file(dirfd, path, text, strlen(text), e))
        return false;
    return (fchmodat(dirfd, path, 0644, 0) == 0 && utimensat(dirfd, path, AT, 0) == 0) ||
           err_errno(e, ERR_STORE, "change '%s'", path);
}

static const char *dir_of(Arena *a, const char *path)
{
    return arena_strndup(a, path, (size_t)(path_base(path) - path));
}

static bool add_part(StepWork *w, GoParts *p, int farm, const GoModule *m, const char *h1, Err *e)
{
    Arena *a = &w->arena;
    const char *path, *version, *stored, *tree;
    GomodMaterial mat;
    Err ignored = ERR_INIT;
    int store = store_dirfd(w->env->store);
    if (!gomod_find(w->env->gomod, a, h1, &stored, &mat) ||
        !gomod_tree(w->env->gomod, a, m, h1, &tree, &ignored) ||
        !go_path_escape(a, m->path, &path, &ignored) ||
        !go_version_escape(a, m->version, &version, &ignored))
        return true; /* go has it from a proxy */
    Part part = {.tree = arena_printf(a, "%s@%s", path, version),
                 .base = arena_printf(a, "cache/download/%s/@v/%s", path, version),
                 .h1 = h1};
    struct stat st;
    if (fstatat(farm, part.tree, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return true; /* two go.mod files want it */
    const char *above = dir_of(a, part.tree);
    if ((*above && !fs_mkdirs(farm, above, e)) || !fs_mkdirs(farm, dir_of(a, part.base), e) ||
        !link_tree(store, farm, tree, part.tree, e))
        return false;
    if (linkat(store, arena_printf(a, "%s/zip", stored), farm, arena_printf(a, "%s.zip", part.base),
               0) < 0)
        return err_errno(e, ERR_STORE, "link '%s.zip'", part.base);
    if (!put_small(farm, arena_printf(a, "%s.ziphash", part.base), h1, e) ||
        !put_small(farm, arena_printf(a, "%s.lock", part.base), "", e))
        return false;
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

bool stepgo_parts(StepWork *w, const View *v, const char *dir, StepGo *g, Err *e)
{
    bool wanted;
    int raw = -1, store = store_dirfd(w->env->store);
    GoModule m;
    const char *h1;
    if (!is_wanted(w, g, v, &wanted, e))
        return false;
    if (!wanted)
        return true;
    GoParts *p = NEW(&w->arena, GoParts);
    *p = (GoParts){.dir = dir, .cache = g->root.settings.gomodcache + 1};
    const char *farm = arena_printf(&w->arena, "%s/%s", dir, p->cache);
    gomod_settle(w->env->gomod);
    if (!find_made(w, v, p, e) || !fs_mkdirs(store, farm, e) || !fs_open_dir(store, farm, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    for (size_t i = 0; gomod_wanted(w->env->gomod, i, &m, &h1); i++)
        if (!add_part(w, p, fd, &m, h1, e))
            return false;
    if (!p->n)
        return true;
    strlist_add(&w->arena, &g->lowers, dir);
    g->parts = p;
    return true;
}

/* ---- after it ---- */

/* What go took away, or made anew, of what lay there: then it is not as it was thought. */
static bool is_changed(int cache, const GoParts *p)
{
    scoped(arena) Arena a = {0};
    struct stat st;
    for (size_t i = 0; i < p->n; i++) {
        if (fstatat(cache, p->v[i].tree, &st, AT_SYMLINK_NOFOLLOW) == 0)
            return true;
        for (size_t k = 0; k < NELEM(ENDINGS); k++)
            if (fstatat(cache, arena_printf(&a, "%s%s", p->v[i].base, ENDINGS[k]), &st,
                        AT_SYMLINK_NOFOLLOW) == 0)
                return true;
    }
    return false;
}

static bool move(int from, int to, const char *path, Err *e)
{
    scoped(arena) Arena a = {0};
    const char *above = dir_of(&a, path);
    if (*above && !fs_mkdirs(to, above, e))
        return false;
    return renameat(from, path, to, path) == 0 || err_errno(e, ERR_STORE, "move '%s'", path);
}

static bool take_parts(int farm, int cache, GoParts *p, Err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        scoped(arena) Arena a = {0};
        struct stat st;
        Part *part = &p->v[i];
        if (fstatat(cache, arena_printf(&a, "%s.info", part->base), &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (!move(farm, cache, part->tree, e))
            return false;
        for (size_t k = 0; k < NELEM(ENDINGS); k++)
            if (!move(farm, cache, arena_printf(&a, "%s%s", part->base, ENDINGS[k]), e))
                return false;
        part->taken = true;
    }
    return true;
}

/* Everything has one time, but for the trees, which have it already. */
static bool set_times(int fd, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    if (!fs_list(&a, fd, &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        if (fstatat(fd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(e, ERR_STORE, "stat '%s'", names.v[i]);
        scoped(fd) int sub =
            S_ISDIR(st.st_mode) && (!strchr(names.v[i], '@') || !strcmp(names.v[i], "@v"))
                ? openat(fd, names.v[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                : -1;
        if ((sub >= 0 && !set_times(sub, e)) ||
            utimensat(fd, names.v[i], AT, AT_SYMLINK_NOFOLLOW) < 0)
            return e->kind ? false : err_errno(e, ERR_STORE, "touch '%s'", names.v[i]);
    }
    return true;
}

static bool set_all_times(int top, int cache, const GoParts *p, Err *e)
{
    if (!set_times(cache, e))
        return false;
    for (size_t i = 0; i < p->made.n; i++)
        if (utimensat(top, p->made.v[i], AT, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(e, ERR_STORE, "touch '%s'", p->made.v[i]);
    return true;
}

bool stepgo_take_parts(StepWork *w, StepGo *g, const char *upper, bool *ret_stale, Err *e)
{
    int store = store_dirfd(w->env->store);
    GoParts *p = g->parts;
    *ret_stale = false;
    if (!p)
        return true;
    int raw = -1, farm = -1;
    if (!fs_open_dir(store, upper, &raw, e))
        return false;
    scoped(fd) int top = raw;
    scoped(fd) int cache = fs_open_beneath(top, p->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (cache < 0 || is_changed(cache, p)) {
        *ret_stale = cache >= 0;
        return true; /* without a module cache it wanted none */
    }
    if (!fs_open_dir(store, arena_printf(&w->arena, "%s/%s", p->dir, p->cache), &farm, e))
        return false;
    scoped(fd) int from = farm;
    return take_parts(from, cache, p, e) && set_all_times(top, cache, p, e);
}

/* ---- which modules are in a layer ---- */

static void memo_key(SnapshotId id, Digest *ret)
{
    scoped(key) KeyBuilder k;
    char path[STORE_TMP_MAX];
    store_snapshot_path(id, path);
    key_begin(&k, "goparts 1");
    key_text(&k, "layer", path);
    key_end(&k, ret);
}

bool stepgo_note_parts(StepWork *w, const GoParts *p, SnapshotId id, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    Digest key;
    for (size_t i = 0; p && i < p->n; i++)
        if (p->v[i].taken)
            buf_printf(&b, "%s %s/%s\n", p->v[i].h1, p->cache, p->v[i].tree);
    if (!b.len || !id)
        return true;
    memo_key(id, &key);
    return store_memo_put(w->env->store, &key, b.ptr, b.len, e);
}

bool go_known_parts(StepWork *w, const Stack *below, GoKnown **ret, size_t *ret_n, Err *e)
{
    size_t cap = 0;
    *ret = NULL;
    *ret_n = 0;
    for (size_t i = 0; i < below->n; i++) {
        scoped(buf) Buf b = BUF_INIT;
        Digest key;
        bool found;
        memo_key(below->ids[i], &key);
        if (!store_memo_get(w->env->store, &key, &b, &found, e))
            return false;
        for (const char *p = buf_str(&b); *p; p += strcspn(p, "\n") + 1) {
            size_t n = strcspn(p, " ");
            *ARENA_PUSH(&w->arena, *ret, *ret_n, cap) =
                (GoKnown){.h1 = arena_strndup(&w->arena, p, n),
                          .path = arena_strndup(&w->arena, p + n + 1, strcspn(p + n + 1, "\n"))};
        }
    }
    return true;
}
