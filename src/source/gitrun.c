/*
 * source/gitrun.c - one run of the program git, with nothing of the user's settings.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "source/git.h"

enum {
    OUT_MAX = 8 << 20, /* more is no answer to anything we ask */
    ERR_KEEP = 4096,   /* the end of what git complained about */
    MESSAGE_LINES = 4, /* of it, in our message */
    GRACE_MS = 3000,   /* between SIGTERM and SIGKILL */
    FD_LOCK = 3,       /* in the child */
};

/*
 * Settings that hold in every run. Hooks and monitors are programs, attributes and excludes change
 * what is written, and a collection in the background would outlive the lock.
 */
static const char *const CONFIG[] = {
    "core.hooksPath=/dev/null",    "core.fsmonitor=false",         "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null", "core.logAllRefUpdates=false",  "core.symlinks=true",
    "core.autocrlf=false",         "advice.detachedHead=false",    "init.defaultBranch=master",
    "gc.autoDetach=false",         "maintenance.autoDetach=false", "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
};

/* What of the caller's environment git and ssh may see when they go to the network. */
static const char *const PASSED[] = {
    "SSH_AUTH_SOCK", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY",      "ALL_PROXY",      "http_proxy",    "https_proxy",  "no_proxy",   "all_proxy",
};

static const char *const PROTOCOLS[] = {
    [GIT_LOCAL] = "GIT_ALLOW_PROTOCOL=none",
    [GIT_REMOTE] = "GIT_ALLOW_PROTOCOL=git:http:https:ssh",
    [GIT_FILES] = "GIT_ALLOW_PROTOCOL=file",
};

/* Everything the child needs, made before fork(2): after it only async-signal-safe calls go. */
typedef struct Plan {
    char *program;
    char **argv, **envp;
    int out, err; /* write ends */
    int lock;
} Plan;

static char *find_git(Arena *a)
{
    const char *path = getenv("PATH");
    char *rest = arena_strdup(a, path ? path : "/usr/local/bin:/usr/bin:/bin"), *dir;
    while ((dir = strsep(&rest, ":"))) {
        char *p = arena_printf(a, "%s/git", *dir ? dir : ".");
        struct stat st;
        if (stat(p, &st) == 0 && S_ISREG(st.st_mode) && access(p, X_OK) == 0)
            return p;
    }
    return NULL;
}

static void add_env(Arena *a, StrList *l, const char *name, const char *value)
{
    strlist_add(a, l, arena_printf(a, "%s=%s", name, value));
}

static char **environment(Arena *a, const GitRun *r)
{
    /* LC_ALL: what git says is compared with known words. */
    static const char *const FIXED[] = {
        "LC_ALL=C",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_ATTR_NOSYSTEM=1",
        "GIT_CONFIG_GLOBAL=/dev/null",
        "XDG_CONFIG_HOME=/dev/null",
    };
    StrList l = {0};
    const char *path = getenv("PATH"), *home = getenv("HOME"), *ssh = getenv("GIT_SSH_COMMAND");
    for (size_t i = 0; i < NELEM(FIXED); i++)
        strlist_add(a, &l, FIXED[i]);
    strlist_add(a, &l, PROTOCOLS[r->reach]);
    if (path)
        add_env(a, &l, "PATH", path);
    if (r->index)
        add_env(a, &l, "GIT_INDEX_FILE", r->index);
    /* A command for ssh may name files in the home directory; git itself finds no settings there.*/
    add_env(a, &l, "HOME", r->reach == GIT_REMOTE && home ? home : "/dev/null");
    if (r->reach != GIT_REMOTE)
        return strlist_argv(a, &l);
    add_env(a, &l, "GIT_SSH_COMMAND", ssh && *ssh ? ssh : "ssh -o BatchMode=yes");
    for (size_t i = 0; i < NELEM(PASSED); i++)
        if (getenv(PASSED[i]))
            add_env(a, &l, PASSED[i], getenv(PASSED[i]));
    return strlist_argv(a, &l);
}

