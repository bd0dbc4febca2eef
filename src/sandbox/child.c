/*
 * sandbox/child.c - the processes of a sandbox: init and the command, and in modes `single` and
 * `chroot` a keeper outside of them.
 *
 * init    pid 1 of the step: mounts, reaps, and takes every process of the step with it when it
 *         ends; it dies with the builder
 * keeper  makes the namespaces and answers for the step; it dies with the builder, and init with it
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/dump.h"
#include "base/fs.h"
#include "base/owner.h"
#include "base/rune.h"
#include "sandbox/chroot.h"
#include "sandbox/single.h"
#include "sandbox/spec.h"
#include "sandbox/terminal.h"
#include "sandbox/usernet.h"
#include "seccomp_program.h"

void report(ReportKind kind, int number, const char *text)
{
    Report r = {.kind = (char)kind, .number = number};
    (void)snprintf(r.text, sizeof r.text, "%s", text);
    (void)!write(FD_STATUS, &r, sizeof r);
}

void report_fd(ReportKind kind, int fd)
{
    Report r = {.kind = (char)kind};
    (void)fds_send(FD_STATUS, &r, sizeof r, &fd, 1);
}

static _Noreturn void fail(const Err *e)
{
    report(REPORT_ERROR, (int)e->kind, e->msg);
    _exit(1);
}

/* ---- rights ---- */

/* docker's default set; but see is_given(). */
static const int CAPS[] = {CAP_CHOWN,       CAP_DAC_OVERRIDE,     CAP_FSETID,     CAP_FOWNER,
                           CAP_MKNOD,       CAP_SETGID,           CAP_SETUID,     CAP_SETFCAP,
                           CAP_SETPCAP,     CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL,
                           CAP_AUDIT_WRITE, CAP_NET_RAW};

/*
 * Raw sockets could forge and read the packets of a network that is the caller's. In a user
 * namespace the right is good for networks of the step's own alone.
 */
static bool may_forge(const SandboxSpec *spec)
{
    return !spec->copied && (spec->in_userns || spec->net != SANDBOX_NET_HOST);
}

/* Who may call chroot(2) can leave a root that is none of mounts. */
static bool is_given(const SandboxSpec *spec, int cap)
{
    return cap == CAP_NET_RAW ? may_forge(spec) : cap != CAP_SYS_CHROOT || !spec->copied;
}

static uint64_t cap_mask(const SandboxSpec *spec)
{
    uint64_t m = 0;
    for (size_t i = 0; i < NELEM(CAPS); i++)
        if (is_given(spec, CAPS[i]))
            m |= UINT64_C(1) << CAPS[i];
    return m;
}

bool rights_drop_bounding(const SandboxSpec *spec, Err *e)
{
    uint64_t m = cap_mask(spec);
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!(m >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return err_errno(e, ERR_ENV, "drop capability %d", cap);
    return true;
}

static bool set_caps(const SandboxSpec *spec, Err *e)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    uint64_t m = geteuid() != 0 ? 0 : spec->insecure ? UINT64_MAX : cap_mask(spec);
    if (syscall(SYS_capget, &head, data) < 0)
        return err_errno(e, ERR_ENV, "get capabilities");
    m &= (uint64_t)data[1].permitted << 32 | data[0].permitted; /* a container may have fewer */
    for (size_t i = 0; i < 2; i++) {
        uint32_t half = (uint32_t)(m >> (32 * i));
        data[i] = (struct __user_cap_data_struct){.effective = half, .permitted = half};
    }
    if (syscall(SYS_capset, &head, data) < 0)
        return err_errno(e, ERR_ENV, "set capabilities");
    return true;
}

/*
 * The filter goes in while CAP_SYS_ADMIN is there, instead of under no_new_privs: sudo and su in an
 * image work in docker's builder, so they work here.
 */
bool rights_filter_calls(Err *e)
{
    struct sock_fprog prog = {.len = NELEM(SECCOMP_PROGRAM),
                              .filter = (struct sock_filter *)SECCOMP_PROGRAM};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0)
        return err_errno(e, ERR_ENV,
                         "install the seccomp filter (the kernel needs CONFIG_SECCOMP_FILTER)");
    return true;
}

/* Landlock's interface of ABI 6 (Linux 6.12); Debian 12's headers stop before it. */
struct scope_attr {
    uint64_t handled_access_fs, handled_access_net, scoped;
};
enum { SCOPE_ABI = 6, SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0 };

/*
 * With the caller's network a command could connect to abstract sockets of the host, some of which
 * trust whoever connects. Where the kernel has no such scope, docs/security.md says what that
 * means.
 */
