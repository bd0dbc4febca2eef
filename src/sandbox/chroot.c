/*
 * sandbox/chroot.c - the keeper of a step in a copied root: starts the command, passes on what it
 * prints, ends every process of the step.
 */
#include "sandbox/chroot.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/dump.h"

typedef struct Keeper {
    Arena *a;
    const SandboxSpec *spec;
    Places places;
    sigset_t signals;
    int signalfd;
    int terminal; /* the command's; -1: none */
    pid_t command;
    bool ended;
    int status;
} Keeper;

/* ---- every process of the step ---- */

/* The parent of a process; 0 when it is gone. Source: proc(5), /proc/pid/stat. */
static pid_t parent_of(const char *pid)
{
    char path[300], text[512];
    int parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%s/stat", pid);
    scoped(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return 0;
    text[n] = 0;
    const char *p = strrchr(text, ')'); /* the name before it may hold anything */
    return p && sscanf(p + 1, " %*c %d", &parent) == 1 ? (pid_t)parent : 0;
}

typedef struct Process {
    pid_t pid, parent;
    bool ours;
} Process;

static Process *list_processes(Arena *a, size_t *ret_n)
{
    Process *v = NULL;
    size_t n = 0, cap = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *de; d && (de = readdir(d));) {
        uint64_t pid;
        if (!str_u64(de->d_name, INT32_MAX, &pid))
            continue;
        pid_t parent = parent_of(de->d_name);
        if (parent)
            *ARENA_PUSH(a, v, n, cap) = (Process){.pid = (pid_t)pid, .parent = parent};
    }
    if (d)
        closedir(d);
    *ret_n = n;
    return v;
}

/* Send a signal to everything that descends from us; how many there are. */
static size_t signal_all(int sig)
{
    scoped(arena) Arena a = {0};
    size_t n, found = 0;
    Process *v = list_processes(&a, &n);
    pid_t self = getpid();
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < n; i++) {
            bool ours = v[i].parent == self;
            for (size_t k = 0; k < n && !ours && !v[i].ours; k++)
                ours = v[k].ours && v[k].pid == v[i].parent;
            if (!ours || v[i].ours)
                continue;
            v[i].ours = more = true;
            found++;
            kill(v[i].pid, sig);
        }
    }
    return found;
}

/* Collect what has ended; whether no child is left, which is when no process of the step is. */
static bool reap(Keeper *k)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return pid < 0 && errno == ECHILD;
        if (pid == k->command) {
            k->status = status;
            k->command = 0;
        }
    }
}

/*
 * Stop everything first, until nothing new turns up, for a process that forks is faster than we
 * are; then end it. Orphans come to us, so no process gets away by leaving its parent.
 */
static void end_all(Keeper *k)
{
    enum { MAX_ROUNDS = 1000 };
    size_t before = 0;
    for (int i = 0; i < MAX_ROUNDS && !reap(k); i++) {
        size_t now = signal_all(SIGSTOP);
        if (now <= before)
            break;
        before = now;
    }
    for (int i = 0; i < MAX_ROUNDS && !reap(k); i++) {
        signal_all(SIGKILL);
        usleep(500);
    }
}

/* ---- the command ---- */