static char **arguments(Arena *a, const GitRun *r, const char *const *args)
{
    StrList l = {0};
    strlist_add(a, &l, "git");
    for (size_t i = 0; i <= NELEM(CONFIG); i++) {
        const char *set = i < NELEM(CONFIG) ? CONFIG[i] : r->config;
        if (!set)
            break;
        strlist_add(a, &l, "-c");
        strlist_add(a, &l, set);
    }
    if (r->git_dir) {
        strlist_add(a, &l, arena_printf(a, "--git-dir=%s", r->git_dir));
        if (r->work_tree)
            strlist_add(a, &l, arena_printf(a, "--work-tree=%s", r->work_tree));
    }
    if (r->work_tree) {
        strlist_add(a, &l, "-C");
        strlist_add(a, &l, r->work_tree);
    }
    for (; *args; args++)
        strlist_add(a, &l, *args);
    return strlist_argv(a, &l);
}

static _Noreturn void child(const Plan *p)
{
    sigset_t none;
    int null = open("/dev/null", O_RDONLY);
    sigemptyset(&none);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    /* No terminal: nothing below may ask questions there. And one group to end them all. */
    (void)setsid();
    /* git ends its helpers on SIGTERM; what lives on a moment longer keeps the lock. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)umask(022);
    if (dup2(null, 0) >= 0 && dup2(p->out, 1) >= 0 && dup2(p->err, 2) >= 0 &&
        (p->lock < 0 || dup2(p->lock, FD_LOCK) >= 0))
        (void)execve(p->program, p->argv, p->envp);
    _exit(127);
}

/* A pipe whose ends lie above the child's fixed numbers, so that no dup2 there closes one. */
static bool pipe_pair(int *ret_read, int *ret_write, Err *e)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return err_errno(e, ERR_ENV, "pipe");
    *ret_read = p[0];
    *ret_write = fcntl(p[1], F_DUPFD_CLOEXEC, FD_LOCK + 1);
    close(p[1]);
    return *ret_write >= 0 || err_errno(e, ERR_ENV, "dup");
}

/* Take what is in the pipe. False at its end. */
static bool take(int fd, Buf *b)
{
    char *room = buf_reserve(b, 4096);
    ssize_t n = read(fd, room, 4096);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    b->len += (size_t)n;
    return n > 0;
}

static void keep_end(Buf *b)
{
    if (b->len <= (size_t)2 * ERR_KEEP)
        return;
    memmove(b->ptr, b->ptr + b->len - ERR_KEEP, ERR_KEEP);
    b->len = ERR_KEEP;
}

/* Wait for the child while reading from both pipes; ask it to stop when the build is cancelled. */
static void follow(GitRun *r, pid_t pid, int pidfd, int out, int err, bool *ret_stopped)
{
    uint64_t asked = 0;
    bool done = false;
    struct pollfd p[] = {{.fd = out, .events = POLLIN},
                         {.fd = err, .events = POLLIN},
                         {.fd = pidfd, .events = POLLIN},
                         {.fd = cancel_fd(), .events = POLLIN}};
    while (!done) {
        if (poll(p, NELEM(p), asked || cancel_fd() < 0 ? 100 : -1) < 0)
            continue;
        done = p[2].revents;
        /* A helper that stays behind may hold the pipes open: with git gone, their content counts.
         */
        if (p[0].revents && !take(out, &r->out))
            p[0].fd = -1;
        if (p[1].revents && !take(err, &r->err))
            p[1].fd = -1;
        done = done && !(p[0].revents & POLLIN) && !(p[1].revents & POLLIN);
        keep_end(&r->err);
        if (!asked && (cancel_wanted() || r->out.len > OUT_MAX)) {
            *ret_stopped = true;
            asked = clock_ns();
            p[3].fd = -1;
            (void)kill(-pid, SIGTERM);
        }
        if (asked && clock_ns() - asked > (uint64_t)GRACE_MS * 1000000)
            (void)kill(-pid, SIGKILL);
    }
}

static bool start(const Plan *p, pid_t *ret_pid, int *ret_pidfd, Err *e)
{
    pid_t pid = fork();
    if (pid == 0)
        child(p);
    if (pid < 0)
        return err_errno(e, ERR_ENV, "start git");
    *ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (*ret_pidfd < 0) {
        err_errno(e, ERR_ENV, "pidfd_open");
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return false;
    }
    *ret_pid = pid;
    return true;
}

