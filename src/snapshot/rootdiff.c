/*
 * snapshot/rootdiff.c - what a command changed in a copied root, in overlay form.
 *
 * The rule is overlayfs' own, so that layers come out equal: what was touched is copied up, with
 * the directories above it; what is gone is a whiteout; a directory made where another name was is
 * opaque. Touched means a change time after the root's mark, which no program can set. Directories
 * are told apart by inode and birth time too, because a renamed one brings old files along.
 */
#include <errno.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "snapshot/copyroot.h"

typedef struct Diff {
    CopyRoot *r;
    Copier copy; /* from the root to the upper */
    StackView below;
    Map own;
    Arena arena;                /* directories of the upper, until it is finished */
    char parent[TREE_PATH_MAX]; /* the last directory made sure of */
    const char **made;
    size_t nmade, made_cap;
    Arena dir_arena; /* the next list of directories */
    Map dirs;
    Err *e;
} Diff;

static bool later(const Diff *d, const struct stat *st)
{
    return time_after(&st->st_ctim, &d->r->mark);
}

static bool touched(const Diff *d, const char *path, const struct stat *st)
{
    uint64_t unused;
    return later(d, st) && !map_get(&d->own, path, &unused);
}

/* Whether a directory was made after the mark; a new one may have the inode number of an old. */
static bool born_later(const Diff *d, const char *path)
{
    struct statx sx;
    if (statx(d->r->rootfd, path, AT_SYMLINK_NOFOLLOW, STATX_BTIME, &sx) < 0 ||
        !(sx.stx_mask & STATX_BTIME))
        return false;
    struct timespec birth = {sx.stx_btime.tv_sec, sx.stx_btime.tv_nsec};
    return time_after(&birth, &d->r->mark);
}

/* ---- writing ---- */