static bool scope_sockets(Err *e)
{
    struct scope_attr attr = {.scoped = SCOPE_ABSTRACT_UNIX_SOCKET};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < SCOPE_ABI)
        return true;
    scoped(fd) int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return err_errno(e, ERR_ENV, "restrict abstract sockets by Landlock");
    return true;
}

/* ---- the command ---- */

/* What an image has in the place of a file may be anything: nothing is waited for, and what is no
 * file is not there. */
static bool read_small(const char *path, Buf *out, Err *e)
{
    struct stat st;
    scoped(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fs_read_all(fd, 4 << 20, out, e))
        return true;
    e->kind = ERR_STEP;
    return err_wrap(e, "the image's '%s'", path);
}

static bool resolve_user(const SandboxSpec *spec, SandboxIds *ret, Err *e)
{
    scoped(buf) Buf passwd = BUF_INIT, group = BUF_INIT;
    return read_small("/etc/passwd", &passwd, e) && read_small("/etc/group", &group, e) &&
           sandbox_user_ids(spec->user, buf_str(&passwd), buf_str(&group), ret, e);
}

static bool become(const SandboxIds *ids, Err *e)
{
    if (owners_remembered()) /* the warden answers for who this is */
        return true;
    gid_t groups[NELEM(ids->groups) + 1];
    groups[0] = ids->gid; /* else a file's "others" bits could be had by leaving the group list */
    for (size_t i = 0; i < ids->ngroup; i++)
        groups[i + 1] = ids->groups[i];
    if (setgroups(ids->ngroup + 1, groups) < 0)
        return err_errno(e, ERR_ENV, "set groups");
    if (setresgid(ids->gid, ids->gid, ids->gid) < 0 || setresuid(ids->uid, ids->uid, ids->uid) < 0)
        return errno == EINVAL ? err_set(e, ERR_ENV,
                                         "user %u:%u is outside the ids this user may use: give "
                                         "the user more in /etc/subuid and /etc/subgid",
                                         ids->uid, ids->gid)
                               : err_errno(e, ERR_ENV, "become user %u:%u", ids->uid, ids->gid);
    return true;
}

/* Exit codes of shells for a command that is not there, and for one that is no program. */
enum { NOT_FOUND = 127, NOT_EXECUTED = 126 };

/* execvpe(3) by the step's own PATH, with errors that name the program; what the exit code is. */
static int execute(char *const *argv, char *const *env, const char *path, Err *e)
{
    if (strchr(argv[0], '/')) {
        execve(argv[0], argv, env);
        int code = errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : NOT_EXECUTED;
        err_errno(e, ERR_STEP, "exec '%s'", argv[0]);
        return code;
    }
    int denied = 0;
    for (const char *p = path; *p;) {
        char file[4096];
        size_t n = strcspn(p, ":");
        if (snprintf(file, sizeof file, "%.*s/%s", (int)n, n ? p : ".", argv[0]) <
            (int)sizeof file) {
            execve(file, argv, env);
            if (errno != ENOENT && errno != ENOTDIR)
                denied = errno;
        }
        p += n;
        p += *p == ':';
    }
    if (denied) {
        errno = denied;
        err_errno(e, ERR_STEP, "exec '%s'", argv[0]);
        return NOT_EXECUTED;
    }
    err_set(e, ERR_STEP, "exec '%s': executable file not found in PATH '%s'", argv[0], path);
    return NOT_FOUND;
}

/* docker makes a missing working directory, owned by root. */
static bool enter_cwd(const char *cwd, Err *e)
{
    if (chdir(cwd) == 0)
        return true;
    return err_errno(e, ERR_STEP, "enter directory '%s'", cwd);
}

static bool wall(const SandboxSpec *spec, const SandboxIds *ids, Err *e)
{
    if (!spec->insecure && (!rights_drop_bounding(spec, e) || !scope_sockets(e)))
        return false;
    return (!owners_remembered() || warden_enlist(spec, ids, e)) &&
           (spec->insecure || rights_filter_calls(e));
}

