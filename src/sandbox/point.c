/*
 * sandbox/point.c - places in the new root that something is mounted on.
 */
#include <errno.h>
#include <limits.h>

#include "sandbox/mount.h"

enum { MAX_LINKS = 8 };

bool root_open(const char *path, Root *ret, Err *e)
{
    char proc[40];
    scoped(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t n = fd < 0 ? -1 : readlink(proc, ret->path, sizeof ret->path - 1);
    if (n < 0)
        return err_errno(e, ERR_ENV, "open the step's root");
    ret->path[n] = 0;
    ret->fd = fd_take(&fd);
    return true;
}

bool point_name(const Root *r, int fd, char *out, size_t cap)
{
    char proc[40], path[PATH_MAX];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(proc, path, sizeof path - 1);
    size_t skip = strlen(r->path);
    if (n < 0 || (size_t)n <= skip + 1 || strncmp(path, r->path, skip) != 0 || path[skip] != '/')
        return false;
    path[n] = 0;
    return (size_t)snprintf(out, cap, "%s", path + skip + 1) < cap;
}

static int make_point(const Root *r, const char *path, bool dir, unsigned links);

/* Where a link of the image leads, as a path from the root. */
static bool link_target(const Root *r, const char *path, char *out, size_t cap)
{
    scoped(fd) int fd = fs_open_in_root(r->fd, path, O_PATH | O_NOFOLLOW, 0);
    char target[1024];
    ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = 0;
    size_t dir = (size_t)(path_base(path) - path);
    int len = target[0] == '/' ? snprintf(out, cap, "%s", target)
                               : snprintf(out, cap, "%.*s%s", (int)dir, path, target);
    return len > 0 && (size_t)len < cap;
}

static bool make_parents(const Root *r, const char *path, unsigned links)
{
    for (size_t i = 1; path[i]; i++) {
        char part[PATH_MAX];
        if (path[i] != '/')
            continue;
        if (i >= sizeof part) {
            errno = ENAMETOOLONG;
            return false;
        }
        memcpy(part, path, i);
        part[i] = 0;
        scoped(fd) int up = make_point(r, part, true, links);
        if (up < 0)
            return false;
    }
    return true;
}

/*
 * Make one directory or empty file, in a directory that keeps its times: what is removed again
 * after the step must not leave the time of the build in the image.
 */
static bool make_entry(const Root *r, const char *path, bool dir)
{
    const char *base = path_base(path);
    char up[PATH_MAX];
    struct stat st;
    if ((size_t)snprintf(up, sizeof up, "%.*s", (int)(base - path), path) >= sizeof up) {
        errno = ENAMETOOLONG;
        return false;
    }
    scoped(fd) int parent = fs_open_in_root(r->fd, *up ? up : "/", O_RDONLY | O_DIRECTORY, 0);
    if (parent < 0 || fstat(parent, &st) < 0)
        return false;
    /* Another step may make the same one at the same time: in a cache that both have. */
    if (dir && mkdirat(parent, base, 0755) < 0 && errno != EEXIST)
        return false;
    if (!dir) {
        scoped(fd) int made =
            openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (made < 0 && errno != EEXIST)
            return false;
    }
    (void)futimens(parent, (struct timespec[2]){st.st_atim, st.st_mtim});
    return true;
}

static int make_point(const Root *r, const char *path, bool dir, unsigned links)
{
    char name[REPORT_TEXT_SIZE], target[PATH_MAX];
    int flags = O_PATH | (dir ? O_DIRECTORY : 0);
    int found = fs_open_in_root(r->fd, path, flags, 0);
    if (found >= 0 || errno != ENOENT)
        return found;
    if (!make_parents(r, path, links))
        return -1;
    if (link_target(r, path, target, sizeof target)) { /* a link to what the image does not have */
        errno = ELOOP;
        return links < MAX_LINKS ? make_point(r, target, dir, links + 1) : -1;
    }
    if (!make_entry(r, path, dir))
        return -1;
    scoped(fd) int fd = fs_open_in_root(r->fd, path, flags, 0);
    if (fd < 0)
        return -1;
    if (!point_name(r, fd, name, sizeof name)) { /* it could not be removed after the step */
        errno = ENAMETOOLONG;
        return -1;
    }
    report(REPORT_STUB, dir, name);
    return fd_take(&fd);
}

int point_open(const Root *r, const char *path, bool dir, bool *ret_made)
{
    if (!ret_made)
        return make_point(r, path, dir, 0);
    int fd = fs_open_in_root(r->fd, path, O_PATH | (dir ? O_DIRECTORY : 0), 0);
    *ret_made = fd < 0;
    return fd >= 0 || errno != ENOENT ? fd : make_point(r, path, dir, 0);
}

bool mount_new(const Root *r, const char *type, const char *path, unsigned long flags,
               const char *opts, Err *e)
{
    char proc[40];
    scoped(fd) int at = point_open(r, path, true, NULL);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", at);
    if (at < 0 || mount(type, proc, type, flags, opts) < 0)
        return err_errno(e, ERR_ENV, "mount %s on %s", type, path);
    return true;
}

bool mount_bind(const Root *r, const char *source, const char *path, bool recursive, uint64_t attrs,
                Err *e)
{
    struct stat st;
    struct mount_attr attr = {.attr_set = attrs};
    unsigned rec = recursive ? AT_RECURSIVE : 0;
    scoped(fd) int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | rec);
    if (tree < 0 || fstat(tree, &st) < 0)
        return err_errno(e, ERR_ENV, "bind '%s'", source);
    if (attrs && sys_mount_setattr(tree, rec, &attr) < 0)
        return err_errno(e, ERR_ENV, "set mount attributes of '%s'", source);
    scoped(fd) int at = point_open(r, path, S_ISDIR(st.st_mode), NULL);
    if (at < 0 || sys_move_mount(tree, at) < 0)
        return err_errno(e, ERR_ENV, "bind '%s' on '%s'", source, path);
    return true;
}