static _Noreturn void copied_main(Keeper *k)
{
    Err e = ERR_INIT, made = ERR_INIT;
    int out = -1;
    if (k->places.fifo >= 0)
        out = openat(k->places.root.fd, "dev/stdout", O_WRONLY | O_CLOEXEC);
    if (fchdir(k->places.root.fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
        err_errno(&e, ERR_ENV, "enter the step's root");
    if (out >= 0 && (dup2(out, 1) < 0 || dup2(out, 2) < 0))
        err_errno(&e, ERR_ENV, "dup");
    close(FD_SPEC);
    if (!e.kind && !fs_mkdirs(AT_FDCWD, k->spec->cwd, &made)) {
        /* a file in the way: the command's chdir says so */
    }
    command_main(k->a, k->spec, k->terminal, &e);
}

static void pass_output(const Keeper *k)
{
    char block[32 << 10];
    Err ignored = ERR_INIT;
    ssize_t n;
    while ((n = read(k->places.fifo, block, sizeof block)) > 0)
        if (!fs_write_all(1, block, (size_t)n, &ignored))
            return;
}

static void take_signals(Keeper *k)
{
    struct signalfd_siginfo si;
    while (read(k->signalfd, &si, sizeof si) == (ssize_t)sizeof si) {
        int sig = (int)si.ssi_signo;
        if (sig == CHROOT_END)
            k->ended = true;
        else if (sig != SIGCHLD && k->command > 0)
            kill(k->command, sig);
    }
    reap(k);
}

static void watch_command(Keeper *k)
{
    struct pollfd p[2] = {{k->signalfd, POLLIN, 0}, {k->places.fifo, POLLIN, 0}};
    while (k->command && !k->ended) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[1].revents & POLLIN)
            pass_output(k);
        take_signals(k);
    }
    end_all(k);
    if (k->places.fifo >= 0)
        pass_output(k);
}

static bool run_command(Keeper *k, Err *e)
{
    if (!command_terminal(k->spec, &k->terminal, e))
        return false;
    k->command = fork();
    if (k->command == 0)
        copied_main(k);
    if (k->terminal >= 0)
        close(k->terminal);
    if (k->command < 0)
        return err_errno(e, ERR_ENV, "fork");
    watch_command(k);
    return true;
}

static bool take_charge(Keeper *k, Err *e)
{
    static const int SIGNALS[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    if (k->spec->net != SANDBOX_NET_HOST)
        return err_set(e, ERR_ENV,
                       "--network=%s needs a network namespace, which mode chroot does without: "
                       "'lighter doctor' says what gives a better mode",
                       k->spec->net == SANDBOX_NET_NONE ? "none" : "passt");
    if (k->spec->readonly)
        return err_set(e, ERR_ENV,
                       "--read-only: in mode chroot a root that can be changed by nobody cannot be "
                       "made: 'lighter doctor' says what gives a better mode");
    if (k->spec->insecure)
        return err_set(e, ERR_ENV,
                       "--security=insecure: mode chroot has no more rights to give than its steps "
                       "have: 'lighter doctor' says what gives a better mode");
    if (k->spec->shape.shm_size)
        return err_set(e, ERR_ENV,
                       "--shm-size needs a mount of its own, which mode chroot does without: "
                       "'lighter doctor' says what gives a better mode");
    sigemptyset(&k->signals);
    for (size_t i = 0; i < NELEM(SIGNALS); i++)
        sigaddset(&k->signals, SIGNALS[i]);
    sigaddset(&k->signals, CHROOT_END);
    k->signalfd = sigprocmask(SIG_BLOCK, &k->signals, NULL) < 0
                      ? -1
                      : signalfd(-1, &k->signals, SFD_NONBLOCK | SFD_CLOEXEC);
    /* The signal comes when the builder dies, too: SIGKILL would leave the step to others. */
    if (k->signalfd < 0 || prctl(PR_SET_PDEATHSIG, CHROOT_END) < 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_errno(e, ERR_ENV, "set up the sandbox");
    if (fchdir(FD_STORE) < 0)
        return err_errno(e, ERR_STORE, "enter the store");
    return true;
}

_Noreturn void chroot_main(Arena *a, const SandboxSpec *spec)
{
    Err e = ERR_INIT;
    Keeper k = {.a = a,
                .spec = spec,
                .places = {.a = a, .spec = spec, .root = {.fd = -1}, .fifo = -1},
                .signalfd = -1};
    dump_forbid();
    bool ok = take_charge(&k, &e) && places_put(&k.places, &e) && run_command(&k, &e);
    places_take_away(&k.places);
    if (ok)
        report(REPORT_EXIT, k.status, "");
    else
        report(REPORT_ERROR, (int)e.kind, e.msg);
    _exit(ok ? 0 : 1);
}
