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
#include "base/late.h"
#include "sandbox/cgroup.h"
#include "sandbox/chroot.h"
#include "sandbox/relay.h"
#include "sandbox/single.h"
#include "sandbox/spec.h"
#include "sandbox/terminal.h"
#include "sandbox/usernet.h"

/* The parent's ends of one running sandbox. */
typedef struct Running {
    pid_t pid;
    int output, status; /* output is -1 when the caller's own stdout is used */
    bool got_exit, got_error;
    int wait_status;
    bool cancelled;
    const SandboxSpec *spec;
    const SandboxOutput *out;
    Relay *relay;
    Cgroup cgroup;
    Terminal terminal;
    int root;    /* its root, which nobody waits for to be unmounted; -1: there is none */
    int network; /* what passt says; -1: there is none */
    pid_t network_pid;
    Buf said;
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
    const int fds[NLAUNCH_FD] = {[LAUNCH_OUTPUT] = output,
                                 [LAUNCH_SPEC] = specfd,
                                 [LAUNCH_STATUS] = status,
                                 [LAUNCH_STORE] = r->spec->storefd,
                                 [LAUNCH_CGROUP] = r->cgroup.fd};
    LaunchOrder o = {.callers_stdin = r->spec->interactive && !r->spec->no_input && !r->spec->tty,
                     .namespaces = launch_namespaces(r->spec)};
    return launch(&o, fds, &r->pid, r->e);
}

/* ---- the step's network ---- */

/* The first process has its network namespace from birth; what it is connected by comes after. */
static bool start_network(Running *r)
{
    int raw = -1, theirs = -1;
    if (r->spec->net != SANDBOX_NET_USER)
        return true;
    if (!pipe_pair(&raw, &theirs, r->e))
        return false;
    r->network = raw;
    const int fds[NLAUNCH_FD] = {
        [LAUNCH_OUTPUT] = theirs, [LAUNCH_SPEC] = -1,   [LAUNCH_STATUS] = -1,
        [LAUNCH_STORE] = -1,      [LAUNCH_CGROUP] = -1,
    };
    LaunchOrder o = {.network_of = r->pid};
    bool ok = launch(&o, fds, &r->network_pid, r->e);
    close(theirs);
    return ok;
}

/* What passt says is said only if it ends before the step does. */
static void take_network(Running *r, struct pollfd *p)
{
    char block[1024];
    ssize_t n = read(p->fd, block, sizeof block);
    if (n > 0 && r->said.len < ERR_MSG_MAX)
        buf_add(&r->said, block, (size_t)n);
    if (n > 0 || (n < 0 && errno == EINTR))
        return;
    p->fd = -1;
    if (!r->got_exit && !r->got_error && !r->cancelled)
        r->got_error = !usernet_fail(buf_str(&r->said), r->e);
    kill(r->pid, SIGKILL);
}

