/*
 * snapshot/copytree.c - files copied with all that a layer keeps of them: type, mode, owner,
 * attributes, time, and which names are one file.
 */
#include "snapshot/copytree.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/fs.h"

void copier_done(Copier *c)
{
    map_done(&c->links);
    arena_done(&c->arena);
}

static const char *at(const char *path)
{
    return *path ? path : ".";
}

static bool copy_xattrs(int in, int out, const char *path, Err *e)
{
    char names[16 << 10], value[64 << 10];
    ssize_t n = flistxattr(in, names, sizeof names);
    if (n < 0 && errno != ENOTSUP)
        return err_errno(e, ERR_STORE, "list attributes of '/%s'", path);
    for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        if (!xattr_kept(name))
            continue;
        ssize_t len = fgetxattr(in, name, value, sizeof value);
        if (len < 0 || fsetxattr(out, name, value, (size_t)len, 0) < 0)
            return err_errno(e, ERR_STORE, "copy attribute %s of '/%s'", name, path);
    }
    return true;
}

static bool copy_bytes(Copier *c, int in, int out, const struct stat *st, Err *e)
{
    if (!st->st_size)
        return true;
    if (!c->no_reflink && ioctl(out, FICLONE, in) == 0)
        return true;
    c->no_reflink = true;
    return fs_copy_data(in, out, NULL, e);
}

