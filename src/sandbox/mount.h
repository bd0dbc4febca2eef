/*
 * sandbox/mount.h - how the sandbox's init mounts: overlays, mount points, binds. Private to the
 * sandbox.
 *
 * Everything here runs in one single-threaded process whose working directory is the store.
 */
#ifndef SANDBOX_MOUNT_H
#define SANDBOX_MOUNT_H

#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "sandbox/spec.h"

/* ---- system calls that Debian 12's libc has no names for ---- */

static inline int sys_move_mount(int from, int to)
{
    return (int)syscall(SYS_move_mount, from, "", to, "",
                        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}
static inline int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC);
}
static inline int sys_mount_setattr(int fd, unsigned flags, struct mount_attr *attr)
{
    return (int)syscall(SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, attr, sizeof *attr);
}

/* ---- overlays ---- */

typedef struct Overlay {
    const StrList *lowers; /* top first, relative to the working directory */
    const char *upper;     /* NULL: nothing can be written, and there are two lowers or more */
    const char *work;
    bool userxattr; /* what a user namespace needs */
} Overlay;

/* overlay_by_fsconfig - the same, not attached yet, where the kernel takes one layer a call (6.5).
 * A descriptor, or -1: the kernel does not, which it may tell at the end only. */
int overlay_by_fsconfig(const Overlay *o);
/* overlay_mount - mount an overlay on the directory `target`. */
NODISCARD bool overlay_mount(const Overlay *o, const char *target, Err *e);

/* ---- mount points ---- */

/* The root a command will see, before it is "/". */
typedef struct Root {
    int fd;
    char path[4096]; /* absolute, as /proc/self/fd shows it */
} Root;

static inline void scoped_root_done(Root *r)
{
    scoped_fd_done(&r->fd);
}

NODISCARD bool root_open(const char *path, Root *ret, Err *e);

/*
 * point_open - open a mount point below the root, made with its parents where the root lacks it.
 *
 *   path     absolute; links are followed inside the root only
 *   dir      whether a directory is wanted, or a file
 *   ret_made NULL, or set to whether it had to be made
 *
 * What is made is reported to the parent, and the directory it is made in keeps its times. Returns
 * an O_PATH descriptor, or -1 with errno.
 */
int point_open(const Root *r, const char *path, bool dir, bool *ret_made);

/* point_name - where an open file lies below the root, without leading slash; false for the root
 * itself and for what is outside. */
bool point_name(const Root *r, int fd, char *out, size_t cap);

/* mount_new - mount a new file system of this type on `path`. */
NODISCARD bool mount_new(const Root *r, const char *type, const char *path, unsigned long flags,
                         const char *opts, Err *e);

/* mount_bind - bind `source` of the host at `path`, with these MOUNT_ATTR_ flags. */
NODISCARD bool mount_bind(const Root *r, const char *source, const char *path, bool recursive,
                          uint64_t attrs, Err *e);

/* mount_extras - the mounts that the spec asks for, parents before what is mounted inside them. */
NODISCARD bool mount_extras(Arena *a, const SandboxSpec *spec, const Root *r, Err *e);

#endif
