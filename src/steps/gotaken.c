/*
 * steps/gotaken.c - what a command wanted of the module cache that lay under its root goes into its
 * layer, as go would have put it there.
 */
#include <errno.h>

#include "base/fs.h"
#include "base/owner.h"
#include "steps/goparts.h"

/* What go took away, or made anew, of what lay there: then it is not as it was thought. Lists of
 * versions it writes whenever there is one more. A directory that it made over one that it did not
 * see would show what is in that. */
static bool is_changed(int top, const GoParts *p)
{
    struct stat st;
    for (size_t i = 0; i < p->trees.n; i++)
        if (go_tree_is_module(&p->trees.v[i]) &&
            fstatat(top, p->trees.v[i].path, &st, AT_SYMLINK_NOFOLLOW) == 0)
            return true;
    for (size_t i = 0; i < p->nlent; i++)
        if (p->lent[i].role != ROLE_LIST &&
            fstatat(top, p->lent[i].tree.path, &st, AT_SYMLINK_NOFOLLOW) == 0)
            return true;
    return false;
}

static bool is_opened(StepWork *w, const Part *part, const GoWatch *x, const char *ending)
{
    return gowatch_opened(x, part->dir,
                          arena_printf(&w->arena, "%s%s", path_base(part->base), ending));
}

/* `cache` is what the command wrote there; -1: nothing. */
static bool was_wanted(StepWork *w, const GoParts *p, const Lent *l, int cache, const GoWatch *x)
{
    struct stat st;
    const Part *part = &p->v[l->i];
    if (l->role == ROLE_MOD)
        return is_opened(w, part, x, ".mod");
    if (l->role == ROLE_INFO || (p->download && part->info))
        return is_opened(w, part, x, ".info");
    return p->download
               ? cache >= 0 && fstatat(cache, arena_printf(&w->arena, "%s.info", part->base), &st,
                                       AT_SYMLINK_NOFOLLOW) == 0
               : is_opened(w, part, x, ".ziphash");
}

static void find_wanted(StepWork *w, const GoParts *p, int cache, const GoWatch *x, bool *ret,
                        bool *ret_any)
{
    *ret_any = false;
    for (size_t i = 0; i < p->nlent; i++) {
        ret[i] = p->lent[i].role != ROLE_LIST && was_wanted(w, p, &p->lent[i], cache, x);
        *ret_any = *ret_any || ret[i];
    }
}

/* ---- lists of versions ---- */

typedef struct Versions {
    StepWork *w;
    const char *dir;
    const Map *wanted; /* the go.mod files that lay there and were opened: bases, and directories */
    int cache;         /* what the command wrote */
} Versions;

/* Whether the layer has no go.mod of a version. */
static bool is_gone(const void *arg, const char *version)
{
    const Versions *x = arg;
    uint64_t one;
    const char *base = arena_printf(&x->w->arena, "%s%s", x->dir, version);
    return !map_get(x->wanted, base, &one) &&
           faccessat(x->cache, arena_printf(&x->w->arena, "%s.mod", base), F_OK,
                     AT_SYMLINK_NOFOLLOW) < 0;
}

/* What a list says that go wrote, or that lay there, without the versions that only lay there.
 * NULL: no go.mod is beside it, and there is none. *ret_lies is whether it is to be as it lies
 * there. */