static void end_network(Running *r)
{
    int status;
    if (r->network >= 0)
        close(r->network);
    if (r->network_pid > 0) {
        kill(r->network_pid, SIGTERM);
        while (waitpid(r->network_pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    buf_done(&r->said);
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
    case REPORT_TTY: /* their descriptors are what counts */
    case REPORT_LISTEN:
    case REPORT_WATCH:
    case REPORT_ROOT:
        break;
    case REPORT_EXIT:
        r->got_exit = true;
        r->wait_status = rep->number;
        break;
    }
}

static void take_cancel(Running *r, struct pollfd *p)
{
    if (r->spec->interactive) {
        uint64_t count;
        (void)!read(p->fd, &count, sizeof count);
        kill(r->pid, cancel_signal());
        return;
    }
    kill(r->pid, r->spec->copied ? CHROOT_END : SIGKILL);
    r->cancelled = true;
    p->fd = -1;
}

static void take_output(Running *r, struct pollfd *p)
{
    char block[32 << 10];
    ssize_t n = read(p->fd, block, sizeof block);
    if (n > 0)
        r->out->take(r->out->arg, block, (size_t)n);
    else if (n == 0 || errno != EINTR)
        p->fd = -1;
}

static void take_status(Running *r, Stubs *stubs, struct pollfd *p)
{
    Report rep;
    int fd = -1;
    size_t nfd = 0;
    int got = fds_receive(p->fd, &rep, sizeof rep, &fd, 1, &nfd);
    if (got <= 0)
        p->fd = -1;
    else if (rep.kind == REPORT_TTY && nfd)
        terminal_begin(&r->terminal, fd, !r->spec->no_input);
    else if (rep.kind == REPORT_LISTEN && nfd && r->spec->listening)
        r->spec->listening(r->spec->listening_arg, fd);
    else if (rep.kind == REPORT_WATCH && nfd && r->spec->watching)
        r->spec->watching(r->spec->watching_arg, fd);
    else if (rep.kind == REPORT_ROOT && nfd)
        r->root = fd;
    else
        take_report(r, stubs, &rep);
}

/* Read until both are closed, which is when the last process of the step is gone. */
static void pump(Running *r, Stubs *stubs)
{
    enum { OUTPUT, STATUS, CANCEL, NETWORK, TERMINAL, RELAY = TERMINAL + TERMINAL_POLL };
    struct pollfd p[RELAY + RELAY_MAX_POLL] = {[OUTPUT] = {r->output, POLLIN, 0},
                                               [STATUS] = {r->status, POLLIN, 0},
                                               [CANCEL] = {cancel_fd(), POLLIN, 0},
                                               [NETWORK] = {r->network, POLLIN, 0}};
    while (p[OUTPUT].fd >= 0 || p[STATUS].fd >= 0) {
        size_t n = RELAY + relay_poll(r->relay, p + RELAY);
        terminal_poll(&r->terminal, p + TERMINAL);
        if (poll(p, n, -1) < 0) {
            if (errno != EINTR)
                break;
            for (size_t i = 0; i < n; i++) /* a signal may be a new size of the terminal */
                p[i].revents = 0;
        }
        if (p[CANCEL].fd >= 0 && p[CANCEL].revents)
            take_cancel(r, &p[CANCEL]);
        if (p[OUTPUT].fd >= 0 && p[OUTPUT].revents)
            take_output(r, &p[OUTPUT]);
        if (p[STATUS].fd >= 0 && p[STATUS].revents)
            take_status(r, stubs, &p[STATUS]);
        if (p[NETWORK].fd >= 0 && p[NETWORK].revents)
            take_network(r, &p[NETWORK]);
        terminal_step(&r->terminal, p + TERMINAL);
        relay_step(r->relay, p + RELAY);
    }
}

/* What a command wrote that failed is removed at once, and takes room as long as it is mounted. */
static void leave_root(const Running *r)
{
    bool failed = r->got_error || r->cancelled || !r->got_exit || r->wait_status;
    if (r->root >= 0 && failed)
        close(r->root);
    else if (r->root >= 0)
        late_close(r->root);
}

bool sandbox_run(const SandboxSpec *spec, const SandboxOutput *out, SandboxEnd *ret, Err *e)
{
    Running r = {.output = -1,
                 .status = -1,
                 .root = -1,
                 .network = -1,
                 .cgroup = CGROUP_NONE,
                 .terminal = TERMINAL_NONE,
                 .spec = spec,
                 .out = out,
                 .e = e};
    Stubs stubs = {0};
    scoped(arena) Arena arena = {0};
    scoped(relay) Relay *relay = NULL;
    scoped(cgroup) Cgroup cgroup = CGROUP_NONE;
    int raw;
    if (!links_prepare(spec, e) || !relay_new(&arena, spec, &relay, e) ||
        !cgroup_new(spec->limits, &cgroup, e) || !spec_write(spec, &raw, e))
        return false;
    late_close_now(); /* what lies under the new root must be nobody's upper any more */
    r.relay = relay;
    r.cgroup = cgroup;
    scoped(fd) int specfd = raw;
    scoped(fd) int status_r = -1, status_w = -1, out_r = -1, out_w = -1;
    if (!status_pair(&status_r, &status_w, e) ||
        (out && out->take && !pipe_pair(&out_r, &out_w, e)))
        return false;
    if (!start(&r, specfd, status_w, out_w))
        return false;
    if (!start_network(&r)) {
        r.got_error = true;
        kill(r.pid, SIGKILL);
    }
    close(fd_take(&status_w));
    if (out_w >= 0)
        close(fd_take(&out_w));
    r.output = out_r;
    r.status = status_r;
    pump(&r, &stubs);
    terminal_done(&r.terminal);

    int status;
    while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR) {
    }
    end_network(&r);
    leave_root(&r);
    for (size_t i = stubs.n; i-- > 0;)
        stub_remove(spec, stubs.v[i].name, stubs.v[i].dir);
    arena_done(&stubs.arena);
    if (r.got_error || !links_settle(spec, e))
        return false;
    SandboxEnd end = {.cancelled = r.cancelled, .oom = cgroup_oom(&cgroup)};
    if (r.got_exit && WIFEXITED(r.wait_status)) {
        end.code = WEXITSTATUS(r.wait_status);
    } else {
        end.signal = r.got_exit ? WTERMSIG(r.wait_status) : SIGKILL;
        end.code = 128 + end.signal;
    }
    *ret = end;
    return true;
}
