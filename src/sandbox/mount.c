/*
 * sandbox/mount.c - the root a command sees.
 *
 * Runs in the sandbox's init, single-threaded, in fresh namespaces. Targets are opened with the new
 * root as root, so that a link in the image cannot send a mount elsewhere.
 */
#include <errno.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "sandbox/spec.h"

#define OVERLAY_FLAGS "redirect_dir=nofollow,metacopy=off,index=off,volatile"

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
static int sys_move_mount(int from, int to)
{
    return (int)syscall(SYS_move_mount, from, "", to, "",
                        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}
static int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC);
}
static int sys_mount_setattr(int fd, unsigned flags, struct mount_attr *attr)
{
    return (int)syscall(SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, attr, sizeof *attr);
}

/* ---- the overlay ---- */

typedef struct Overlay {
    const StrList *lowers;
    const char *upper, *work;
    bool userxattr;
} Overlay;

/* The new mount interface takes one directory a call, so there is no limit on their names together
 * (6.5). */
static int overlay_by_fsconfig(const Overlay *o)
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
    if (sys_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", o->upper) < 0 ||
        sys_fsconfig(fs, FSCONFIG_SET_STRING, "workdir", o->work) < 0 ||
        sys_fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL) < 0 ||
        (o->userxattr && sys_fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL) < 0) ||
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
    buf_printf(&opts, ",upperdir=%s,workdir=%s," OVERLAY_FLAGS "%s", o->upper, o->work,
               o->userxattr ? ",userxattr" : "");
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

static bool mount_root(const Overlay *o, const char *target, Err *e)
{
    scoped(fd) int m = getenv("LIGHTER_TEST_CLASSIC_MOUNT") ? -1 : overlay_by_fsconfig(o);
    if (m < 0)
        return overlay_classic(o, target, e);
    scoped(fd) int at = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0 || sys_move_mount(m, at) < 0)
        return err_errno(e, ERR_ENV, "attach overlay");
    return true;
}

/* ---- mount points ---- */

/* Where an open file lies below the root, as a name without leading slash. */
static bool name_of(int fd, const char *root, char *out, size_t cap)
{
    char proc[40];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(proc, out, cap - 1);
    size_t skip = strlen(root);
    if (n < 0 || (size_t)n <= skip + 1 || strncmp(out, root, skip) != 0)
        return false;
    out[n] = 0;
    memmove(out, out + skip + 1, (size_t)n - skip);
    return true;
}

typedef struct Root {
    int fd;
    char path[4096]; /* absolute, as /proc/self/fd shows it */
} Root;

enum { MAX_LINKS = 8 };

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
        char part[1024];
        if (path[i] != '/' || i >= sizeof part)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        scoped(fd) int up = make_point(r, part, true, links);
        if (up < 0)
            return false;
    }
    return true;
}

static bool make_dir(const Root *r, const char *path)
{
    const char *base = path_base(path);
    char up[1024];
    (void)snprintf(up, sizeof up, "%.*s", (int)(base - path), path);
    scoped(fd) int parent = fs_open_in_root(r->fd, *up ? up : "/", O_RDONLY | O_DIRECTORY, 0);
    return parent >= 0 && mkdirat(parent, base, 0755) == 0;
}

