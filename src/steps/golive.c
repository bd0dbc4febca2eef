/*
 * steps/golive.c - a GOCACHE that stays in the layer, in which the command was lent what was
 * compiled before.
 *
 * Without that it would have compiled what it used, and the layer would have it. What is in the
 * layer then is what a command leaves that finds nothing; times aside, which are never the same
 * twice.
 */
#include <errno.h>

#include "base/fs.h"
#include "base/owner.h"
#include "steps/golang.h"

typedef struct Live {
    StepWork *w;
    const View *below;
    const char *path; /* of GOCACHE, absolute */
    int upper, dir;   /* what the command wrote; GOCACHE in it */
    bool there;       /* layers below have a GOCACHE */
    uint32_t uid, gid, mode;
} Live;

static bool has_below(void *arg, const char *path)
{
    const Live *l = arg;
    scoped(arena) Arena a = {0};
    ViewNode node;
    Err ignored = ERR_INIT;
    return l->there &&
           view_lookup(l->below, arena_printf(&a, "%s/%s", l->path, path), VIEW_NOFOLLOW, &node,
                       &ignored) &&
           node.exists;
}

/* Whether it took away, or made anew, anything in a directory that has what it was lent. */
static bool hides(int dir, const char *name, unsigned depth)
{
    scoped(arena) Arena a = {0};
    StrList names;
    struct stat st;
    Err ignored = ERR_INIT;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || overlay_whiteout(&st))
        return true;
    if (!S_ISDIR(st.st_mode))
        return false;
    scoped(fd) int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || depth > TREE_MAX_DEPTH || overlay_opaque(dir, name) ||
        !fs_list(&a, fd, &names, &ignored))
        return true;
    for (size_t i = 0; i < names.n; i++)
        if (hides(fd, names.v[i], depth + 1))
            return true;
    return false;
}

