/*
 * sandbox/usernet.c - passt beside a step.
 */
#include "sandbox/usernet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "sandbox/spec.h"

/* An address of the link-local range, as podman has it: no host has it as its own. */
#define DNS_FORWARD "169.254.1.1"

enum { READY_TRIES = 10000, READY_PAUSE_US = 1000, ROUTES_MAX = 1 << 20 };

/* ---- the helper ---- */

static _Noreturn void give_up(const char *what)
{
    dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
    _exit(1);
}

/*
 * passt gives up all rights but these before it opens the namespace, and may then look at a process
 * only that has no more.
 */
static void keep_rights(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    uint32_t keep = 1U << CAP_NET_BIND_SERVICE | 1U << CAP_NET_ADMIN | 1U << CAP_SYS_ADMIN;
    if (syscall(SYS_capget, &head, data) < 0)
        give_up("get capabilities");
    for (int i = 0; i < 2; i++) {
        uint32_t mask = i ? 0 : data[0].permitted & keep;
        data[i] = (struct __user_cap_data_struct){.effective = mask, .permitted = mask};
    }
    if (syscall(SYS_capset, &head, data) < 0)
        give_up("set capabilities");
}

static _Noreturn void exec_passt(const char *netns)
{
    /* Nothing of the step's is offered to the host, nothing of the host's loopback to the step. */
    const char *argv[24] = {"pasta",     "--foreground", "--quiet", "--stderr",    "--config-net",
                            "-t",        "none",         "-u",      "none",        "-T",
                            "none",      "-U",           "none",    "--no-map-gw", "--dns-forward",
                            DNS_FORWARD, "--netns-only", "--netns", netns};
    size_t n = 0;
    while (argv[n])
        n++;
    if (rights_real_root()) { /* else it would become nobody, who may not enter the namespace */
        argv[n++] = "--runas";
        argv[n++] = "0";
    }
    char path[PROGRAM_PATH_MAX];
    if (program_find("pasta", path))
        execv(path, (char *const *)argv);
    if (errno == ENOENT)
        dprintf(STDERR_FILENO, "the program pasta is not in PATH: apt-get install passt\n");
    else
        dprintf(STDERR_FILENO, "pasta: %s\n", strerror(errno));
    _exit(127);
}

_Noreturn void usernet_main(pid_t pid)
{
    char path[64];
    sigset_t wanted;
    int sig;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGCHLD);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
        give_up("prctl");
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0)
        give_up(path);
    keep_rights();
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), ns);
    pid_t child = fork();
    if (child < 0)
        give_up("fork");
    if (child == 0) {
        sigprocmask(SIG_UNBLOCK, &wanted, NULL);
        exec_passt(path);
    }
    close(STDOUT_FILENO); /* its end is passt's end */
    close(STDERR_FILENO);
    if (sigwait(&wanted, &sig) == 0 && sig == SIGTERM)
        kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    _exit(0);
}

/* ---- the builder's side ---- */

bool usernet_fail(const char *said, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf why = BUF_INIT;
    bool no_tun = strstr(said, "tun socket") && access("/dev/net/tun", R_OK | W_OK) < 0;
    char *save = NULL, *copy = arena_strdup(&a, said);
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (!strstr(line, "to syslog")) /* what it says where there is no /dev/log */
            buf_printf(&why, "%s%s", why.len ? "; " : "", line);
    return err_set(e, ERR_ENV, "--network=passt: %s%s", why.len ? why.ptr : "passt ended",
                   no_tun ? ": you may not open /dev/net/tun; as root: chmod 666 /dev/net/tun"
                          : "");
}

/* ---- the step's side ---- */

/* Whether /proc/net/route or ipv6_route has a way out that is up. Source: the kernel's fib_trie.c
 * and route.c, which write these files. */
static bool has_route(void)
{
    static const char NOWHERE[] = "00000000000000000000000000000000 00 ";
    scoped(buf) Buf v4 = BUF_INIT, v6 = BUF_INIT;
    Err ignored = ERR_INIT;
    if (!fs_read_file(AT_FDCWD, "/proc/net/route", ROUTES_MAX, &v4, &ignored) ||
        !fs_read_file(AT_FDCWD, "/proc/net/ipv6_route", ROUTES_MAX, &v6, &ignored))
        v6.len = 0; /* a kernel without IPv6 */
    for (const char *line = strchr(buf_str(&v4), '\n'); line; line = strchr(line + 1, '\n')) {
        const char *dest = strchr(line, '\t');
        if (dest && str_starts(dest, "\t00000000\t"))
            return true;
    }
    char *save = NULL;
    for (char *line = v6.len ? strtok_r(v6.ptr, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        if (str_starts(line, NOWHERE) && !str_ends(line, " lo"))
            return true;
    return false;
}

bool usernet_wait(Err *e)
{
    for (int i = 0; i < READY_TRIES; i++) {
        if (has_route())
            return true;
        usleep(READY_PAUSE_US);
    }
    return err_set(e, ERR_ENV, "--network=passt: passt made no way out within %d s",
                   READY_TRIES * READY_PAUSE_US / 1000000);
}

static bool is_loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, address, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

void usernet_resolv(const char *text, Buf *out)
{
    scoped(arena) Arena a = {0};
    bool forwarded = false;
    char *save = NULL, *copy = arena_strdup(&a, text);
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char address[64] = "";
        if (sscanf(line, " nameserver %63s", address) != 1 || !is_loopback(address))
            buf_printf(out, "%s\n", line);
        else if (!forwarded)
            buf_puts(out, "nameserver " DNS_FORWARD "\n");
        forwarded = forwarded || is_loopback(address);
    }
}
