/*
 * sandbox/statcalls.c - calls that tell of files.
 *
 * A file of which nothing is remembered is left to the kernel, which shows it as root's; what it
 * shows as nobody's is the host's root's, such as /proc.
 */
#include <limits.h>

#include "base/fs.h"
#include "sandbox/warden.h"

/* The file that a call of the stat family means; PASS where the kernel shall say what is wrong. */
static int64_t find(const Call *c, int dirfd, uint64_t path, int flags, int *ret_fd)
{
    char text[PATH_MAX] = "";
    if ((path || !(flags & AT_EMPTY_PATH)) && call_text(c, path, text, sizeof text) < 0)
        return PASS;
    int fd = -1;
    if (!*text && flags & AT_EMPTY_PATH && dirfd != AT_FDCWD)
        fd = call_fd(c, dirfd);
    else
        fd = call_open(c, dirfd, *text || !(flags & AT_EMPTY_PATH) ? text : ".",
                       !(flags & AT_SYMLINK_NOFOLLOW));
    if (fd < 0)
        return PASS;
    *ret_fd = fd;
    return 0;
}

/* Whether the kernel's own answer is wrong, and what is right. */
static bool differs(const Call *c, int fd, struct stat *st, Owner *o)
{
    *o = (Owner){0};
    return fstat(fd, st) == 0 && (owner_of(c->w, fd, o) || st->st_uid || st->st_gid);
}

static int64_t answer(const Call *c, int fd, uint64_t out)
{
    Owner o;
    struct stat st;
    if (!differs(c, fd, &st, &o))
        return PASS;
    owner_show(&o, &st);
    return call_write(c, out, &st, sizeof st);
}

static int64_t stat_path(const Call *c, int dirfd, uint64_t path, uint64_t out, int flags)
{
    scoped(fd) int fd = -1;
    int64_t rc = find(c, dirfd, path, flags, &fd);
    return rc ? rc : answer(c, fd, out);
}

int64_t on_stat(const Call *c)
{
    return stat_path(c, AT_FDCWD, c->arg[0], c->arg[1], 0);
}

int64_t on_lstat(const Call *c)
{
    return stat_path(c, AT_FDCWD, c->arg[0], c->arg[1], AT_SYMLINK_NOFOLLOW);
}

int64_t on_newfstatat(const Call *c)
{
    return stat_path(c, (int)c->arg[0], c->arg[1], c->arg[2], (int)c->arg[3]);
}

int64_t on_fstat(const Call *c)
{
    scoped(fd) int fd = call_fd(c, (int)c->arg[0]);
    return fd < 0 ? PASS : answer(c, fd, c->arg[1]);
}

int64_t on_statx(const Call *c)
{
    int flags = (int)c->arg[2];
    Owner o;
    struct stat st;
    struct statx x;
    scoped(fd) int fd = -1;
    int64_t rc = find(c, (int)c->arg[0], c->arg[1], flags, &fd);
    if (rc)
        return rc;
    if (!differs(c, fd, &st, &o) ||
        statx(fd, "", AT_EMPTY_PATH | (flags & AT_STATX_SYNC_TYPE), (unsigned)c->arg[3], &x) < 0)
        return PASS;
    x.stx_uid = o.uid;
    x.stx_gid = o.gid;
    if (o.type) {
        x.stx_mode = (uint16_t)((x.stx_mode & 07777) | o.type);
        x.stx_rdev_major = o.major;
        x.stx_rdev_minor = o.minor;
        x.stx_size = x.stx_blocks = 0;
    }
    return call_write(c, c->arg[4], &x, sizeof x);
}
