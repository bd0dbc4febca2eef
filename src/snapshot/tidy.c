/*
 * snapshot/tidy.c - what an Upper holds and says nothing is taken away: marks of overlayfs that
 * hide nothing, and entries that are what lies below them.
 */
#include <errno.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "snapshot/snapshot.h"

typedef struct Tidy {
    int dirfd;
    StackView below;
    Err *e;
} Tidy;

static bool unmark(const Tidy *t, const char *path)
{
    static const char *const NAMES[] = {"trusted.overlay.opaque", "user.overlay.opaque"};
    scoped(fd) int fd = openat(t->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(t->e, ERR_STORE, "open directory '/%s'", path);
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (fremovexattr(fd, NAMES[i]) < 0 && errno != ENODATA && errno != EPERM)
            return err_errno(t->e, ERR_STORE, "remove attribute %s of '/%s'", NAMES[i], path);
    return true;
}

/* ---- entries that are as they were ---- */

static bool same_bytes(int a, int b)
{
    enum { BLOCK = 64 << 10 };
    char x[BLOCK], y[BLOCK];
    for (;;) {
        ssize_t n = read(a, x, sizeof x);
        if (n < 0)
            return false;
        for (ssize_t got = 0, m; got < n; got += m)
            if ((m = read(b, y + got, (size_t)(n - got))) <= 0)
                return false;
        if (n == 0)
            return read(b, y, 1) == 0;
        if (memcmp(x, y, (size_t)n) != 0)
            return false;
    }
}

/*
 * Whether an entry of the Upper is what the stack has there, time and bytes included: a file that
 * was opened for writing, or given to whom it belonged to. Neither docker's layers nor a copied
 * root know of it.
 */
static bool unchanged(Tidy *t, Arena *a, const char *path, const ViewNode *below, bool *ret)
{
    View own = {.dirfds = &t->dirfd, .n = 1, .overlay = true};
    ViewNode node;
    TreeEntry mine, theirs;
    *ret = false;
    if (!view_lookup(&own, path, VIEW_NOFOLLOW, &node, t->e))
        return false;
    if (!node.exists || (!S_ISDIR(node.st.st_mode) && node.st.st_nlink > 1) ||
        !fs_same_time(node.st.st_mtim, below->st.st_mtim))
        return true;
    if (!view_entry(&own, a, &node, &mine, t->e) ||
        !view_entry(&t->below.view, a, below, &theirs, t->e))
        return false;
    if (!tree_entry_same(&mine, &theirs))
        return true;
    if (mine.type == TREE_FILE) {
        scoped(fd) int x = view_open(&own, &node);
        scoped(fd) int y = view_open(&t->below.view, below);
        *ret = x >= 0 && y >= 0 && same_bytes(x, y);
        return true;
    }
    *ret = true;
    return true;
}

/* Remove one; the directory it is in keeps its time. */
static bool drop(Tidy *t, const char *dir, const char *path, bool is_dir)
{
    struct stat up;
    const char *in = *dir ? dir : ".";
    if (fstatat(t->dirfd, in, &up, AT_SYMLINK_NOFOLLOW) < 0 ||
        unlinkat(t->dirfd, path, is_dir ? AT_REMOVEDIR : 0) < 0)
        return is_dir && (errno == ENOTEMPTY || errno == EEXIST)
                   ? true
                   : err_errno(t->e, ERR_STORE, "remove '/%s'", path);
    struct timespec ts[2] = {up.st_atim, up.st_mtim};
    return utimensat(t->dirfd, in, ts, 0) == 0 ||
           err_errno(t->e, ERR_STORE, "set the time of '/%s'", dir);
}

static bool drop_unchanged(Tidy *t, Arena *a, const char *dir, const char *path,
                           const ViewNode *below, bool is_dir)
{
    bool same;
    return unchanged(t, a, path, below, &same) && (!same || drop(t, dir, path, is_dir));
}

static bool tidy_dir(Tidy *t, const char *dir, bool seen);

static bool tidy_entry(Tidy *t, Arena *a, const char *dir, const char *path, bool seen)
{
    struct stat st;
    ViewNode node = {.exists = false};
    if (fstatat(t->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(t->e, ERR_STORE, "stat '/%s'", path);
    if (seen && !view_lookup(&t->below.view, path, VIEW_NOFOLLOW, &node, t->e))
        return false;
    if (!S_ISDIR(st.st_mode))
        return !node.exists || S_ISDIR(node.st.st_mode) ||
               drop_unchanged(t, a, dir, path, &node, false);
    bool opaque = overlay_opaque(t->dirfd, path);
    if (opaque && !node.exists && !unmark(t, path))
        return false;
    bool merged = node.exists && !opaque && S_ISDIR(node.st.st_mode);
    return tidy_dir(t, path, merged) && (!merged || drop_unchanged(t, a, dir, path, &node, true));
}

/* `seen`: the directory shows what the stack has there. */
static bool tidy_dir(Tidy *t, const char *dir, bool seen)
{
    scoped(arena) Arena a = {0};
    StrList names = {0};
    scoped(fd) int fd =
        openat(t->dirfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(t->e, ERR_STORE, "open directory '/%s'", dir);
    if (!fs_list(&a, fd, &names, t->e))
        return err_wrap(t->e, "'/%s'", dir);
    close(fd_take(&fd)); /* as deep as the tree goes, no descriptors are held */
    for (size_t i = 0; i < names.n; i++) {
        const char *path = arena_printf(&a, "%s%s%s", dir, *dir ? "/" : "", names.v[i]);
        if (strlen(path) >= TREE_PATH_MAX)
            return true; /* packing says so */
        if (!tidy_entry(t, &a, dir, path, seen))
            return false;
    }
    return true;
}

bool snapshot_tidy(Store *s, const Stack *below, const char *upper, Err *e)
{
    scoped(fd) int fd = openat(store_dirfd(s), upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Tidy t = {.dirfd = fd, .e = e};
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open '%s/%s'", store_path(s), upper);
    bool ok = stack_view(s, below, -1, &t.below, e) && tidy_dir(&t, "", true);
    stack_view_done(&t.below);
    return ok;
}