/* Owner first: a change of owner clears setuid bits and capabilities. */
static bool copy_file(Copier *c, const char *path, const struct stat *st, Err *e)
{
    struct timespec ts[2] = {st->st_mtim, st->st_mtim};
    scoped(fd) int in = openat(c->src, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0)
        return err_errno(e, ERR_STORE, "open '/%s'", path);
    scoped(fd) int out =
        openat(c->dst, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(e, ERR_STORE, "create '/%s'", path);
    if (!copy_bytes(c, in, out, st, e))
        return err_wrap(e, "copy '/%s'", path);
    if (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0)
        return err_errno(e, ERR_STORE, "give '/%s' its owner and mode", path);
    if (!copy_xattrs(in, out, path, e))
        return false;
    return futimens(out, ts) == 0 || err_errno(e, ERR_STORE, "set time of '/%s'", path);
}

static bool copy_symlink(const Copier *c, const char *path, Err *e)
{
    char target[TREE_PATH_MAX];
    ssize_t n = readlinkat(c->src, path, target, sizeof target - 1);
    if (n < 0)
        return err_errno(e, ERR_STORE, "read link '/%s'", path);
    target[n] = 0;
    return symlinkat(target, c->dst, path) == 0 ||
           err_errno(e, ERR_STORE, "create link '/%s'", path);
}

/* *ret_made is false for what is left out. */
static bool copy_special(const Copier *c, const char *path, const struct stat *st, bool *ret_made,
                         Err *e)
{
    *ret_made = !S_ISSOCK(st->st_mode);
    if (!*ret_made || mknodat(c->dst, path, (st->st_mode & S_IFMT) | 0600, st->st_rdev) == 0)
        return true;
    *ret_made = false;
    return (errno == EPERM && str_starts(path, "dev/")) ||
           err_errno(e, ERR_STORE, "create device '/%s'", path);
}

/* Another name of a file that is there already. *ret_done is false when it is none. */
static bool link_twin(Copier *c, const char *path, const struct stat *st, bool *ret_done, Err *e)
{
    uint64_t i;
    const char *key = arena_printf(&c->arena, "%llx:%llx", (unsigned long long)st->st_dev,
                                   (unsigned long long)st->st_ino);
    *ret_done = map_get(&c->links, key, &i);
    if (*ret_done)
        return linkat(c->dst, c->paths[i], c->dst, path, 0) == 0 ||
               err_errno(e, ERR_STORE, "hard link '/%s'", path);
    map_put(&c->links, key, c->npath);
    *ARENA_PUSH(&c->arena, c->paths, c->npath, c->path_cap) = arena_strdup(&c->arena, path);
    return true;
}

bool copy_entry(Copier *c, const char *path, const struct stat *st, Err *e)
{
    struct timespec ts[2] = {st->st_mtim, st->st_mtim};
    bool done = false;
    if (st->st_nlink > 1 && !S_ISSOCK(st->st_mode) && !link_twin(c, path, st, &done, e))
        return false;
    if (done)
        return true;
    if (S_ISREG(st->st_mode))
        return copy_file(c, path, st, e);
    bool made = true;
    if (S_ISLNK(st->st_mode) ? !copy_symlink(c, path, e) : !copy_special(c, path, st, &made, e))
        return false;
    if (!made)
        return true;
    if (fchownat(c->dst, path, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        (!S_ISLNK(st->st_mode) && fchmodat(c->dst, path, st->st_mode & 07777, 0) < 0) ||
        utimensat(c->dst, path, ts, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, ERR_STORE, "give '/%s' its owner, mode and time", path);
    return true;
}

static int open_dir(int dirfd, const char *path)
{
    return openat(dirfd, at(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool copy_dress(const Copier *c, const char *path, const struct stat *st, Err *e)
{
    scoped(fd) int in = open_dir(c->src, path);
    scoped(fd) int out = open_dir(c->dst, path);
    if (in < 0 || out < 0 || fchown(out, st->st_uid, st->st_gid) < 0 ||
        fchmod(out, st->st_mode & 07777) < 0)
        return err_errno(e, ERR_STORE, "give '/%s' its owner and mode", path);
    return copy_xattrs(in, out, path, e);
}

bool copy_time(const Copier *c, const char *path, const struct stat *st, Err *e)
{
    struct timespec ts[2] = {st->st_mtim, st->st_mtim};
    return utimensat(c->dst, at(path), ts, AT_SYMLINK_NOFOLLOW) == 0 ||
           err_errno(e, ERR_STORE, "set time of '/%s'", path);
}

/* ---- one snapshot over others ---- */

/* Make way for an entry: what lower snapshots have at its place goes, unless both are directories
 * that merge. */
static bool make_way(const Copier *c, const char *path, const struct stat *st, bool *ret_there,
                     Err *e)
{
    struct stat old;
    *ret_there = false;
    if (fstatat(c->dst, path, &old, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || err_errno(e, ERR_STORE, "stat '/%s'", path);
    *ret_there = S_ISDIR(old.st_mode) && S_ISDIR(st->st_mode) && !overlay_opaque(c->src, path);
    return *ret_there || fs_remove_tree(c->dst, path, e);
}

static bool copy_dir(Copier *c, const char *path, const struct stat *st, bool there, Err *e)
{
    if (!there && mkdirat(c->dst, path, 0700) < 0)
        return err_errno(e, ERR_STORE, "create directory '/%s'", path);
    return copy_layer(c, path, e) && copy_dress(c, path, st, e) && copy_time(c, path, st, e);
}

bool copy_one(Copier *c, const char *path, Err *e)
{
    struct stat st;
    bool there = false;
    if (fstatat(c->src, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, ERR_STORE, "stat '/%s'", path);
    if (overlay_whiteout(&st))
        return fs_remove_tree(c->dst, path, e);
    if (!make_way(c, path, &st, &there, e))
        return false;
    return S_ISDIR(st.st_mode) ? copy_dir(c, path, &st, there, e) : copy_entry(c, path, &st, e);
}

bool copy_layer(Copier *c, const char *dir, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names = {0};
    scoped(fd) int fd = open_dir(c->src, dir);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open directory '/%s'", dir);
    if (!fs_list(&a, fd, &names, e))
        return err_wrap(e, "'/%s'", dir);
    close(fd_take(&fd)); /* as deep as the tree goes, no descriptors are held */
    for (size_t i = 0; i < names.n; i++) {
        const char *path = arena_printf(&a, "%s%s%s", dir, *dir ? "/" : "", names.v[i]);
        if (strlen(path) >= TREE_PATH_MAX)
            return err_set(e, ERR_STORE, "'/%s': path is too long", path);
        if (!copy_one(c, path, e))
            return false;
    }
    return true;
}
