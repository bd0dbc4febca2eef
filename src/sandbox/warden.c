/*
 * sandbox/warden.c - the keeper of a step in mode `single`: take a call, answer it.
 */
#include "sandbox/warden.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fs.h"

enum { MAX_NR = 1024 };

/* ---- setting up ---- */

static bool lower_links;

bool below_has_links(void)
{
    return lower_links;
}

/* Open a directory above the fixed numbers; names are relative to the store, where we are. */
static int open_high(const char *path)
{
    scoped(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FD_NFIXED);
}

bool warden_new(Arena *a, const SandboxSpec *spec, Warden **ret, Err *e)
{
    Warden *w = NEW(a, Warden);
    int pair[2];
    *w = (Warden){.arena = a, .spec = spec, .listener = -1, .root = -1};
    w->proc = open_high("/proc");
    w->store = open_high(".");
    w->upper = open_high(spec->upper);
    w->scratch = open_high(spec->scratch);
    w->lower_links = lower_links = links_any(FD_STORE, &spec->lowers);
    if (w->proc < 0 || w->store < 0 || w->upper < 0 || w->scratch < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, ERR_ENV, "set up mode single");
    w->sock = fcntl(pair[0], F_DUPFD_CLOEXEC, FD_NFIXED);
    close(pair[0]);
    if (w->sock < 0 ||
        (pair[1] != FD_WARDEN && (dup2(pair[1], FD_WARDEN) < 0 || close(pair[1]) < 0)))
        return err_errno(e, ERR_ENV, "set up mode single");
    *ret = w;
    return true;
}

static bool take_fds(struct msghdr *m, int fds[static 2])
{
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len != CMSG_LEN(2 * sizeof(int)))
        return false;
    memcpy(fds, CMSG_DATA(c), 2 * sizeof(int));
    return true;
}

/* The command has enlisted: from here on the step's root is ours, and nothing outside is. */
static bool welcome(Warden *w, Err *e)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    Enlist hello;
    struct iovec io = {&hello, sizeof hello};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    int fds[2];
    struct statx x;
    ssize_t n = recvmsg(w->sock, &m, MSG_CMSG_CLOEXEC);
    close(w->sock);
    w->sock = -1;
    if (n == 0) /* it failed before, and says so itself */
        return true;
    if (n != (ssize_t)sizeof hello || !take_fds(&m, fds))
        return err_set(e, ERR_ENV, "mode single: the command did not enlist");
    w->listener = fds[0];
    w->root = fds[1];
    *ARENA_PUSH(w->arena, w->creds, w->ncred, w->cred_cap) = hello.cred;
    char self[32];
    (void)snprintf(self, sizeof self, "%d/fd", (int)getpid());
    scoped(fd) int own = openat(w->proc, self, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fchdir(w->root) < 0 || chroot(".") < 0 || own < 0 || fchdir(own) < 0 ||
        statx(w->root, "", AT_EMPTY_PATH, STATX_MNT_ID, &x) < 0)
        return err_errno(e, ERR_ENV, "mode single: enter the step's root");
    w->root_mount = x.stx_mnt_id;
    (void)umask(0);
    return true;
}

/* ---- serving ---- */

static Handler handler_of(int nr)
{
    static Handler table[MAX_NR];
    static bool filled;
    if (!filled) {
        for (size_t i = 0; i < NWATCHED; i++)
            if (WATCHED[i].nr < MAX_NR)
                table[WATCHED[i].nr] = WATCHED[i].handler;
        filled = true;
    }
    return nr >= 0 && nr < MAX_NR ? table[nr] : NULL;
}

static void answer_one(Warden *w, struct seccomp_notif *req)
{
    Call c = {.w = w, .req = req, .arg = (const uint64_t *)req->data.args};
    Handler h = handler_of(req->data.nr);
    int64_t got = h ? h(&c) : PASS;
    struct seccomp_notif_resp resp = {.id = req->id};
    if (got == ANSWERED)
        return;
    if (got == PASS)
        resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else if (got < 0)
        resp.error = (int32_t)got;
    else
        resp.val = got;
    /* A caller that was killed meanwhile needs no answer. */
    (void)ioctl(w->listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

static bool take_one(Warden *w, Err *e)
{
    struct {
        struct seccomp_notif n;
        char more[256]; /* of a newer kernel's */
    } room = {{0}};
    if (ioctl(w->listener, SECCOMP_IOCTL_NOTIF_RECV, &room.n) < 0)
        return errno == EINTR || errno == ENOENT ||
               err_errno(e, ERR_ENV, "mode single: take a system call");
    answer_one(w, &room.n);
    return true;
}

bool warden_serve(Warden *w, pid_t init, int *ret_status, Err *e)
{
    close(FD_WARDEN);
    scoped(fd) int pidfd = (int)syscall(SYS_pidfd_open, init, 0);
    if (pidfd < 0)
        return err_errno(e, ERR_ENV, "mode single: watch the step");
    for (;;) {
        struct pollfd p[2] = {{pidfd, POLLIN, 0},
                              {w->listener >= 0 ? w->listener : w->sock, POLLIN, 0}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return err_errno(e, ERR_ENV, "mode single: poll");
        if (p[1].revents & POLLIN) {
            if (w->listener >= 0 ? !take_one(w, e) : !welcome(w, e))
                return false;
        } else if (p[1].revents) { /* no process is left that could call */
            if (w->listener >= 0)
                close(w->listener);
            else
                close(w->sock);
            w->listener = w->sock = -1;
        }
        if (p[0].revents)
            break;
    }
    while (waitpid(init, ret_status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, ERR_ENV, "mode single: wait for the step");
    return notes_write(w, e);
}
