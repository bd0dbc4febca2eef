/*
 * sandbox/moved.c - calls that copy a link or a fifo of a layer below up.
 *
 * The copy is another inode, perhaps at another path, so what the layer's table says of it is
 * remembered for the copy before the kernel carries the call out. Watched only where there is such
 * a table.
 */
#include <limits.h>

#include "base/fs.h"
#include "sandbox/warden.h"

static int64_t keep(const Call *c, int dirfd, uint64_t path, bool follow)
{
    char text[PATH_MAX];
    struct stat st;
    if (!path || call_text(c, path, text, sizeof text) < 0)
        return PASS;
    scoped(fd) int fd = call_open(c, dirfd, text, follow);
    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        (void)owner_lift(c->w, fd); /* what goes wrong here goes wrong for the call as well */
    return PASS;
}

int64_t on_rename(const Call *c)
{
    return keep(c, AT_FDCWD, c->arg[0], false);
}

int64_t on_renameat(const Call *c)
{
    return keep(c, (int)c->arg[0], c->arg[1], false);
}

int64_t on_linkat(const Call *c)
{
    return keep(c, (int)c->arg[0], c->arg[1], (int)c->arg[4] & AT_SYMLINK_FOLLOW);
}

int64_t on_chmod(const Call *c)
{
    return keep(c, AT_FDCWD, c->arg[0], true);
}

int64_t on_fchmodat(const Call *c)
{
    return keep(c, (int)c->arg[0], c->arg[1], true);
}

int64_t on_utimensat(const Call *c)
{
    return keep(c, (int)c->arg[0], c->arg[1], !((int)c->arg[3] & AT_SYMLINK_NOFOLLOW));
}