/* Open a mount point below the root, making it if the image lacks it, and report what was made. */
static int make_point(const Root *r, const char *path, bool dir, unsigned links)
{
    char name[1024], target[2048];
    int flags = O_PATH | (dir ? O_DIRECTORY : 0);
    int fd = fs_open_in_root(r->fd, path, flags, 0);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (!make_parents(r, path, links))
        return -1;
    if (link_target(r, path, target, sizeof target)) /* a link to what the image does not have */
        return links < MAX_LINKS ? make_point(r, target, dir, links + 1) : -1;
    if (dir) {
        if (!make_dir(r, path))
            return -1;
    } else {
        scoped(fd) int made = fs_open_in_root(r->fd, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (made < 0)
            return -1;
    }
    fd = fs_open_in_root(r->fd, path, flags, 0);
    if (fd >= 0 && name_of(fd, r->path, name, sizeof name))
        report(REPORT_STUB, dir, name);
    return fd;
}

static int mount_point(const Root *r, const char *path, bool dir)
{
    return make_point(r, path, dir, 0);
}

static bool mount_new(const Root *r, const char *type, const char *path, unsigned long flags,
                      const char *opts, Err *e)
{
    char proc[40];
    scoped(fd) int at = mount_point(r, path, true);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", at);
    if (at < 0 || mount(type, proc, type, flags, opts) < 0)
        return err_errno(e, ERR_ENV, "mount %s on %s", type, path);
    return true;
}

/* Bind `source` of the host at `path`. */
static bool bind(const Root *r, const char *source, const char *path, bool recursive,
                 uint64_t attrs, Err *e)
{
    struct stat st;
    struct mount_attr attr = {.attr_set = attrs};
    unsigned rec = recursive ? AT_RECURSIVE : 0;
    scoped(fd) int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | rec);
    if (tree < 0 || fstat(tree, &st) < 0)
        return err_errno(e, ERR_ENV, "bind '%s'", source);
    if (attrs && sys_mount_setattr(tree, rec, &attr) < 0)
        return err_errno(e, ERR_ENV, "set mount attributes of '%s'", source);
    scoped(fd) int at = mount_point(r, path, S_ISDIR(st.st_mode));
    if (at < 0 || sys_move_mount(tree, at) < 0)
        return err_errno(e, ERR_ENV, "bind '%s' on '%s'", source, path);
    return true;
}

/* ---- what every sandbox has ---- */

