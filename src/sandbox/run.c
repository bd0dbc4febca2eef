/*
 * sandbox/run.c - the builder's side: start a sandbox, take its output, learn how it ended.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "sandbox/chroot.h"
#include "sandbox/single.h"
#include "sandbox/spec.h"

/* The parent's ends of one running sandbox. */
typedef struct Running {
    pid_t pid;
    int output, status; /* output is -1 when the caller's own stdout is used */
    bool got_exit, got_error;
    int wait_status;
    bool cancelled;
    const SandboxSpec *spec;
    const SandboxOutput *out;
    Err *e;
} Running;

/* The status socket carries whole records. */
static bool status_pair(int *ret_ours, int *ret_theirs, Err *e)
{
    int p[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) < 0)
        return err_errno(e, ERR_ENV, "socketpair");
    *ret_ours = p[0];
    *ret_theirs = p[1];
    return true;
}

static bool pipe_pair(int *ret_read, int *ret_write, Err *e)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return err_errno(e, ERR_ENV, "pipe");
    *ret_read = p[0];
    *ret_write = p[1];
    return true;
}

static bool start(Running *r, int specfd, int status, int output)
{
    const int fds[NLAUNCH_FD] = {[LAUNCH_SPEC] = specfd,
                                 [LAUNCH_STATUS] = status,
                                 [LAUNCH_STORE] = r->spec->storefd,
                                 [LAUNCH_OUTPUT] = output};
    LaunchOrder o = {.flags = (output < 0 ? LAUNCH_CALLERS : 0u) |
                              (r->spec->interactive ? LAUNCH_STDIN : 0u),
                     .namespaces = launch_namespaces(r->spec)};
    return launch(&o, fds, &r->pid, r->e);
}

typedef struct Stub {
    const char *name;
    bool dir;
} Stub;

/* Mount points that were made, in that order. */
typedef struct Stubs {
    Arena arena;
    Stub *v;
    size_t n, cap;
} Stubs;

static void take_report(Running *r, Stubs *stubs, const Report *rep)
{
    switch (rep->kind) {
    case REPORT_ERROR:
        r->got_error = true;
        err_set(r->e, (ErrKind)rep->number, "%s", rep->text);
        break;
    case REPORT_STUB:
        *ARENA_PUSH(&stubs->arena, stubs->v, stubs->n, stubs->cap) =
            (Stub){arena_strdup(&stubs->arena, rep->text), rep->number};
        break;
    case REPORT_OWN:
        if (r->spec->own)
            strlist_add(r->spec->own_arena, r->spec->own, rep->text);
        break;
    case REPORT_EXIT:
        r->got_exit = true;
        r->wait_status = rep->number;
        break;
    }
}

/* Read until both are closed, which is when the last process of the step is gone. */
static void pump(Running *r, Stubs *stubs)
{
    char block[32 << 10];
    struct pollfd p[3] = {{r->output, POLLIN, 0}, {r->status, POLLIN, 0}, {cancel_fd(), POLLIN, 0}};
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        if (poll(p, 3, -1) < 0 && errno != EINTR)
            break;
        if (p[2].fd >= 0 && p[2].revents && r->spec->interactive) {
            uint64_t count;
            (void)!read(p[2].fd, &count, sizeof count);
            kill(r->pid, cancel_signal());
        } else if (p[2].fd >= 0 && p[2].revents) {
            kill(r->pid, r->spec->copied ? CHROOT_END : SIGKILL);
            r->cancelled = true;
            p[2].fd = -1;
        }
        if (p[0].fd >= 0 && p[0].revents) {
            ssize_t n = read(p[0].fd, block, sizeof block);
            if (n > 0)
                r->out->take(r->out->arg, block, (size_t)n);
            else if (n == 0 || errno != EINTR)
                p[0].fd = -1;
        }
        if (p[1].fd >= 0 && p[1].revents) {
            Report rep;
            ssize_t n = read(p[1].fd, &rep, sizeof rep);
            if (n == (ssize_t)sizeof rep)
                take_report(r, stubs, &rep);
            else if (n >= 0 || errno != EINTR)
                p[1].fd = -1;
        }
    }
}

bool sandbox_run(const SandboxSpec *spec, const SandboxOutput *out, SandboxEnd *ret, Err *e)
{
    Running r = {.output = -1, .status = -1, .spec = spec, .out = out, .e = e};
    Stubs stubs = {0};
    int raw;
    if (!links_prepare(spec, e) || !spec_write(spec, &raw, e))
        return false;
    scoped(fd) int specfd = raw;
    scoped(fd) int status_r = -1, status_w = -1, out_r = -1, out_w = -1;
    if (!status_pair(&status_r, &status_w, e) ||
        (out && out->take && !pipe_pair(&out_r, &out_w, e)))
        return false;
    if (!start(&r, specfd, status_w, out_w))
        return false;
    close(fd_take(&status_w));
    if (out_w >= 0)
        close(fd_take(&out_w));
    r.output = out_r;
    r.status = status_r;
    pump(&r, &stubs);

    int status;
    while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR) {
    }
    for (size_t i = stubs.n; i-- > 0;)
        stub_remove(spec, stubs.v[i].name, stubs.v[i].dir);
    arena_done(&stubs.arena);
    if (r.got_error || !links_settle(spec, e))
        return false;
    SandboxEnd end = {.cancelled = r.cancelled};
    if (r.got_exit && WIFEXITED(r.wait_status)) {
        end.code = WEXITSTATUS(r.wait_status);
    } else {
        end.signal = r.got_exit ? WTERMSIG(r.wait_status) : SIGKILL;
        end.code = 128 + end.signal;
    }
    *ret = end;
    return true;
}
