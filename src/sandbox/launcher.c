/*
 * sandbox/launcher.c - the launcher: takes orders and forks, until the builder is gone.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "sandbox/launch.h"

/*
 * Give the descriptors their numbers. All are above them to begin with, so that none is overwritten
 * before it is moved.
 */
static bool arrange(const LaunchOrder *o, int empty, const int *fds)
{
    if (!(o->flags & LAUNCH_STDIN) && dup2(empty, STDIN_FILENO) < 0)
        return false;
    if (!(o->flags & LAUNCH_CALLERS) && (dup2(fds[LAUNCH_OUTPUT], STDOUT_FILENO) < 0 ||
                                         dup2(fds[LAUNCH_OUTPUT], STDERR_FILENO) < 0))
        return false;
    return dup2(fds[LAUNCH_SPEC], FD_SPEC) >= 0 && dup2(fds[LAUNCH_STATUS], FD_STATUS) >= 0 &&
           dup2(fds[LAUNCH_STORE], FD_STORE) >= 0 &&
           syscall(SYS_close_range, FD_WARDEN, ~0U, 0) == 0;
}

/*
 * A child of our parent, so that the builder can wait for it and it dies with the builder. The
 * system call itself: fork(3) takes no flags, and with one thread has nothing else to do for us.
 */
static pid_t clone_for(const LaunchOrder *o)
{
    return (pid_t)syscall(SYS_clone, (unsigned long)o->namespaces | CLONE_PARENT | SIGCHLD, NULL,
                          NULL, NULL, NULL);
}

static int32_t carry_out(const LaunchOrder *o, int empty, const int *fds)
{
    /* A new mount namespace takes the working directory along; overlayfs would not take a
     * descriptor of the old one. */
    if (fchdir(fds[LAUNCH_STORE]) < 0)
        return -errno;
    pid_t pid = clone_for(o);
    if (pid == 0) {
        if (!arrange(o, empty, fds))
            _exit(1);
        child_main(o->namespaces);
    }
    return pid < 0 ? -errno : pid;
}

/* Move what came to numbers above the fixed ones. */
static bool lift(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = fds[i] < FD_NFIXED ? fcntl(fds[i], F_DUPFD_CLOEXEC, FD_NFIXED) : fds[i];
        if (high < 0)
            return false;
        if (high != fds[i])
            close(fds[i]);
        fds[i] = high;
    }
    return true;
}

_Noreturn void launcher_main(void)
{
    int empty = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (empty < 0 || !lift(&empty, 1))
        _exit(1);
    for (;;) {
        LaunchOrder o;
        int fds[NLAUNCH_FD];
        size_t n = 0;
        int got = fds_receive(FD_ORDERS, &o, sizeof o, fds, NLAUNCH_FD, &n);
        if (got <= 0)
            _exit(got < 0);
        bool whole = n == (size_t)(o.flags & LAUNCH_CALLERS ? LAUNCH_OUTPUT : NLAUNCH_FD);
        LaunchAnswer answer = {whole && lift(fds, n) ? carry_out(&o, empty, fds) : -EPROTO};
        for (size_t i = 0; i < n; i++)
            close(fds[i]);
        if (fds_send(FD_ORDERS, &answer, sizeof answer, NULL, 0) < 0)
            _exit(1);
    }
}