static bool spawn_and_follow(GitRun *r, Plan *p, int *ret_status, bool *ret_stopped, Err *e)
{
    scoped(fd) int out = -1, err = -1, out_end = -1, err_end = -1, lock = -1, pidfd = -1;
    pid_t pid = 0;
    if (!pipe_pair(&out, &out_end, e) || !pipe_pair(&err, &err_end, e))
        return false;
    if (r->lock >= 0 && (lock = fcntl(r->lock, F_DUPFD_CLOEXEC, FD_LOCK + 1)) < 0)
        return err_errno(e, ERR_ENV, "dup");
    p->out = out_end;
    p->err = err_end;
    p->lock = lock;
    if (!start(p, &pid, &pidfd, e))
        return false;
    close(fd_take(&out_end));
    close(fd_take(&err_end));
    follow(r, pid, pidfd, out, err, ret_stopped);
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        ;
    return true;
}

/* ---- messages ---- */

/* Servers speak through git's standard error: nothing of it may steer a terminal, and passwords
 * are not shown. */
static void clean_errors(Arena *a, GitRun *r)
{
    const char *from = strstr(r->remote, "://"), *at = from ? strpbrk(from + 3, "@/") : NULL;
    scoped(buf) Buf out = BUF_INIT;
    const char *secret = "";
    if (at && *at == '@' && strcmp(git_masked(a, r->remote), r->remote) != 0)
        secret = arena_strndup(a, from + 3, (size_t)(at - from - 3));
    size_t n = strlen(secret);
    for (size_t i = 0; i < r->err.len; i++) {
        unsigned char c = (unsigned char)r->err.ptr[i];
        if (n && r->err.len - i >= n && !memcmp(r->err.ptr + i, secret, n)) {
            buf_puts(&out, "xxxxx");
            i += n - 1;
        } else {
            buf_putc(&out, c == '\n' || (c >= ' ' && c != 0x7f) ? (char)c : '?');
        }
    }
    r->err.len = 0;
    buf_puts(&r->err, buf_str(&out));
}

/* The last lines, with '; ' between them. */
static const char *last_lines(Arena *a, const Buf *err)
{
    char *text = arena_strndup(a, buf_str(err), err->len), *line, *rest = text;
    const char *lines[MESSAGE_LINES] = {0};
    size_t n = 0;
    while ((line = strsep(&rest, "\n")))
        if (*line && !str_starts(line, "hint:"))
            lines[n++ % MESSAGE_LINES] = line;
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = n > MESSAGE_LINES ? n - MESSAGE_LINES : 0; i < n; i++)
        buf_printf(&b, "%s%s", b.len ? "; " : "", lines[i % MESSAGE_LINES]);
    return arena_strdup(a, buf_str(&b));
}

static bool no_git(Arena *a, const GitRun *r, Err *e)
{
    return err_set(e, ERR_ENV,
                   "'%s' needs the program git, which is not on PATH: install the package 'git'",
                   git_masked(a, r->remote));
}

static bool bad_end(Arena *a, GitRun *r, const char *verb, int status, Err *e)
{
    ErrKind kind = r->reach == GIT_REMOTE ? ERR_NETWORK : ERR_STORE;
    const char *said = last_lines(a, &r->err), *remote = git_masked(a, r->remote);
    if (WIFSIGNALED(status))
        return err_set(e, kind, "git %s for '%s' was ended by signal %d", verb, remote,
                       WTERMSIG(status));
    if (WEXITSTATUS(status) == 127 && !*said)
        return no_git(a, r, e);
    return err_set(e, kind, "git %s for '%s': %s", verb, remote,
                   *said ? said : "it failed and did not say why");
}

bool git_run(GitRun *r, const char *const *args, Err *e)
{
    scoped(arena) Arena a = {0};
    Plan p = {.program = find_git(&a)};
    int status = 0;
    bool stopped = false;
    r->out.len = r->err.len = 0;
    r->exited_badly = false;
    if (!p.program)
        return no_git(&a, r, e);
    p.argv = arguments(&a, r, args);
    p.envp = environment(&a, r);
    if (!spawn_and_follow(r, &p, &status, &stopped, e))
        return false;
    clean_errors(&a, r);
    buf_putc(&r->out, 0);
    r->out.len--;
    if (cancel_wanted())
        return err_set(e, ERR_STEP, "git %s for '%s': cancelled", args[0],
                       git_masked(&a, r->remote));
    if (stopped)
        return err_set(e, ERR_NETWORK, "git %s for '%s': the answer is longer than %d MiB", args[0],
                       git_masked(&a, r->remote), OUT_MAX >> 20);
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return true;
    r->exited_badly = true;
    return bad_end(&a, r, args[0], status, e);
}

void git_run_done(GitRun *r)
{
    buf_done(&r->out);
    buf_done(&r->err);
}
