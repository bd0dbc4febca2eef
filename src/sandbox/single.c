/*
 * sandbox/single.c - a user namespace with one id, and the table of links around a step.
 */
#include "sandbox/single.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/owner.h"

static bool write_proc(const char *name, const char *text)
{
    scoped(fd) int fd = open(name, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

bool single_enter(Err *e)
{
    char uids[32], gids[32];
    (void)snprintf(uids, sizeof uids, "0 %u 1", (unsigned)geteuid());
    (void)snprintf(gids, sizeof gids, "0 %u 1", (unsigned)getegid());
    (void)prctl(PR_SET_DUMPABLE, 1); /* else /proc/self belongs to root */
    /* gid_map is refused to an ordinary user until setgroups is denied: user_namespaces(7). */
    if (unshare(CLONE_NEWUSER) < 0 || !write_proc("/proc/self/setgroups", "deny") ||
        !write_proc("/proc/self/uid_map", uids) || !write_proc("/proc/self/gid_map", gids))
        return err_errno(e, ERR_ENV, "mode single: make a user namespace");
    return true;
}

static bool userns_works(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        Err ignored = ERR_INIT;
        _exit(single_enter(&ignored) ? 0 : 1);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool single_host(SandboxHost *h, Err *e)
{
    struct seccomp_notif_sizes sizes;
    h->mode = MODE_SINGLE;
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
        return err_set(e, ERR_ENV,
                       "mode single: the kernel cannot send system calls to another process (it "
                       "needs Linux 5.9 with CONFIG_SECCOMP_FILTER)");
    if (!userns_works())
        return err_set(e, ERR_ENV,
                       "mode single: this user may not make a user namespace; as root: sysctl -w "
                       "user.max_user_namespaces=10000, and where they exist "
                       "kernel.unprivileged_userns_clone=1 and "
                       "kernel.apparmor_restrict_unprivileged_userns=0");
    return true;
}

/* ---- the table of links ---- */

bool links_any(int dirfd, const StrList *lowers)
{
    scoped(arena) Arena a = {0};
    for (size_t i = 0; owners_remembered() && i < lowers->n; i++)
        if (faccessat(dirfd, arena_printf(&a, "%s/" OWNER_LINKS, lowers->v[i]), F_OK,
                      AT_SYMLINK_NOFOLLOW) == 0)
            return true;
    return false;
}

bool links_hide(int dirfd, const char *top, Err *e)
{
    scoped(arena) Arena a = {0};
    const char *hide = arena_printf(&a, "%s/" OWNER_LINKS, top);
    return mknodat(dirfd, hide, S_IFCHR, makedev(0, 0)) == 0 ||
           err_errno(e, ERR_STORE, "create '%s'", hide);
}

bool links_prepare(const SandboxSpec *spec, Err *e)
{
    return !links_any(spec->storefd, &spec->lowers) || links_hide(spec->storefd, spec->upper, e);
}

bool links_settle(const SandboxSpec *spec, Err *e)
{
    scoped(arena) Arena a = {0};
    if (!owners_remembered())
        return true;
    const char *made = arena_printf(&a, "%s/" OWNER_LINKS, spec->scratch),
               *place = arena_printf(&a, "%s/" OWNER_LINKS, spec->upper);
    struct stat top;
    if (fstatat(spec->storefd, spec->upper, &top, 0) < 0)
        return err_errno(e, ERR_STORE, "stat '%s'", spec->upper);
    Err ignored = ERR_INIT;
    (void)fs_remove_tree(spec->storefd, place, &ignored);
    if (renameat(spec->storefd, made, spec->storefd, place) < 0 && errno != ENOENT)
        return err_errno(e, ERR_STORE, "create '%s'", place);
    struct timespec ts[2] = {top.st_atim, top.st_mtim};
    (void)utimensat(spec->storefd, spec->upper, ts, 0);
    return true;
}