static StrList environment(Arena *a, const SandboxSpec *spec, const SandboxIds *ids)
{
    StrList env = strlist_copy(a, &spec->env);
    if (!env_get(&env, "PATH"))
        env_set(a, &env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if (!env_get(&env, "HOSTNAME"))
        env_set(a, &env, "HOSTNAME", spec->hostname);
    if (spec->tty && !env_get(&env, "TERM"))
        env_set(a, &env, "TERM", "xterm");
    if (!env_get(&env, "HOME"))
        env_set(a, &env, "HOME", ids->home);
    if (spec->copied)
        chroot_env(a, &env);
    return env;
}

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * The keys of the caller's session are not the step's. docker's filter lets no command ask for
 * keys, but not every command has the filter. Best effort: where keys cannot be had, neither can
 * these.
 */
static void leave_keys(void)
{
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

static bool drop_rights(const SandboxSpec *spec, const SandboxIds *ids, Err *e)
{
    return (spec->copied ? chroot_wall(spec, ids->uid == 0, e) : wall(spec, ids, e)) &&
           ulimits_set(&spec->shape, e) && become(ids, e) && set_caps(spec, e) &&
           enter_cwd(spec->cwd, e);
}

bool command_terminal(const SandboxSpec *spec, int *ret, Err *e)
{
    int master = -1;
    *ret = -1;
    if (!spec->tty)
        return true;
    if (terminal_open(&master, ret) < 0)
        return err_errno(e, ERR_ENV, "open a terminal for the command");
    report_fd(REPORT_TTY, master);
    close(master);
    return true;
}

/* A session of its own, and the terminal, if there is one, controls it. */
static bool take_terminal(int terminal, Err *e)
{
    (void)setsid();
    if (terminal < 0)
        return true;
    if (ioctl(terminal, TIOCSCTTY, 0) < 0)
        return err_errno(e, ERR_ENV, "take the terminal");
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (dup2(terminal, fd) < 0)
            return err_errno(e, ERR_ENV, "dup");
    return true;
}

/* In the words of the image, which are to steer no terminal. */
static void tell_caller(const Err *e)
{
    scoped(buf) Buf shown = BUF_INIT;
    buf_add_clean_lines(&shown, e->msg, strlen(e->msg));
    dprintf(STDERR_FILENO, "lighter run: %s\n", buf_str(&shown));
}

_Noreturn void command_main(Arena *a, const SandboxSpec *spec, int terminal, Err *e)
{
    SandboxIds ids;
    int code = NOT_FOUND;
    /* The status socket closes itself at exec, and the rest is for nobody inside. */
    (void)fcntl(FD_STATUS, F_SETFD, FD_CLOEXEC);
    if (!e->kind && take_terminal(terminal, e) && resolve_user(spec, &ids, e)) {
        (void)syscall(SYS_close_range, owners_remembered() ? FD_WARDEN + 1 : FD_STORE, ~0U, 0);
        StrList env = environment(a, spec, &ids);
        reset_signals();
        leave_keys();
        umask(0022);
        if (drop_rights(spec, &ids, e))
            code = execute(strlist_argv(a, &spec->argv), strlist_argv(a, &env),
                           env_get(&env, "PATH"), e);
    }
    if (spec->interactive && e->kind == ERR_STEP)
        tell_caller(e);
    else
        report(REPORT_ERROR, (int)e->kind, e->msg);
    _exit(code);
}

/* ---- init ---- */

/*
 * Die with the parent. If it died before this line nobody is left to be killed by; but then the
 * builder is gone too, or will wait for us, and the first is seen by its end of the status socket.
 */
static bool die_with_parent(void)
{
    struct pollfd p = {.fd = FD_STATUS};
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

static volatile sig_atomic_t forward_to;

static void forward(int sig)
{
    if (forward_to > 0)
        kill((pid_t)forward_to, sig);
}

static void forward_signals(pid_t to)
{
    static const int SIGNALS[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    forward_to = (sig_atomic_t)to;
    for (size_t i = 0; i < NELEM(SIGNALS); i++)
        signal(SIGNALS[i], forward);
}

/* Reap everything until the command ends; the rest dies with pid 1. */
static int reap_until(pid_t command)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid == command)
            return status;
        if (pid < 0 && errno != EINTR)
            return 1 << 8;
    }
}

/* The one interface of a new network namespace is down at first; runc sets it up as well. */
static bool loopback_up(Err *e)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    scoped(fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
        return err_errno(e, ERR_ENV, "set up the loopback interface");
    return true;
}

/* A socket in this network that the builder answers on: it needs no other way in or out. */
static bool listen_for_builder(unsigned port, Err *e)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    scoped(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, SOMAXCONN) < 0)
        return err_errno(e, ERR_ENV, "listen on the step's loopback interface");
    report_fd(REPORT_LISTEN, fd);
    return true;
}

/* Best effort: without it the builder takes nothing for granted that it would tell. */
static void watch_for_builder(const StrList *dirs)
{
    scoped(fd) int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    for (size_t i = 0; i < dirs->n; i++)
        if (fd < 0 ||
            inotify_add_watch(fd, dirs->v[i], IN_OPEN | IN_ONLYDIR | IN_DONT_FOLLOW) != (int)i + 1)
            return;
    report_fd(REPORT_WATCH, fd);
}