/* Make sure that a directory, with those above it, is in the upper. */
static bool own_dir(Diff *d, const char *path)
{
    char part[TREE_PATH_MAX];
    if (!*path || !strcmp(d->parent, path))
        return true;
    for (size_t i = 1; i <= strlen(path); i++) {
        struct stat st;
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdirat(d->copy.dst, part, 0700) < 0) {
            if (errno == EEXIST)
                continue;
            return err_errno(d->e, ERR_STORE, "create directory '/%s'", part);
        }
        if (fstatat(d->r->rootfd, part, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(d->e, ERR_STORE, "stat '/%s'", part);
        if (!copy_dress(&d->copy, part, &st, d->e))
            return false;
        *ARENA_PUSH(&d->arena, d->made, d->nmade, d->made_cap) = arena_strdup(&d->arena, part);
    }
    (void)snprintf(d->parent, sizeof d->parent, "%s", path);
    return true;
}

static bool set_times(Diff *d)
{
    for (size_t i = d->nmade; i-- > 0;) {
        struct stat st;
        if (fstatat(d->r->rootfd, d->made[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(d->e, ERR_STORE, "stat '/%s'", d->made[i]);
        if (!copy_time(&d->copy, d->made[i], &st, d->e))
            return false;
    }
    return true;
}

static bool put_whiteout(Diff *d, const char *dir, const char *path)
{
    return own_dir(d, dir) && (mknodat(d->copy.dst, path, S_IFCHR, makedev(0, 0)) == 0 ||
                               err_errno(d->e, ERR_STORE, "create whiteout for '/%s'", path));
}

static bool look_below(Diff *d, const char *path, ViewNode *ret)
{
    return view_lookup(&d->below.view, path, VIEW_NOFOLLOW, ret, d->e);
}

static bool put_new_dir(Diff *d, const char *path, bool fresh)
{
    ViewNode node = {.exists = false};
    if (!own_dir(d, path))
        return false;
    if (!fresh && !look_below(d, path, &node))
        return false;
    if (!node.exists)
        return true;
    scoped(fd) int fd = openat(d->copy.dst, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* "trusted." is for CAP_SYS_ADMIN, which this mode does without. */
    if (fd < 0 || fs_setxattr(fd, "user.overlay.opaque", "y", 1) < 0)
        return err_errno(d->e, ERR_STORE, "mark '/%s' opaque", path);
    return true;
}

/* ---- comparing ---- */

static bool same_bytes(int a, int b)
{
    char x[16 << 10], y[16 << 10];
    for (off_t at = 0;;) {
        ssize_t n = pread(a, x, sizeof x, at);
        if (n < 0 || pread(b, y, sizeof y, at) != n || memcmp(x, y, (size_t)n) != 0)
            return false;
        if (n == 0)
            return true;
        at += n;
    }
}

/*
 * A file of several names is touched when another of its names goes. In an overlay that other name
 * is all that changes, so here what is equal has not changed.
 */
static bool only_lost_a_name(Diff *d, const char *path, const struct stat *st, bool *ret, Err *e)
{
    ViewNode node;
    *ret = false;
    if (!S_ISREG(st->st_mode))
        return true;
    if (!look_below(d, path, &node))
        return false;
    const struct stat *old = &node.st;
    if (!node.exists || old->st_nlink < 2 || old->st_mode != st->st_mode ||
        old->st_uid != st->st_uid || old->st_gid != st->st_gid || old->st_size != st->st_size ||
        old->st_mtim.tv_sec != st->st_mtim.tv_sec || old->st_mtim.tv_nsec != st->st_mtim.tv_nsec)
        return true;
    scoped(fd) int a = view_open(&d->below.view, &node);
    scoped(fd) int b = openat(d->r->rootfd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (a < 0 || b < 0)
        return err_errno(e, ERR_STORE, "open '/%s'", path);
    *ret = same_bytes(a, b);
    return true;
}

static bool diff_file(Diff *d, const char *dir, const char *path, const struct stat *st, bool fresh)
{
    bool equal = false;
    if (S_ISSOCK(st->st_mode) || !(fresh || touched(d, path, st)))
        return true;
    if (!fresh && !only_lost_a_name(d, path, st, &equal, d->e))
        return false;
    return equal || (own_dir(d, dir) && copy_entry(&d->copy, path, st, d->e));
}

/* What the stack has in a directory and the root has no more. */
static bool diff_gone(Diff *d, Arena *a, const char *dir, const StrList *names)
{
    ViewNode *node = NEW(a, ViewNode);
    StrList old = {0};
    if (!look_below(d, dir, node))
        return false;
    if (!node->exists || !S_ISDIR(node->st.st_mode))
        return true;
    if (!view_list(&d->below.view, a, node, &old, d->e))
        return false;
    for (size_t i = 0, k = 0; i < old.n; i++) { /* both are sorted */
        struct stat st;
        const char *path = arena_printf(a, "%s%s%s", dir, *dir ? "/" : "", old.v[i]);
        while (k < names->n && strcmp(names->v[k], old.v[i]) < 0)
            k++;
        if (k < names->n && !strcmp(names->v[k], old.v[i]))
            continue;
        if (!look_below(d, path, node))
            return false;
        st = node->st; /* what no copy has: a node that may not be made here, a socket */
        bool left_out = S_ISSOCK(st.st_mode) ||
                        ((S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) && str_starts(path, "dev/"));
        if (!left_out && !put_whiteout(d, dir, path))
            return false;
    }
    return true;
}

static bool diff_dir(Diff *d, const char *dir, bool fresh, bool changed);

static bool diff_subdir(Diff *d, const char *path, const struct stat *st, bool fresh)
{
    uint64_t ino;
    bool known = !fresh && map_get(&d->r->dirs, path, &ino) && ino == st->st_ino &&
                 !(later(d, st) && born_later(d, path));
    bool changed = known && later(d, st);
    map_put(&d->dirs, arena_strdup(&d->dir_arena, path), st->st_ino);
    if (!known && !put_new_dir(d, path, fresh))
        return false;
    if (known && touched(d, path, st) && !own_dir(d, path))
        return false;
    return diff_dir(d, path, !known, changed);
}

/* `fresh`: nothing of the stack is to be seen there; `changed`: names may have gone. */
static bool diff_dir(Diff *d, const char *dir, bool fresh, bool changed)
{
    scoped(arena) Arena a = {0};
    StrList names = {0};
    scoped(fd) int fd =
        openat(d->r->rootfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(d->e, ERR_STORE, "open directory '/%s'", dir);
    if (!fs_list(&a, fd, &names, d->e))
        return err_wrap(d->e, "'/%s'", dir);
    close(fd_take(&fd)); /* as deep as the tree goes, no descriptors are held */
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        const char *path = arena_printf(&a, "%s%s%s", dir, *dir ? "/" : "", names.v[i]);
        if (strlen(path) >= TREE_PATH_MAX)
            return err_set(d->e, ERR_STEP, "'/%s': path is too long for a layer", path);
        if (fstatat(d->r->rootfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(d->e, ERR_STORE, "stat '/%s'", path);
        if (S_ISDIR(st.st_mode) ? !diff_subdir(d, path, &st, fresh)
                                : !diff_file(d, dir, path, &st, fresh))
            return false;
    }
    return !changed || diff_gone(d, &a, dir, &names);
}

/* The root directory itself is in every upper. */
static bool diff_root(Diff *d)
{
    struct stat st;
    if (fstat(d->r->rootfd, &st) < 0)
        return err_errno(d->e, ERR_STORE, "stat the step's root");
    return copy_dress(&d->copy, "", &st, d->e) && diff_dir(d, "", false, later(d, &st)) &&
           set_times(d);
}

bool copyroot_diff(CopyRoot *r, const char *upper, const StrList *own, Err *e)
{
    scoped(fd) int dst = openat(store_dirfd(r->store), upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Stack st = {r->ids, r->n};
    if (dst < 0)
        return err_errno(e, ERR_STORE, "open '%s/%s'", store_path(r->store), upper);
    if (copyroot_clock() < r->clock - CLOCK_SLACK)
        return err_set(e, ERR_ENV,
                       "the clock was set back while the step ran, so its changes cannot be told "
                       "from what was there: build again");
    Diff d = {.r = r, .copy = {.src = r->rootfd, .dst = dst}, .e = e};
    for (size_t i = 0; i < own->n; i++)
        map_put(&d.own, own->v[i], 1);
    bool ok = stack_view(r->store, &st, -1, &d.below, e) && diff_root(&d);
    stack_view_done(&d.below);
    copier_done(&d.copy);
    map_done(&d.own);
    arena_done(&d.arena);
    if (ok) {
        map_done(&r->dirs);
        arena_done(&r->arena);
        r->dirs = d.dirs;
        r->arena = d.dir_arena;
    } else {
        map_done(&d.dirs);
        arena_done(&d.dir_arena);
    }
    return ok;
}
