/*
 * sandbox/launch.c - the builder's side of the launcher.
 */
#include "sandbox/launch.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "sandbox/mount.h"

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

/* ---- our own program, read-only ----
 *
 * The command's process is lighter until it executes the command, so `RUN ["/proc/self/exe"]` gives
 * a step a descriptor of lighter's own file, and once no lighter runs any more (after a SIGKILL, as
 * the last process of the step) it could be opened for writing by that: CVE-2019-5736. So the
 * launcher is executed from a mount of the file that cannot be written to, which is attached
 * nowhere.
 */

typedef struct OwnFile {
    const char *path;
    int tree; /* -1: it could not be had */
} OwnFile;

static int clone_readonly(void *arg)
{
    OwnFile *f = arg;
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    int fd = sys_open_tree(AT_FDCWD, f->path, OPEN_TREE_CLONE);
    if (fd >= 0 && sys_mount_setattr(fd, 0, &attr) < 0) {
        close(fd);
        fd = -1;
    }
    f->tree = fd;
    return 0;
}

/* In a user namespace this takes a mount namespace of its own, which a child makes for itself; the
 * table of descriptors is ours. */
static void clone_readonly_in_child(OwnFile *f)
{
    char stack[16 << 10] __attribute__((aligned(16)));
    pid_t pid = clone(clone_readonly, stack + sizeof stack,
                      CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNS | SIGCHLD, f);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/*
 * -1 where it cannot be had: in mode chroot, whose steps have no /proc, and where the file was
 * replaced while we run, so that nobody will execute ours again.
 */
static int own_file(void)
{
    char path[PATH_MAX];
    OwnFile f = {path, -1};
    struct stat ours, found;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || stat("/proc/self/exe", &ours) < 0)
        return -1;
    path[n] = 0;
    (void)clone_readonly(&f);
    if (f.tree < 0)
        clone_readonly_in_child(&f);
    if (f.tree >= 0 && fstat(f.tree, &found) == 0 && found.st_dev == ours.st_dev &&
        found.st_ino == ours.st_ino)
        return f.tree;
    if (f.tree >= 0)
        close(f.tree);
    return -1;
}

/* ---- the launcher's start ---- */

/*
 * What the launcher sees of the caller's environment. Each step's init is a fork of it, whose
 * memory an insecure step may read, and the caller's variables hold other steps' secrets.
 */
static const char *const PASSED[] = {
    "PATH",         "LD_LIBRARY_PATH", "LIGHTER_TEST_CLASSIC_MOUNT",
    "ASAN_OPTIONS", "UBSAN_OPTIONS",   "LSAN_OPTIONS"};

static void pass_environment(char *ret[static NELEM(PASSED) + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < NELEM(PASSED); i++) {
        size_t len = strlen(PASSED[i]);
        for (char **e = environ; *e; e++)
            if (!strncmp(*e, PASSED[i], len) && (*e)[len] == '=') {
                ret[n++] = *e;
                break;
            }
    }
    ret[n] = NULL;
}

static bool spawn(int orders, Err *e)
{
    char *const argv[] = {"lighter", SANDBOX_CHILD_WORD, NULL};
    char program[40] = "/proc/self/exe", *env[NELEM(PASSED) + 1];
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none;
    scoped(fd) int own = own_file();
    if (own >= 0)
        (void)snprintf(program, sizeof program, "/proc/self/fd/%d", own);
    pass_environment(env);
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
    int rc = posix_spawn(&launcher.pid, program, &fa, &at, argv, env);
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