static bool take_list(const Versions *x, const GoVersions *l, const char **ret, bool *ret_lies,
                      Err *e)
{
    scoped(buf) Buf own = BUF_INIT;
    Arena *a = &x->w->arena;
    uint64_t one;
    const char *path = arena_printf(a, "%slist", l->dir);
    bool wrote = faccessat(x->cache, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0, lies = *ret_lies;
    *ret = NULL;
    *ret_lies = false;
    if (!wrote && !map_get(x->wanted, l->dir, &one))
        return true;
    if (wrote && !fs_read_file(x->cache, path, GOTEXTS_LIST_MAX, &own, e))
        return false;
    const char *was = wrote ? buf_str(&own) : l->text;
    *ret = gotexts_without(a, was, is_gone, x);
    bool same = !strcmp(*ret, was);
    *ret_lies = same && !wrote && lies;
    return (same && (wrote || lies)) ||
           (fs_mkdirs(x->cache, l->dir, e) && go_text_put(x->cache, path, str_c(*ret), e));
}

/* All lists; those that lie there as they should be are wanted. */
static bool take_lists(StepWork *w, const GoParts *p, bool *wanted, int cache, GoTexts *next,
                       Err *e)
{
    scoped(map) Map opened = {0}, lies = {0};
    for (size_t i = 0; i < p->nlent; i++) {
        const Lent *l = &p->lent[i];
        if (l->role == ROLE_LIST)
            (void)map_put(&lies, p->texts.lists[l->i].dir, i);
        if (l->role != ROLE_MOD || !wanted[i])
            continue;
        const char *base = p->v[l->i].base;
        (void)map_put(&opened, base, 1);
        (void)map_put(&opened, path_dir(&w->arena, base), 1); /* with a slash at its end */
    }
    for (size_t i = 0; i < p->texts.nlist; i++) {
        const GoVersions *l = &p->texts.lists[i];
        Versions x = {w, l->dir, &opened, cache};
        const char *text;
        uint64_t at;
        bool there = map_get(&lies, l->dir, &at), stays = there;
        if (!take_list(&x, l, &text, &stays, e))
            return false;
        if (there)
            wanted[at] = stays;
        if (text)
            *ARENA_PUSH(&w->arena, next->lists, next->nlist, next->list_cap) =
                (GoVersions){l->dir, text};
    }
    return true;
}

/* ---- the layer ---- */

/* What was wanted, for the layer and for the next time. */
static bool take_all(StepWork *w, StepGo *g, const GoParts *p, bool *wanted, int cache,
                     StrList *paths, Err *e)
{
    GoTexts next = {.n = 0};
    if (!take_lists(w, p, wanted, cache, &next, e))
        return false;
    for (size_t i = 0; i < p->nlent; i++) {
        const Lent *l = &p->lent[i];
        if (!wanted[i])
            continue;
        strlist_add(&w->arena, paths, l->tree.path);
        const GoText *t = l->role == ROLE_MOD    ? p->v[l->i].mod
                          : l->role == ROLE_INFO ? p->v[l->i].info
                                                 : NULL;
        if (t)
            *ARENA_PUSH(&w->arena, next.v, next.n, next.cap) = *t;
    }
    return !p->watched || !go_is_plain(&w->step->u.run) ||
           (gotexts_learn(w, g->mod, cache, &next, e) && gotexts_keep(w, &p->texts_key, &next, e));
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

static bool set_times(int top, const char *path, const struct stat *st, Err *e)
{
    const struct timespec times[] = {st->st_mtim, st->st_mtim};
    return utimensat(top, path, times, 0) == 0 || err_errno(e, ERR_STORE, "touch '%s'", path);
}

/* A directory that overlayfs would have copied up, or made; the one that it is in keeps its time.
 */
static bool make_dir(const View *below, Arena *a, int top, const char *path, Err *e)
{
    ViewNode node;
    struct stat st;
    const char *dir = path_dir(a, path);
    dir = *dir ? dir : ".";
    if (fstatat(top, dir, &st, 0) < 0)
        return err_errno(e, ERR_STORE, "stat '%s'", dir);
    if (mkdirat(top, path, 0755) < 0)
        return errno == EEXIST || err_errno(e, ERR_STORE, "create '%s'", path);
    if (!set_times(top, dir, &st, e) || !view_lookup(below, path, VIEW_NOFOLLOW, &node, e))
        return false;
    if (!node.exists)
        return true;
    if (owner_chown(top, top, path, node.st.st_uid, node.st.st_gid) < 0 ||
        fchmodat(top, path, node.st.st_mode & 07777, 0) < 0)
        return err_errno(e, ERR_STORE, "change '%s'", path);
    return set_times(top, path, &node.st, e);
}

/* The module cache that the command wrote, which is made if all that it wanted lay there. -1
 * without an error where the command took it away. */
static bool open_cache(StepWork *w, const GoParts *p, const View *below, int top, int *ret, Err *e)
{
    *ret = fs_open_beneath(top, p->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (*ret >= 0 || errno != ENOENT)
        return true;
    for (const char *at = p->cache;; at++) {
        at += strcspn(at, "/");
        if (!make_dir(below, &w->arena, top,
                      arena_strndup(&w->arena, p->cache, (size_t)(at - p->cache)), e))
            return false;
        if (!*at)
            return fs_open_dir(top, p->cache, ret, e);
    }
}

bool stepgo_take_parts(StepWork *w, const Stack *below, StepGo *g, const char *upper,
                       bool *ret_stale, Err *e)
{
    int raw = -1, raw_cache, store = store_dirfd(w->env->store);
    GoParts *p = g->parts;
    StrList paths = {0};
    bool any;
    scoped(stack_view) StackView sv = {0};
    *ret_stale = false;
    g->parts = NULL;
    if (!p)
        return true;
    if (!fs_open_dir(store, upper, &raw, e))
        return false;
    scoped(fd) int top = raw;
    scoped(fd) int wrote = fs_open_beneath(top, p->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    bool *wanted = NEW_N(&w->arena, bool, p->nlent + 1);
    find_wanted(w, p, wrote, g->watch, wanted, &any);
    if (!any && wrote < 0)
        return true; /* it ran no go */
    if (!stack_view(w->env->store, below, -1, &sv, e) ||
        !open_cache(w, p, &sv.view, top, &raw_cache, e))
        return false;
    scoped(fd) int cache = raw_cache;
    *ret_stale = cache < 0 || is_changed(top, p) || hides(&sv.view, top, "", 0);
    if (*ret_stale)
        return store_memo_put(w->env->store, &p->place, "", 0, e);
    g->parts = p;
    return take_all(w, g, p, wanted, cache, &paths, e) &&
           go_trees_hide(&w->arena, &p->trees, top, p->cache, &paths, e) &&
           set_all(top, cache, p, e);
}
