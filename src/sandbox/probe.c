/*
 * sandbox/probe.c - what this machine lets this user do, found by doing it.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "sandbox/chroot.h"

typedef struct Probe {
    Arena *a;
    const char *dir; /* of this attempt */
    SandboxFacts *facts;
} Probe;

typedef bool Attempt(const Probe *p, Err *e);

/* Say something about a success, as an error says it about a failure. */
static bool found(Err *e, const char *text)
{
    (void)snprintf(e->msg, sizeof e->msg, "%s", text);
    return true;
}

/* ---- in a child ---- */

static _Noreturn void attempt_main(const Probe *p, Attempt *attempt, int out)
{
    Err e = ERR_INIT;
    bool ok = chdir(p->dir) == 0 ? attempt(p, &e) : err_errno(&e, ERR_ENV, "'%s'", p->dir);
    (void)!write(out, e.msg, strlen(e.msg));
    _exit(ok ? 0 : 1);
}

static bool run_attempt(const Probe *p, Attempt *attempt, Buf *said)
{
    int pipefd[2], status = 1;
    Err ignored = ERR_INIT;
    if (pipe2(pipefd, O_CLOEXEC) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0)
        attempt_main(p, attempt, pipefd[1]);
    close(pipefd[1]);
    if (!fs_read_all(pipefd[0], 1 << 16, said, &ignored))
        buf_done(said);
    close(pipefd[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void try_it(const Probe *all, const char *name, const char *title, Attempt *attempt)
{
    scoped(buf) Buf said = BUF_INIT;
    Probe p = *all;
    p.dir = arena_printf(p.a, "%s/%s", all->dir, name);
    bool ok = mkdir(p.dir, 0700) == 0 && run_attempt(&p, attempt, &said);
    *ARENA_PUSH(p.a, p.facts->v, p.facts->n, p.facts->cap) =
        (SandboxFact){name, title, ok, arena_strdup(p.a, buf_str(&said))};
}

bool sandbox_fact(const SandboxFacts *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (!strcmp(f->v[i].name, name))
            return f->v[i].ok;
    return false;
}

/* ---- namespaces ---- */

static bool own_mounts(Err *e)
{
    if (unshare(CLONE_NEWNS) < 0)
        return err_errno(e, ERR_ENV, "unshare a mount namespace");
    return mount("", "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0 ||
           err_errno(e, ERR_ENV, "make mounts private");
}

static bool mount_tmpfs(Err *e)
{
    return mount("tmpfs", ".", "tmpfs", MS_NOSUID | MS_NODEV, NULL) == 0 ||
           err_errno(e, ERR_ENV, "mount a tmpfs");
}

static bool try_root(const Probe *p, Err *e)
{
    (void)p;
    if (geteuid() != 0)
        return err_set(e, ERR_ENV, "uid %u", (unsigned)geteuid());
    if (!own_mounts(e) || !mount_tmpfs(e))
        return false;
    return rights_real_root() || found(e, "of a user namespace that was made for it");
}

static bool write_map(const char *file, const char *text, Err *e)
{
    scoped(fd) int fd = open(file, O_WRONLY | O_CLOEXEC);
    return (fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text)) ||
           err_errno(e, ERR_ENV, "write %s", file);
}

/* A user namespace that knows one id: our own as 0. */
static bool enter_userns(const Probe *p, Err *e)
{
    const char *uid = arena_printf(p->a, "0 %u 1", (unsigned)geteuid()),
               *gid = arena_printf(p->a, "0 %u 1", (unsigned)getegid());
    if (unshare(CLONE_NEWUSER) < 0)
        return err_errno(e, ERR_ENV, "unshare a user namespace");
    return write_map("/proc/self/setgroups", "deny", e) &&
           write_map("/proc/self/uid_map", uid, e) && write_map("/proc/self/gid_map", gid, e);
}

/* With AppArmor's limit the namespace can be made, and nothing can be done in it. */
static bool try_userns(const Probe *p, Err *e)
{
    return enter_userns(p, e) && own_mounts(e) && mount_tmpfs(e);
}

static bool read_number(const char *path, long *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    if (!fs_read_file(AT_FDCWD, path, 64, &text, &ignored))
        return false;
    *ret = strtol(buf_str(&text), NULL, 10);
    return true;
}

static bool try_sysctls(const Probe *p, Err *e)
{
    static const struct {
        const char *path, *name;
        long bad;
        const char *fix;
    } LIMITS[] = {
        {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
         "kernel.apparmor_restrict_unprivileged_userns", 1, "0"},
        {"/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", 0, "1"},
        {"/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", 0, "10000"}};
    (void)p;
    for (size_t i = 0; i < NELEM(LIMITS); i++) {
        long v;
        if (read_number(LIMITS[i].path, &v) && v == LIMITS[i].bad)
            return err_set(e, ERR_ENV, "%s is %ld; as root of the machine: sysctl -w %s=%s",
                           LIMITS[i].name, v, LIMITS[i].name, LIMITS[i].fix);
    }
    return true;
}

/* ---- ids ---- */

static bool has_program(const char *name, Err *e)
{
    char path[PROGRAM_PATH_MAX];
    return program_find(name, path) || err_set(e, ERR_ENV, "%s is not in PATH", name);
}

static bool try_newuidmap(const Probe *p, Err *e)
{
    (void)p;
    return has_program("newuidmap", e) && has_program("newgidmap", e);
}

static bool try_rootless(const Probe *p, Err *e)
{
    SandboxHost h;
    (void)p;
    if (!sandbox_host("rootless", &h, e) || !sandbox_enter(&h, e))
        return false;
    return own_mounts(e) &&
           found(e, arena_printf(p->a, "%u user ids, %u group ids", h.uids.count, h.gids.count));
}

static bool try_chroot(const Probe *p, Err *e)
{
    SandboxHost h;
    (void)p;
    return sandbox_host("chroot", &h, e);
}

static bool try_devices(const Probe *p, Err *e)
{
    (void)p;
    if (mknod("null", S_IFCHR | 0666, makedev(1, 3)) < 0)
        return err_errno(e, ERR_ENV,
                         "mknod (in mode chroot, /dev/null is a plain file; zero, full, random, "
                         "urandom and tty are absent)");
    scoped(fd) int fd = open("null", O_RDWR | O_CLOEXEC);
    return fd >= 0 || err_errno(e, ERR_ENV, "open a device node");
}

/* ---- file systems ---- */

static bool make_dirs(Err *e)
{
    static const char *const DIRS[] = {"lower", "upper", "work", "root"};
    for (size_t i = 0; i < NELEM(DIRS); i++)
        if (mkdir(DIRS[i], 0755) < 0)
            return err_errno(e, ERR_ENV, "create '%s'", DIRS[i]);
    return true;
}

static bool mount_overlay(const Probe *p, bool userns, Err *e)
{
    StrList lowers = {0};
    strlist_add(p->a, &lowers, "lower");
    Overlay o = {&lowers, "upper", "work", userns};
    if (!own_mounts(e) || chdir(p->dir) < 0 || !overlay_mount(&o, "root", e))
        return false;
    return (mkdir("root/made", 0755) == 0 && access("upper/made", F_OK) == 0) ||
           err_errno(e, ERR_ENV, "write into an overlay");
}

static bool try_overlay(const Probe *p, Err *e)
{
    return make_dirs(e) && mount_overlay(p, !rights_real_root(), e);
}

static bool try_overlay_userns(const Probe *p, Err *e)
{
    return make_dirs(e) && enter_userns(p, e) && mount_overlay(p, true, e);
}

/* Without it a step sees the processes of the container that it runs in. */
static bool try_proc(const Probe *p, Err *e)
{
    int status = 1;
    if (unshare(CLONE_NEWNS | CLONE_NEWPID) < 0 &&
        !(enter_userns(p, e) && unshare(CLONE_NEWNS | CLONE_NEWPID) == 0))
        return e->kind ? false : err_errno(e, ERR_ENV, "unshare a pid namespace");
    pid_t child = fork();
    if (child == 0)
        _exit(mount("", "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0 &&
                      mount("proc", p->dir, "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL) == 0
                  ? 0
                  : 1);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0 || err_set(e, ERR_ENV,
                                  "masked by the container's runtime, so steps see its processes "
                                  "(procMount: Unmasked, --security-opt systempaths=unconfined)");
}

static bool try_lowerdir_plus(const Probe *p, Err *e)
{
    StrList lowers = {0};
    strlist_add(p->a, &lowers, "lower");
    strlist_add(p->a, &lowers, "upper");
    Overlay o = {.lowers = &lowers};
    if (!make_dirs(e))
        return false;
    if (unshare(CLONE_NEWNS) < 0) {
        if (!enter_userns(p, e) || !own_mounts(e))
            return false;
        o.userxattr = true;
    }
    scoped(fd) int fd = overlay_by_fsconfig(&o);
    return fd >= 0 || err_set(e, ERR_ENV, "one mount takes all, in a page of options");
}

static bool try_reflink(const Probe *p, Err *e)
{
    (void)p;
    scoped(fd) int a = open("a", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    scoped(fd) int b = open("b", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (a < 0 || b < 0 || write(a, "x", 1) != 1)
        return err_errno(e, ERR_ENV, "create a file");
    return ioctl(b, FICLONE, a) == 0 || err_errno(e, ERR_ENV, "clone a file");
}

/* ---- the rest of the kernel ---- */

static bool try_notify(const Probe *p, Err *e)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog prog = {.len = 1, .filter = &allow};
    (void)p;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, ERR_ENV, "no_new_privs");
    scoped(fd) int fd =
        (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
    return fd >= 0 || err_errno(e, ERR_ENV, "seccomp");
}

static bool try_landlock(const Probe *p, Err *e)
{
    int abi = chroot_landlock_abi();
    return abi ? found(e, arena_printf(p->a, "ABI %d", abi))
               : err_errno(e, ERR_ENV, "landlock_create_ruleset");
}

/* Our own group in the one hierarchy of cgroup v2; NULL: there is none. */
static const char *own_cgroup(const Probe *p)
{
    scoped(buf) Buf text = BUF_INIT;
    struct statfs fs;
    Err ignored = ERR_INIT;
    if (statfs("/sys/fs/cgroup", &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC ||
        !fs_read_file(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &text, &ignored))
        return NULL;
    const char *line = strstr(buf_str(&text), "0::");
    if (!line)
        return NULL;
    line += strlen("0::");
    return arena_printf(p->a, "/sys/fs/cgroup%.*s", (int)strcspn(line, "\n"), line);
}

static bool try_cgroup(const Probe *p, Err *e)
{
    static const char *const WANTED[] = {"memory", "cpu", "pids"};
    const char *group = own_cgroup(p);
    scoped(buf) Buf have = BUF_INIT;
    if (!group)
        return err_set(e, ERR_ENV, "/sys/fs/cgroup is not cgroup v2");
    const char *child = arena_printf(p->a, "%s/lighter-doctor-%d", group, (int)getpid());
    if (mkdir(child, 0755) < 0)
        return err_errno(e, ERR_ENV,
                         "make a group in '%s' (systemd-run --user --scope -p Delegate=yes gives "
                         "one)",
                         group);
    (void)rmdir(child);
    if (!fs_read_file(AT_FDCWD, arena_printf(p->a, "%s/cgroup.controllers", group), 4096, &have, e))
        return false;
    for (size_t i = 0; i < NELEM(WANTED); i++)
        if (!strstr(buf_str(&have), WANTED[i]))
            return err_set(e, ERR_ENV, "no controller '%s' in '%s'", WANTED[i], group);
    if (access(arena_printf(p->a, "%s/cgroup.subtree_control", group), W_OK) < 0)
        return err_errno(e, ERR_ENV, "hand controllers on in '%s'", group);
    return true;
}

static bool try_binfmt(const Probe *p, Err *e)
{
    scoped(buf) Buf names = BUF_INIT;
    DIR *d = opendir("/proc/sys/fs/binfmt_misc");
    struct utsname here = {0};
    (void)uname(&here);
    for (struct dirent *de; d && (de = readdir(d));) {
        scoped(buf) Buf text = BUF_INIT;
        Err ignored = ERR_INIT;
        const char *path = arena_printf(p->a, "/proc/sys/fs/binfmt_misc/%s", de->d_name);
        if (!str_starts(de->d_name, "qemu-") || !strcmp(de->d_name + 5, here.machine) ||
            !fs_read_file(AT_FDCWD, path, 4096, &text, &ignored) ||
            !str_starts(buf_str(&text), "enabled"))
            continue;
        buf_printf(&names, "%s%s", names.len ? " " : "", de->d_name + 5);
    }
    if (d)
        closedir(d);
    return names.len ? found(e, buf_str(&names))
                     : err_set(e, ERR_ENV, "none (apt-get install qemu-user-static)");
}

static bool try_git(const Probe *p, Err *e)
{
    (void)p;
    return has_program("git", e);
}

static bool try_passt(const Probe *p, Err *e)
{
    (void)p;
    return has_program("pasta", e);
}

void sandbox_probe(Arena *a, const char *dir, SandboxFacts *ret)
{
    static const struct {
        const char *name, *title;
        Attempt *attempt;
    } ALL[] = {
        {"root", "root that may mount", try_root},
        {"overlay", "overlay mounts as root", try_overlay},
        {"userns", "user namespaces, and mounts in them", try_userns},
        {"userns-limits", "no sysctl or AppArmor limit on user namespaces", try_sysctls},
        {"newuidmap", "newuidmap and newgidmap", try_newuidmap},
        {"rootless", "a user namespace with the ranges of /etc/subuid", try_rootless},
        {"overlay-userns", "overlay mounts in a user namespace", try_overlay_userns},
        {"proc", "a fresh /proc for every step", try_proc},
        {"lowerdir-plus", "overlay layers one by one (lowerdir+)", try_lowerdir_plus},
        {"seccomp-notify", "answering system calls (seccomp user notification)", try_notify},
        {"chroot", "chroot(2) and the capabilities of a plain container", try_chroot},
        {"devices", "device nodes", try_devices},
        {"landlock", "Landlock", try_landlock},
        {"reflink", "reflinks in the store's file system", try_reflink},
        {"cgroup", "cgroup v2 with memory, cpu and pids", try_cgroup},
        {"binfmt", "programs of other architectures (binfmt)", try_binfmt},
        {"git", "git", try_git},
        {"passt", "passt", try_passt},
    };
    Probe p = {.a = a, .dir = dir, .facts = ret};
    *ret = (SandboxFacts){0};
    for (size_t i = 0; i < NELEM(ALL); i++)
        try_it(&p, ALL[i].name, ALL[i].title, ALL[i].attempt);
}
