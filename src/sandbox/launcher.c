/*
 * sandbox/launcher.c - the launcher: takes orders and forks, until the builder is gone.
 */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "sandbox/launch.h"
#include "sandbox/usernet.h"

/*
 * Give the descriptors their numbers. All are above them to begin with, so that none is overwritten
 * before it is moved.
 */
static bool arrange(const LaunchOrder *o, int empty, const int fds[static NLAUNCH_FD])
{
    static const int NUMBERS[] = {[LAUNCH_OUTPUT] = STDOUT_FILENO,
                                  [LAUNCH_SPEC] = FD_SPEC,
                                  [LAUNCH_STATUS] = FD_STATUS,
                                  [LAUNCH_STORE] = FD_STORE};
    if (!o->callers_stdin && dup2(empty, STDIN_FILENO) < 0)
        return false;
    if (o->has[LAUNCH_OUTPUT] && dup2(fds[LAUNCH_OUTPUT], STDERR_FILENO) < 0)
        return false;
    for (size_t i = 0; i < NELEM(NUMBERS); i++) {
        if (o->has[i] && dup2(fds[i], NUMBERS[i]) < 0)
            return false;
        if (!o->has[i] && NUMBERS[i] > STDERR_FILENO)
            close(NUMBERS[i]);
    }
    return syscall(SYS_close_range, FD_WARDEN, ~0U, 0) == 0;
}

/*
 * A child of our parent, so that the builder can wait for it and it dies with the builder. The
 * system call itself: fork(3) takes no flags, and with one thread has nothing else to do for us.
 */
static pid_t clone_for(const LaunchOrder *o, int cgroup)
{
    if (cgroup >= 0) { /* which tells the parent by SIGCHLD, as the launcher would */
        struct clone_args args = {.flags =
                                      o->namespaces | (uint64_t)CLONE_PARENT | CLONE_INTO_CGROUP,
                                  .cgroup = (unsigned)cgroup};
        return (pid_t)syscall(SYS_clone3, &args, sizeof args);
    }
    return (pid_t)syscall(SYS_clone, o->namespaces | CLONE_PARENT | (unsigned long)SIGCHLD, NULL,
                          NULL, NULL, NULL);
}

static int32_t carry_out(const LaunchOrder *o, int empty, const int fds[static NLAUNCH_FD])
{
    /* A new mount namespace takes the working directory along; overlayfs would not take a
     * descriptor of the old one. */
    if (o->has[LAUNCH_STORE] && fchdir(fds[LAUNCH_STORE]) < 0)
        return -errno;
    pid_t pid = clone_for(o, fds[LAUNCH_CGROUP]);
    if (pid == 0) {
        if (!arrange(o, empty, fds))
            _exit(1);
        if (o->network_of)
            usernet_main(o->network_of);
        child_main();
    }
    return pid < 0 ? -errno : pid;
}

/* A copy above the fixed numbers. */
static int lift(int fd)
{
    int high = fd < FD_NFIXED ? fcntl(fd, F_DUPFD_CLOEXEC, FD_NFIXED) : fd;
    if (high != fd)
        close(fd);
    return high;
}

/* Which descriptor is which; -1 for those that did not come. */
static bool sort_out(const LaunchOrder *o, const int *came, size_t n, int ret[static NLAUNCH_FD])
{
    size_t next = 0;
    bool ok = true;
    for (size_t i = 0; i < NLAUNCH_FD; i++) {
        ret[i] = o->has[i] && next < n ? lift(came[next++]) : -1;
        ok = ok && (ret[i] >= 0) == o->has[i];
    }
    while (next < n) {
        close(came[next++]);
        ok = false;
    }
    return ok;
}

_Noreturn void launcher_main(void)
{
    int empty = lift(open("/dev/null", O_RDONLY | O_CLOEXEC));
    (void)prctl(PR_SET_NAME, "lighter"); /* it was executed by a number; see launch.c */
    if (empty < 0)
        _exit(1);
    for (;;) {
        LaunchOrder o;
        int came[NLAUNCH_FD], fds[NLAUNCH_FD];
        size_t n = 0;
        int got = fds_receive(FD_ORDERS, &o, sizeof o, came, NLAUNCH_FD, &n);
        if (got <= 0)
            _exit(got < 0);
        LaunchAnswer answer = {-EPROTO};
        if (sort_out(&o, came, n, fds))
            answer.pid = carry_out(&o, empty, fds);
        for (size_t i = 0; i < NLAUNCH_FD; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        if (fds_send(FD_ORDERS, &answer, sizeof answer, NULL, 0) < 0)
            _exit(1);
    }
}
