/*
 * sandbox/overlay.c - a stack of directories as one.
 */
#include <stdlib.h>

#include "sandbox/mount.h"

#define OVERLAY_FLAGS "redirect_dir=nofollow,metacopy=off,index=off"

static int sys_fsopen(const char *type)
{
    return (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
}
static int sys_fsconfig(int fd, unsigned cmd, const char *key, const char *value)
{
    return (int)syscall(SYS_fsconfig, fd, cmd, key, value, 0);
}
static int sys_fsmount(int fd)
{
    return (int)syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, 0);
}

/* The new mount interface takes one directory a call, so there is no limit on their names together
 * (6.5). */
int overlay_by_fsconfig(const Overlay *o)
{
    static const char *const FLAGS[][2] = {
        {"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}};
    scoped(fd) int fs = sys_fsopen("overlay");
    if (fs < 0)
        return -1;
    for (size_t i = 0; i < o->lowers->n; i++)
        if (sys_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", o->lowers->v[i]) < 0)
            return -1;
    for (size_t i = 0; i < NELEM(FLAGS); i++)
        if (sys_fsconfig(fs, FSCONFIG_SET_STRING, FLAGS[i][0], FLAGS[i][1]) < 0)
            return -1;
    if (o->upper && (sys_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", o->upper) < 0 ||
                     sys_fsconfig(fs, FSCONFIG_SET_STRING, "workdir", o->work) < 0 ||
                     sys_fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL) < 0))
        return -1;
    if ((o->userxattr && sys_fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL) < 0) ||
        sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
        return -1;
    return sys_fsmount(fs);
}

/* Kernels before 6.5: one page of options, short names relative to the store. */
static bool overlay_classic(const Overlay *o, const char *target, Err *e)
{
    scoped(buf) Buf opts = BUF_INIT;
    buf_puts(&opts, "lowerdir=");
    for (size_t i = 0; i < o->lowers->n; i++)
        buf_printf(&opts, "%s%s", i ? ":" : "", o->lowers->v[i]);
    if (o->upper)
        buf_printf(&opts, ",upperdir=%s,workdir=%s,volatile", o->upper, o->work);
    buf_printf(&opts, "," OVERLAY_FLAGS "%s", o->userxattr ? ",userxattr" : "");
    if (opts.len >= 4096)
        return err_set(e, ERR_ENV,
                       "%zu layers need %zu bytes of mount options and this kernel takes 4095: "
                       "join RUN and COPY lines",
                       o->lowers->n, opts.len);
    if (mount("overlay", target, "overlay", 0, opts.ptr) < 0)
        return err_errno(
            e, ERR_ENV,
            "mount overlay (the kernel log may tell why; the store needs a file system that "
            "overlayfs takes as upper, such as ext4, xfs, btrfs or tmpfs)");
    return true;
}

bool overlay_mount(const Overlay *o, const char *target, Err *e)
{
    scoped(fd) int m = getenv("LIGHTER_TEST_CLASSIC_MOUNT") ? -1 : overlay_by_fsconfig(o);
    if (m < 0)
        return overlay_classic(o, target, e);
    scoped(fd) int at = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0 || sys_move_mount(m, at) < 0)
        return err_errno(e, ERR_ENV, "attach overlay");
    return true;
}
