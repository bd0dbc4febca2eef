/*
 * sandbox/mount.c - the root a command sees.
 *
 * Runs in the sandbox's init, single-threaded, in fresh namespaces. Targets are opened with the new
 * root as root, so that a link in the image cannot send a mount elsewhere.
 */
#include "sandbox/mount.h"

#include "base/owner.h"
#include "sandbox/usernet.h"

/* ---- what every sandbox has ---- */

/*
 * A command of mode `root` may make device nodes, for they belong into images, and no control group
 * stands between it and a disk: so they are of use on no mount of a step but those of /dev.
 */
static unsigned long no_devices(const SandboxSpec *spec)
{
    return spec->insecure ? 0 : MS_NODEV;
}

static bool mount_dev(const SandboxSpec *spec, const Root *r, Err *e)
{
    static const char *const NODES[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const char *const LINKS[][2] = {
        {"/proc/self/fd", "dev/fd"},       {"/proc/self/fd/0", "dev/stdin"},
        {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"},
        {"pts/ptmx", "dev/ptmx"},          {"/proc/kcore", "dev/core"}};
    if (!mount_new(r, "tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME | no_devices(spec),
                   "mode=755,size=65536k", e))
        return false;
    scoped(fd) int dev = fs_open_in_root(r->fd, "/dev", O_RDONLY | O_DIRECTORY, 0);
    if (dev < 0)
        return err_errno(e, ERR_ENV, "open /dev");
    for (size_t i = 0; i < NELEM(NODES); i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/dev/%s", NODES[i]);
        scoped(fd) int made = openat(dev, NODES[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (made < 0 || !mount_bind(r, path, path, false, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, e))
            return made < 0 ? err_errno(e, ERR_ENV, "create %s", path) : false;
    }
    for (size_t i = 0; i < NELEM(LINKS); i++)
        if (symlinkat(LINKS[i][0], dev, LINKS[i][1] + 4) < 0)
            return err_errno(e, ERR_ENV, "create %s", LINKS[i][1]);
    if (mkdirat(dev, "pts", 0755) < 0 || mkdirat(dev, "shm", 01777) < 0 ||
        mkdirat(dev, "mqueue", 01777) < 0)
        return err_errno(e, ERR_ENV, "create directories in /dev");
    char shm[64];
    uint64_t shm_size = spec->shape.shm_size ? spec->shape.shm_size : 64 << 20;
    const char *pts = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    if (owners_remembered()) /* there is no group 5 to be had */
        pts = "newinstance,ptmxmode=0666,mode=0620";
    (void)snprintf(shm, sizeof shm, "mode=1777,size=%llu", (unsigned long long)shm_size);
    return mount_new(r, "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, pts, e) &&
           mount_new(r, "tmpfs", "/dev/shm", MS_NOSUID | MS_NOEXEC | MS_NODEV, shm, e) &&
           mount_new(r, "mqueue", "/dev/mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL, e);
}

/*
 * An own network namespace has a sysfs of its own, which shows its interfaces. With the host's
 * network a new one cannot be had; the host's, read-only, shows the same to a step. That is also
 * what remains where a container's runtime has masked parts of /sys, for then the kernel refuses a
 * new one to a user namespace.
 */
static bool mount_sys(const SandboxSpec *spec, const Root *r, Err *e)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    const uint64_t attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    Err ignored = ERR_INIT;
    if (spec->net != SANDBOX_NET_HOST &&
        mount_new(r, "sysfs", "/sys", flags | (spec->insecure ? 0 : MS_RDONLY), NULL, &ignored))
        return true;
    return mount_bind(r, "/sys", "/sys", spec->in_userns,
                      attrs | (spec->insecure ? 0 : MOUNT_ATTR_RDONLY), e);
}

/*
 * What docker's builder gives to an insecure step besides; a device that the machine lacks is
 * lacking here too.
 */
static bool mount_devices(const Root *r, Err *e)
{
    static const char *const DEVICES[] = {"/dev/kmsg", "/dev/cuse",    "/dev/fuse",
                                          "/dev/kvm",  "/dev/net/tun", "/dev/loop-control"};
    char loop[24];
    for (size_t i = 0; i < NELEM(DEVICES); i++)
        if (access(DEVICES[i], F_OK) == 0 && !mount_bind(r, DEVICES[i], DEVICES[i], false, 0, e))
            return false;
    for (int i = 0;; i++) {
        (void)snprintf(loop, sizeof loop, "/dev/loop%d", i);
        if (access(loop, F_OK) < 0)
            return true;
        if (!mount_bind(r, loop, loop, false, 0, e))
            return false;
    }
}

/*
 * The kernel refuses a user namespace a fresh /proc where a container's runtime has masked parts of
 * the one there is. That one, with its masks, has the processes of the container; a process of the
 * step finds itself in it all the same.
 */
static bool mount_proc(const SandboxSpec *spec, const Root *r, Err *e)
{
    const uint64_t attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV;
    Err ignored = ERR_INIT;
    if (mount_new(r, "proc", "/proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL, e))
        return true;
    if (!spec->in_userns || !mount_bind(r, "/proc", "/proc", true, attrs, &ignored))
        return false;
    *e = (Err)ERR_INIT;
    return true;
}

static bool mount_system(const SandboxSpec *spec, const Root *r, Err *e)
{
    if (!mount_proc(spec, r, e))
        return false;
    return mount_dev(spec, r, e) && (!spec->insecure || mount_devices(r, e)) &&
           mount_sys(spec, r, e);
}

/* The file to show as /etc/hosts, in the arena; NULL on failure. */
static const char *hosts_file(Arena *a, const SandboxSpec *spec, Err *e)
{
    scoped(buf) Buf hosts = BUF_INIT;
    const char *path = arena_printf(a, "%s/hosts", *spec->points ? spec->points : spec->scratch);
    if (*spec->points)
        return path;
    spec_hosts(spec->hostname, &spec->shape, &hosts);
    return fs_write_file(AT_FDCWD, path, hosts.ptr, hosts.len, e) ? path : NULL;
}

/* A host without name service gives the step an empty file. */
static bool write_resolv(const char *path, Err *e)
{
    scoped(buf) Buf theirs = BUF_INIT, ours = BUF_INIT;
    Err ignored = ERR_INIT;
    if (fs_read_file(AT_FDCWD, "/etc/resolv.conf", 1 << 20, &theirs, &ignored))
        usernet_resolv(buf_str(&theirs), &ours);
    return fs_write_file(AT_FDCWD, path, buf_str(&ours), ours.len, e);
}

/* Name resolution is the caller's, hosts are the sandbox's own; both are mounted over, never in the
 * layer. */
static bool mount_files(Arena *a, const SandboxSpec *spec, const Root *r, Err *e)
{
    const char *hosts = hosts_file(a, spec, e);
    if (!hosts || !mount_bind(r, hosts, "/etc/hosts", false, MOUNT_ATTR_RDONLY, e))
        return false;
    const char *resolv = "/etc/resolv.conf",
               *own = arena_printf(a, "%s/resolv.conf", spec->scratch);
    if (spec->net == SANDBOX_NET_USER || access(resolv, R_OK) < 0) {
        if (!write_resolv(own, e))
            return false;
        resolv = own;
    }
    return mount_bind(r, resolv, "/etc/resolv.conf", false, MOUNT_ATTR_RDONLY, e);
}

/* Cover a file or directory of the kernel's. `null` is /dev/null as every step has it: by name, a
 * mount of the step on /dev could put a link there that leads back to what is to be covered. */
static bool mask(const char *path, int null, Err *e)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return true;
    if (S_ISDIR(st.st_mode))
        return mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k,nr_inodes=2") == 0 ||
               err_errno(e, ERR_ENV, "mask %s", path);
    scoped(fd) int tree = sys_open_tree(null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    scoped(fd) int at = open(path, O_PATH | O_CLOEXEC);
    return (tree >= 0 && at >= 0 && sys_move_mount(tree, at) == 0) ||
           err_errno(e, ERR_ENV, "mask %s", path);
}

static bool hide(int null, Err *e)
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
    for (size_t i = 0; i < NELEM(MASKED); i++)
        if (!mask(MASKED[i], null, e))
            return false;
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

static bool protect_root(const SandboxSpec *spec, const Root *r, Err *e)
{
    struct mount_attr attr = {.attr_set = (no_devices(spec) ? MOUNT_ATTR_NODEV : 0) |
                                          (spec->readonly ? MOUNT_ATTR_RDONLY : 0)};
    return !attr.attr_set || sys_mount_setattr(r->fd, 0, &attr) == 0 ||
           err_errno(e, ERR_ENV, "set mount flags of the root");
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
    scoped(root) Root r = {.fd = -1};
    char *work = arena_printf(a, "%s/work", spec->scratch),
         *root = arena_printf(a, "%s/root", spec->scratch);
    StrList lowers = strlist_copy(a, &spec->lowers);

    if (*spec->points)
        strlist_add(a, &lowers, arena_printf(a, "%s/root", spec->points));
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
    if (!overlay_mount(&o, root, e))
        return false;
    if (!root_open(root, &r, e))
        return false;
    if (!mount_system(spec, &r, e))
        return false;
    scoped(fd) int null = fs_open_in_root(r.fd, "/dev/null", O_PATH, 0);
    if (!mount_files(a, spec, &r, e) || !mount_extras(a, spec, &r, e) ||
        !protect_root(spec, &r, e) || !enter_root(&r, e) || (!spec->insecure && !hide(null, e)))
        return false;
    report_fd(REPORT_ROOT, r.fd);
    return true;
}
