/*
 * sandbox/launch.c - the builder's side of the launcher.
 */
#include "sandbox/launch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "sandbox/sandbox.h"

extern char **environ;

/* The launcher of this process; a process that was forked from it has to start its own. */
static struct {
    pthread_mutex_t lock; /* one order at a time */
    pid_t owner, pid;
    int orders;
} launcher = {.lock = PTHREAD_MUTEX_INITIALIZER, .orders = -1};

/* ---- messages with descriptors ---- */

enum { MAX_FDS = 8 };

typedef union Control {
    char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
    struct cmsghdr align;
} Control;

int fds_send(int sock, const void *bytes, size_t n, const int *fds, size_t nfd)
{
    Control control = {{0}};
    struct iovec io = {(void *)bytes, n};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    if (nfd) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(nfd * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfd * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfd * sizeof(int));
    }
    ssize_t sent;
    while ((sent = sendmsg(sock, &m, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
    }
    return sent == (ssize_t)n ? 1 : -1;
}

static size_t take_fds(struct msghdr *m, int *fds, size_t cap)
{
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t have = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < have; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (n < cap)
                fds[n++] = fd;
            else
                close(fd);
        }
    }
    return n;
}

int fds_receive(int sock, void *bytes, size_t n, int *fds, size_t cap, size_t *ret_nfd)
{
    Control control;
    struct iovec io = {bytes, n};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t got;
    while ((got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
    }
    if (got <= 0)
        return (int)got;
    *ret_nfd = take_fds(&m, fds, cap);
    if (got == (ssize_t)n && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return 1;
    for (size_t i = 0; i < *ret_nfd; i++)
        close(fds[i]);
    errno = EPROTO;
    return -1;
}

/* ---- the launcher's start ---- */

static bool spawn(int orders, Err *e)
{
    char *const argv[] = {"lighter", SANDBOX_CHILD_WORD, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none;
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&at);
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&at, &none);
    /*
     * A session of its own: no terminal to control, so that a program of the image cannot type into
     * the caller's shell (TIOCSTI).
     */
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_adddup2(&fa, orders, FD_ORDERS);
    int rc = posix_spawn(&launcher.pid, "/proc/self/exe", &fa, &at, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&at);
    errno = rc;
    return rc == 0 || err_errno(e, ERR_ENV, "start the sandbox");
}

static bool start(Err *e)
{
    int pair[2];
    if (launcher.orders >= 0 && launcher.owner == getpid())
        return true;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, ERR_ENV, "socketpair");
    scoped(fd) int ours = pair[0], theirs = pair[1];
    /* Not the number it becomes: dup2() onto itself would leave it to be closed. */
    scoped(fd) int high = fcntl(theirs, F_DUPFD_CLOEXEC, FD_ORDERS + 1);
    if (high < 0)
        return err_errno(e, ERR_ENV, "dup");
    if (!spawn(high, e))
        return false;
    if (launcher.orders >= 0)
        close(launcher.orders);
    launcher.owner = getpid();
    launcher.orders = fd_take(&ours);
    return true;
}

bool sandbox_start(Err *e)
{
    pthread_mutex_lock(&launcher.lock);
    bool ok = start(e);
    pthread_mutex_unlock(&launcher.lock);
    return ok;
}

void sandbox_stop(void)
{
    int status;
    if (launcher.orders < 0 || launcher.owner != getpid())
        return;
    close(launcher.orders);
    launcher.orders = -1;
    while (waitpid(launcher.pid, &status, 0) < 0 && errno == EINTR) {
    }
}

/* ---- orders ---- */

static bool order(const LaunchOrder *o, const int *fds, size_t nfd, pid_t *ret, Err *e)
{
    LaunchAnswer answer;
    size_t none;
    int got = fds_send(launcher.orders, o, sizeof *o, fds, nfd);
    if (got > 0)
        got = fds_receive(launcher.orders, &answer, sizeof answer, NULL, 0, &none);
    if (got < 0)
        return err_errno(e, ERR_ENV, "start the step's first process");
    if (got == 0)
        return err_set(e, ERR_ENV, "start the step's first process: the launcher is gone");
    if (answer.pid < 0) {
        errno = -answer.pid;
        return err_errno(e, ERR_ENV, "make namespaces for the step");
    }
    *ret = answer.pid;
    return true;
}

bool launch(const LaunchOrder *o, const int fds[static NLAUNCH_FD], pid_t *ret, Err *e)
{
    LaunchOrder with = *o;
    int sent[NLAUNCH_FD];
    size_t n = 0;
    for (size_t i = 0; i < NLAUNCH_FD; i++) {
        with.has[i] = fds[i] >= 0;
        if (with.has[i])
            sent[n++] = fds[i];
    }
    pthread_mutex_lock(&launcher.lock);
    bool ok = start(e) && order(&with, sent, n, ret, e);
    pthread_mutex_unlock(&launcher.lock);
    return ok;
}