static bool mount_dev(const Root *r, Err *e)
{
    static const char *const NODES[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const char *const LINKS[][2] = {
        {"/proc/self/fd", "dev/fd"},       {"/proc/self/fd/0", "dev/stdin"},
        {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"},
        {"pts/ptmx", "dev/ptmx"},          {"/proc/kcore", "dev/core"}};
    if (!mount_new(r, "tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k", e))
        return false;
    scoped(fd) int dev = fs_open_in_root(r->fd, "/dev", O_RDONLY | O_DIRECTORY, 0);
    if (dev < 0)
        return err_errno(e, ERR_ENV, "open /dev");
    for (size_t i = 0; i < NELEM(NODES); i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/dev/%s", NODES[i]);
        scoped(fd) int made = openat(dev, NODES[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (made < 0 || !bind(r, path, path, false, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, e))
            return made < 0 ? err_errno(e, ERR_ENV, "create %s", path) : false;
    }
    for (size_t i = 0; i < NELEM(LINKS); i++)
        if (symlinkat(LINKS[i][0], dev, LINKS[i][1] + 4) < 0)
            return err_errno(e, ERR_ENV, "create %s", LINKS[i][1]);
    if (mkdirat(dev, "pts", 0755) < 0 || mkdirat(dev, "shm", 01777) < 0 ||
        mkdirat(dev, "mqueue", 01777) < 0)
        return err_errno(e, ERR_ENV, "create directories in /dev");
    return mount_new(r, "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
                     "newinstance,ptmxmode=0666,mode=0620,gid=5", e) &&
           mount_new(r, "tmpfs", "/dev/shm", MS_NOSUID | MS_NOEXEC | MS_NODEV,
                     "mode=1777,size=65536k", e) &&
           mount_new(r, "mqueue", "/dev/mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL, e);
}

static bool mount_system(const Root *r, bool in_userns, Err *e)
{
    if (!mount_new(r, "proc", "/proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL, e))
        return err_wrap(e, "a fresh /proc (in a container, its runtime must leave /proc unmasked)");
    /*
     * A new sysfs needs an own network namespace; the host's, read-only, shows the same to a step.
     */
    return mount_dev(r, e) &&
           bind(r, "/sys", "/sys", in_userns,
                MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, e);
}

/* Name resolution is the caller's, hosts are the sandbox's own; both are mounted over, never in the
 * layer. */
static bool mount_files(const SandboxSpec *spec, const Root *r, Err *e)
{
    char hosts[256], path[4200];
    int n = snprintf(hosts, sizeof hosts,
                     "127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n",
                     spec->hostname);
    (void)snprintf(path, sizeof path, "%s/hosts", spec->scratch);
    if (!fs_write_file(AT_FDCWD, path, hosts, (size_t)n, e) ||
        !bind(r, path, "/etc/hosts", false, MOUNT_ATTR_RDONLY, e))
        return false;
    const char *resolv = "/etc/resolv.conf";
    if (access(resolv, R_OK) < 0) { /* a host without name service: the step gets an empty file */
        (void)snprintf(path, sizeof path, "%s/resolv.conf", spec->scratch);
        if (!fs_write_file(AT_FDCWD, path, "", 0, e))
            return false;
        resolv = path;
    }
    return bind(r, resolv, "/etc/resolv.conf", false, MOUNT_ATTR_RDONLY, e);
}

static bool hide(Err *e)
{
    static const char *const MASKED[] = {"/proc/acpi",
                                         "/proc/asound",
                                         "/proc/interrupts",
                                         "/proc/kcore",
                                         "/proc/keys",
                                         "/proc/latency_stats",
                                         "/proc/sched_debug",
                                         "/proc/scsi",
                                         "/proc/timer_list",
                                         "/proc/timer_stats",
                                         "/sys/devices/virtual/powercap",
                                         "/sys/firmware"};
    static const char *const READONLY[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                           "/proc/sysrq-trigger"};
    for (size_t i = 0; i < NELEM(MASKED); i++) {
        struct stat st;
        if (stat(MASKED[i], &st) < 0)
            continue;
        bool dir = S_ISDIR(st.st_mode);
        if ((dir ? mount("tmpfs", MASKED[i], "tmpfs", MS_RDONLY, "size=0k,nr_inodes=2")
                 : mount("/dev/null", MASKED[i], NULL, MS_BIND, NULL)) < 0)
            return err_errno(e, ERR_ENV, "mask %s", MASKED[i]);
    }
    for (size_t i = 0; i < NELEM(READONLY); i++) {
        struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                              MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
        if (access(READONLY[i], F_OK) < 0)
            continue;
        scoped(fd) int tree = sys_open_tree(AT_FDCWD, READONLY[i], OPEN_TREE_CLONE | AT_RECURSIVE);
        scoped(fd) int at = open(READONLY[i], O_PATH | O_CLOEXEC);
        if (tree < 0 || at < 0 || sys_mount_setattr(tree, AT_RECURSIVE, &attr) < 0 ||
            sys_move_mount(tree, at) < 0)
            return err_errno(e, ERR_ENV, "make %s read-only", READONLY[i]);
    }
    return true;
}

static bool enter_root(const Root *r, Err *e)
{
    if (fchdir(r->fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
        umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return err_errno(e, ERR_ENV, "pivot_root");
    return true;
}

/* The working directory is the store, which the spec's names are relative to. */
bool sandbox_mount(Arena *a, const SandboxSpec *spec, Err *e)
{
    Root r;
    char *work = arena_printf(a, "%s/work", spec->scratch),
         *root = arena_printf(a, "%s/root", spec->scratch);
    StrList lowers = strlist_copy(a, &spec->lowers);

    if (mount("", "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
        return err_errno(e, ERR_ENV, "make mounts private");
    if (mkdir(work, 0700) < 0 || mkdir(root, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s'", work);
    if (!lowers.n) { /* overlayfs wants a lower directory; FROM scratch has an empty one */
        char *empty = arena_printf(a, "%s/empty", spec->scratch);
        if (mkdir(empty, 0755) < 0)
            return err_errno(e, ERR_STORE, "create '%s'", empty);
        strlist_add(a, &lowers, empty);
    }
    Overlay o = {&lowers, spec->upper, work, spec->in_userns};
    if (!mount_root(&o, root, e))
        return false;
    scoped(fd) int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char proc[40];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t n = fd < 0 ? -1 : readlink(proc, r.path, sizeof r.path - 1);
    if (n < 0)
        return err_errno(e, ERR_ENV, "open the step's root");
    r.fd = fd;
    r.path[n] = 0;

    if (!mount_system(&r, spec->in_userns, e) || !mount_files(spec, &r, e))
        return false;
    for (size_t i = 0; i < spec->nbind; i++)
        if (!bind(&r, spec->binds[i].source, spec->binds[i].target, true,
                  spec->binds[i].readonly ? MOUNT_ATTR_RDONLY : 0, e))
            return false;
    return enter_root(&r, e) && hide(e);
}