static _Noreturn void init_main(Arena *a, const SandboxSpec *spec)
{
    Err e = ERR_INIT;
    if (spec->net != SANDBOX_NET_HOST &&
        (!loopback_up(&e) || (spec->listen_port && !listen_for_builder(spec->listen_port, &e))))
        fail(&e);
    if (sandbox_limits_any(spec->limits) && unshare(CLONE_NEWCGROUP) < 0) {
        err_errno(&e, ERR_ENV, "make a cgroup namespace");
        fail(&e);
    }
    if (sethostname(spec->hostname, strlen(spec->hostname)) < 0) {
        err_errno(&e, ERR_ENV, "set the host name");
        fail(&e);
    }
    if (!sandbox_mount(a, spec, &e))
        fail(&e);
    if (spec->watch.n)
        watch_for_builder(&spec->watch);
    if (spec->net == SANDBOX_NET_USER && !usernet_wait(&e))
        fail(&e);
    close(FD_STORE);
    close(FD_SPEC);
    if (owners_remembered()) /* what the warden has open */
        (void)syscall(SYS_close_range, FD_NFIXED, ~0U, 0);
    Err made = ERR_INIT;
    if (!fs_mkdirs(AT_FDCWD, spec->cwd,
                   &made)) { /* a file in the way: the command's chdir says so */
    }
    int terminal;
    if (!command_terminal(spec, &terminal, &e))
        fail(&e);
    /* The step's description is in memory: secrets, variables. passt had to see us until here. */
    dump_forbid();
    pid_t command = fork();
    if (command == 0)
        command_main(a, spec, terminal, &e);
    if (terminal >= 0)
        close(terminal);
    if (owners_remembered())
        close(FD_WARDEN);
    if (command < 0) {
        err_errno(&e, ERR_ENV, "fork");
        fail(&e);
    }
    forward_signals(command);
    report(REPORT_EXIT, reap_until(command), "");
    _exit(0);
}

/* ---- keeper ---- */

static uint64_t network_namespace(const SandboxSpec *spec)
{
    return spec->net != SANDBOX_NET_HOST ? (uint64_t)CLONE_NEWNET : 0;
}

enum { OTHER_NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS };

/* A process is born into its group, but a namespace made with it would begin where the launcher
 * is: with a group of its own, init makes one for itself. */
static uint64_t cgroup_namespace(const SandboxSpec *spec)
{
    return sandbox_limits_any(spec->limits) ? 0 : CLONE_NEWCGROUP;
}

/* Whether a process stays outside of the step and answers for it. */
static bool has_keeper(const SandboxSpec *spec)
{
    return spec->copied || owners_remembered();
}

uint64_t launch_namespaces(const SandboxSpec *spec)
{
    if (spec->copied)
        return 0;
    return network_namespace(spec) |
           (has_keeper(spec) ? 0 : OTHER_NAMESPACES | cgroup_namespace(spec));
}

static _Noreturn void keeper_main(Arena *a, const SandboxSpec *spec)
{
    Warden *warden = NULL;
    Err e = ERR_INIT;
    int status;
    dump_forbid();
    if (unshare(OTHER_NAMESPACES | (int)cgroup_namespace(spec)) < 0) {
        err_errno(&e, ERR_ENV, "make namespaces for the step");
        fail(&e);
    }
    if (!warden_new(a, spec, &warden, &e))
        fail(&e);
    pid_t init = fork();
    if (init == 0) {
        if (!die_with_parent())
            _exit(1);
        init_main(a, spec);
    }
    if (init < 0) {
        err_errno(&e, ERR_ENV, "fork");
        fail(&e);
    }
    forward_signals(init);
    if (!warden_serve(warden, init, &status, &e))
        fail(&e);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* ---- the first process of a step ---- */

_Noreturn void child_main(void)
{
    scoped(arena) Arena a = {0};
    SandboxSpec spec;
    Err e = ERR_INIT;
    if (!die_with_parent())
        _exit(1);
    (void)umask(0022);
    if (!spec_read(&a, FD_SPEC, &spec, &e))
        fail(&e);
    if (!has_keeper(&spec))
        init_main(&a, &spec);
    if (spec.copied)
        chroot_main(&a, &spec);
    keeper_main(&a, &spec);
}

_Noreturn void sandbox_child_main(void)
{
    struct stat st;
    if (fstat(FD_ORDERS, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        static const char msg[] = "lighter: this word is lighter's own and not a command\n";
        (void)!write(2, msg, sizeof msg - 1);
        _exit(2);
    }
    launcher_main();
}
