/*
 * snapshot/tidy.c - marks of overlayfs that say nothing are taken away.
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
        struct stat st;
        ViewNode node = {.exists = false};
        const char *path = arena_printf(&a, "%s%s%s", dir, *dir ? "/" : "", names.v[i]);
        if (strlen(path) >= TREE_PATH_MAX)
            return true; /* packing says so */
        if (fstatat(t->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(t->e, ERR_STORE, "stat '/%s'", path);
        if (!S_ISDIR(st.st_mode))
            continue;
        bool opaque = overlay_opaque(t->dirfd, path);
        if (seen && !view_lookup(&t->below.view, path, VIEW_NOFOLLOW, &node, t->e))
            return false;
        if (opaque && !node.exists && !unmark(t, path))
            return false;
        if (!tidy_dir(t, path, node.exists && !opaque && S_ISDIR(node.st.st_mode)))
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