/* The same of the directories that it is in, where they are no layer's. */
static bool hides_above(const View *below, int upper, const char *path)
{
    scoped(arena) Arena a = {0};
    for (const char *at = path; strcmp(at, "/") != 0;
         at = path_clean(&a, arena_printf(&a, "%s/..", at))) {
        ViewNode node;
        struct stat st;
        Err ignored = ERR_INIT;
        if (!view_lookup(below, at, VIEW_NOFOLLOW, &node, &ignored))
            return true;
        if (node.exists)
            return false;
        if (fstatat(upper, at + 1, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            (!S_ISDIR(st.st_mode) || overlay_opaque(upper, at + 1)))
            return true;
    }
    return false;
}

/* What a file of go's has of the command's umask, a directory has as well. */
static uint32_t dir_mode(const Live *l)
{
    return l->mode | (l->mode & 0444) >> 2;
}

static bool give(const Live *l, int at, const char *name, uint32_t mode, Err *e)
{
    return (owner_chown(l->upper, at, name, l->uid, l->gid) == 0 &&
            fchmodat(at, name, mode, 0) == 0) ||
           err_errno(e, ERR_STORE, "change '%s'", name);
}

static bool touch(const Live *l, const char *dir, Err *e)
{
    return utimensat(l->upper, dir, NULL, 0) == 0 || err_errno(e, ERR_STORE, "touch '%s'", dir);
}

/* Its directories are go's, and not those of what was lent, which overlayfs copied up. */
static bool dress_parents(const Live *l, Err *e)
{
    Arena *a = &l->w->arena;
    for (const char *at = l->path; strcmp(at, "/") != 0;
         at = path_clean(a, arena_printf(a, "%s/..", at))) {
        ViewNode node;
        if (!view_lookup(l->below, at, VIEW_NOFOLLOW, &node, e))
            return false;
        if (node.exists) /* a directory was made in it, or would have been */
            return strcmp(at, l->path) == 0 || touch(l, at + 1, e);
        if (!give(l, l->upper, at + 1, dir_mode(l), e))
            return false;
    }
    return touch(l, ".", e);
}

/* What it was lent and has written again, overlayfs copied up with the mode that all of that has.
 */
static bool dress_files(Live *l, const char *dir, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    scoped(fd) int fd = openat(l->dir, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) /* only a layer below has it */
        return errno == ENOENT || err_errno(e, ERR_STORE, "open '%s'", dir);
    if (!fs_list(&a, fd, &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        if (fstatat(fd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            (st.st_mode & 07777) == GOCACHE_MODE &&
            !has_below(l, arena_printf(&a, "%s/%s", dir, names.v[i])) &&
            !give(l, fd, names.v[i], l->mode, e))
            return false;
    }
    return true;
}

static bool dress_dirs(Live *l, Err *e)
{
    for (unsigned i = 0; i < 256; i++) {
        char name[3];
        (void)snprintf(name, sizeof name, "%02x", i);
        bool there = has_below(l, name);
        if (!there && mkdirat(l->dir, name, 0755) < 0 && errno != EEXIST)
            return err_errno(e, ERR_STORE, "create '%s'", name);
        if (!there && !give(l, l->dir, name, dir_mode(l), e))
            return false;
        if (!dress_files(l, name, e))
            return false;
    }
    return true;
}

/* When go trimmed its cache last: it does so at once where it does not know. */
static bool put_trim(Live *l, Err *e)
{
    struct stat st;
    char text[32];
    if (has_below(l, "trim.txt") || fstatat(l->dir, "trim.txt", &st, AT_SYMLINK_NOFOLLOW) == 0)
        return true;
    int n = snprintf(text, sizeof text, "%lld", (long long)time(NULL));
    return fs_write_file(l->dir, "trim.txt", text, (size_t)n, e) &&
           give(l, l->dir, "trim.txt", l->mode, e);
}

static bool put_entries(Live *l, const StepGo *g, Err *e)
{
    const Gocache *all[GO_SPACES];
    stepgo_spaces(g, all);
    GocacheLeft left = {.spaces = all,
                        .n = NELEM(all),
                        .used = gowatch_entries(g->watch),
                        .dirfd = l->dir,
                        .there = has_below,
                        .arg = l,
                        .rootfd = l->upper,
                        .uid = l->uid,
                        .gid = l->gid,
                        .mode = l->mode};
    return gocache_put_back(&left, &l->w->arena, e);
}

static bool put_all(Live *l, const StepGo *g, Err *e)
{
    struct stat st;
    ViewNode node;
    if (!view_lookup(l->below, l->path, VIEW_NOFOLLOW, &node, e))
        return false;
    l->there = node.exists;
    l->mode = fstatat(l->dir, "README", &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & 0777 : 0644;
    return put_entries(l, g, e) && dress_dirs(l, e) && dress_parents(l, e) && put_trim(l, e);
}

bool stepgo_put_back(StepWork *w, const Stack *below, StepGo *g, const char *upper, bool *ret_other,
                     Err *e)
{
    scoped(stack_view) StackView sv = {0};
    int raw = -1;
    uint64_t at = clock_ns();
    *ret_other = false;
    if (!g->live || !g->lent)
        return true;
    if (!fs_open_dir(store_dirfd(w->env->store), upper, &raw, e))
        return false;
    scoped(fd) int top = raw;
    scoped(fd) int dir = fs_open_beneath(top, g->shadow + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    bool nothing = dir < 0 && errno == ENOENT && !gowatch_entries(g->watch)->n;
    if (!stack_view(w->env->store, below, -1, &sv, e))
        return false;
    *ret_other = hides_above(&sv.view, top, g->shadow);
    if (nothing || *ret_other)
        return true; /* it ran no go */
    *ret_other = dir < 0 || hides(top, g->shadow + 1, 0);
    if (*ret_other)
        return true;
    Live l = {.w = w,
              .below = &sv.view,
              .path = g->shadow,
              .upper = top,
              .dir = dir,
              .uid = g->root.uid,
              .gid = g->root.gid};
    bool ok = put_all(&l, g, e);
    steps_span(w, "build cache put back", at);
    return ok;
}
